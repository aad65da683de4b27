"""MuJoCo bodies for skill discovery, with the observations of Contrastive Successor Features (arXiv:2412.08021)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_switch
from ..mujoco.base import ASSETS, MujocoTaskEnv
from .base import SkillEnv


class SkillMujocoEnv(SkillEnv, MujocoTaskEnv):
    """A robot that observes its whole state, its place included.

    Attributes:
        num_coordinates: How many of the first positions are coordinates to cover.
        observation_mean: Mean of 10,000 random rollouts of 50 steps, ``[O]``
            (``python benchmarks/observation_statistics.py HalfCheetah``).
        observation_std: Their standard deviation, ``[O]``.
    """

    reset_noise = 0.1
    num_coordinates: ClassVar[int]
    observation_mean: ClassVar[Sequence[float]]
    observation_std: ClassVar[Sequence[float]]

    def __init__(self, *args: Any, normalize_observation: bool = True, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            normalize_observation: Whether observations are standardised with fixed statistics of random rollouts.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        self._normalizes = check_switch("normalize_observation", normalize_observation)
        self._mean, self._inverse_std = np.asarray(self.observation_mean), 1.0 / np.asarray(self.observation_std)
        super().__init__(*args, **kwargs)

    @classmethod
    def _body_spec(cls) -> mujoco.MjSpec:
        """Returns the body's specification, to which tasks add what belongs to them."""
        return mujoco.MjSpec.from_file(str(ASSETS / cls.xml))

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel

    def _write_observation(self) -> None:
        super()._write_observation()
        if self._normalizes:
            observed = self._buffer[: self._observation_size]
            observed -= self._mean
            observed *= self._inverse_std

    @property
    def coordinates(self) -> np.ndarray:
        """x, or x and y, in m."""
        return self.qpos[: self.num_coordinates]

    def _place(self, coordinates: Any) -> None:
        self.qpos[: self.num_coordinates] = coordinates
        mujoco.mj_kinematics(self.model, self.data)  # for pictures, and for what tasks observe

    def _add_reset_noise(self) -> None:
        self.qpos += self.np_random.uniform(-self.reset_noise, self.reset_noise, self.qpos.size)
        self.qvel += self.reset_noise * self.np_random.standard_normal(self.qvel.size)


class HalfCheetah(SkillMujocoEnv):
    """Gymnasium's HalfCheetah, which observes x.

    Observation ``[18]``: qpos (9) and qvel (9), standardised. Action ``[6]`` in ±1: torques of bthigh, bshin, bfoot,
    fthigh, fshin, ffoot. Reward ``v - 0.1 |a|^2``, which skill discovery does not use. dt = 0.05 s.
    """

    xml = "half_cheetah.xml"
    frame_skip = 5
    num_coordinates = 1
    goal_range = 100.0
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (
        -0.0745, -0.0888, 0.095, 0.00956, 0.0288, -0.00822, 0.0132, -0.0571, -0.0492, -0.0736, -0.0524, 0.0478,
        0.0247, -0.0489, 0.0297, 0.01, 0.0128, -0.0093,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.411, 0.0753, 0.252, 0.253, 0.273, 0.265, 0.325, 0.295, 0.281, 0.743, 0.782, 1.6, 5.58, 6.74, 6.9,
        6.35, 6.48, 6.02,
    )
    # fmt: on

    def _reward(self) -> float:
        return self.x_velocity - 0.1 * self._squared_action()


class Ant(SkillMujocoEnv):
    """Gymnasium's Ant, which observes x and y and does not stop when it falls.

    Observation ``[29]``: qpos (15) and qvel (14), standardised. Action ``[8]`` in ±1: hip and ankle of back right,
    front left, front right, back left. Reward ``v - 0.5 |a|^2 + 1``, which skill discovery does not use. dt = 0.05 s.
    """

    xml = "ant.xml"
    frame_skip = 5
    num_coordinates = 2
    goal_range = 50.0
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (
        -0.00186, 0.0012, 0.712, 0.834, -0.00101, -0.000659, 0.00452, 0.000818, 0.874, -0.000166, -0.875,
        -0.000977, -0.875, 0.00201, 0.875, -0.00318, -0.001, -0.0224, -0.000642, -0.00501, 0.00353, -0.000195,
        0.276, -0.00013, -0.279, -0.00371, -0.277, 0.0032, 0.278,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.643, 0.647, 0.175, 0.297, 0.209, 0.209, 0.359, 0.406, 0.289, 0.406, 0.289, 0.406, 0.289, 0.406, 0.289,
        0.833, 0.833, 0.994, 1.78, 1.77, 1.88, 4.55, 4.41, 4.56, 4.42, 4.56, 4.41, 4.55, 4.42,
    )
    # fmt: on

    def _reward(self) -> float:
        return self.x_velocity - 0.5 * self._squared_action() + 1.0
