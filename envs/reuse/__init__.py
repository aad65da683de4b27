"""Environments for the reuse of task inference: toys, and the bodies that it is reused on."""

from .bodies import HalfCheetah, Hopper, PointMass, Walker
from .families import Family, TaskFamilyEnv
from .toy import Toy, ToyMulti
from .toy_goal import ToyGoal

__all__ = [
    "Family",
    "HalfCheetah",
    "Hopper",
    "PointMass",
    "TaskFamilyEnv",
    "Toy",
    "ToyGoal",
    "ToyMulti",
    "Walker",
]
