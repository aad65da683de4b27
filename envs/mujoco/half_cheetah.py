"""HalfCheetah with varying mass and damping, and with dead joints."""

from typing import ClassVar

import numpy as np

from ..factors import Factor, PartsFactor
from ..tasks import Splits, grid
from .base import MujocoTaskEnv
from .crippling import CrippledEnv

JOINTS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")  # in the order of the actuators

# Confidence: A authors' own file for this environment, B authors' prose, C a parent paper's code, N our proposal.
LOW, HIGH = (0.75, 0.85), (1.0, 1.15, 1.25)
TRAIN = grid(mass_scale=[LOW, HIGH], damping_scale=[LOW, HIGH])  # A (launch scripts; also DOMINO)
MODERATE = grid(mass_scale=[(0.4, 0.5), (1.5, 1.6)], damping_scale=[(0.4, 0.5), (1.5, 1.6)])  # A (the same)
EXTREME = grid(mass_scale=[0.25, 1.75], damping_scale=[0.25, 1.75])  # A (README, file names of the videos)


class HalfCheetah(MujocoTaskEnv):
    """Runs forward: reward ``v - 0.1 |a|^2``.

    Observation ``[18]``: Δx/dt over the environment step in m/s (0 at reset), qpos without x (8), qvel (9).
    Action ``[6]`` in ±1: torques of bthigh, bshin, bfoot, fthigh, fshin, ffoot. dt = 0.05 s.
    """

    xml = "half_cheetah.xml"
    frame_skip = 5
    splits: ClassVar[Splits] = {
        "train": TRAIN,
        "moderate": MODERATE,
        "extreme": EXTREME,
        "super_extreme": ({"mass_scale": 4.0, "damping_scale": 1.0},),  # A (file names of the videos)
    }

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self._velocity, self.qpos[1:], self.qvel

    def _reward(self) -> float:
        return self.x_velocity - 0.1 * self._squared_action()

    def _add_reset_noise(self) -> None:
        self.qpos += self.np_random.normal(0.0, 0.001, self.qpos.size)
        self.qvel += self.np_random.normal(0.0, 0.001, self.qvel.size)


class CrippledHalfCheetah(CrippledEnv, HalfCheetah):
    """HalfCheetah with dead joints: an actuator without torque, its spring and damping still there.

    The factor ``cripple`` holds indices of actuators: 0 bthigh, 1 bshin, 2 bfoot, 3 fthigh, 4 fshin, 5 ffoot. A dead
    joint's action costs nothing. The published splits vary no damping; the factor is there for own tasks.
    """

    factors: ClassVar[tuple[Factor, ...]] = (*MujocoTaskEnv.factors, PartsFactor(parts=JOINTS))
    splits: ClassVar[Splits] = {
        # The paper's Table 3: one dead joint. A (launch scripts; the fourth meta-task repeats the first).
        "train": tuple({"cripple": joint, "mass_scale": HIGH} for joint in (3, 4, 5, 3)),
        "moderate": tuple({"cripple": joint} for joint in (0, 1, 2)),  # A (launch scripts, README)
        "extreme": tuple({"cripple": [pair]} for pair in ((0, 3), (1, 4), (4, 5))),  # A (launch scripts, videos)
        # The paper's Table 5, as DOMINO has it: training and tests.
        "domino_train": grid(cripple=[(0, 1), (2, 3)], mass_scale=[LOW, HIGH]),  # A
        "domino": grid(cripple=[(4, 5)], mass_scale=[(0.4, 0.5), (1.5, 1.6)]),  # A
        "domino_extreme": ({"cripple": [(4, 5)]},),  # C (CaDM); its mass N
    }
