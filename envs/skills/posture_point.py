"""A point that can travel far, and strike poses that are easier to tell apart."""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..classic.drawing import Canvas
from ..tasks import Task
from .base import SkillEnv

STEP, POSTURE_STEP = 0.2, 0.3
NUM_POSTURES = 6


class PosturePoint(SkillEnv):
    """A point in the plane with six posture variables, which are bounded; its place is not.

    Skills that only differ in posture are the easy ones to tell apart, but only travelling adds up. So it separates
    methods that maximise the distance of states from those that are content with differences. It trains in minutes.

    Observation ``[8]``: x / 5, y / 5, twice the postures. Action ``[8]`` in ±1: displacements along x and y in units
    of 0.2, changes of the postures in units of 0.3; postures are clipped to ±1. Reward 0.
    """

    default_max_steps = 50
    cell_size = 0.5
    goal_range = 7.5
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``MetaTaskEnv`` for the arguments."""
        super().__init__(*args, **kwargs)
        self._state = np.zeros(2 + NUM_POSTURES)
        self._build_spaces(
            [np.inf] * 2 + [2.0] * NUM_POSTURES, gymnasium.spaces.Box(-1.0, 1.0, (2 + NUM_POSTURES,), np.float32)
        )

    @property
    def coordinates(self) -> np.ndarray:
        """X and y."""
        return self._state[:2]

    def _place(self, coordinates: Any) -> None:
        self._state[:2] = coordinates

    def _begin_episode(self, task: Task) -> None:
        self._state[:] = 0.0

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        action = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self._state[:2] += STEP * action[:2]
        self._state[2:] = (self._state[2:] + POSTURE_STEP * action[2:]).clip(-1.0, 1.0)
        return 0.0, False

    def _write_observation(self) -> None:
        self._buffer[:2] = self._state[:2] / 5.0
        self._buffer[2 : self._observation_size] = 2.0 * self._state[2:]

    def _draw(self) -> np.ndarray:
        canvas = Canvas(15.0)
        x, y = self._state[:2].clip(-14.0, 14.0).tolist()  # outside, it is shown at the edge
        for index, posture in enumerate(self._state[2:].tolist()):
            angle = 2.0 * np.pi * index / NUM_POSTURES
            reach = 0.8 + 0.6 * posture
            canvas.rod((x, y), (x + reach * np.cos(angle), y + reach * np.sin(angle)), 0.15, (90, 110, 160))
        canvas.rod((x, y), (x, y), 0.5, (204, 77, 77))
        return canvas.image
