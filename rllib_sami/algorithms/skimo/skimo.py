"""``SkiMo``: learns a task with skills that were learned from data, and plans with their dynamics."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.skimo.downstream_networks import (
    DownstreamNetworkConfig,
    SkillTaskNetworks,
    SkillTaskTrainingNetworks,
)
from rllib_sami.algorithms.skimo.downstream_update import (
    METRICS,
    DownstreamLosses,
    DownstreamUpdateConfig,
    downstream_update,
    parameter_groups,
)
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillWindow
from rllib_sami.algorithms.skimo.skill_task import SkillTask, SkillTaskConfig, SkillTaskTorchLearner
from rllib_sami.algorithms.tdmpc.networks import PlannerConfig
from rllib_sami.algorithms.tdmpc.tdmpc import (
    EpisodeWindowConfig,
    PlanningConfig,
    WorldModelTorchLearner,
    WorldModelTorchRLModule,
)
from rllib_sami.config.rllib_settings import OF_SKILL_MODEL
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import SWITCH, setting, taken


@dataclass(frozen=True)
class SkiMoSettings:
    """What learning begins with."""

    model_from_data: bool = setting(
        True,
        SWITCH,
        "Whether encoder, dynamics and policy begin as what was learned from data. Otherwise only the skills and their "
        "prior are those of the data.",
    )


class SkillTaskTorchRLModule(WorldModelTorchRLModule):
    """The policy of skills with its planner; its actions are skills."""

    acting_class = SkillTaskNetworks
    network_config_class = DownstreamNetworkConfig

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SkillTaskTrainingNetworks:
        return SkillTaskTrainingNetworks(self.acting, self.model_config["initial_alpha"])


class SkiMoTorchLearner(WorldModelTorchLearner, SkillTaskTorchLearner):
    """Runs :func:`rllib_sami.algorithms.skimo.downstream_update.downstream_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = WorldModelTorchLearner.LEARNING_RATE_OF | {"alpha": "alpha_lr"}
    ADAM_EPSILON = 1e-7

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting, module.learning)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = self.losses(DownstreamLosses(), first="model")
        constants = taken(DownstreamUpdateConfig, vars(self.config))
        return lambda batch: downstream_update(module.acting, module.learning, optimization, batch, constants, losses)

    @override(SkillTaskTorchLearner)
    def load_model(self, model: SkillModel) -> None:
        for module in self._module.values():
            module.learning.load_prior(model)
            if self.config.model_from_data:
                module.acting.load_model(model)
            module.learning.load_targets(module.acting)


class SkiMoConfig(PlanningConfig, SkillTaskConfig):
    """Configuration of SkiMo (Shi et al., CoRL 2022) on a task.

    The environment is ``Skills/Control-v0``, whose action is a skill of a :class:`SkiMoPretrain` checkpoint. Encoder,
    dynamics and prior of that checkpoint are where learning starts, and the divergence from the prior is a cost. An
    update learns from ``train_batch_size_per_learner`` windows of ``num_skills`` skills. Steps are those of the task,
    not skills.

    .. code-block:: python

        from rllib_sami import SkiMoConfig

        env_config = {"env": "Maze/Large-v0", "skills": "~/ray_results/maze_large_skills"}
        config = SkiMoConfig().environment("Skills/Control-v0", env_config=env_config)
        config.build_algo().train()
    """

    parts: ClassVar[tuple[type, ...]] = (
        SkillWindow,
        SkiMoSettings,
        PlannerConfig,
        DownstreamUpdateConfig,
    )
    groups: ClassVar[tuple[str, ...]] = (OF_SKILL_MODEL,)
    # Unlike TD-MPC's policy, this one has noise of its own.
    of_plans = PlanningConfig.of_plans | {"plan_std_steps", "initial_plan_std", "final_plan_std"}

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SkiMo)
        self._train_batch_size_per_learner = 128
        self.grad_clip = 100.0
        self.plan_horizon_steps = self.plan_std_steps = 1_000_000
        self.final_plan_std = 0.01

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        return taken(DownstreamNetworkConfig, vars(self) | self.skill_model)

    @property
    @override(EpisodeWindowConfig)
    def window_length(self) -> int:
        return self.num_skills

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SkillTaskTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SkiMoTorchLearner]:
        return SkiMoTorchLearner

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METRICS]


class SkiMo(SkillTask):
    """See :class:`SkiMoConfig`."""

    config_class = SkiMoConfig
