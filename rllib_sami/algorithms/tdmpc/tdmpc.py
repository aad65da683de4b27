"""``TDMPC``: plans with a model of latent states, and values beyond the plan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.contextless_rl_module import ContextlessTorchRLModule
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.tdmpc.networks import (
    PlannerConfig,
    TargetNetworks,
    TDMPCNetworkConfig,
    TDMPCNetworks,
    WorldModelConfig,
)
from rllib_sami.algorithms.tdmpc.sampling import sample_windows
from rllib_sami.algorithms.tdmpc.update import METRICS, ModelUpdateConfig, TDMPCLosses, parameter_groups, tdmpc_update
from rllib_sami.config.rllib_settings import TDMPC as GROUP
from rllib_sami.config.rllib_settings import WINDOWS
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, LEARNING_RATE, SWITCH, integer, setting, taken
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

PLANNER = {field.name for field in fields(PlannerConfig)}


@dataclass(frozen=True)
class WindowLearningSettings:
    """Settings of learning from windows."""

    actor_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of the policy.")
    timeout_is_terminal: bool = setting(
        False,
        SWITCH,
        "Whether an episode that ran out of time counts as ended (the authors' code of SkiMo), instead of its value "
        "being estimated (RLlib's way).",
    )
    reward_scale: float = setting(1.0, ABOVE_0, "What rewards are multiplied by.")


@dataclass(frozen=True)
class WorldModelSettings:
    """Settings of learning a model, and of how plans grow."""

    model_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of encoder, dynamics and values.")
    plan_horizon_steps: int = setting(
        25_000, integer(1), "Environment steps until plans look ahead as far as they will."
    )
    plan_std_steps: int = setting(
        25_000, integer(1), "Environment steps until the least standard deviation of plans is `final_plan_std`."
    )
    initial_plan_std: float = setting(0.5, ABOVE_0, "Least standard deviation of plans at the start.")
    final_plan_std: float = setting(0.05, ABOVE_0, "Least standard deviation of plans at the end.")


class WorldModelTorchRLModule(ContextlessTorchRLModule):
    """Base of modules that act with a :class:`WorldModel`."""

    changeable = frozenset(PLANNER | {"final_plan_std"})

    @property
    @override(OffPolicyTorchRLModule)
    def acting_settings(self) -> dict[str, Any]:
        return super().acting_settings | {"gamma": self.model_config["gamma"]}

    @classmethod
    @override(OffPolicyTorchRLModule)
    def names_of_acting_settings(cls, given: Mapping[str, Any]) -> set[str]:
        return super().names_of_acting_settings(given) | {"gamma"}

    @override(OffPolicyTorchRLModule)
    def make_acting_networks(self) -> Any:
        obs_dim, action_dim = (int(np.prod(space.shape)) for space in (self.observation_space, self.action_space))
        return self.acting_class(obs_dim, action_dim, self.network_config, self.model_config["gamma"])


class TDMPCTorchRLModule(WorldModelTorchRLModule):
    """A model, a policy and their planner."""

    acting_class = TDMPCNetworks
    network_config_class = TDMPCNetworkConfig

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> TargetNetworks:
        return TargetNetworks(self.acting)


class WorldModelTorchLearner(OffPolicyTorchLearner):
    """Base of learners of a :class:`WorldModel`, whose plans grow with environment steps."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"model": "model_lr", "actor": "actor_lr"}

    @override(TorchLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        config = self.config
        share = min(1.0, self._timestep / config.plan_std_steps)
        std = config.initial_plan_std + share * (config.final_plan_std - config.initial_plan_std)
        for module in self._module.values():
            most = module.acting.config.plan_horizon
            horizon = 1 + (most - 1) * min(1.0, self._timestep / config.plan_horizon_steps)
            module.acting.horizon.fill_(int(horizon))
            module.acting.plan_std.fill_(std)


class TDMPCTorchLearner(WorldModelTorchLearner):
    """Runs :func:`rllib_sami.algorithms.tdmpc.update.tdmpc_update`."""

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = self.losses(TDMPCLosses(), first="model")
        constants = taken(ModelUpdateConfig, vars(self.config))
        return lambda batch: tdmpc_update(module.acting, module.learning, optimization, batch, constants, losses)


class EpisodeWindowConfig(OffPolicyConfig):
    """Base of the configs of algorithms that learn from windows of steps."""

    parts: ClassVar[tuple[type, ...]] = (WindowLearningSettings,)
    groups: ClassVar[tuple[str, ...]] = (WINDOWS,)

    @property
    def window_length(self) -> int:
        """Steps of a window."""
        raise NotImplementedError

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(
            sample_windows,
            batch_size=self.train_batch_size_per_learner,
            length=self.window_length,
            timeout_is_terminal=self.timeout_is_terminal,
            reward_scale=self.reward_scale,
        )

    @override(OffPolicyConfig)
    def updates_per_draw(self, observation_space: gym.Space, action_space: gym.Space) -> int:
        obs_dim, action_dim = (gym.spaces.flatdim(space) for space in (observation_space, action_space))
        of_step = 4 * (obs_dim + 3 * action_dim + 3)  # noise twice; rewards, ends and weights
        return self.updates_within_memory(self.train_batch_size_per_learner * (self.window_length + 1) * of_step)


class PlanningConfig(EpisodeWindowConfig):
    """Base of the configs of algorithms that plan with a :class:`WorldModel`."""

    parts: ClassVar[tuple[type, ...]] = (WorldModelSettings,)
    of_plans: ClassVar[set[str]] = PLANNER - {"planner"} | {"plan_horizon_steps"}

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        idle, sequences = self.without_effect(), self.num_plan_samples + self.num_plan_policy_samples
        if self.num_plan_elites > sequences and "num_plan_elites" not in idle:
            yield (
                f"`num_plan_elites` is {self.num_plan_elites}, but must be at most {sequences}, the sequences of an "
                f"iteration: `num_plan_samples` ({self.num_plan_samples}) and `num_plan_policy_samples` "
                f"({self.num_plan_policy_samples}). An eighth of them is usual."
            )
        if self.final_plan_std > self.initial_plan_std and "final_plan_std" not in idle:
            yield (
                f"`final_plan_std` is {self.final_plan_std}, but must be at most `initial_plan_std`, which is "
                f"{self.initial_plan_std}: noise falls as learning goes on. Lower the one or raise the other."
            )

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if self.planner == "none":
            reasons |= dict.fromkeys(self.of_plans, "`planner` is 'none': the policy chooses")
        return reasons


class TDMPCConfig(PlanningConfig):
    """Configuration of TD-MPC (Hansen et al., ICML 2022).

    A model of latent states, their rewards and values is learned from ``train_batch_size_per_learner`` windows of
    ``plan_horizon`` steps, and actions are planned in it. Unlike the authors' code, all windows are as likely, whatever
    their error.

    .. code-block:: python

        from rllib_sami import TDMPCConfig

        TDMPCConfig().environment("Pendulum-v1").build_algo().train()
    """

    parts: ClassVar[tuple[type, ...]] = (WorldModelConfig, ModelUpdateConfig)
    groups: ClassVar[tuple[str, ...]] = (GROUP,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or TDMPC)
        self._train_batch_size_per_learner = 256
        self.grad_clip = 10.0

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        return taken(TDMPCNetworkConfig, vars(self))

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"gamma": self.gamma}

    @property
    @override(EpisodeWindowConfig)
    def window_length(self) -> int:
        return self.plan_horizon

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=TDMPCTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[TDMPCTorchLearner]:
        return TDMPCTorchLearner

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METRICS]


class TDMPC(OffPolicyAlgorithm):
    """See :class:`TDMPCConfig`."""

    config_class = TDMPCConfig
