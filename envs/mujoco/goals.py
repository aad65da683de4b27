"""Robots that learn only from the reward where to go: a direction, a speed, a place.

After the environments of PEARL (Rakelly et al., 2019). If a split varies the physics too, its values are those of the
robot's own splits.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..factors import DirectionFactor, Factor, VectorFactor
from ..tasks import Splits, Task, polar
from .ant import Ant
from .half_cheetah import EXTREME, MODERATE, HalfCheetah

ANYTHING = (-math.inf, math.inf)


def _cross(name: str, values: Iterable[Any], physics: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    """Returns each value of a factor under each physics."""
    physics = tuple(physics)
    return tuple({**scales, name: value} for value in values for scales in physics)


# Confidence: P PEARL's code, N our proposal.


class HalfCheetahDir(HalfCheetah):
    """Runs forward or backward: reward ``direction * v - 0.05 |a|^2``.

    Observation and action are HalfCheetah's. A direction between -1 and 1 pays less for the same speed.
    """

    default_max_steps = 200
    reward_tells_task = True
    factors: ClassVar[tuple[Factor, ...]] = (
        *HalfCheetah.factors,
        Factor("direction", spread=2.0, unit="1 forward, -1 backward", bounds=(-1.0, 1.0), closed=True),
    )
    splits: ClassVar[Splits] = {
        "train": ({"direction": 1.0}, {"direction": -1.0}),  # P
        # There is no third direction: what is unseen is the body, with HalfCheetah's masses and dampings.
        "moderate": _cross("direction", (1.0, -1.0), MODERATE),  # N
        "extreme": _cross("direction", (1.0, -1.0), EXTREME),  # N
    }

    def _reward(self) -> float:
        return self._task_floats["direction"] * self.x_velocity - 0.05 * self._squared_action()


class HalfCheetahVel(HalfCheetah):
    """Runs at a given speed: reward ``-|v - velocity| - 0.05 |a|^2``.

    Observation and action are HalfCheetah's.
    """

    default_max_steps = 200
    reward_tells_task = True
    factors: ClassVar[tuple[Factor, ...]] = (
        *HalfCheetah.factors,
        Factor("velocity", neutral=1.5, spread=1.5, unit="m/s, negative is backward", bounds=ANYTHING),
    )
    splits: ClassVar[Splits] = {
        # P draws from [0, 3]; a grid over it is N.
        "train": tuple({"velocity": tenths / 10} for tenths in range(0, 31, 2)),
        "moderate": tuple({"velocity": tenths / 10} for tenths in range(1, 30, 2)),  # N: between the trained ones
        "extreme": tuple({"velocity": tenths / 10} for tenths in range(32, 41, 2)),  # N: faster than any of them
    }

    def _reward(self) -> float:
        return -abs(self.x_velocity - self._task_floats["velocity"]) - 0.05 * self._squared_action()


class AntDir(Ant):
    """Walks in a given direction: reward ``v · direction - 0.5 |a|^2 + 1``, with the torso's velocity v in the plane.

    Observation ``[29]``: the torso's Δx/dt and Δy/dt over the environment step in m/s (0 at reset), qpos without x
    and y (13), qvel (14). Action and reward weights are Ant's, with other defaults.
    """

    default_max_steps = 200
    reward_tells_task = True
    factors: ClassVar[tuple[Factor, ...]] = (*Ant.factors, DirectionFactor())
    splits: ClassVar[Splits] = {
        # P draws angles from the whole circle (and has a variant with only forward and backward); a grid over it is N.
        "train": tuple({"direction": polar(1.0, degrees)} for degrees in range(0, 360, 45)),
        "moderate": tuple({"direction": polar(1.0, degrees + 22.5)} for degrees in range(0, 360, 45)),  # N: between
        # N: between the trained directions, and the legs' masses and dampings are unseen too.
        "extreme": _cross("direction", [polar(1.0, degrees + 22.5) for degrees in range(0, 360, 90)], EXTREME),
    }

    def __init__(self, *args: Any, ctrl_cost_weight: float = 0.5, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            ctrl_cost_weight: Cost of the squared action.
            **kwargs: As for ``Ant``.
        """
        self._y_velocity = np.zeros(1)
        super().__init__(*args, ctrl_cost_weight=ctrl_cost_weight, **kwargs)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self._velocity, self._y_velocity, self.qpos[2:], self.qvel

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        self._y = self.data.xpos[1, 1:2] if self.reference_physics else self.qpos[1:2]  # as the base has x

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self._y_velocity[0] = 0.0

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self._y_before = self._y.item()
        return super()._advance(action)

    def _reward(self) -> float:
        x, y = self._task_floats["direction_x"], self._task_floats["direction_y"]
        y_velocity = self._y_velocity[0] = (self._y.item() - self._y_before) / self.dt
        return super()._reward() - self.x_velocity + x * self.x_velocity + y * y_velocity


class AntGoal(Ant):
    """Walks to a given place: reward ``-|x - goal_x| - |y - goal_y| - 0.1 |a|^2``.

    Observation ``[29]``: qpos (15; x and y of the torso first, in metres from where the robot is put, up to 0.1 of
    noise), qvel (14). Action and reward weights are Ant's, with other defaults.
    """

    default_max_steps = 200
    reward_tells_task = True
    factors: ClassVar[tuple[Factor, ...]] = (
        *Ant.factors,
        VectorFactor("goal", neutral=0.0, spread=3.0, unit="m", bounds=ANYTHING, components=("x", "y")),
    )
    splits: ClassVar[Splits] = {
        # P draws from the disc of radius 3 m; rings in it are N.
        "train": tuple({"goal": polar(radius, degrees)} for radius in (1, 2, 3) for degrees in range(0, 360, 45)),
        # N: between the trained ones in distance and direction.
        "moderate": tuple(
            {"goal": polar(radius, degrees + 22.5)} for radius in (1.5, 2.5) for degrees in range(0, 360, 45)
        ),
        "extreme": tuple({"goal": polar(4, degrees)} for degrees in range(0, 360, 45)),  # N: farther than any of them
    }

    def __init__(self, *args: Any, ctrl_cost_weight: float = 0.1, healthy_reward: float = 0.0, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            ctrl_cost_weight: Cost of the squared action.
            healthy_reward: Constant reward per step.
            **kwargs: As for ``Ant``.
        """
        super().__init__(*args, ctrl_cost_weight=ctrl_cost_weight, healthy_reward=healthy_reward, **kwargs)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel

    def _reward(self) -> float:
        (x, y), goal = self.qpos[:2].tolist(), self._task_floats
        return super()._reward() - self.x_velocity - abs(x - goal["goal_x"]) - abs(y - goal["goal_y"])
