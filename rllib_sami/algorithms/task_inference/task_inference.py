"""``TaskInference``: soft actor-critic that reads the latent of a predictive task encoder, as an RLlib algorithm."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.base.health import CONTEXTS, Health
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.sac.sac import SACTorchLearner, SACTorchRLModule, SoftActorCriticConfig
from rllib_sami.algorithms.sac.update import CONTEXT_STD, SACUpdateConfig
from rllib_sami.algorithms.task_inference.losses import UNKNOWN_FAMILY
from rllib_sami.algorithms.task_inference.networks import (
    DecoderConfig,
    InferenceEncoderConfig,
    InferenceNetworkConfig,
    InferenceNetworks,
    InferenceTrainingNetworks,
    noise_dim,
)
from rllib_sami.algorithms.task_inference.sampling import InferenceSampling, sample_inference
from rllib_sami.algorithms.task_inference.update import (
    FAMILY_METRICS,
    INFERENCE_METRICS,
    InferenceLossFunctions,
    InferenceUpdateConfig,
    inference_update,
    parameter_groups,
)
from rllib_sami.config.rllib_settings import TASK_INFERENCE
from rllib_sami.core.env_values import TaskIdRule, name_of
from rllib_sami.core.faults import closing
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, is_integer, setting, settings_of
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler

MOST_BYTES_DRAWN = 2**28  # of batches that are in memory at once


@dataclass(frozen=True)
class InferenceLearningRate:
    """Learning rate of what infers the task."""

    encoder_lr: Schedule = setting(
        1e-3, LEARNING_RATE, "Learning rate (or schedule) of encoder, decoders and classifier."
    )


@dataclass(frozen=True)
class Families:
    """The families of an environment's tasks.

    Attributes:
        names: Their names.
        of_tasks: Family of each meta-task, an index into the names, or ``UNKNOWN_FAMILY``.
    """

    names: tuple[str, ...] = ()
    of_tasks: tuple[int, ...] = ()


def families_of(env: gym.Env, name: Any) -> Families:
    """Reads ``family_names`` and ``task_families`` of an environment, if it has them.

    Raises:
        ValueError: They do not fit each other.
    """
    keys = ("family_names", "task_families")
    having = [key for key in keys if env.has_wrapper_attr(key)]
    if not having:
        return Families()
    if len(having) == 1:
        raise ValueError(f"The environment {name!r} has `{having[0]}` alone, but must have {' and '.join(keys)}.")
    names, of_tasks = (env.get_wrapper_attr(key) for key in keys)
    if isinstance(names, str) or not names or not all(isinstance(one, str) for one in names):
        raise ValueError(f"`family_names` of {name!r} is {names!r}, but must be a sequence of names.")
    wrong = [one for one in of_tasks if not is_integer(one) or not UNKNOWN_FAMILY <= one < len(names)]
    if wrong or not len(of_tasks):
        raise ValueError(
            f"`task_families` of {name!r} has {wrong[0] if wrong else 'no number'}, but must have the family of each "
            f"task: an integer from 0 to {len(names) - 1}, or {UNKNOWN_FAMILY} for none."
        )
    return Families(tuple(names), tuple(int(one) for one in of_tasks))


# --- RLModule and learner -------------------------------------------------------------------------------------------


class TaskInferenceTorchRLModule(SACTorchRLModule):
    """Window encoder, policy and classifier of families; for learning also critics, decoders and the latents' prior.

    The window of the last transitions is the recurrent state, so a batch needs the previous ``rewards`` ``[B]``.
    """

    acting: Any  # InferenceNetworks
    # What a checkpoint must share with the algorithm that it is restored into.
    network_settings: ClassVar[list[str]] = ["decoder_hidden", *(one.name for one in fields(InferenceNetworkConfig))]
    former_acting_settings: ClassVar[dict[str, Any]] = {}

    @classmethod
    @override(OffPolicyTorchRLModule)
    def names_of_acting_settings(cls, given: Mapping[str, Any]) -> set[str]:
        return {field.name for field in fields(InferenceNetworkConfig)}

    @override(OffPolicyTorchRLModule)
    def make_network_config(self) -> InferenceNetworkConfig:
        names = [field.name for field in fields(InferenceNetworkConfig)]
        given = {name: self.model_config[name] for name in names if name in self.model_config}
        return InferenceNetworkConfig(**given | {"families": tuple(given.get("families", ()))})

    @override(OffPolicyTorchRLModule)
    def make_acting_networks(self) -> InferenceNetworks:
        obs_dim, action_dim = (int(np.prod(space.shape)) for space in (self.observation_space, self.action_space))
        return InferenceNetworks(obs_dim, action_dim, self.network_config)

    @override(SACTorchRLModule)
    def make_training_networks(self) -> InferenceTrainingNetworks:
        return InferenceTrainingNetworks(self.acting, dict(self.model_config))


class TaskInferenceTorchLearner(SACTorchLearner):
    """Runs :func:`rllib_sami.algorithms.task_inference.update.inference_update`."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = {"encoder": "encoder_lr"} | SACTorchLearner.LEARNING_RATE_OF
    groups_function: ClassVar[Any] = staticmethod(parameter_groups)
    update_function: ClassVar[Any] = staticmethod(inference_update)
    loss_functions: ClassVar[InferenceLossFunctions] = InferenceLossFunctions()
    first_loss: ClassVar[str] = "inference"


# --- Config and algorithm -------------------------------------------------------------------------------------------


class TaskInferenceConfig(SoftActorCriticConfig):
    """Configuration of task inference by prediction.

    An encoder of the last ``window`` transitions learns a latent that predicts rewards and observations of the whole
    episode. A policy, trained by soft actor-critic, reads observation and latent. If the environment names families
    of tasks (``family_names`` and ``task_families``), the family is predicted too.

    .. code-block:: python

        from rllib_sami import TaskInferenceConfig

        algo = TaskInferenceConfig().environment("Reuse/Toy-v0").build_algo()
    """

    parts: ClassVar[tuple[type, ...]] = (
        InferenceEncoderConfig,
        DecoderConfig,
        InferenceSampling,
        InferenceUpdateConfig,
        InferenceLearningRate,
    )
    groups: ClassVar[tuple[str, ...]] = (TASK_INFERENCE,)
    update_config_class: ClassVar[type[SACUpdateConfig]] = InferenceUpdateConfig

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or TaskInference)
        self._train_batch_size_per_learner = 256
        self.updates_per_env_step = 0.1
        self._families: Families | None = None  # once the environment has been read

    @property
    def families(self) -> Families:
        """The environment's families of tasks."""
        if self._families is None and self.env is not None:  # no algorithm has checked the environment yet
            with closing(compat.env_creator(self, worker_index=0, slot=0)(), name_of(self.env)) as env:
                self.read_environment(env)
        return self._families or Families()

    @override(BaseConfig)
    def read_environment(self, env: gym.Env) -> None:
        # An algorithm's config is frozen.
        self.__dict__["_families"] = families_of(env, name_of(self.env))

    @override(AlgorithmConfig)
    def environment(self, *args, **kwargs) -> "TaskInferenceConfig":
        self._families = None
        return super().environment(*args, **kwargs)

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(
            sample_inference,
            batch_size=self.train_batch_size_per_learner,
            window=self.window,
            predicted_steps=self.predicted_steps,
            noise_dim=noise_dim(self),
            task_families=self.families.of_tasks,
        )

    @override(OffPolicyConfig)
    def updates_per_draw(self, observation_space: gym.Space) -> int:
        row = 4 * gym.spaces.flatdim(observation_space) + 100  # bytes, with room for action, reward, noise and index
        of_update = row * self.train_batch_size_per_learner * (self.window + 2 + 2 * self.predicted_steps)
        return max(1, MOST_BYTES_DRAWN // (of_update * max(1, self.num_learners)))

    @property
    @override(OffPolicyConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        rule: TaskIdRule = "each reset" if self.families.names else "each reset or none"
        return replace(super().environment_needs, task_ids=rule)

    @property
    @override(OffPolicyConfig)
    def network_config(self) -> Any:
        names = [field.name for field in fields(InferenceNetworkConfig)]
        return InferenceNetworkConfig(**{name: getattr(self, name) for name in names if name in self.settings})

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        of_learning = {name: getattr(self, name) for name in settings_of(DecoderConfig)}
        return super()._model_config_auto_includes | of_learning | {"families": list(self.families.names)}

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=TaskInferenceTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[TaskInferenceTorchLearner]:
        return TaskInferenceTorchLearner

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        of_families = FAMILY_METRICS if self.families.names else ()
        return [*super().learner_metrics, CONTEXT_STD, *INFERENCE_METRICS, *of_families]

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if not self.has_array_runner:
            yield (
                f"`env_runner_cls` is {self.env_runner_cls.__name__}, but TaskInference needs ArrayEnvRunner: RLlib's "
                "own env runners pass no rewards to the module, which its encoder reads. Leave `env_runner_cls` out."
            )

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if self.latent_prior != "dpmm":
            reasons["prior_interval"] = f"`latent_prior` is {self.latent_prior!r}, whose prior is fixed"
        return reasons

    @override(BaseConfig)
    def make_health(self) -> Health:
        return Health([CONTEXTS], self.latent_dim, False)

    @override(BaseConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        return learned.get(NUM_UPDATES_LIFETIME, 0)


class TaskInference(OffPolicyAlgorithm):
    """See :class:`TaskInferenceConfig`."""

    config_class = TaskInferenceConfig
