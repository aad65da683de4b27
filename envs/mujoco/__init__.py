"""MuJoCo robots with varying physics."""

from .ant import Ant
from .half_cheetah import CrippledHalfCheetah, HalfCheetah

__all__ = ["Ant", "CrippledHalfCheetah", "HalfCheetah"]
