"""Meta-task environments: Gymnasium only, no Ray. Importing this package registers them with Gymnasium."""

from .base import MetaTaskEnv
from .classic import CartPole, Pendulum
from .mujoco import Ant, CrippledHalfCheetah, HalfCheetah
from .registration import ENVIRONMENTS, list_environments, make, register
from .tasks import Factor, MetaTask, PartsFactor, Task, VectorFactor

register()

__all__ = [
    "ENVIRONMENTS",
    "Ant",
    "CartPole",
    "CrippledHalfCheetah",
    "Factor",
    "HalfCheetah",
    "MetaTask",
    "MetaTaskEnv",
    "PartsFactor",
    "Pendulum",
    "Task",
    "VectorFactor",
    "list_environments",
    "make",
    "register",
]
