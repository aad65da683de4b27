"""``SPiRL``: learns a task with skills that were learned from data, without a model of what they lead to."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.contextless_rl_module import ContextlessTorchRLModule
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.skimo.networks import SkillModel
from rllib_sami.algorithms.skimo.skill_task import SkillTask, SkillTaskConfig, SkillTaskTorchLearner
from rllib_sami.algorithms.skimo.spirl_update import (
    METRICS,
    CriticSizes,
    SkillPrior,
    SPiRLNetworkConfig,
    SPiRLTrainingNetworks,
    SPiRLUpdateConfig,
    parameter_groups,
    spirl_update,
)
from rllib_sami.algorithms.tdmpc.tdmpc import EpisodeWindowConfig
from rllib_sami.config.rllib_settings import SPIRL
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting, taken


@dataclass(frozen=True)
class CriticSettings:
    """Settings of learning the critics."""

    critic_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the critics.")


class SPiRLTorchRLModule(ContextlessTorchRLModule):
    """A policy of skills, and critics."""

    network_config_class = SPiRLNetworkConfig
    acting_class = SkillPrior
    changeable = frozenset({"num_skills"})

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SPiRLTrainingNetworks:
        return SPiRLTrainingNetworks(self.acting, self.model_config["initial_alpha"])


class SPiRLTorchLearner(SkillTaskTorchLearner):
    """Runs :func:`rllib_sami.algorithms.skimo.spirl_update.spirl_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"critic": "critic_lr", "actor": "actor_lr", "alpha": "alpha_lr"}

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting, module.learning)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        constants = taken(SPiRLUpdateConfig, vars(self.config))
        return lambda batch: spirl_update(module.acting, module.learning, optimization, batch, constants)

    @override(SkillTaskTorchLearner)
    def load_model(self, model: SkillModel) -> None:
        for module in self._module.values():
            module.acting.load_model(model)
            module.learning.load_acting(module.acting)


class SPiRLConfig(SkillTaskConfig):
    """Configuration of SPiRL (Pertsch et al., CoRL 2020) on a task.

    The environment is ``Skills/Control-v0``, whose action is a skill of a :class:`SkiMoPretrain` checkpoint. Soft
    actor-critic learns which skills to play, and the divergence from the prior takes the place of the entropy. An
    update learns from ``train_batch_size_per_learner`` steps of a skill. Steps are those of the task, not skills.

    .. code-block:: python

        from rllib_sami import SPiRLConfig

        env_config = {"env": "Maze/Large-v0", "skills": "~/ray_results/maze_large_skills"}
        config = SPiRLConfig().environment("Skills/Control-v0", env_config=env_config)
        config.build_algo().train()
    """

    parts: ClassVar[tuple[type, ...]] = (SPiRLUpdateConfig, CriticSizes, CriticSettings)
    groups: ClassVar[tuple[str, ...]] = (SPIRL,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SPiRL)
        self._train_batch_size_per_learner = 128
        self.actor_lr = 3e-4
        self.updates_per_env_step = 0.1  # one for each skill

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        return taken(SPiRLNetworkConfig, vars(self) | self.skill_model)

    @property
    @override(EpisodeWindowConfig)
    def window_length(self) -> int:
        return 1

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SPiRLTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SPiRLTorchLearner]:
        return SPiRLTorchLearner

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        return super().without_effect() | {"compile_update": "Its networks are small: nothing is compiled"}

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METRICS]


class SPiRL(SkillTask):
    """See :class:`SPiRLConfig`."""

    config_class = SPiRLConfig
