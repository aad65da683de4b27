"""Soft actor-critic: ``PlainSAC``, and ``RecurrentSAC`` with a memory."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override
from ray.util.debug import log_once

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.base.health import CONTEXTS, Health
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME, OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.update import (
    CONTEXT_STD,
    UPDATE_METRICS,
    EntropyConfig,
    SACLossFunctions,
    SACUpdateConfig,
    parameter_groups,
    sac_update,
)
from rllib_sami.config.rllib_settings import PLAIN_SAC, RECURRENT_SAC
from rllib_sami.core.context_encoder import EncoderConfig, EncoderInputConfig
from rllib_sami.core.networks import FORMER_NETWORK, ActorCriticConfig
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting
from rllib_sami.replay_buffers.samplers import EpisodeSampling, sample_episodes, sample_transitions
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

logger = logging.getLogger(__name__)
LONG_EPISODE = 2_000  # steps of each environment without the end of an episode, before a warning


@dataclass(frozen=True)
class LearningRates:
    """Learning rates of soft actor-critic."""

    actor_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of the actor.")
    critic_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of the critics.")
    alpha_lr: Schedule = setting(1e-3, LEARNING_RATE, "Learning rate (or schedule) of the entropy coefficient.")


@dataclass(frozen=True)
class EncoderLearningRate:
    """Learning rate of the context encoder."""

    encoder_lr: Schedule = setting(
        1e-3,
        LEARNING_RATE,
        "Learning rate (or schedule) of the context encoder. In SaMI, if only the contrast trains it, Adam uses "
        "AMSGrad, whose steps get smaller as contexts come to tell tasks apart.",
    )


# --- RLModule and learner -------------------------------------------------------------------------------------------


class SACTorchRLModule(OffPolicyTorchRLModule):
    """Actor and twin critics; with a context encoder if the algorithm has a memory."""

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SACTrainingNetworks:
        return SACTrainingNetworks(self.acting, self.model_config["initial_alpha"])


class SACTorchLearner(OffPolicyTorchLearner):
    """Runs :func:`rllib_sami.algorithms.sac.update.sac_update`, or the functions of a subclass."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"critic": "critic_lr", "actor": "actor_lr", "alpha": "alpha_lr"}
    groups_function: ClassVar[Any] = staticmethod(parameter_groups)
    update_function: ClassVar[Any] = staticmethod(sac_update)
    loss_functions: ClassVar[SACLossFunctions] = SACLossFunctions()
    first_loss: ClassVar[str] = "critics"  # the loss function that an update calls first

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return self.groups_function(module.acting, module.learning)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        losses = self.losses(self.loss_functions, self.first_loss)
        constants = self.config.get_update_config(module.acting.action_dim)
        return lambda batch: self.update_function(
            module.acting, module.learning, optimization, batch, self.with_present_target_entropy(constants), losses
        )


class RecurrentSACTorchLearner(SACTorchLearner):
    """SAC's learner with an optimiser for the encoder."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"encoder": "encoder_lr"} | SACTorchLearner.LEARNING_RATE_OF


# --- Configs --------------------------------------------------------------------------------------------------------


class SoftActorCriticConfig(OffPolicyConfig):
    """Base of the configs of all soft actor-critics of this package."""

    parts: ClassVar[tuple[type, ...]] = (ActorCriticConfig, SACUpdateConfig, EntropyConfig, LearningRates)
    update_config_class: ClassVar[type[SACUpdateConfig]] = SACUpdateConfig

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SACTorchRLModule)

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"initial_alpha": self.initial_alpha}

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *UPDATE_METRICS]

    def get_update_config(self, action_dim: int) -> SACUpdateConfig:
        """Returns the constants of an update for ``action_dim`` action dimensions."""
        constants = {field.name: getattr(self, field.name) for field in fields(self.update_config_class)}
        if constants["target_entropy"] == "auto":
            constants["target_entropy"] = -float(action_dim)
        return self.update_config_class(**constants)


class PlainSACConfig(SoftActorCriticConfig):
    """Configuration of soft actor-critic without context: the baseline that shows what the context is worth.

    It shares the replay buffer, env runners and loop of the other algorithms. With
    ``env_config={"observe_task": True}`` it is the oracle, which is told the task. An update learns from
    ``train_batch_size_per_learner`` transitions.
    """

    groups: ClassVar[tuple[str, ...]] = (PLAIN_SAC,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or PlainSAC)
        self._train_batch_size_per_learner = 256
        # At first one update per step, as usual for SAC: without an encoder, updates cost half as much.
        self.updates_per_env_step = [[0, 1.0], [10_000, 1.0], [20_000, 0.5], [50_000, 0.2], [100_000, 0.1]]

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(sample_transitions, batch_size=self.train_batch_size_per_learner)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SACTorchLearner]:
        return SACTorchLearner

    @override(BaseConfig)
    def rename_former_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("loss_timesteps") is None:  # None means all steps of whole episodes, which are not read here
            return {key: value for key, value in given.items() if key != "loss_timesteps"}
        given = dict(given)
        given.setdefault("train_batch_size_per_learner", given.pop("loss_timesteps"))
        return given

    @classmethod
    @override(BaseConfig)
    def migrate_state(cls, state: dict[str, Any]) -> dict[str, Any]:
        if "loss_timesteps" in state:  # from a version in which a plain SAC had all settings of SaMI
            state = state | {"_train_batch_size_per_learner": state["loss_timesteps"] or 256}
        return super().migrate_state(state)


class EncoderSACConfig(SoftActorCriticConfig):
    """Base of configs of soft actor-critics whose actor and critics read the context of a recurrent encoder."""

    parts: ClassVar[tuple[type, ...]] = (EncoderConfig, EncoderInputConfig, EncoderLearningRate, EpisodeSampling)
    former_defaults: ClassVar[dict[str, Any]] = FORMER_NETWORK

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, CONTEXT_STD]

    @property
    @override(BaseConfig)
    def trains_memory(self) -> bool:
        return True

    @property
    @override(OffPolicyConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        return replace(super().environment_needs, reads_rewards=self.encoder_reward)

    @override(BaseConfig)
    def make_health(self) -> Health:
        return Health([CONTEXTS], self.context_dim, self.normalize_context)

    @override(BaseConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        return learned.get(NUM_UPDATES_LIFETIME, 0)


class RecurrentSACConfig(EncoderSACConfig):
    """Configuration of recurrent soft actor-critic for partially observable environments, with one task or many.

    Actor and critics read a memory in addition to the observation. The critics' loss trains it through whole episodes.
    The environment only needs Box observations and bounded Box actions. Set ``encoder_reward`` if rewards contain
    information that observations lack.

    .. code-block:: python

        from rllib_sami import RecurrentSACConfig

        algo = RecurrentSACConfig().environment("Pendulum-v1").build_algo()
    """

    groups: ClassVar[tuple[str, ...]] = (RECURRENT_SAC,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or RecurrentSAC)
        self.context_dim = 32  # more than for contexts of tasks, because it may have to remember anything
        self.encoder_hidden_dim = 64
        self.normalize_context = False

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(sample_episodes, config=EpisodeSampling(self.train_episodes, self.loss_timesteps))

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[RecurrentSACTorchLearner]:
        return RecurrentSACTorchLearner


# --- Algorithms -----------------------------------------------------------------------------------------------------


class EncoderSAC(OffPolicyAlgorithm):
    """Base of algorithms with a context encoder, which warns of episodes that do not end."""

    @override(OffPolicyAlgorithm)
    def _warn_of_sample(self, sample: dict[str, Any]) -> None:
        config = self.config
        steps = compat.env_steps_sampled(self) // (max(1, config.num_env_runners) * config.num_envs_per_env_runner)
        if not len(self.replay_buffer.store.finished) and steps > LONG_EPISODE and log_once(f"{self.trial_id}-endless"):
            contrast = "; only finished episodes are contrasted, so there is no contrast"
            logger.warning(
                "No episode has ended after %s steps of each environment: updates read whole episodes and take longer "
                "as these grow%s. If episodes do not end by themselves, limit them: "
                "`gymnasium.make(..., max_episode_steps=200)`, or gymnasium.wrappers.TimeLimit around your own.",
                f"{steps:,}",
                contrast if config.task_id_rule == "each reset" else "",
            )


class PlainSAC(OffPolicyAlgorithm):
    """See :class:`PlainSACConfig`."""

    config_class = PlainSACConfig


class RecurrentSAC(EncoderSAC):
    """See :class:`RecurrentSACConfig`."""

    config_class = RecurrentSACConfig
