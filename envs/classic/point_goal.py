"""A point in the plane that learns only from the reward where to go."""

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..base import MetaTaskEnv
from ..factors import DirectionFactor, Factor
from ..tasks import Splits, Task, polar
from .drawing import Canvas

SPEED, START, GOAL_RADIUS = 0.2, 0.2, 0.2

# Confidence: P PEARL's code (sparse-point-robot), N our proposal.


class PointGoal(MetaTaskEnv):
    """Finds a goal on the unit circle and stays there: reward minus the distance to it after the step.

    Observation ``[2]``: x and y of the point. Action ``[2]`` in ±1: displacement along x and y, in units of 0.2.
    The info of an episode's last step has ``is_success``: whether the point is within 0.2 of the goal.
    """

    reward_tells_task = True
    factors: ClassVar[tuple[Factor, ...]] = (DirectionFactor(neutral=(0.0, 1.0)),)
    splits: ClassVar[Splits] = {
        "train": tuple({"direction": polar(1.0, degrees)} for degrees in range(0, 181, 30)),  # P; seven of them is N
        "moderate": tuple({"direction": polar(1.0, degrees)} for degrees in range(15, 180, 30)),  # N: between
        "extreme": tuple({"direction": polar(1.0, degrees)} for degrees in range(210, 331, 30)),  # N: the other half
    }
    default_max_steps = 25
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``MetaTaskEnv`` for the arguments."""
        super().__init__(*args, **kwargs)
        self.position, self.goal = (0.0, 0.0), (0.0, 1.0)
        self._build_spaces([np.inf] * 2, gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32))

    def _begin_episode(self, task: Task) -> None:
        self.goal = task["direction"]  # type: ignore[assignment]
        self.position = tuple(self.np_random.uniform(-START, START, 2).tolist())

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        x, y = self.position
        along_x, along_y = (SPEED * min(max(float(part), -1.0), 1.0) for part in action)
        self.position = (x + along_x, y + along_y)
        return -math.dist(self.position, self.goal), False

    def _write_observation(self) -> None:
        self._buffer[:2] = self.position

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``is_success``."""
        info = super().episode_info()
        if self._steps_left > 0:
            return info
        return info | {"is_success": math.dist(self.position, self.goal) <= GOAL_RADIUS}

    def _draw(self) -> np.ndarray:
        canvas = Canvas(1.6)
        canvas.rod(self.goal, self.goal, GOAL_RADIUS, (150, 210, 150))
        x, y = (min(max(part, -1.5), 1.5) for part in self.position)  # outside, it is shown at the edge
        canvas.rod((x, y), (x, y), 0.06, (204, 77, 77))
        return canvas.image
