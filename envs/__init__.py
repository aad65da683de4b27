"""Meta-task environments: Gymnasium only, no Ray. Importing this package registers them with Gymnasium."""

from .base import MetaTaskEnv
from .classic import CartPole, Pendulum
from .mujoco import (
    Ant,
    AntDir,
    AntGoal,
    CrippledHalfCheetah,
    HalfCheetah,
    HalfCheetahDir,
    HalfCheetahFlipped,
    HalfCheetahVel,
)
from .registration import ENVIRONMENTS, list_environments, make, register
from .tasks import Factor, MetaTask, PartsFactor, Task, VectorFactor

register()

__all__ = [
    "ENVIRONMENTS",
    "Ant",
    "AntDir",
    "AntGoal",
    "CartPole",
    "CrippledHalfCheetah",
    "Factor",
    "HalfCheetah",
    "HalfCheetahDir",
    "HalfCheetahFlipped",
    "HalfCheetahVel",
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
