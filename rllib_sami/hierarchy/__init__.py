"""Agents on top of agents: environments whose actions are latents of a frozen policy."""

from rllib_sami.hierarchy.frozen_policy import FrozenPolicy
from rllib_sami.hierarchy.latent_action_env import LatentActionEnv, unit_sphere

__all__ = ["FrozenPolicy", "LatentActionEnv", "unit_sphere"]
