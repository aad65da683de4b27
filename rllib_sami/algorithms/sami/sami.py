"""``SaMI``: skill-aware mutual information on soft actor-critic, as an RLlib algorithm."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override
from ray.util.debug import log_once

from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.base.health import CONTEXTS, Health
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner
from rllib_sami.algorithms.sac.sac import EncoderSAC, EncoderSACConfig, RecurrentSACTorchLearner, SACTorchRLModule
from rllib_sami.algorithms.sac.update import SACUpdateConfig
from rllib_sami.algorithms.sami.context_config import ContextConfig
from rllib_sami.algorithms.sami.networks import SaMITrainingNetworks
from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.algorithms.sami.update import (
    EncoderTrainingConfig,
    SaMILossFunctions,
    UpdateConfig,
    parameter_groups,
    sami_update,
)
from rllib_sami.config.family_settings import former_settings, todays_sami_settings
from rllib_sami.config.names import WrongSettings
from rllib_sami.config.rllib_settings import SAMI
from rllib_sami.config.unused_settings import warn_once
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

logger = logging.getLogger(__name__)


# --- RLModule and learner -------------------------------------------------------------------------------------------


class SaMITorchRLModule(SACTorchRLModule):
    """Context encoder and actor; for learning also critics, a second encoder and the contrast's similarity."""

    @override(SACTorchRLModule)
    def make_training_networks(self) -> SaMITrainingNetworks:
        given = self.model_config
        # Modules saved by earlier versions have `averaged_context` instead.
        acting_encoder = given.get("acting_encoder", "average" if given.get("averaged_context") else "online")
        return SaMITrainingNetworks(self.acting, given["initial_alpha"], acting_encoder)


class SaMITorchLearner(RecurrentSACTorchLearner):
    """Runs :func:`rllib_sami.algorithms.sami.update.sami_update`."""

    groups_function: ClassVar[Any] = staticmethod(parameter_groups)
    update_function: ClassVar[Any] = staticmethod(sami_update)
    loss_functions: ClassVar[SaMILossFunctions] = SaMILossFunctions()

    @override(OffPolicyTorchLearner)
    def make_optimizer(self, name: str, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        # Once contexts tell tasks apart, the contrast's gradient vanishes. Plain Adam would forget how large it was and
        # continue with steps of the same size, away from the contexts that actor and critics have learned to read.
        amsgrad = name == "encoder" and not self.config.critics_train_encoder
        return torch.optim.Adam(parameters, fused=True, amsgrad=amsgrad)


# --- Config ---------------------------------------------------------------------------------------------------------


class SaMIConfig(ContextConfig, EncoderSACConfig):
    """Configuration of the whole family: soft actor-critic with a context encoder and a contrastive objective.

    .. code-block:: python

        from rllib_sami import SaCCMConfig

        config = (
            SaCCMConfig()
            .environment("SaMI/Ant-v0", env_config={"split": "train"})
            .env_runners(num_env_runners=1, num_envs_per_env_runner=8)
            .training(context_dim=6, num_negatives=127)
        )
        algo = config.build_algo()
        algo.train()

    ``CCMConfig``, ``SaTESACConfig`` and ``SaCCMConfig`` differ in ``pairing`` (and ``skill_weight``). In
    ``TESACConfig`` the critics train the encoder, in every update, and contexts are not normalised.
    """

    parts: ClassVar[tuple[type, ...]] = (SamplingConfig, EncoderTrainingConfig)
    groups: ClassVar[tuple[str, ...]] = (SAMI,)
    update_config_class: ClassVar[type[SACUpdateConfig]] = UpdateConfig
    former_defaults: ClassVar[dict[str, Any]] = (
        ContextConfig.former_defaults
        | EncoderSACConfig.former_defaults
        | {"updates_per_batch": 1, "contrast_interval": 1}
    )

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaMI)
        self.encoder_hidden_dim = 64
        self.normalize_context = False

    @property
    def critics_train_encoder(self) -> bool:
        """Whether the critics' loss trains the encoder."""
        return self.encoder_loss != "contrast"

    @property
    @override(ContextConfig)
    def has_contrast(self) -> bool:
        return super().has_contrast and self.encoder_loss != "critic"

    @override(ContextConfig)
    def why_no_contrast(self) -> str:
        return super().why_no_contrast() if self.encoder_loss != "critic" else "`encoder_loss` is 'critic'"

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        number, interval = self.updates_per_batch, self.contrast_interval
        one_each = "`updates_per_batch` and `contrast_interval` to 1 (and `train_episodes` to 6 or so)"
        if max(number, interval) > 1 and self.critics_train_encoder:
            key = "updates_per_batch" if number > 1 else "contrast_interval"
            online = " and `acting_encoder` to 'online'" if self.acting_encoder == "average" else ""
            yield (
                f"`{key}` is {getattr(self, key)}, but `encoder_loss` is {self.encoder_loss!r}: every update of the "
                f"critics trains the encoder and needs new contexts. Set {one_each}{online}, or `encoder_loss` to "
                "'contrast'."
            )
        if number > 1 and self.loss_timesteps is None:
            yield (
                f"`updates_per_batch` is {number}, but `loss_timesteps` is None (all steps), which cannot be divided "
                f"among updates. Set `loss_timesteps` to a number such as 256, or {one_each}."
            )
        if number % interval:
            yield (
                f"`contrast_interval` is {interval}, but must divide `updates_per_batch`, which is {number}. Set "
                f"`updates_per_batch` to {interval} or a multiple of it, or `contrast_interval` to 1."
            )
        if not self.critics_train_encoder and not self.has_contrast:
            yield from self.untrained_encoder("encoder_loss", "'critic'")
        if self.encoder_loss == "both" and not self.has_contrast:
            yield (
                f"`encoder_loss` is 'both', but there is no contrast: {self.why_no_contrast()}. Set `pairing` to "
                "'skill_task', 'skill' or 'task' and `contrast_coeff` above 0, or `encoder_loss` to 'critic'."
            )
        if self.acting_encoder == "average" and self.critics_train_encoder:
            yield (
                "`acting_encoder` is 'average', which needs an encoder that only the contrast trains, but "
                f"`encoder_loss` is {self.encoder_loss!r}. Set `acting_encoder` to 'online' (and `key_encoder_tau` to "
                "0.05), or `encoder_loss` to 'contrast'."
            )

    # --- Settings of earlier versions -------------------------------------------------------------------------------

    @override(BaseConfig)
    def rename_former_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        former = {key: given[key] for key in former_settings(SAMI) if key in given}
        if not former:
            return dict(given)
        for key, value in former.items():
            if not isinstance(value, bool):
                name = "encoder_loss" if key == "encoder_critic_gradient" else "acting_encoder"
                raise WrongSettings(
                    f"`{key}` is {value!r}, but was True or False in earlier versions. Now set `{name}`, which must be "
                    f"{self.settings[name].allowed.words}."
                )
        if former.get("key_encoder") is False:
            raise WrongSettings(
                "`key_encoder` is False, but every SaMI agent has a key encoder now. For a memory without one take "
                "RecurrentSAC."
            )
        rest = {key: value for key, value in given.items() if key not in former}
        todays = todays_sami_settings(former)
        now = ", ".join(f"`{key}={value!r}`" for key, value in todays.items()) or "leave it out"
        names = ", ".join(f"`{key}`" for key in former)
        are = "is a setting" if len(former) == 1 else "are settings"
        warn_once(type(self).__name__, f"{names} {are} of earlier versions: now {now}.", names)
        return todays | rest

    @classmethod
    @override(BaseConfig)
    def migrate_state(cls, state: dict[str, Any]) -> dict[str, Any]:
        migrated = super().migrate_state(state)
        if "acting_encoder" in state:
            return migrated
        return migrated | todays_sami_settings({"averaged_context": False} | state)

    # --- What other parts read from a config ------------------------------------------------------------------------

    @property
    @override(BaseConfig)
    def trains_memory(self) -> bool:
        return self.critics_train_encoder

    @property
    @override(OffPolicyConfig)
    def num_updates_per_batch(self) -> int:
        return self.updates_per_batch

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(sample_updates, config=self.contrast_sampling(SamplingConfig))

    @override(BaseConfig)
    def make_health(self) -> Health:
        return Health([*self.contrast_symptoms, CONTEXTS], self.context_dim, self.normalize_context)

    @override(BaseConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        return super().encoder_updates(learned) / self.contrast_interval

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SaMITorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SaMITorchLearner]:
        return SaMITorchLearner

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"acting_encoder": self.acting_encoder}


# --- Algorithms -----------------------------------------------------------------------------------------------------


class SaMI(EncoderSAC):
    """See :class:`SaMIConfig`."""

    config_class = SaMIConfig

    @override(EncoderSAC)
    def _warn_of_sample(self, sample: dict[str, Any]) -> None:
        super()._warn_of_sample(sample)
        num_episodes = len(self.replay_buffer.store.finished)
        without = self.config.has_contrast and "contrast_rows" not in sample
        if without and num_episodes >= 100 and log_once(f"{self.trial_id}-no-contrast"):
            logger.warning(
                "There is no contrast: none of the %d stored episodes can be paired by `pairing` %r, so the context "
                "encoder gets no contrastive loss. 'task' needs episodes of two meta-tasks, the others two episodes of "
                "one; check the 'task_id' in the environment's reset infos.",
                num_episodes,
                self.config.pairing,
            )
