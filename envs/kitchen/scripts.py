"""Scripts that do the sub-tasks of the kitchen, one pose of the hand after the other.

A script reads the simulator and yields a pose for each step until it has done its sub-task or given up; None is that
of the arm in the beginning. Lengths are in m, angles in rad; x is to the right, y ahead, z up.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from .hand import Hand, Pose

Poses = Iterator[Pose | None]
Script = Callable[[Hand], Poses]
PATIENCE = 60  # steps after which a script gives up pushing or pulling
NEAR_START = 0.3  # rad, of each joint
SLIPPED = 0.05  # rad that a door goes back when it is lost
LEAD = 0.16  # rad that the hand is ahead of a door that it pulls
TIP = 0.045  # from the hand's site to the tips of its fingers


def vector(*numbers: float) -> np.ndarray:
    """Returns numbers as an array."""
    return np.array(numbers, float)


def turned(angle: float, xy: np.ndarray) -> np.ndarray:
    """Returns a vector ``[2]`` turned to the left."""
    c, s = np.cos(angle), np.sin(angle)
    return vector(c * xy[0] - s * xy[1], s * xy[0] + c * xy[1])


def reach(hand: Hand, pose: Callable[[], Pose], within: float, most_steps: int = 70) -> Poses:
    """Moves the hand until it is within some distance of a pose, which may move."""
    for _ in range(most_steps):
        target = pose()
        if np.linalg.norm(target.position - hand.position) < within:
            return
        yield target


def retreat(hand: Hand, x: float = 0.0, z: float = 0.0, closed: bool = True) -> Poses:
    """Draws the hand back towards the robot, and to a side; then brings the arm near to its initial pose."""
    away = hand.position + vector(x, -0.1, z)
    yield from reach(hand, lambda: Pose(away, closed=closed), within=0.04, most_steps=12)
    for _ in range(PATIENCE):
        if hand.from_start < NEAR_START:
            break
        yield None


def push_kettle(hand: Hand) -> Poses:
    """Pushes the kettle ahead, from one burner to another."""
    # Two fingers keep it straight. Further on, its spout gets caught at the microwave.
    pose = partial(Pose, pitch=-0.4, closed=False)
    yield from reach(hand, lambda: pose(hand.body("kettleroot") + vector(0.0, -0.2, 0.17)), within=0.04)
    behind = partial(reach, within=0.015, most_steps=15)
    yield from behind(hand, lambda: pose(hand.body("kettleroot") + vector(0.0, -0.18, 0.09)))
    for _ in range(PATIENCE):
        x, y, z = hand.body("kettleroot")
        if y > 0.58:
            break
        yield pose(vector((x - 0.23) / 2.0, hand.position[1] + 0.06, z + 0.09))
    yield from retreat(hand, z=0.05)


def flip_light_switch(hand: Hand) -> Poses:
    """Pushes the light switch to the left."""
    switch = hand.site("light_site")
    yield from reach(hand, lambda: Pose(switch + vector(0.09, -0.1, 0.0)), within=0.03)
    yield from reach(hand, lambda: Pose(switch + vector(0.09, -0.015, 0.0)), within=0.02)
    for _ in range(PATIENCE):
        if hand.joint("light_switch") < -0.6:
            break
        yield Pose(switch + vector(-0.1, -0.015, 0.0))
    yield from retreat(hand)


def slide_cabinet(hand: Hand) -> Poses:
    """Pushes the handle of the slide cabinet to the right."""
    handle = hand.site("slide_site")
    yield from reach(hand, lambda: Pose(handle + vector(-0.1, -0.12, 0.0)), within=0.04)
    yield from reach(hand, lambda: Pose(handle + vector(-0.09, -0.03, 0.0)), within=0.03)
    for _ in range(PATIENCE):
        if hand.joint("slide_cabinet") > 0.15:
            break
        yield Pose(handle + vector(0.4, -0.03, 0.0))
    yield from retreat(hand, x=-0.05)


def open_microwave(hand: Hand) -> Poses:
    """Grasps the handle of the microwave and pulls the door open."""
    yield from _pull_door(hand, "microwave", "microhandle_site", "microdoorroot", until=-0.52)
    yield from retreat(hand, x=0.08, closed=False)


def open_hinge_cabinet(hand: Hand) -> Poses:
    """Pulls the right door of the hinge cabinet open by its handle, then pushes it from the inside."""
    joint, axis = "right_hinge_cabinet", hand.body("hingerightdoor")
    low = vector(0.0, 0.0, -0.05)
    yield from _pull_door(hand, joint, "hinge_site2", "hingerightdoor", until=0.8, offset=low)

    def beside(x: float, y: float, ahead: float = 0.0) -> np.ndarray:
        """A place that turns with the door; x is along the door, to its hinge, y into the cabinet."""
        return axis + low + vector(*turned(hand.joint(joint) + ahead, vector(x, y)), 0.0)

    yield from reach(hand, lambda: Pose(beside(-0.38, -0.26), closed=False), within=0.04)
    yield from reach(hand, lambda: Pose(beside(-0.5, -0.2)), within=0.06)
    yield from reach(hand, lambda: Pose(beside(-0.44, 0.04)), within=0.04)
    for _ in range(PATIENCE):
        if hand.joint(joint) > 1.25:
            break
        yield Pose(beside(-0.28, 0.1, ahead=0.5))
    yield from retreat(hand, x=-0.05)


def turn_burner_knob(hand: Hand) -> Poses:
    """Turns the knob of the bottom left burner, by pushing its lower end to the left."""
    knob, joint = hand.body("knob 2"), "knob_Joint_2"

    def lower_end(angle: float) -> np.ndarray:
        """Where the hand is so that the tips of its fingers touch the knob's lower end from the right."""
        x, z = turned(-angle, vector(0.034, -0.045))
        return knob + vector(x, -0.048 - TIP, z)

    yield from reach(hand, lambda: Pose(lower_end(0.0) + vector(0.03, -0.06, 0.0)), within=0.025)
    yield from reach(hand, lambda: Pose(lower_end(0.0) + vector(0.02, 0.0, 0.0)), within=0.012, most_steps=10)
    for _ in range(PATIENCE):
        if hand.joint(joint) < -0.85:
            break
        # The wrist gives way: it turns less than it is asked to.
        yield Pose(lower_end(1.2 - hand.joint(joint)), yaw=1.2)
    yield from retreat(hand, x=0.02)


def _pull_door(hand: Hand, joint: str, site: str, body: str, until: float, offset: np.ndarray | float = 0.0) -> Poses:
    """Grasps the handle of a door and pulls it along its arc.

    Args:
        hand: The hand.
        joint: The door's hinge.
        site: Its handle, which is vertical.
        body: The door, whose place is that of its hinge.
        until: The angle to open it to.
        offset: From the handle's site to where it is grasped, ``[3]``.
    """
    handle, hinge = hand.site(site) + offset, hand.body(body)
    yield from reach(hand, lambda: Pose(handle + vector(0.0, -0.12, 0.0), closed=False), within=0.04)
    yield from reach(hand, lambda: Pose(handle, closed=False), within=0.015, most_steps=15)
    for _ in range(3):
        yield Pose(handle)
    widest = 0.0
    for _ in range(PATIENCE):
        angle = hand.joint(joint)
        widest = max(widest, abs(angle))
        if not widest - SLIPPED < abs(angle) < abs(until):
            break
        next_to = hinge[:2] + turned(np.copysign(LEAD, until), (hand.site(site) - hinge)[:2])
        yield Pose(vector(*next_to, handle[2]))
    here = hand.position
    for _ in range(2):
        yield Pose(here, closed=False)


SCRIPTS: Mapping[str, Script] = {
    "microwave": open_microwave,
    "kettle": push_kettle,
    "bottom burner": turn_burner_knob,
    "light switch": flip_light_switch,
    "slide cabinet": slide_cabinet,
    "hinge cabinet": open_hinge_cabinet,
}
"""The script of each sub-task."""
