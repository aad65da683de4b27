"""Environments for the reuse of task inference: toys, and the robots that it is reused on."""

from .families import Family, TaskFamilyEnv
from .toy import Toy, ToyMulti
from .toy_goal import ToyGoal

__all__ = ["Family", "TaskFamilyEnv", "Toy", "ToyGoal", "ToyMulti"]
