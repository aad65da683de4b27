"""What algorithms share whose encoder of the last transitions learns to predict, and whose policy reads its latent."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.base.health import CONTEXTS, Health
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.sac import SACTorchLearner, SACTorchRLModule, SoftActorCriticConfig
from rllib_sami.algorithms.sac.update import CONTEXT_STD
from rllib_sami.algorithms.task_inference.update import INFERENCE_METRICS
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting, settings_of


@dataclass(frozen=True)
class InferenceLearningRate:
    """Learning rate of what infers the task."""

    encoder_lr: Schedule = setting(
        1e-3, LEARNING_RATE, "Learning rate (or schedule) of encoder, decoders and classifier."
    )


class WindowTorchRLModule(SACTorchRLModule):
    """Encoder of the last transitions and policy; for learning also critics and decoders.

    The window of the last transitions is the recurrent state, so a batch needs the previous ``rewards`` ``[B]``.
    """

    acting: Any  # LatentNetworks
    training_class: ClassVar[type[SACTrainingNetworks]]
    former_acting_settings: ClassVar[dict[str, Any]] = {}

    @property
    def network_settings(self) -> list[str]:
        """What a checkpoint must share with the algorithm that it is restored into."""
        return ["decoder_hidden", *(field.name for field in fields(self.network_config_class))]

    @override(SACTorchRLModule)
    def make_training_networks(self) -> SACTrainingNetworks:
        return self.training_class(self.acting, dict(self.model_config))  # type: ignore[arg-type]


class WindowTorchLearner(SACTorchLearner):
    """SAC's learner with an optimiser for what predicts."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"encoder": "encoder_lr"} | SACTorchLearner.LEARNING_RATE_OF


class WindowConfig(SoftActorCriticConfig):
    """Base of the configs.

    Attributes:
        decoder_config_class: The settings of what only learning needs.
        rl_module_class: The class of the networks.
        learner_class_of: The class of the learner.
    """

    parts: ClassVar[tuple[type, ...]] = (InferenceLearningRate,)
    decoder_config_class: ClassVar[type]
    rl_module_class: ClassVar[type[WindowTorchRLModule]]
    learner_class_of: ClassVar[type[WindowTorchLearner]]

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self._train_batch_size_per_learner = 256
        self.updates_per_env_step = 0.1

    @override(OffPolicyConfig)
    def updates_per_draw(self, observation_space: gym.Space, action_space: gym.Space) -> int:
        row = 4 * gym.spaces.flatdim(observation_space) + 100  # bytes, with room for action, reward, noise and index
        of_update = row * self.train_batch_size_per_learner * (self.window + 2 + 2 * self.predicted_steps)
        return self.updates_within_memory(of_update)

    @property
    @override(OffPolicyConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        return replace(super().environment_needs, task_ids="each reset or none", constant_task=True)

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        config_class = self.rl_module_class.network_config_class
        names = [field.name for field in fields(config_class)]
        return config_class(**{name: getattr(self, name) for name in names if name in self.settings})

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        of_learning = {name: getattr(self, name) for name in settings_of(self.decoder_config_class)}
        return super()._model_config_auto_includes | of_learning

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=self.rl_module_class)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[WindowTorchLearner]:
        return self.learner_class_of

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, CONTEXT_STD, *INFERENCE_METRICS]

    @property
    @override(OffPolicyConfig)
    def why_array_runner(self) -> str:
        return "pass no rewards to the module, which its encoder reads"

    @override(BaseConfig)
    def make_health(self) -> Health:
        return Health([CONTEXTS], self.network_config.context_dim, False)

    @override(BaseConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        return learned.get(NUM_UPDATES_LIFETIME, 0)
