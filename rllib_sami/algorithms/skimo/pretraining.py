"""``SkiMoPretrain``: learns skills, their prior and their dynamics from a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.contextless_rl_module import ContextlessTorchRLModule
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.offline.offline import OfflineAlgorithm, OfflineConfig
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillModelConfig
from rllib_sami.algorithms.skimo.pretraining_update import (
    METRICS,
    PretrainingLoss,
    PretrainingNetworks,
    PretrainingUpdateConfig,
    parameter_groups,
    pretraining_loss,
    pretraining_update,
)
from rllib_sami.config.rllib_settings import OF_SKILL_MODEL, SKIMO, WINDOWS
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting, taken
from rllib_sami.datasets.window_sampler import WindowSampler


@dataclass(frozen=True)
class ModelLearningRate:
    """Learning rate of the model."""

    model_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule, in updates) of all networks.")


class SkillModelTorchRLModule(ContextlessTorchRLModule):
    """Skills, their prior and dynamics. It acts with skills of the prior."""

    network_config_class = SkillModelConfig
    acting_class = SkillModel
    changeable = frozenset({"num_skills"})

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> PretrainingNetworks:
        return PretrainingNetworks(self.acting)


class SkiMoPretrainTorchLearner(OffPolicyTorchLearner):
    """Runs :func:`rllib_sami.algorithms.skimo.pretraining_update.pretraining_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"model": "model_lr", "prior": "model_lr", "skill": "model_lr"}
    ADAM_EPSILON = 1e-7

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting, self.config.joint_training)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = self.losses(PretrainingLoss(), first="model")
        constants = taken(PretrainingUpdateConfig, vars(self.config))
        return lambda batch: pretraining_update(module.acting, module.learning, optimization, batch, constants, losses)


class SkiMoPretrainConfig(OfflineConfig):
    """Configuration of the pre-training of SkiMo (Shi et al., CoRL 2022), from a data set without rewards.

    Skills of ``skill_length`` steps are learned with their policy, the prior that says which skills the data has where,
    and the dynamics of skills. An update learns from ``train_batch_size_per_learner`` windows of ``num_skills`` skills.

    .. code-block:: python

        from rllib_sami import SkiMoPretrainConfig

        config = SkiMoPretrainConfig().environment("Maze/Large-v0").training(data="data/maze_large")
        config.build_algo().train()
    """

    parts: ClassVar[tuple[type, ...]] = (SkillModelConfig, PretrainingUpdateConfig, ModelLearningRate)
    groups: ClassVar[tuple[str, ...]] = (WINDOWS, SKIMO, OF_SKILL_MODEL)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SkiMoPretrain)
        self._train_batch_size_per_learner = 512
        self.grad_clip = 100.0

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SkillModelTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SkiMoPretrainTorchLearner]:
        return SkiMoPretrainTorchLearner

    @property
    @override(OfflineConfig)
    def network_config(self) -> Any:
        return taken(SkillModelConfig, vars(self))

    @property
    @override(OfflineConfig)
    def window_length(self) -> int:
        return self.skill_length * self.num_skills

    @override(OfflineConfig)
    def most_updates_per_draw(self, observation_dim: int, action_dim: int) -> int:
        of_step = 4 * (observation_dim + action_dim + self.skill_dim)
        of_update = self.train_batch_size_per_learner * self.window_length * of_step
        return self.updates_within_memory(of_update)

    @override(OfflineConfig)
    def draw(self, sampler: WindowSampler, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
        noise = rng.standard_normal((*shape, self.num_skills, self.skill_dim), dtype=np.float32)
        return super().draw(sampler, shape, rng) | {"noise": noise}

    @override(OfflineConfig)
    def validation_metrics(self, acting: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():  # in float32 always, as the skills are played
            constants = taken(PretrainingUpdateConfig, vars(self))
            arguments = (batch["obs"], batch["actions"], batch["noise"], constants)
            _, metrics = pretraining_loss(acting, acting.state_encoder, *arguments)
        return {name: float(value) for name, value in metrics.items()}

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if self.skill_encoder != "lstm":
            reasons["lstm_units"] = f"`skill_encoder` is {self.skill_encoder!r}"
        return reasons

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METRICS]


class SkiMoPretrain(OfflineAlgorithm):
    """See :class:`SkiMoPretrainConfig`."""

    config_class = SkiMoPretrainConfig
