"""A Panda arm and a cube in PyBullet, which is imported only when an environment is built."""

from .base import OBSERVATION, PandaPickAndPlace, PandaPush, PandaTaskEnv, compute_reward, is_success
from .simulation import PandaSimulation
from .skills import CubeTrack, episode_skill, reference_episode_skill, reference_step_skills, step_skills

__all__ = [
    "OBSERVATION",
    "CubeTrack",
    "PandaPickAndPlace",
    "PandaPush",
    "PandaSimulation",
    "PandaTaskEnv",
    "compute_reward",
    "episode_skill",
    "is_success",
    "reference_episode_skill",
    "reference_step_skills",
    "step_skills",
]
