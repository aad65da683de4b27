"""Environments for skill discovery: bodies whose reward nobody needs, and tasks for the skills that they found."""

from .base import SkillEnv
from .mujoco import Ant, HalfCheetah
from .posture_point import PosturePoint

__all__ = ["Ant", "HalfCheetah", "PosturePoint", "SkillEnv"]
