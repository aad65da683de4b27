"""Skill discovery as RLlib algorithms: what all methods share."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.acting_batch import read_column
from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.skill_discovery import evaluation
from rllib_sami.algorithms.skill_discovery.method import SkillMethod
from rllib_sami.algorithms.skill_discovery.methods import METHODS
from rllib_sami.algorithms.skill_discovery.networks import (
    CONV_FILTERS,
    SKILL,
    SkillNetworkConfig,
    SkillNetworks,
    SkillTrainingNetworks,
)
from rllib_sami.algorithms.skill_discovery.priors import ONE_HOT, SkillPrior
from rllib_sami.algorithms.skill_discovery.sampling import sample_skill_steps
from rllib_sami.algorithms.skill_discovery.update import (
    PLAIN,
    UPDATE_METRICS,
    SkillUpdateConfig,
    parameter_groups,
    skill_update,
)
from rllib_sami.config.rllib_settings import SKILL_DISCOVERY
from rllib_sami.core.images import image_shape
from rllib_sami.core.metric_names import ENV_STEPS
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, LEARNING_RATE, integer, setting
from rllib_sami.env_runners.episodes import Episode
from rllib_sami.env_runners.splits import SplitGrid
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler


@dataclass(frozen=True)
class SkillLearningRates:
    """Learning rates."""

    representation_lr: Schedule = setting(
        3e-4, LEARNING_RATE, "Learning rate (or schedule) of the representation (discriminator, skill dynamics)."
    )
    actor_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the actor.")
    critic_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the critics.")


@dataclass(frozen=True)
class TunedEntropy:
    """An entropy coefficient that is tuned."""

    initial_alpha: float = setting(0.01, ABOVE_0, "Entropy coefficient at the start.")
    alpha_lr: Schedule = setting(
        3e-4, LEARNING_RATE, "Learning rate (or schedule) of the entropy coefficient; 0 keeps it."
    )


@dataclass(frozen=True)
class FixedEntropy:
    """An entropy coefficient that is not tuned."""

    fixed_alpha: float = setting(0.1, ABOVE_0, "Entropy coefficient.")


@dataclass(frozen=True)
class GoalEvaluation:
    """Setting of the evaluation of skills."""

    evaluation_goals: int = setting(
        50, integer(0), "Goals that an evaluation tries to reach; 0 for none.", method="evaluation"
    )


# --- RLModule and learner -------------------------------------------------------------------------------------------


class SkillTorchRLModule(OffPolicyTorchRLModule):
    """A policy that reads its skill, and the features that find the skill for a goal.

    The skill is the recurrent state: ``get_initial_state`` draws one (``{"skill": [d]}``), and it stays the same for
    the episode. Give another one to play it::

        state = {"skill": skill[None]}  # [B, d], B = 1
        out = module.forward_inference({"obs": obs, "state_in": state})
    """

    LATENT = SKILL
    acting: Any  # SkillNetworks

    former_acting_settings: ClassVar[dict[str, Any]] = {"conv_filters": CONV_FILTERS}

    @property
    def network_settings(self) -> list[str]:
        """Settings that a checkpoint must share with the algorithm that it is restored into."""
        names = [*_names(SkillNetworkConfig), "skill_prior", "representation_type", "critic_type"]
        if self.acting.images is None:  # then there are no convolutions
            names.remove("conv_filters")
        return [*names, "information_bottleneck"]

    @property
    @override(OffPolicyTorchRLModule)
    def acting_settings(self) -> dict[str, Any]:
        method = self.acting.method
        of_method = {name: getattr(method, name) for name in method.acting_settings}
        return super().acting_settings | {"method": self.model_config["method"], **of_method}

    @classmethod
    @override(OffPolicyTorchRLModule)
    def names_of_acting_settings(cls, given: Mapping[str, Any]) -> set[str]:
        return {"method", *_names(SkillNetworkConfig), *METHODS[given["method"]].acting_settings}

    @override(OffPolicyTorchRLModule)
    def make_network_config(self) -> SkillNetworkConfig:
        return _taken(SkillNetworkConfig, self.model_config)

    @override(OffPolicyTorchRLModule)
    def make_acting_networks(self) -> SkillNetworks:
        obs_dim, action_dim = (int(np.prod(space.shape)) for space in (self.observation_space, self.action_space))
        method = _taken(METHODS[self.model_config["method"]], self.model_config)
        images = image_shape(self.observation_space)
        return SkillNetworks(obs_dim, action_dim, self.network_config, method, images)

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SkillTrainingNetworks:
        return SkillTrainingNetworks(self.acting, self.model_config["initial_alpha"])

    @override(OffPolicyTorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        return {SKILL: self.acting.initial_state(1, self._rng)[0]}

    @torch.no_grad()
    def features(self, obs: np.ndarray) -> np.ndarray | None:
        """Returns the features φ of states, ``[B, d]`` for observations ``[B, O]``; None where there are none."""
        if not self.acting.method.has_state_features:
            return None
        device = next(self.parameters()).device
        return self.acting.representation(torch.as_tensor(obs, device=device)).cpu().numpy()

    @torch.no_grad()
    def infer_skill(self, obs: Any, goal: Any) -> torch.Tensor:
        """Returns the skills that lead from observations to goals.

        Args:
            obs: ``[B, O]``.
            goal: Observations of the goals, ``[B, O]``.

        Returns:
            Skills ``[B, d]``.

        Raises:
            ValueError: The method has none, or the shapes do not fit.
        """
        method = self.acting.method
        if not method.finds_skills_for_goals:
            raise ValueError(
                f"{type(method).__name__.removesuffix('Method')} learns no features that lead to goals. CSF, METRA, "
                "DIAYN and VISR do."
            )
        given = {"obs": obs, "goal": goal}
        flat = [read_column(self, given, name).flatten(1) for name in given]
        for name, value in zip(given, flat, strict=True):
            if value.shape[1] != self.acting.obs_dim:
                raise ValueError(f"`{name}` has shape {list(value.shape)}, but must be [B, {self.acting.obs_dim}].")
        return method.skill_for_goal(self.acting.representation, *flat)


def _names(cls: Any) -> list[str]:
    """Names of a dataclass's fields."""
    return [field.name for field in fields(cls)]


def _taken(cls: Any, given: Mapping[str, Any]) -> Any:
    """Makes a dataclass from those of the given values that are its fields."""
    return cls(**{name: given[name] for name in _names(cls) if name in given})


class SkillTorchLearner(OffPolicyTorchLearner):
    """Runs :func:`rllib_sami.algorithms.skill_discovery.update.skill_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {
        "representation": "representation_lr",
        "critic": "critic_lr",
        "actor": "actor_lr",
        "alpha": "alpha_lr",
    }

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        groups = parameter_groups(module.acting, module.learning)
        return {name: groups[name] for name in self.LEARNING_RATE_OF if name in groups}

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = self.losses(PLAIN, first="representation")
        constants = self.config.get_update_config(module.acting.action_dim)
        return lambda batch: skill_update(
            module.acting, module.learning, optimization, batch, self.with_present_target_entropy(constants), losses
        )


class FixedEntropyTorchLearner(SkillTorchLearner):
    """The learner of methods whose entropy coefficient is not tuned."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {
        group: rate for group, rate in SkillTorchLearner.LEARNING_RATE_OF.items() if group != "alpha"
    }


# --- Config and algorithm -------------------------------------------------------------------------------------------


class SkillDiscoveryConfig(OffPolicyConfig):
    """Base of the configs of skill discovery methods.

    The environment's reward is not used. An episode has one skill, drawn from the prior at its beginning. An update
    learns from ``train_batch_size_per_learner`` transitions.
    """

    parts: ClassVar[tuple[type, ...]] = (SkillNetworkConfig, SkillUpdateConfig, SkillLearningRates, GoalEvaluation)
    groups: ClassVar[tuple[str, ...]] = (SKILL_DISCOVERY,)
    method_name: ClassVar[str]

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self._train_batch_size_per_learner = 256
        self.updates_per_env_step = 0.125
        self.rollout_fragment_length = 50
        self.replay_buffer_config = self.replay_buffer_config | {"capacity": 1_000_000}
        self.evaluation(evaluation_duration=48)

    @override(OffPolicyConfig)
    def evaluation(self, *, evaluation_goals: int = NotProvided, **kwargs) -> "SkillDiscoveryConfig":
        """Sets the configuration of evaluation during training.

        An evaluation plays ``evaluation_duration`` (48) skills of the prior with the policy's most likely actions, and
        tries to reach ``evaluation_goals`` goals. Every result has ``evaluation/skills/state_coverage`` and further
        numbers, see docs/skill_discovery.md.

        Args:
            evaluation_goals: Goals to reach; 0 for none.
            **kwargs: Arguments of ``OffPolicyConfig.evaluation``. ``evaluation_splits`` may be ``["skills"]`` or
                ``["goals"]`` here, or both.

        Returns:
            This config.
        """
        super().evaluation(**kwargs)
        if evaluation_goals is not NotProvided:
            self.evaluation_goals = evaluation_goals
        return self

    @override(BaseConfig)
    def evaluation_grids(self) -> list[SplitGrid]:
        return evaluation.grids_in_training(self)

    @property
    def method(self) -> SkillMethod:
        """The method with its settings."""
        return _taken(METHODS[self.method_name], vars(self))

    @property
    def prior(self) -> SkillPrior:
        """The prior of skills."""
        return SkillPrior(self.method.prior, self.skill_dim)

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(
            sample_skill_steps,
            batch_size=self.train_batch_size_per_learner,
            prior=self.prior,
            num_prior_skills=self.method.num_prior_skills,
        )

    @override(OffPolicyConfig)
    def updates_per_draw(self, observation_space: gym.Space, action_space: gym.Space) -> int:
        images = image_shape(observation_space)
        if images is None:
            return super().updates_per_draw(observation_space, action_space)
        of_update = self.train_batch_size_per_learner * (images.stack + 1) * images.frame_size
        return self.updates_within_memory(of_update)

    @property
    @override(OffPolicyConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        filters = self.conv_filters if self.method.has_state_features else None
        return replace(super().environment_needs, conv_filters=filters)

    @property
    @override(OffPolicyConfig)
    def episode_fields(self) -> dict[str, int]:
        return {SKILL: self.skill_dim}

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        return _taken(SkillNetworkConfig, vars(self))

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        alpha = self.initial_alpha if "initial_alpha" in self.settings else self.fixed_alpha
        of_method = {"method": self.method_name, **vars(self.method)}
        return super()._model_config_auto_includes | of_method | {"initial_alpha": alpha}

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SkillTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SkillTorchLearner]:
        return SkillTorchLearner

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *METHODS[self.method_name].metrics, *UPDATE_METRICS]

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect() | self.method.without_effect
        if "alpha_lr" not in self.settings:
            reasons["target_entropy"] = "The entropy coefficient is fixed: set `fixed_alpha`"
        return reasons

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if "goals" in (self.evaluation_splits or ()) and not self.evaluation_goals:
            yield "`evaluation_splits` has 'goals', but `evaluation_goals` is 0. Set it to a number such as 50."
        if self.method.prior == ONE_HOT and self.skill_dim < 2:
            yield f"`skill_dim` is {self.skill_dim}, but there must be at least 2 one-hot skills."

    def get_update_config(self, action_dim: int) -> SkillUpdateConfig:
        """Returns the constants of an update for ``action_dim`` action dimensions."""
        constants = _taken(SkillUpdateConfig, vars(self))
        target = -action_dim / 2 if constants.target_entropy == "auto" else constants.target_entropy
        return SkillUpdateConfig(**(vars(constants) | {"target_entropy": target}))


class SkillDiscovery(OffPolicyAlgorithm):
    """Base of the skill discovery algorithms."""

    config_class: ClassVar[type[SkillDiscoveryConfig]]

    @override(OffPolicyAlgorithm)
    def _summarise(self, episodes: Sequence[Episode], before: Mapping[str, Any]) -> dict[str, Any]:
        return evaluation.summarise(self._grids, episodes, before) | ({} if episodes else {ENV_STEPS: math.nan})
