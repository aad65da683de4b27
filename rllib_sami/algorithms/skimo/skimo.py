"""``SkiMo``: learns a task with skills that were learned from data, and plans with their dynamics."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.acting_batch import ENCODER_STATE
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.skimo.downstream_networks import (
    DownstreamNetworkConfig,
    PlannerConfig,
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
from rllib_sami.algorithms.skimo.networks import SkillModelConfig
from rllib_sami.algorithms.skimo.pretraining import ADAM_EPSILON, taken
from rllib_sami.algorithms.skimo.sampling import sample_skill_windows
from rllib_sami.algorithms.skimo.skill_task import SkillTask, SkillTaskConfig
from rllib_sami.config.rllib_settings import OF_SKILL_MODEL
from rllib_sami.core.compilation import compiled
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, LEARNING_RATE, integer, setting
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

PLAN_SETTINGS = tuple(field.name for field in fields(PlannerConfig) if field.name != "planner")


@dataclass(frozen=True)
class DownstreamSettings:
    """Settings of windows and of the model."""

    model_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of encoder, dynamics and values.")
    num_skills: int = setting(10, integer(1), "Skills of a window, and the farthest that is planned ahead.")
    plan_horizon_steps: int = setting(
        1_000_000, integer(1), "Environment steps until as many skills as `num_skills` are planned ahead."
    )
    plan_std_steps: int = setting(
        1_000_000, integer(1), "Environment steps until the least standard deviation of plans is `final_plan_std`."
    )
    initial_plan_std: float = setting(0.5, ABOVE_0, "Least standard deviation of plans at the start.")
    final_plan_std: float = setting(0.01, ABOVE_0, "Least standard deviation of plans at the end.")


class SkillTaskTorchRLModule(OffPolicyTorchRLModule):
    """The policy of skills with its planner; its actions are skills."""

    acting: Any  # SkillTaskNetworks
    former_acting_settings: ClassVar[dict[str, Any]] = {}

    @property
    def network_settings(self) -> list[str]:
        """Settings that a checkpoint must share with the algorithm that it is restored into."""
        return [field.name for field in fields(SkillModelConfig)]

    @property
    @override(OffPolicyTorchRLModule)
    def acting_settings(self) -> dict[str, Any]:
        return super().acting_settings | {"gamma": self.model_config["gamma"]}

    @classmethod
    @override(OffPolicyTorchRLModule)
    def names_of_acting_settings(cls, given: Mapping[str, Any]) -> set[str]:
        return {"gamma", *(field.name for field in fields(DownstreamNetworkConfig))}

    @override(OffPolicyTorchRLModule)
    def make_network_config(self) -> DownstreamNetworkConfig:
        return taken(DownstreamNetworkConfig, self.model_config)

    @override(OffPolicyTorchRLModule)
    def make_acting_networks(self) -> Any:
        obs_dim, action_dim = (int(np.prod(space.shape)) for space in (self.observation_space, self.action_space))
        return SkillTaskNetworks(obs_dim, action_dim, self.network_config, self.model_config["gamma"])

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SkillTaskTrainingNetworks:
        return SkillTaskTrainingNetworks(self.acting, self.model_config["initial_alpha"])

    @override(OffPolicyTorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        if not self.acting.encoder.state_dim:
            return {}
        seeds = np.random.default_rng(torch.initial_seed() % 2**63)
        return {ENCODER_STATE: self.acting.initial_state(1, seeds)[0]}


class SkiMoTorchLearner(OffPolicyTorchLearner):
    """Runs :func:`rllib_sami.algorithms.skimo.downstream_update.downstream_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"model": "model_lr", "actor": "actor_lr", "alpha": "alpha_lr"}

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting, module.learning)

    @override(OffPolicyTorchLearner)
    def make_optimizer(self, name: str, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, eps=ADAM_EPSILON, fused=True)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = DownstreamLosses()
        if self.config.compile_update:
            losses = compiled(losses, first="model")
        constants = taken(DownstreamUpdateConfig, vars(self.config))
        return lambda batch: downstream_update(module.acting, module.learning, optimization, batch, constants, losses)

    @override(TorchLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        config = self.config
        horizon = 1 + (config.num_skills - 1) * min(1.0, self._timestep / config.plan_horizon_steps)
        share = min(1.0, self._timestep / config.plan_std_steps)
        std = config.initial_plan_std + share * (config.final_plan_std - config.initial_plan_std)
        for module in self._module.values():
            module.acting.horizon.fill_(int(horizon))
            module.acting.plan_std.fill_(std)

    def load_model(self, state: Mapping[str, Any]) -> None:
        """Takes encoder, dynamics and prior of pre-trained networks."""
        tensors = {name: torch.as_tensor(value) for name, value in state.items()}
        for module in self._module.values():
            module.acting.load_model(tensors)
            module.learning.load_acting(module.acting)


class SkiMoConfig(SkillTaskConfig):
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

    parts: ClassVar[tuple[type, ...]] = (PlannerConfig, DownstreamUpdateConfig, DownstreamSettings)
    groups: ClassVar[tuple[str, ...]] = (OF_SKILL_MODEL,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SkiMo)
        self._train_batch_size_per_learner = 128
        self.grad_clip = 100.0

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        return taken(DownstreamNetworkConfig, vars(self) | self.skill_model)

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(
            sample_skill_windows,
            batch_size=self.train_batch_size_per_learner,
            num_skills=self.num_skills,
            timeout_is_terminal=self.timeout_is_terminal,
            reward_scale=self.reward_scale,
        )

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SkillTaskTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SkiMoTorchLearner]:
        return SkiMoTorchLearner

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if self.planner == "none":
            of_plans = {*PLAN_SETTINGS, "plan_horizon_steps", "plan_std_steps", "initial_plan_std", "final_plan_std"}
            reasons |= dict.fromkeys(of_plans, "`planner` is 'none': the policy chooses skills")
        return reasons

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METRICS]


class SkiMo(SkillTask):
    """See :class:`SkiMoConfig`."""

    config_class = SkiMoConfig
