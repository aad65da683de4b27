"""``NeuralProcess``: soft actor-critic that reads the latent of a neural process, as an RLlib algorithm."""

from functools import partial
from typing import Any, ClassVar

from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.update import SACUpdateConfig
from rllib_sami.algorithms.task_inference.base import WindowConfig, WindowTorchLearner, WindowTorchRLModule
from rllib_sami.algorithms.task_inference.networks import LatentNetworks
from rllib_sami.algorithms.task_inference.process import (
    ProcessDecoderConfig,
    ProcessEncoderConfig,
    ProcessLossFunctions,
    ProcessNetworkConfig,
    ProcessNetworks,
    ProcessTrainingNetworks,
    ProcessUpdateConfig,
    parameter_groups,
    process_update,
)
from rllib_sami.algorithms.task_inference.sampling import ProcessSampling, sample_process
from rllib_sami.config.rllib_settings import NEURAL_PROCESS, TASK_INFERENCE
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler


class NeuralProcessTorchRLModule(WindowTorchRLModule):
    """Encoder of transitions and policy; for learning also critics and decoders."""

    network_config_class: ClassVar[type] = ProcessNetworkConfig
    acting_class: ClassVar[type[LatentNetworks]] = ProcessNetworks
    training_class: ClassVar[type[SACTrainingNetworks]] = ProcessTrainingNetworks


class NeuralProcessTorchLearner(WindowTorchLearner):
    """Runs :func:`rllib_sami.algorithms.task_inference.process.process_update`."""

    groups_function: ClassVar[Any] = staticmethod(parameter_groups)
    update_function: ClassVar[Any] = staticmethod(process_update)
    loss_functions: ClassVar[ProcessLossFunctions] = ProcessLossFunctions()
    first_loss: ClassVar[str] = "process"


class NeuralProcessConfig(WindowConfig):
    """Configuration of the neural process.

    An encoder of the last ``window`` transitions learns a latent that predicts other transitions of the same episode.
    A policy, trained by soft actor-critic, reads observation and latent.

    .. code-block:: python

        from rllib_sami import NeuralProcessConfig

        algo = NeuralProcessConfig().environment("Reuse/ToyGoal-v0").build_algo()
    """

    parts: ClassVar[tuple[type, ...]] = (
        ProcessEncoderConfig,
        ProcessDecoderConfig,
        ProcessSampling,
        ProcessUpdateConfig,
    )
    groups: ClassVar[tuple[str, ...]] = (TASK_INFERENCE, NEURAL_PROCESS)
    update_config_class: ClassVar[type[SACUpdateConfig]] = ProcessUpdateConfig
    decoder_config_class: ClassVar[type] = ProcessDecoderConfig
    rl_module_class: ClassVar[type[WindowTorchRLModule]] = NeuralProcessTorchRLModule
    learner_class_of: ClassVar[type[WindowTorchLearner]] = NeuralProcessTorchLearner

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or NeuralProcess)

    @override(OffPolicyConfig)
    def make_sampler(self) -> Sampler:
        return partial(
            sample_process,
            batch_size=self.train_batch_size_per_learner,
            window=self.window,
            predicted_steps=self.predicted_steps,
            latent_samples=self.latent_samples,
            latent_dim=self.latent_dim,
        )


class NeuralProcess(OffPolicyAlgorithm):
    """See :class:`NeuralProcessConfig`."""

    config_class = NeuralProcessConfig
