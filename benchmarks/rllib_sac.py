"""RLlib's own SAC, as the yardstick: with its default networks, or with plain ones."""

from typing import Any

import torch
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from torch import nn

WIDTH = 256
LOSS_TRANSITIONS = 256


class PlainCritic(nn.Module):
    """The hidden layers of a critic that reads observation and action side by side, as an RLlib encoder."""

    def __init__(self, input_dim: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(input_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {ENCODER_OUT: self.net(torch.cat([batch[Columns.OBS], batch[Columns.ACTIONS]], dim=-1))}


class PlainCatalog(SACCatalog):
    """Critics of two layers, instead of two encoders (observation, action) and a network that joins them."""

    def build_qf_encoder(self, framework: str) -> nn.Module:
        return PlainCritic(self.observation_space.shape[0] + self.action_space.shape[0])


def sac_config(
    env: str, num_envs: int, fragment: int, *, plain: bool = False, max_steps: int | None = None, **training: Any
) -> SACConfig:
    """RLlib's SAC with two layers of 256; ``plain`` critics have just these."""
    config = (
        SACConfig()
        .environment(env, env_config={} if max_steps is None else {"max_steps": max_steps})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs, rollout_fragment_length=fragment)
        .training(train_batch_size_per_learner=LOSS_TRANSITIONS, **training)
        .reporting(min_time_s_per_iteration=0)
        .debugging(seed=0, log_level="ERROR")
    )
    model_config = DefaultModelConfig(fcnet_hiddens=[WIDTH, WIDTH], head_fcnet_hiddens=[])
    if plain:
        return config.rl_module(rl_module_spec=RLModuleSpec(catalog_class=PlainCatalog, model_config=model_config))
    return config.rl_module(model_config=model_config)


def sac_runner(config: SACConfig) -> SingleAgentEnvRunner:
    """RLlib's local env runner, without an algorithm around it."""
    config.validate()
    return SingleAgentEnvRunner(config=config, worker_index=0)
