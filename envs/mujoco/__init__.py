"""MuJoCo robots with varying physics."""

from .ant import Ant
from .flipped import HalfCheetahFlipped
from .goals import AntDir, AntGoal, HalfCheetahDir, HalfCheetahVel
from .half_cheetah import CrippledHalfCheetah, HalfCheetah

__all__ = [
    "Ant",
    "AntDir",
    "AntGoal",
    "CrippledHalfCheetah",
    "HalfCheetah",
    "HalfCheetahDir",
    "HalfCheetahFlipped",
    "HalfCheetahVel",
]
