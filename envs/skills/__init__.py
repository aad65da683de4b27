"""Environments for skill discovery: bodies whose reward nobody needs, and tasks for the skills that they found."""

from .base import SkillEnv
from .bin_picking import BinPicking
from .dm_control import Humanoid, Quadruped
from .kitchen import Kitchen
from .mujoco import Ant, HalfCheetah
from .pixels import HumanoidPixels, QuadrupedPixels
from .posture_point import PosturePoint
from .tasks import AntMultiGoal, HalfCheetahGoal, HalfCheetahHurdle, HumanoidGoal, QuadrupedGoal

__all__ = [
    "Ant",
    "AntMultiGoal",
    "BinPicking",
    "HalfCheetah",
    "HalfCheetahGoal",
    "HalfCheetahHurdle",
    "Humanoid",
    "HumanoidGoal",
    "HumanoidPixels",
    "Kitchen",
    "PosturePoint",
    "Quadruped",
    "QuadrupedGoal",
    "QuadrupedPixels",
    "SkillEnv",
]
