"""Walker with varying mass and damping, and with dead, shrunk joints."""

from collections.abc import Sequence
from typing import ClassVar

from ..factors import Factor, PartsFactor
from ..tasks import Splits
from .base import MujocoTaskEnv
from .crippling import CrippledEnv
from .hopper import DOMINO, EXTREME, MODERATE, SUPER_EXTREME, TRAIN, PlanarEnv

JOINTS = ("thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left")  # in the order of the actuators


class Walker(PlanarEnv):
    """Walks forward: reward ``v + 1 - 1e-3 |a|^2``, even when lying down.

    The right foot is more slippery than the left one (friction 0.9 and 1.9), as in the authors' model.

    Observation ``[17]``: qpos without x (8), qvel clipped to ±10 (9). Action ``[6]`` in ±1: torques of right thigh,
    leg, foot, left thigh, leg, foot. dt = 0.008 s.
    """

    xml = "walker2d.xml"
    default_max_steps = 2000
    splits: ClassVar[Splits] = {
        "train": TRAIN,  # B (README: as Hopper)
        "moderate": MODERATE,  # N (as Hopper)
        "extreme": EXTREME,  # A (README, file names of the videos)
        "super_extreme": SUPER_EXTREME,  # A (file names of the videos)
        "domino": DOMINO,  # N (as Hopper)
    }


class CrippledWalker(CrippledEnv, Walker):
    """Walker with dead joints, which the authors call WalkerHopper: it trains with a dead right leg and with none.

    The factor ``cripple`` holds indices of actuators: 0 thigh, 1 leg, 2 foot of the right leg, 3, 4, 5 of the left
    one. A crippled part is also shrunk (``cripple_mode``). The published splits vary no damping; the factor is there
    for own tasks.

    With ``reference_physics`` a whole dead leg (three parts or more) is shrunk but keeps its torques, as it does in
    the authors' code.
    """

    factors: ClassVar[tuple[Factor, ...]] = (*MujocoTaskEnv.factors, PartsFactor(parts=JOINTS))
    default_cripple_mode = "shrink"
    splits: ClassVar[Splits] = {
        "train": ({"cripple": [(0, 1, 2)]}, {}) * 2,  # A (README)
        "moderate": tuple({"cripple": joint} for joint in (0, 1, 2)),  # A (README)
        "extreme": tuple({"cripple": [parts]} for parts in ((3,), (4,), (5,), (3, 4, 5))),  # A (README)
    }

    def _dead_actuators(self, parts: Sequence[int]) -> list[int]:
        return [] if self.reference_physics and len(parts) >= 3 else super()._dead_actuators(parts)
