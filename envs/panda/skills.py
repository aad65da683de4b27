"""Which skill moved the cube (push, roll, or pick and place), inferred from its poses and contacts."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

# All relative to the cube's edge or in degrees, so that they hold for any cube.
MOVED = 0.01  # of the edge per step: less is rest
DISPLACED = 0.5  # of the edge from the start: less is no push
LIFTED = 0.1  # of the edge: height of the lowest corner
TILTED = 5.0  # degrees: less is lying on a face
ROLLED = 30.0  # degrees: less falls back

# The authors' heights of a cube of 4 cm, m.
REFERENCE_OFF_TABLE = 0.021
REFERENCE_ON_TABLE = 0.019


@dataclass(frozen=True)
class CubeTrack:
    """Poses of the cube at the start and after each of ``T`` steps. The table's top is at height 0.

    Attributes:
        position: ``[T + 1, 3]``, its centre, m.
        rotation: ``[T + 1, 4]``, quaternions x, y, z, w.
        carried: ``[T + 1]`` bool, whether both fingers touch it and the table does not. Matters only where the centre
            is higher than 0.021 m.
        edge: Length of its edges, m.
    """

    position: np.ndarray
    rotation: np.ndarray
    carried: np.ndarray
    edge: float = 0.04


def step_skills(track: CubeTrack) -> np.ndarray:
    """Returns the skill of each step.

    * ``"dropped"``: the centre is below the table's top, so the cube fell off;
    * ``"pick_and_place"``: it moves, carried, its lowest corner above the table by more than a tenth of its edge;
    * ``"roll"``: it moves, on its way from one face to another or over 30° of tilt: all steps from leaving the one
      face to lying on the next count;
    * ``"push"``: it moves otherwise, on the table;
    * ``"none"``: it rests, or flies.

    Args:
        track: The cube over ``T`` steps.

    Returns:
        ``[T]``, strings.
    """
    height = track.position[:, 2]
    up = _up(track.rotation)
    steepness = np.abs(up)
    tilt = np.degrees(np.arccos(np.minimum(steepness.max(axis=1), 1.0)))
    axis = steepness.argmax(axis=1)
    face = np.where(np.take_along_axis(up, axis[:, None], axis=1)[:, 0] > 0, axis, axis + 3)
    lifted = height - track.edge / 2 * steepness.sum(axis=1) > LIFTED * track.edge
    moves = np.linalg.norm(np.diff(track.position, axis=0), axis=1) > MOVED * track.edge
    return np.select(
        [
            height[1:] < 0.0,
            ~moves,
            (lifted & track.carried)[1:],
            _rolls(tilt, face),
            ~lifted[1:],
        ],
        ["dropped", "none", "pick_and_place", "roll", "push"],
        "none",
    )


def episode_skill(track: CubeTrack) -> str:
    """Returns the skill of an episode: the most frequent one of the steps in which the cube moves.

    It is ``"dropped"`` if the cube ever fell off the table, and ``"none"`` if the cube never moved, or was pushed no
    further than half an edge from its start. Ties go to the more demanding skill.
    """
    count = Counter(step_skills(track).tolist())
    if count["dropped"]:
        return "dropped"
    skill = max(("pick_and_place", "roll", "push"), key=lambda name: count[name])  # the first of equals
    reach = np.linalg.norm(track.position - track.position[0], axis=1).max()
    if not count[skill] or (skill == "push" and reach <= DISPLACED * track.edge):
        return "none"
    return skill


def reference_step_skills(track: CubeTrack) -> np.ndarray:
    """Returns the skill of each step by the authors' rule, from the height of a cube of 4 cm.

    A tilt of 3° raises the centre to 0.021 m, so most of their rolls are cubes that tip a little.

    Args:
        track: The cube over ``T`` steps.

    Returns:
        ``[T]``, strings: ``"pick_and_place"``, ``"roll"``, ``"push"``, or ``"down"`` below the table's top.
    """
    height = track.position[1:, 2]
    off, on = height > REFERENCE_OFF_TABLE, height > REFERENCE_ON_TABLE
    return np.select([off & track.carried[1:], off, on], ["pick_and_place", "roll", "push"], "down")


def reference_episode_skill(track: CubeTrack) -> str:
    """Returns the skill of an episode by the authors' rule.

    One step of picking and placing decides, then one of rolling. Everything else is a push, even if the cube was never
    touched or fell off. The last step of an episode is ignored.
    """
    steps = reference_step_skills(track)[:-1]
    return next((skill for skill in ("pick_and_place", "roll") if skill in steps), "push")


def _up(rotation: np.ndarray) -> np.ndarray:
    """Returns the direction of up in the axes of the cube, ``[T + 1, 3]``, for quaternions ``[T + 1, 4]``."""
    x, y, z, w = rotation.T
    return np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)


def _rolls(tilt: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Returns for each step whether it is part of a roll.

    Args:
        tilt: ``[T + 1]``, angle between the upper face and the table, degrees.
        face: ``[T + 1]``, which face is up.
    """
    turns = (tilt[1:] > ROLLED) | (face[1:] != face[:-1])
    tilted = (tilt[1:] > TILTED) | (tilt[:-1] > TILTED)
    # Consecutive tilted steps get the same number: all of them are the roll if the cube turns in one.
    stretch = np.cumsum(np.diff(tilted, prepend=False))
    return turns | (tilted & np.isin(stretch, stretch[turns]))
