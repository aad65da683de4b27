"""``SaPPO``: RLlib's PPO with a context encoder and the contrastive loss."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.acting_batch import read_column
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm
from rllib_sami.algorithms.base.config import EnvironmentNeeds
from rllib_sami.algorithms.base.health import Health
from rllib_sami.algorithms.base.split_evaluation import EvaluatesSplits
from rllib_sami.algorithms.sami.context_config import ContextConfig
from rllib_sami.algorithms.sami.context_module import ContextTorchRLModule
from rllib_sami.algorithms.sami.contrast import ContrastConfig
from rllib_sami.algorithms.sami.contrast_learner import ContrastLearner
from rllib_sami.config.rllib_settings import SAPPO
from rllib_sami.core.context_encoder import EncoderConfig
from rllib_sami.core.networks import LOG_STD_MAX, LOG_STD_MIN, ActorCriticConfig, mlp
from rllib_sami.core.settings import SWITCH, integer, setting, settings_of
from rllib_sami.core.threads import set_num_threads
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner


class SaPPOTorchRLModule(ContextTorchRLModule, ValueFunctionAPI):
    """Gaussian policy and value function of observation and context."""

    @override(ContextTorchRLModule)
    def setup(self):
        super().setup()
        input_dim = self.obs_dim + self.context_dim
        self.actor = mlp(input_dim, self.model_config["actor_hidden"], 2 * self.action_dim)
        if not self.inference_only:
            self.critic = mlp(input_dim, self.model_config["critic_hidden"], 1)

    @override(ContextTorchRLModule)
    def get_non_inference_attributes(self) -> list[str]:
        return [*super().get_non_inference_attributes(), "critic"]

    @override(ContextTorchRLModule)
    def action_dist_inputs(self, obs: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        mean, log_std = self.actor(torch.cat([obs, context], dim=-1)).chunk(2, dim=-1)
        return torch.cat([mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)], dim=-1)

    @override(ContextTorchRLModule)
    def contexts(self, batch: dict[str, Any]) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.model_config["encoder_ppo_gradient"]):
            return super().contexts(batch)

    @override(ContextTorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        obs, context = read_column(self, batch, Columns.OBS).flatten(2), self.contexts(batch)
        # Policy and value function share the contexts, which are made once.
        return {
            Columns.ACTION_DIST_INPUTS: self.action_dist_inputs(obs, context),
            Columns.EMBEDDINGS: torch.cat([obs, context], dim=-1),
        }

    @override(ValueFunctionAPI)
    def compute_values(self, batch: dict[str, Any], embeddings: torch.Tensor | None = None) -> torch.Tensor:
        if embeddings is None:
            obs = read_column(self, batch, Columns.OBS).flatten(2)
            embeddings = torch.cat([obs, self.contexts(batch)], dim=-1)
        return self.critic(embeddings).squeeze(-1)


class SaPPOTorchLearner(ContrastLearner, PPOTorchLearner):
    """RLlib's PPO learner with the contrastive loss added."""

    @override(ContrastLearner)
    def build(self) -> None:
        set_num_threads(self.config.num_torch_threads)
        self.contrast_sampling = self.config.contrast_sampling()
        self.contrast_capacity = self.config.contrast_capacity
        self.task_id_rule = self.config.task_id_rule
        super().build()


@dataclass(frozen=True)
class SaPPOSettings:
    """Settings of SaPPO only."""

    encoder_ppo_gradient: bool = setting(
        False,
        SWITCH,
        "Whether PPO's loss trains the encoder too, through sequences of `max_seq_len` steps "
        '(`rl_module(model_config={"max_seq_len": 20})`).',
    )
    contrast_capacity: int = setting(
        50_000, integer(2), "Environment steps of recent episodes that are stored for the contrast."
    )


class SaPPOConfig(ContextConfig, PPOConfig):
    """Configuration of PPO with a context encoder: RLlib's loss, advantages, env runners and connectors.

    .. code-block:: python

        from rllib_sami import SaPPOConfig

        algo = SaPPOConfig().environment("SaMI/Pendulum-v0").build_algo()
        algo.train()
    """

    parts: ClassVar[tuple[type, ...]] = (SaPPOSettings,)
    groups: ClassVar[tuple[str, ...]] = (SAPPO,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaPPO)
        self.pairing = "skill_task"

        self.lr = 3e-4
        self.lambda_ = 0.95
        self.num_epochs = 10
        self.minibatch_size = 256
        self.vf_clip_param = float("inf")  # RLlib's 10 would cut off the gradient of larger errors
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 8

    @override(ContextConfig)
    def invalid_values(self) -> Iterator[str]:
        yield from super().invalid_values()
        if isinstance(self.env_runner_cls, type) and issubclass(self.env_runner_cls, ArrayEnvRunner):
            yield "`env_runner_cls` is ArrayEnvRunner, but SaPPO samples with RLlib's own env runner: leave it at None."

    @override(ContextConfig)
    def conflicts(self) -> Iterator[str]:
        if not self.encoder_ppo_gradient and not self.has_contrast:
            yield from self.untrained_encoder("encoder_ppo_gradient", "True")

    @override(ContextConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if not self.has_contrast:
            reasons["contrast_capacity"] = reasons["temperature"]
            reasons["key_encoder_tau"] = "Nothing reads a key encoder"
        return reasons

    @property
    @override(ContextConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        # RLlib's own env runners pass no rewards to the module, and its connectors scale only flat actions.
        return replace(super().environment_needs, reads_rewards=None, flat_actions=True, scaled_by_rllib=True)

    @property
    @override(ContextConfig)
    def trains_memory(self) -> bool:
        return bool(self.encoder_ppo_gradient)

    @override(ContextConfig)
    def make_health(self) -> Health:
        return Health(self.contrast_symptoms)

    @override(ContextConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        steps_per_update = (self.minibatch_size or self.train_batch_size_per_learner) * max(1, self.num_learners)
        return learned.get("num_module_steps_trained_lifetime", 0) / steps_per_update

    @override(PPOConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SaPPOTorchRLModule)

    @override(PPOConfig)
    def get_default_learner_class(self) -> type[SaPPOTorchLearner]:
        return SaPPOTorchLearner

    @property
    @override(PPOConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        own = settings_of(EncoderConfig, ActorCriticConfig, ContrastConfig)
        settings = {key: getattr(self, key) for key in (*own, "encoder_ppo_gradient")}
        return super()._model_config_auto_includes | settings | {"max_seq_len": 20}


class SaPPO(CheckedAlgorithm, EvaluatesSplits, PPO):
    """See :class:`SaPPOConfig`."""

    @classmethod
    @override(PPO)
    def get_default_config(cls) -> SaPPOConfig:
        return SaPPOConfig()
