"""Long tasks in the kitchen: four sub-tasks that have to be done in their order."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import check_weight
from ..ordered import OrderedSubtasks, check_subtasks
from ..tasks import Task
from .simulation import ELEMENTS, JOINTS, FrankaKitchen


class Kitchen(FrankaKitchen):
    """A Franka arm that has to do several things in a kitchen, one after the other.

    Observation ``[30]``: positions of the robot's joints (9) and of what can be moved (21), with noise, in rad and m.
    Action ``[9]`` in ±1: velocities of the robot's joints in units of 2 rad/s, of its fingers in 2 m/s. dt = 0.08 s.
    Reward: 1 for each sub-task, once all before it have been done. The episode ends when all have. The info of the
    last step has ``tasks_completed``, the names of those that were counted, ``subtask_steps``, when each was, and
    ``is_success``.

    Attributes:
        default_subtasks: The sub-tasks, in their order.
    """

    default_max_steps = 280
    default_subtasks: ClassVar[tuple[str, ...]]
    _num_seen = sum(JOINTS.values())

    def __init__(self, *args: Any, subtasks: Sequence[str] | None = None, noise_ratio: float = 0.1, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            subtasks: Names of sub-tasks, in the order in which they count; None: those of the environment.
            noise_ratio: Scale of the noise of observations, in units of the amplitudes that gymnasium-robotics has for
                each joint (0.1 rad for the arm). What is seen of the robot's joints also disturbs their control.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        chosen = self.default_subtasks if subtasks is None else check_subtasks(subtasks, ELEMENTS)
        self._subtasks = OrderedSubtasks(chosen)
        self.noise_ratio = check_weight("noise_ratio", noise_ratio)
        super().__init__(*args, **kwargs)

    @property
    def subtasks(self) -> tuple[str, ...]:
        """The sub-tasks, in their order."""
        return self._subtasks.names

    def walk(self, action: np.ndarray) -> np.ndarray:
        """Moves the robot for one step, whether or not an episode is over; returns the observation."""
        self._drive(action)
        return self._observation()

    def _state(self) -> tuple[np.ndarray, ...]:
        return (self.qpos,)

    def _noise_amplitudes(self) -> np.ndarray:
        return self.noise_ratio * self.limits.position_noise

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self._subtasks.reset()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self._drive(action)
        return float(self._subtasks.count(self.is_done)), self._subtasks.all_done

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also tells of the sub-tasks."""
        info = super().episode_info()
        return info if self._steps_left > 0 else info | self._subtasks.info()


class Mixed(Kitchen):
    """The task of SkiMo's paper: microwave, kettle, bottom burner, light switch."""

    default_subtasks = ("microwave", "kettle", "bottom burner", "light switch")


class Misaligned(Kitchen):
    """The paper's mis-aligned task: microwave, light switch, slide cabinet, hinge cabinet."""

    default_subtasks = ("microwave", "light switch", "slide cabinet", "hinge cabinet")


class Light(Kitchen):
    """The easiest task: microwave, kettle, light switch, slide cabinet."""

    default_subtasks = ("microwave", "kettle", "light switch", "slide cabinet")
