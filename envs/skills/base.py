"""Base of the environments for skill discovery: which coordinates skills should cover, and which goals there are."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..base import MetaTaskEnv
from ..factors import Factor
from ..tasks import Splits


class SkillEnv(MetaTaskEnv):
    """An environment without factors, whose episodes never terminate.

    What an evaluation of skills reads are the attributes below; environments of other packages may have them too.

    Attributes:
        coordinates: Where the body is now, ``[k]``: what different skills should differ in.
        cell_size: Edge of the cells of space that coverage counts.
        goal_range: Goals are drawn from ± this range of the coordinates.
        goal_radius: Distance at which a goal counts as reached.
        num_task_inputs: How many of the last numbers of the observation tell the task, such as a place to go to.
    """

    factors: ClassVar[tuple[Factor, ...]] = ()
    splits: ClassVar[Splits] = {"train": ({},)}
    default_max_steps: ClassVar[int] = 200
    cell_size: ClassVar[float] = 1.0
    goal_range: ClassVar[float]
    goal_radius: ClassVar[float] = 3.0
    num_task_inputs: ClassVar[int] = 0

    @property
    def skill_obs_dim(self) -> int:
        """How many of the first numbers of the observation do not depend on the task: ``n`` of ``[O]``.

        A policy of skills that was trained on the same body without a task reads ``observation[:n]``.
        """
        return self._observation_size - self.num_task_inputs

    @property
    def coordinates(self) -> np.ndarray:
        """Where the body is now, ``[k]``."""
        raise NotImplementedError

    def sample_goal(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws a goal: the observation and coordinates of a fresh initial state at another place.

        The environment needs a reset afterwards.

        Args:
            rng: Source of the place, and of the seed of the reset.

        Returns:
            Observation ``[O]`` and coordinates ``[k]``.
        """
        self.reset(seed=int(rng.integers(2**31)))
        goal = rng.uniform(-self.goal_range, self.goal_range, self.coordinates.size)
        self._place(goal)
        return self._observation(), goal

    def _place(self, coordinates: Sequence[float] | np.ndarray) -> None:
        """Moves the body to other coordinates; everything else stays as it is."""
        raise NotImplementedError

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has the ``coordinates``."""
        return {**super().episode_info(), "coordinates": self.coordinates.copy()}
