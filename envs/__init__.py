"""Meta-task environments: Gymnasium only, no Ray. Importing this package registers them with Gymnasium."""

from .base import MetaTaskEnv
from .classic import CartPole, Pendulum
from .mujoco import Ant, CrippledHalfCheetah, HalfCheetah
from .registration import ENVIRONMENTS, list_environments, make, register
from .tasks import CrippleFactor, Factor, MetaTask, Task

register()

__all__ = [
    "ENVIRONMENTS",
    "Ant",
    "CartPole",
    "CrippleFactor",
    "CrippledHalfCheetah",
    "Factor",
    "HalfCheetah",
    "MetaTask",
    "MetaTaskEnv",
    "Pendulum",
    "Task",
    "list_environments",
    "make",
    "register",
]
