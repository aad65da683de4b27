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

from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.base.health import CONTEXTS, LONG_EPISODE, Health, episodes_do_not_end
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME, OffPolicyTorchLearner, Update
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.update import (
    CONTEXT_STD,
    UPDATE_METRICS,
    EntropyConfig,
    LossFunctions,
    SACUpdateConfig,
    parameter_groups,
    update,
)
from rllib_sami.config.family_settings import former_settings
from rllib_sami.config.rllib_settings import PLAIN_SAC, RECURRENT_SAC
from rllib_sami.core.compilation import compiled
from rllib_sami.core.context_encoder import EncoderConfig, EncoderInputConfig
from rllib_sami.core.networks import NetworkConfig
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting
from rllib_sami.replay_buffers.samplers import EpisodeSampling, sample_episodes, sample_transitions
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

logger = logging.getLogger(__name__)


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
        "Learning rate (or schedule) of the context encoder. Where the contrast alone trains it, Adam takes AMSGrad's "
        "steps, which get smaller as contexts tell tasks apart.",
    )


# --- RLModule and learner -------------------------------------------------------------------------------------------


class SACTorchRLModule(OffPolicyTorchRLModule):
    """Actor and twin critics, with a context encoder where there is a memory."""

    @override(OffPolicyTorchRLModule)
    def make_training_networks(self) -> SACTrainingNetworks:
        return SACTrainingNetworks(self.acting, self.model_config["initial_alpha"])


class SACTorchLearner(OffPolicyTorchLearner):
    """Runs :func:`rllib_sami.algorithms.sac.update.update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"critic": "critic_lr", "actor": "actor_lr", "alpha": "alpha_lr"}

    @override(OffPolicyTorchLearner)
    def parameter_groups(self, module: Any) -> ParameterGroups:
        return parameter_groups(module.acting, module.learning)

    @override(OffPolicyTorchLearner)
    def make_update(self, module: Any, optimization: Optimization) -> Update:
        constants = self.config.get_update_config(module.acting.action_dim)
        losses = compiled(LossFunctions()) if self.config.compile_update else LossFunctions()
        return lambda batch: update(module.acting, module.learning, optimization, batch, constants, losses)


class RecurrentSACTorchLearner(SACTorchLearner):
    """The same with an optimiser for the encoder."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"encoder": "encoder_lr"} | SACTorchLearner.LEARNING_RATE_OF


# --- Configs --------------------------------------------------------------------------------------------------------


class SoftActorCriticConfig(OffPolicyConfig):
    """What every soft actor-critic of this package can be told."""

    parts: ClassVar[tuple[type, ...]] = (SACUpdateConfig, EntropyConfig, LearningRates)

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

    update_config_class: ClassVar[type[SACUpdateConfig]] = SACUpdateConfig

    def get_update_config(self, action_dim: int) -> SACUpdateConfig:
        """Constants of one gradient update for ``action_dim`` actions."""
        constants = {field.name: getattr(self, field.name) for field in fields(self.update_config_class)}
        if constants["target_entropy"] == "auto":
            constants["target_entropy"] = -float(action_dim)
        return self.update_config_class(**constants)


class PlainSACConfig(SoftActorCriticConfig):
    """Soft actor-critic without context: the baseline that shows what the context is worth.

    It shares replay buffer, env runners and the loop with the others. With ``env_config={"observe_task": True}`` it is
    the oracle, which is told the task. An update learns from ``train_batch_size_per_learner`` transitions.
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or PlainSAC)
        self._train_batch_size_per_learner = 256
        # As often as others' SAC at first: without an encoder updates cost half as much.
        self.updates_per_env_step = [[0, 1.0], [10_000, 1.0], [20_000, 0.5], [50_000, 0.2], [100_000, 0.1]]

    @property
    @override(OffPolicyConfig)
    def setting_readers(self) -> frozenset[str]:
        return super().setting_readers | {PLAIN_SAC}

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> NetworkConfig:
        return NetworkConfig(
            context_dim=0,
            normalize_inputs=False,
            encoder_obs_delta=False,
            actor_hidden=self.actor_hidden,
            critic_hidden=self.critic_hidden,
        )

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(sample_transitions, batch_size=self.train_batch_size_per_learner)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SACTorchLearner]:
        return SACTorchLearner

    @override(BaseConfig)
    def in_todays_terms(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("loss_timesteps") is None:  # all steps of some episodes, for algorithms that read whole ones
            return {key: value for key, value in given.items() if key != "loss_timesteps"}
        given = dict(given)
        given.setdefault("train_batch_size_per_learner", given.pop("loss_timesteps"))
        return given

    @classmethod
    @override(BaseConfig)
    def migrated(cls, state: dict[str, Any]) -> dict[str, Any]:
        state = super().migrated(state)
        if "loss_timesteps" in state:  # of a version in which a plain SAC had all settings of SaMI
            state["_train_batch_size_per_learner"] = state["loss_timesteps"] or 256
        return {key: value for key, value in state.items() if key not in former_settings(PLAIN_SAC)}


class EncoderSACConfig(SoftActorCriticConfig):
    """Soft actor-critic whose actor and critics read what a recurrent encoder made of the episode so far."""

    parts: ClassVar[tuple[type, ...]] = (EncoderConfig, EncoderInputConfig, EncoderLearningRate, EpisodeSampling)
    former_defaults: ClassVar[dict[str, Any]] = {"normalize_inputs": False, "encoder_obs_delta": False}

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
    """Recurrent soft actor-critic for partially observable environments, one task or many.

    The critics' loss trains the memory, which actor and critics read beside the observation, through whole episodes. It
    asks nothing of the environment but Box observations and bounded Box actions; set ``encoder_reward`` where rewards
    tell what observations do not.

    .. code-block:: python

        from rllib_sami import RecurrentSACConfig

        algo = RecurrentSACConfig().environment("Pendulum-v1").build_algo()
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or RecurrentSAC)
        self.context_dim = 32  # memory of any kind, not the name of a task
        self.encoder_hidden_dim = 64
        self.normalize_context = False

    @property
    @override(OffPolicyConfig)
    def setting_readers(self) -> frozenset[str]:
        return super().setting_readers | {RECURRENT_SAC}

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(sample_episodes, config=EpisodeSampling(self.train_episodes, self.loss_timesteps))

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[RecurrentSACTorchLearner]:
        return RecurrentSACTorchLearner

    @classmethod
    @override(BaseConfig)
    def migrated(cls, state: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value for key, value in super().migrated(state).items() if key not in former_settings(RECURRENT_SAC)
        }


# --- Algorithms -----------------------------------------------------------------------------------------------------


class EncoderSAC(OffPolicyAlgorithm):
    """What algorithms with a context encoder have to tell of the stored episodes."""

    @override(OffPolicyAlgorithm)
    def _warn_of_sample(self, sample: dict[str, Any]) -> None:
        steps = self._steps_of_each_slot
        if not len(self.replay_buffer.store.finished) and steps > LONG_EPISODE and log_once(f"{self.trial_id}-endless"):
            logger.warning("%s", episodes_do_not_end(steps, self.config.task_id_rule == "each reset"))


class PlainSAC(OffPolicyAlgorithm):
    """See :class:`PlainSACConfig`."""

    config_class = PlainSACConfig


class RecurrentSAC(EncoderSAC):
    """See :class:`RecurrentSACConfig`."""

    config_class = RecurrentSACConfig
