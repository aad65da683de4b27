"""The kitchen of gymnasium-robotics for skill discovery; it needs the extra ``robotics``."""

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_weight
from ..kitchen.simulation import DONE_WITHIN, ELEMENTS, NUM_ROBOT, FrankaKitchen
from ..tasks import Task
from .mujoco import SkillMujocoEnv


class Kitchen(FrankaKitchen, SkillMujocoEnv):
    """A Franka arm in a kitchen, where it can move a kettle, doors, a light switch and a knob.

    Observation ``[59]``: positions (9) and velocities (9) of the robot's joints, positions (21) and velocities (20) of
    what can be moved, standardised. Action ``[9]`` in ±1: velocities of the robot's joints in units of 2 rad/s, of its
    fingers in 2 m/s. Reward: tasks that the step did for the first time in the episode, which skill discovery does not
    use. dt = 0.08 s. The info of the last step has ``tasks_completed``, the names of the tasks that were done.

    Coordinates are how far each of the six elements is from where it rests, in rad or m.
    """

    default_max_steps = 50
    cell_size = DONE_WITHIN
    goal_radius = DONE_WITHIN
    _num_seen = 59
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (
        0.154, -1.71, 2.15, -2.35, 0.28, 0.77, 1.6, 0.0204, 0.0212, 0.00163, 0.0424, 0.095, 0.0417, 0.00265,
        0.015, 0.00296, -0.00588, -0.00391, -1.05e-05, 1.16e-08, 2.47e-05, 2.23e-07, 2.41e-05, 2.24e-07,
        2.54e-05, 3.62e-07, 2.67e-05, 4.98e-06, -5.03e-06, -0.00644, -1.33e-05, 9.3e-06, -0.268, 0.352, 1.62, 1,
        -2.95e-05, -7.46e-06, 0.000581, 7e-05, 4.42e-06, -1.33e-06, 3.62e-06, 4.62e-06, 3.41e-06, -7.72e-06,
        -3.2e-06, -6.89e-05, 1.64e-05, 7.02e-05, -1.48e-07, 0.000223, -0.000138, 0.000911, 0.00152, 0.000177,
        0.000614, 0.000356, 0.00118,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.224, 0.0661, 0.236, 0.211, 0.269, 0.276, 0.283, 0.05, 0.05, 0.492, 0.356, 0.472, 0.471, 0.474, 0.502,
        0.455, 0.0754, 0.0748, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05,
        0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05,
        0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.0658, 0.0862,
    )
    # fmt: on

    def __init__(self, *args: Any, robot_noise_ratio: float = 0.01, object_noise_ratio: float = 0.0005, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            robot_noise_ratio: Scale of the noise that is added to the observation of the robot's joints, which also
                disturbs their control.
            object_noise_ratio: Scale of the noise that is added to the observation of everything else.
            **kwargs: As for ``SkillMujocoEnv``.
        """
        self.robot_noise_ratio = check_weight("robot_noise_ratio", robot_noise_ratio)
        self.object_noise_ratio = check_weight("object_noise_ratio", object_noise_ratio)
        self._done: set[str] = set()  # tasks of this episode
        super().__init__(*args, **kwargs)

    def _state(self) -> tuple[np.ndarray, ...]:
        return self.qpos[:NUM_ROBOT], self.qvel[:NUM_ROBOT], self.qpos[NUM_ROBOT:], self.qvel[NUM_ROBOT:]

    def _noise_amplitudes(self) -> np.ndarray:
        position, speed = self.limits.position_noise, self.limits.speed_noise
        # FrankaKitchen has as many amplitudes of positions as there are velocities, and repeats that of a finger.
        objects = position[NUM_ROBOT - 1 : -1]
        parts = (position[:NUM_ROBOT], speed[:NUM_ROBOT], objects, speed[NUM_ROBOT:])
        ratios = (*[self.robot_noise_ratio] * 2, *[self.object_noise_ratio] * 2)
        return np.concatenate([ratio * part for ratio, part in zip(ratios, parts, strict=True)])

    @property
    def coordinates(self) -> np.ndarray:
        """How far each element is from where it rests, ``[6]`` in rad or m."""
        return np.array([np.linalg.norm(self.qpos[one.moved] - self._rest[one.moved]) for one in ELEMENTS.values()])

    def sample_goal(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws a goal: the initial state with one task done, and its coordinates.

        The environment needs a reset afterwards.

        Args:
            rng: Source of the task, and of the seed of the reset.

        Returns:
            Observation ``[59]`` and coordinates ``[6]``.
        """
        self.reset(seed=int(rng.integers(2**31)))
        element = [*ELEMENTS.values()][rng.integers(len(ELEMENTS))]
        self.qpos[element.joints] = element.goal
        mujoco.mj_normalizeQuat(self.model, self.qpos)
        mujoco.mj_forward(self.model, self.data)
        self._look()
        return self._observation(), self.coordinates

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self._done = set()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self._drive(action)
        return self._reward(), False

    def _reward(self) -> float:
        before = len(self._done)
        self._done |= {name for name in ELEMENTS if self.is_done(name)}
        return float(len(self._done) - before)

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``tasks_completed``."""
        info = super().episode_info()
        done = tuple(name for name in ELEMENTS if name in self._done)
        return info if self._steps_left > 0 else info | {"tasks_completed": done}
