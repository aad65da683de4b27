"""Meta-task environments: Gymnasium only, no Ray. Importing this package registers them with Gymnasium."""

from .base import MetaTaskEnv
from .classic import CartPole, Pendulum, PointGoal
from .factors import Factor, PartsFactor, VectorFactor
from .mujoco import (
    Ant,
    AntDir,
    AntGoal,
    CrippledAnt,
    CrippledHalfCheetah,
    CrippledHopper,
    CrippledWalker,
    HalfCheetah,
    HalfCheetahDir,
    HalfCheetahFlipped,
    HalfCheetahVel,
    Hopper,
    HopperRandParams,
    HumanoidStandup,
    SlimHumanoid,
    Walker,
    WalkerRandParams,
)
from .panda import PandaPickAndPlace, PandaPush
from .registration import ENVIRONMENTS, list_environments, make, register
from .tasks import MetaTask, Task

register()

__all__ = [
    "ENVIRONMENTS",
    "Ant",
    "AntDir",
    "AntGoal",
    "CartPole",
    "CrippledAnt",
    "CrippledHalfCheetah",
    "CrippledHopper",
    "CrippledWalker",
    "Factor",
    "HalfCheetah",
    "HalfCheetahDir",
    "HalfCheetahFlipped",
    "HalfCheetahVel",
    "Hopper",
    "HopperRandParams",
    "HumanoidStandup",
    "MetaTask",
    "MetaTaskEnv",
    "PandaPickAndPlace",
    "PandaPush",
    "PartsFactor",
    "Pendulum",
    "PointGoal",
    "SlimHumanoid",
    "Task",
    "VectorFactor",
    "Walker",
    "WalkerRandParams",
    "list_environments",
    "make",
    "register",
]
