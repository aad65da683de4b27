"""Meta-task environments: Gymnasium only, no Ray. Importing this package registers them with Gymnasium."""

from . import classic, kitchen, manipulation, maze, mujoco, reuse, skills
from .base import MetaTaskEnv
from .classic import *  # noqa: F403
from .factors import Factor, PartsFactor, VectorFactor
from .mujoco import *  # noqa: F403
from .panda import PandaPickAndPlace, PandaPush
from .registration import ENVIRONMENTS, list_environments, make, register
from .tasks import MetaTask, Task

register()

__all__ = [
    "ENVIRONMENTS",
    "Factor",
    "MetaTask",
    "MetaTaskEnv",
    "PandaPickAndPlace",
    "PandaPush",
    "PartsFactor",
    "Task",
    "VectorFactor",
    "kitchen",
    "list_environments",
    "make",
    "manipulation",
    "maze",
    "register",
    "reuse",
    "skills",
]
__all__ += classic.__all__
__all__ += mujoco.__all__
