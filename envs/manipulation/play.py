"""Play: OGBench's scripted oracles do one randomly chosen thing in the scene after the other."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from .arm import STEP, yaw_of
from .scene import ARM_HIGH, ARM_LOW, DRAWER, ON_TABLE, PARTS, WIDE_OPEN, Scene

TABLE_LOW, TABLE_HIGH = np.array([[0.3, -0.07], [0.45, 0.18]])  # where the cube is put on the table, x and y in m
BOTTOM = 0.066  # height of the middle of a cube that lies in the drawer, m
SPREAD = 0.005  # of the cube's places in the drawer along x and y, m
LOCKED_WEIGHT = 0.25  # of trying to move what is locked, where moving other things has 1

CUBE_TARGETS = ("cube to table", "cube to drawer")
BUTTON_TARGETS = ("drawer button", "window button")
DRAWER_TARGETS = ("open drawer", "close drawer")
WINDOW_TARGETS = ("open window", "close window")
TARGETS = (*CUBE_TARGETS, *BUTTON_TARGETS, *DRAWER_TARGETS, *WINDOW_TARGETS)
"""What a player can aim at."""


class Player:
    """Does things in a scene, whether or not they succeed."""

    def __init__(self, scene: Scene, noise: float):
        """Loads the oracles.

        Args:
            scene: The scene.
            noise: Scale of the noise of plans: 1 is a standard deviation of 5 cm, 0.3 rad and the gripper's whole way,
                before the noise is smoothed over time.
        """
        from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
        from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle
        from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle

        # What oracles ask an environment.
        asked = SimpleNamespace(
            _control_timestep=scene.dt,
            _arm_sampling_bounds=(ARM_LOW, ARM_HIGH),
            normalize_action=lambda displacement: np.clip(displacement / STEP, -1.0, 1.0),
        )
        asked.unwrapped = asked
        kinds = {
            **dict.fromkeys(CUBE_TARGETS, CubePlanOracle),
            **dict.fromkeys(BUTTON_TARGETS, ButtonPlanOracle),
            **dict.fromkeys(DRAWER_TARGETS, DrawerPlanOracle),
            **dict.fromkeys(WINDOW_TARGETS, WindowPlanOracle),
        }
        self._scene = scene
        self._oracles = {target: kind(env=asked, noise=noise) for target, kind in kinds.items()}
        self._oracle: Any = None

    @property
    def is_done(self) -> bool:
        """Whether it came to the end of its plan, or has none yet."""
        return self._oracle is None or self._oracle.done

    def begin(self, target: str, rng: np.random.Generator) -> None:
        """Begins with another target.

        Args:
            target: One of ``TARGETS``.
            rng: Source of places, ways and noise.
        """
        self._oracle = self._oracles[target]
        inputs = self._observed() | self._inputs(target, rng)
        state = np.random.get_state()  # noqa: NPY002  oracles draw from NumPy's global generator
        np.random.seed(rng.integers(2**32, size=4))  # noqa: NPY002
        self._oracle.reset(None, inputs)
        np.random.set_state(state)  # noqa: NPY002

    def act(self) -> np.ndarray:
        """Returns the next action, ``[5]`` float32 in ±1."""
        return self._oracle.select_action(None, self._observed()).astype(np.float32)

    def _observed(self) -> dict[str, Any]:
        arm = self._scene.arm
        return {
            "proprio/effector_pos": arm.position.copy(),
            "proprio/effector_yaw": np.array([arm.yaw]),
            "proprio/gripper_opening": np.array([arm.closing]),
            "time": np.array([self._scene.data.time]),
        }

    def _inputs(self, target: str, rng: np.random.Generator) -> dict[str, Any]:
        """Returns what an oracle has to know of its target."""
        scene, data = self._scene, self._scene.data
        if target in CUBE_TARGETS:
            place = np.array([*rng.uniform(TABLE_LOW, TABLE_HIGH), ON_TABLE])
            if target == "cube to drawer":
                middle = np.array([DRAWER[0], DRAWER[1] - WIDE_OPEN[0] * scene.openings[0]])
                place = np.array([*(middle + rng.uniform(-SPREAD, SPREAD, 2)), BOTTOM])
            return {
                "privileged/target_block": 0,
                "privileged/block_0_pos": scene.cube.copy(),
                "privileged/block_0_yaw": np.array([scene.cube_yaw]),
                "privileged/target_block_pos": place,
                "privileged/target_block_yaw": rng.uniform(-np.pi, np.pi, 1),
            }
        if target in BUTTON_TARGETS:
            top = data.site(f"btntop_{PARTS.index(target.split()[0])}")
            return {"privileged/target_button_top_pos": top.xpos.copy()}
        verb, part = target.split()
        index, handle = PARTS.index(part), data.site(f"{part}_handle_center")
        moved = WIDE_OPEN[index] * ((verb == "open") - scene.openings[index])
        return {
            f"privileged/{part}_handle_pos": handle.xpos.copy(),
            f"privileged/{part}_handle_yaw": np.array([yaw_of(handle.xmat)]),
            f"privileged/target_{part}_handle_pos": handle.xpos
            + moved * data.xaxis[scene.model.joint(f"{part}_slide").id],
        }


def weights_of(scene: Scene) -> Mapping[str, float]:
    """Returns how likely a player should have each target now, up to a factor."""
    weights = {"drawer button": 0.5, "window button": 0.5}
    for part, unlocked, opening in zip(PARTS, scene.unlocked, scene.openings, strict=True):
        weights[f"{'open' if opening < 0.5 else 'close'} {part}"] = 1.0 if unlocked else LOCKED_WEIGHT
    is_open, *_, in_drawer = scene.subtasks_done().tolist()
    if in_drawer:  # out of reach
        return weights
    return weights | {"cube to table": 1.0} | ({"cube to drawer": 1.0} if is_open else {})


def play(
    scene: Scene, rng: np.random.Generator, steps: int = 1000, noise: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Does one thing after the other, from a random state on.

    Args:
        scene: The scene, which needs a reset afterwards.
        rng: Source of everything.
        steps: How many there will be.
        noise: Scale of the noise of plans; see ``Player``.

    Returns:
        Observations ``[T + 1, 22]`` and actions ``[T, 5]``.
    """
    player = Player(scene, noise)
    observations, actions = [scatter(scene, rng)], list[np.ndarray]()
    while len(actions) < steps:
        if player.is_done:
            weights = weights_of(scene)
            shares = np.array([*weights.values()]) / sum(weights.values())
            player.begin(str(rng.choice([*weights], p=shares)), rng)
        actions.append(player.act())
        observations.append(scene.walk(actions[-1]))
    return np.array(observations, np.float32), np.array(actions, np.float32)


def scatter(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Puts everything to random places; returns the observation."""
    return scene.arrange(
        gripper=rng.uniform(ARM_LOW, ARM_HIGH),
        yaw=rng.uniform(-np.pi, np.pi),
        cube=rng.uniform(TABLE_LOW, TABLE_HIGH),
        cube_yaw=rng.uniform(-np.pi, np.pi),
        unlocked=rng.integers(2, size=2).astype(bool),
        openings=rng.uniform(0.0, 1.0, 2),
    )
