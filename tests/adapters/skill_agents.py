"""Agents with skills that nothing has trained, and their exports."""

import gymnasium as gym
import numpy as np
import torch

from rllib_sami import CSFConfig
from rllib_sami.exports.writing import export_agent

POINT, CONTROL = "Skills/PosturePoint-v0", "Skills/Control-v0"
SKILLS = np.eye(3, dtype=np.float32)
SEVERAL = {key: [12] for key in ("actor_hidden", "critic_hidden", "representation_hidden")}


def skills_config(config_class=CSFConfig, env=POINT, env_config=None, **training):
    """A config with tiny networks and episodes of 10 steps."""
    return (
        config_class()
        .environment(env, env_config={"max_steps": 10} if env_config is None else env_config)
        .training(**SEVERAL, **{"skill_dim": 3} | training)
        .debugging(seed=4, log_level="ERROR")
    )


def module_of(config, obs_dim=8, action_dim=8, most=1.0):
    """A module that nothing has trained, whose actions depend clearly on observation and skill."""
    torch.manual_seed(3)
    module = config.get_default_rl_module_spec().module_class(
        observation_space=gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32),
        action_space=gym.spaces.Box(-most, most, (action_dim,), np.float32),
        model_config=config.model_config,
    )
    with torch.no_grad():
        module.acting.actor.net[-1].weight.mul_(10.0)
        module.acting.actor.net[0].bias.copy_(torch.linspace(-1.0, 1.0, len(module.acting.actor.net[0].bias)))
    return module


def exported(folder, config, module=None, **sizes):
    """An exported agent that nothing has trained."""
    name = type(config).__name__.removesuffix("Config")
    return export_agent(module or module_of(config, **sizes), config, folder, algorithm=name)


def by_hand(module, obs, skill):
    """What the policy does with a skill, in [-1, 1]."""
    with torch.no_grad():
        action = module.acting.actor.mode(torch.as_tensor(obs)[None], torch.as_tensor(skill)[None])
    return action[0].numpy()
