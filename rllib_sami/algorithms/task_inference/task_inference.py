"""``TaskInference``: soft actor-critic that reads the latent of a predictive task encoder, as an RLlib algorithm."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.update import SACUpdateConfig
from rllib_sami.algorithms.task_inference.base import WindowConfig, WindowTorchLearner, WindowTorchRLModule
from rllib_sami.algorithms.task_inference.losses import UNKNOWN_FAMILY
from rllib_sami.algorithms.task_inference.networks import (
    DecoderConfig,
    InferenceEncoderConfig,
    InferenceNetworkConfig,
    InferenceNetworks,
    InferenceTrainingNetworks,
    LatentNetworks,
    noise_dim,
)
from rllib_sami.algorithms.task_inference.sampling import InferenceSampling, sample_inference
from rllib_sami.algorithms.task_inference.update import (
    FAMILY_METRICS,
    InferenceLossFunctions,
    InferenceUpdateConfig,
    inference_update,
    parameter_groups,
)
from rllib_sami.config.rllib_settings import TASK_INFERENCE
from rllib_sami.core.env_values import name_of
from rllib_sami.core.faults import closing
from rllib_sami.core.settings import is_integer
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler


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


class TaskInferenceTorchRLModule(WindowTorchRLModule):
    """Window encoder, policy and classifier of families; for learning also critics, decoders and the latents' prior."""

    network_config_class: ClassVar[type] = InferenceNetworkConfig
    acting_class: ClassVar[type[LatentNetworks]] = InferenceNetworks
    training_class: ClassVar[type[SACTrainingNetworks]] = InferenceTrainingNetworks

    @override(WindowTorchRLModule)
    def make_network_config(self) -> InferenceNetworkConfig:
        config = super().make_network_config()
        return replace(config, families=tuple(config.families))  # which JSON has as a list


class TaskInferenceTorchLearner(WindowTorchLearner):
    """Runs :func:`rllib_sami.algorithms.task_inference.update.inference_update`."""

    groups_function: ClassVar[Any] = staticmethod(parameter_groups)
    update_function: ClassVar[Any] = staticmethod(inference_update)
    loss_functions: ClassVar[InferenceLossFunctions] = InferenceLossFunctions()
    first_loss: ClassVar[str] = "inference"


# --- Config and algorithm -------------------------------------------------------------------------------------------


class TaskInferenceConfig(WindowConfig):
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
    )
    groups: ClassVar[tuple[str, ...]] = (TASK_INFERENCE,)
    update_config_class: ClassVar[type[SACUpdateConfig]] = InferenceUpdateConfig
    decoder_config_class: ClassVar[type] = DecoderConfig
    rl_module_class: ClassVar[type[WindowTorchRLModule]] = TaskInferenceTorchRLModule
    learner_class_of: ClassVar[type[WindowTorchLearner]] = TaskInferenceTorchLearner

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or TaskInference)
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

    @property
    @override(OffPolicyConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        needs = super().environment_needs
        return replace(needs, task_ids="each reset") if self.families.names else needs

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"families": list(self.families.names)}

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        return [*super().learner_metrics, *(FAMILY_METRICS if self.families.names else ())]

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if self.latent_prior != "dpmm":
            reasons["prior_interval"] = f"`latent_prior` is {self.latent_prior!r}, whose prior is fixed"
        if self._families == Families():  # once the environment has been read
            reasons |= dict.fromkeys(("family_coeff", "classify_observation"), "the environment names no families")
        return reasons


class TaskInference(OffPolicyAlgorithm):
    """See :class:`TaskInferenceConfig`."""

    config_class = TaskInferenceConfig
