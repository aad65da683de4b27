"""``SaPPO``: RLlib's PPO with a context encoder and the contrastive loss."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm, ContextConfig
from rllib_sami.algorithms.base.split_evaluation import EvaluatesSplits
from rllib_sami.algorithms.sami.context_module import ENCODER_SETTINGS, ContextTorchRLModule
from rllib_sami.algorithms.sami.contrast import ContrastConfig
from rllib_sami.algorithms.sami.contrast_learner import ContrastLearner
from rllib_sami.algorithms.sami.rl_module import read_column
from rllib_sami.algorithms.sami.sampling import ContrastSampling
from rllib_sami.config.checks import sappo_together, sappo_values
from rllib_sami.core.env_values import TaskIdRule
from rllib_sami.core.networks import LOG_STD_MAX, LOG_STD_MIN, mlp
from rllib_sami.core.threads import set_num_threads


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
        # Policy and value function read the same contexts, so these are made once.
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
        super().build()

    @property
    def contrast_sampling(self) -> ContrastSampling:  # type: ignore[override]
        """From the config."""
        settings = {key: getattr(self.config, key) for key in ContrastSampling.__dataclass_fields__}
        return ContrastSampling(**settings | {"pairing": self.config.pairing if self.config.has_contrast else None})

    @property
    def contrast_capacity(self) -> int:  # type: ignore[override]
        """From the config."""
        return self.config.contrast_capacity

    @property
    def task_id_rule(self) -> TaskIdRule:  # type: ignore[override]
        """From the config."""
        return self.config.task_id_rule


class SaPPOConfig(ContextConfig, PPOConfig):
    """Configuration of PPO with a context encoder: RLlib's loss, advantages, env runners and connectors.

    .. code-block:: python

        from rllib_sami import SaPPOConfig

        algo = SaPPOConfig().environment("SaMI/Pendulum-v0").build_algo()
        algo.train()
    """

    flat_actions = True

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaPPO)
        self.pairing = "skill_task"
        self.normalize_context = True
        self.encoder_ppo_gradient = False
        self.contrast_capacity = 50_000

        self.lr = 3e-4
        self.lambda_ = 0.95
        self.num_epochs = 10
        self.minibatch_size = 256
        self.vf_clip_param = float("inf")  # RLlib's 10 stops learning from values that are further off
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 8

    @override(ContextConfig)
    def training(
        self,
        *,
        encoder_ppo_gradient: bool | None = NotProvided,
        contrast_capacity: int | None = NotProvided,
        **kwargs,
    ) -> "SaPPOConfig":
        """Sets the training related configuration; what is not given stays as it is.

        docs/settings.md lists all settings by theme, with their defaults and the values that each takes. Those of
        context encoder and contrast are described at ``help(ContextConfig.training)``.

        Args:
            encoder_ppo_gradient: Whether PPO's loss trains the encoder too, through sequences of ``max_seq_len`` steps
                (``rl_module(model_config={"max_seq_len": 20})``).
            contrast_capacity: Environment steps of recent episodes that are kept to be contrasted.
            **kwargs: Settings of encoder and contrast (``ContextConfig.training``): ``context_dim``,
                ``encoder_hidden_dim``, ``encoder_type``, ``normalize_context``, ``actor_hidden``, ``critic_hidden``,
                ``pairing``, ``contrast_coeff``, ``skill_weight``, ``return_gap_weight``, ``objective``,
                ``temperature``, ``similarity``, ``contrast_episodes``, ``contrast_timesteps``, ``num_negatives``,
                ``positive_fraction``, ``key_encoder_tau`` and ``num_torch_threads``. And all arguments of
                ``PPOConfig.training``, such as ``lr`` and ``clip_param``.

        Returns:
            This config.
        """
        super().training(**kwargs)
        self._set({"encoder_ppo_gradient": encoder_ppo_gradient, "contrast_capacity": contrast_capacity})
        return self

    @override(ContextConfig)
    def wrong_values(self) -> Iterator[str]:
        yield from super().wrong_values()
        yield from sappo_values(self)

    @override(ContextConfig)
    def wrong_together(self) -> Iterator[str]:
        yield from sappo_together(self)

    @property
    @override(ContextConfig)
    def trains_memory(self) -> bool:
        return bool(self.encoder_ppo_gradient)

    tells_context_std: ClassVar[bool] = False

    @override(ContextConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        of_an_update = self.minibatch_size or self.train_batch_size_per_learner  # of each learner
        return learned.get("num_module_steps_trained_lifetime", 0) / (of_an_update * max(1, self.num_learners))

    @override(PPOConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SaPPOTorchRLModule)

    @override(PPOConfig)
    def get_default_learner_class(self) -> type[SaPPOTorchLearner]:
        return SaPPOTorchLearner

    @property
    @override(PPOConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        own = (*ENCODER_SETTINGS, "actor_hidden", "critic_hidden", "encoder_ppo_gradient")
        settings = {key: getattr(self, key) for key in (*own, *ContrastConfig.__dataclass_fields__)}
        return super()._model_config_auto_includes | settings | {"max_seq_len": 20}


class SaPPO(CheckedAlgorithm, EvaluatesSplits, PPO):
    """See :class:`SaPPOConfig`."""

    @classmethod
    @override(PPO)
    def get_default_config(cls) -> SaPPOConfig:
        return SaPPOConfig()

    @override(CheckedAlgorithm)
    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        super()._read_checkpoint(folder, *args, **kwargs)
        compat.force_weights(self)

    @override(PPO)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        compat.force_weights(self)
