"""Ant with varying mass and damping of its legs, and with dead legs."""

from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_weight
from ..factors import Factor, PartsFactor
from ..tasks import Splits, grid
from .base import MujocoTaskEnv
from .crippling import CrippledEnv
from .half_cheetah import EXTREME, HIGH, LOW, MODERATE, TRAIN

LEGS = ("front left", "front right", "back left", "back right")


class Ant(MujocoTaskEnv):
    """Walks forward: reward ``v - 0.01 |a|^2 + 1 - contact_cost_weight * sum(clip(cfrc_ext, ±1)^2)``.

    A scale multiplies the two front legs and divides the two back legs; the torso does not change.

    Observation ``[28]``: the torso's Δx/dt over the environment step in m/s (0 at reset), qpos without x and y (13),
    qvel (14). Action ``[8]`` in ±1: hip and ankle of back right, front left, front right, back left. dt = 0.05 s.
    """

    xml = "ant.xml"
    frame_skip = 5
    # Bodies: world, torso, then three each of front left, front right, back left, back right. Dofs: six of the root,
    # then hip and ankle of the same legs.
    mass_exponents: ClassVar[int | Sequence[int]] = (0, 0, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1)
    damping_exponents: ClassVar[int | Sequence[int]] = (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1, -1)
    # The authors index the dofs by body, so that front right gets the back legs' factor.
    reference_damping_exponents: ClassVar[int | Sequence[int] | None] = (0, 0, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1)
    splits: ClassVar[Splits] = {
        "train": TRAIN,  # A (launch scripts)
        "moderate": MODERATE,  # A (launch scripts)
        "extreme": EXTREME,  # N (as HalfCheetah; the authors' are not known)
    }

    def __init__(
        self,
        *args: Any,
        ctrl_cost_weight: float = 0.01,
        healthy_reward: float = 1.0,
        contact_cost_weight: float = 0.0,
        **kwargs: Any,
    ):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            ctrl_cost_weight: Cost of the squared action. The paper's Table 6 needs 0.005.
            healthy_reward: Constant reward per step. The paper's Table 6 needs 0.05.
            contact_cost_weight: Cost of the squared, clipped external forces. These forces are always 0 in the
                authors' setup, so the default is 0; Gymnasium's Ant has 5e-4.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        self.ctrl_cost_weight = check_weight("ctrl_cost_weight", ctrl_cost_weight)
        self.healthy_reward = check_weight("healthy_reward", healthy_reward)
        self.contact_cost_weight = check_weight("contact_cost_weight", contact_cost_weight)
        super().__init__(*args, **kwargs)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self._velocity, self.qpos[2:], self.qvel

    def _reward(self) -> float:
        reward = self.x_velocity - self.ctrl_cost_weight * self._squared_action() + self.healthy_reward
        if self.contact_cost_weight:
            mujoco.mj_rnePostConstraint(self.model, self.data)  # mj_step leaves cfrc_ext at 0
            reward -= self.contact_cost_weight * np.square(self.data.cfrc_ext.clip(-1.0, 1.0)).sum().item()
        return reward

    def _add_reset_noise(self) -> None:
        self.qpos += self.np_random.uniform(-0.1, 0.1, self.qpos.size)
        self.qvel += 0.1 * self.np_random.standard_normal(self.qvel.size)


class CrippledAnt(CrippledEnv, Ant):
    """Ant with dead legs: both actuators of a leg give no torque, and its two joints' geoms are shrunk.

    The factor ``cripple`` holds indices of legs: 0 front left, 1 front right, 2 back left, 3 back right. The mass scale
    multiplies all bodies. The published splits vary no damping; the factor is there for own tasks.

    Observation ``[36]``: qpos without x and y (13), qvel (14), the torso's rotation matrix by rows (9). With
    ``reference_physics`` ``[41]``: qpos with x and y (15), qvel (14), that matrix (9) and the torso's position (3),
    both from the body frame, which dates from the integrator's last stage. Action and reward are Ant's.
    """

    factors: ClassVar[tuple[Factor, ...]] = (*MujocoTaskEnv.factors, PartsFactor(parts=LEGS, unit="dead legs"))
    default_max_steps = 2000
    default_cripple_mode = "shrink"
    mass_exponents = damping_exponents = reference_damping_exponents = 1
    part_actuators = ((2, 3), (4, 5), (6, 7), (0, 1))
    splits: ClassVar[Splits] = {
        # The paper's Table 3: no dead leg, and each one alone. A (launch scripts; one variant has leg 0 alone).
        "train": grid(cripple=[None, 0, 1, 2, 3], mass_scale=[LOW + HIGH]),
        # A that the masses are unseen ones (README), N which.
        "moderate": grid(cripple=[None, 0, 1, 2, 3], mass_scale=[(0.4, 0.5, 1.5, 1.6)]),
        # A (launch scripts, file names of the videos)
        "extreme": tuple({"cripple": [pair]} for pair in ((0, 1), (1, 3), (0, 3), (1, 2))),
        # The paper's Table 5, as DOMINO has it: training and test. A (a slip denies legs 0 and 1 HIGH there).
        "domino_train": grid(cripple=[(0, 1), 2], mass_scale=[LOW, HIGH]),
        "domino": grid(cripple=[3], mass_scale=[(0.4, 0.5), (1.5, 1.6)]),
    }

    def _observed(self) -> tuple[np.ndarray, ...]:
        if self.reference_physics:
            return self.qpos, self.qvel, self.data.xmat[1], self.data.xpos[1]
        return self.qpos[2:], self.qvel, self._rotation

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        self._rotation = np.zeros(9)

    def _write_observation(self) -> None:
        mujoco.mju_quat2Mat(self._rotation, self.qpos[3:7])
        super()._write_observation()
