"""Environments for the reuse of task inference: toys, and the robots that it is reused on."""

from .families import Family, TaskFamilyEnv
from .toy import Toy, ToyMulti

__all__ = ["Family", "TaskFamilyEnv", "Toy", "ToyMulti"]
