"""MuJoCo robots with varying physics."""

from .ant import Ant, CrippledAnt
from .flipped import HalfCheetahFlipped
from .goals import AntDir, AntGoal, HalfCheetahDir, HalfCheetahVel
from .half_cheetah import CrippledHalfCheetah, HalfCheetah
from .hopper import CrippledHopper, Hopper
from .humanoid import HumanoidStandup, SlimHumanoid
from .rand_params import HopperRandParams, WalkerRandParams
from .walker import CrippledWalker, Walker

__all__ = [
    "Ant",
    "AntDir",
    "AntGoal",
    "CrippledAnt",
    "CrippledHalfCheetah",
    "CrippledHopper",
    "CrippledWalker",
    "HalfCheetah",
    "HalfCheetahDir",
    "HalfCheetahFlipped",
    "HalfCheetahVel",
    "Hopper",
    "HopperRandParams",
    "HumanoidStandup",
    "SlimHumanoid",
    "Walker",
    "WalkerRandParams",
]
