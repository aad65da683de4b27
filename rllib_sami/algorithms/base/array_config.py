"""Settings of algorithms with this package's env runner, networks and learner, whatever they learn from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.config.names import check_arguments
from rllib_sami.config.rllib_settings import ARRAY_RUNNER, OFF_POLICY
from rllib_sami.core.compilation import check_compilation
from rllib_sami.core.metric_names import ENV_STEPS
from rllib_sami.core.networks import WITHOUT_ENCODER, NetworkConfig
from rllib_sami.core.precision import fast_bfloat16
from rllib_sami.core.settings import SWITCH, Allowed, setting
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner

MOST_BYTES_DRAWN = 2**28  # of batches for several updates


@dataclass(frozen=True)
class CompilationSettings:
    """Setting of compiled updates."""

    compile_update: bool = setting(
        False,
        SWITCH,
        "Whether the losses of an update run through `torch.compile`, on a GPU with CUDA graphs. Needs a C++ compiler; "
        "the first update takes up to a minute longer. For GPUs only: on a CPU it saves nothing.",
    )


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of evaluation during training."""

    evaluation_splits: list[str] | None = setting(
        None,
        Allowed(
            "a list of different names such as ['train', 'extreme'], [] for RLlib's own evaluation, or None for the "
            "usual splits of the environment",
            None,
        ),
        'Names of splits of the environment; `"own"` stands for the meta-tasks that its `env_config` asks for. None '
        "means those of train, moderate, extreme and test that an environment of this package has, or the tasks listed "
        "in its `env_config`. For other environments, with a `custom_evaluation_function` and with another "
        "`env_runner_cls`, None means RLlib's own evaluation, as [] always does: `evaluation_duration` episodes of "
        "whatever the environment gives, under `evaluation/env_runners`.",
        method="evaluation",
    )


class ArrayConfig(BaseConfig):
    """Base of configs of algorithms that act with :class:`ArrayEnvRunner` and update several times per call."""

    parts: ClassVar[tuple[type, ...]] = (CompilationSettings, EvaluationSettings)
    groups: ClassVar[tuple[str, ...]] = (OFF_POLICY,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.lr = None  # each group of parameters has its own learning rate
        self.grad_clip = None
        self.evaluation(evaluation_duration=5)
        self.env_runner_cls = ArrayEnvRunner
        self.num_envs_per_env_runner = 8
        self.min_time_s_per_iteration = None  # iterations count steps, so that runs are reproducible

    @override(AlgorithmConfig)
    def evaluation(self, *, evaluation_splits: list[str] | None = NotProvided, **kwargs) -> "ArrayConfig":
        """Sets the configuration of evaluation during training.

        Every evaluation plays the same episodes of each split, those of ``rllib evaluate``: ``evaluation_duration``
        (5) of each meta-task, with seeds that depend only on split, meta-task and number of the episode (and on
        ``seed`` in ``evaluation_config``). Every result has ``evaluation/<split>/return_mean``, ``success_rate`` and
        ``return_by_task/<id>`` of the latest evaluation; NaN before the first one.

        Args:
            evaluation_splits: Names of splits; see :class:`EvaluationSettings`.
            **kwargs: Arguments of ``AlgorithmConfig.evaluation``, such as ``evaluation_interval``,
                ``evaluation_num_env_runners`` and ``evaluation_parallel_to_training``.

        Returns:
            This config.
        """
        check_arguments(self, "evaluation", kwargs)
        super().evaluation(**kwargs)
        if evaluation_splits is not NotProvided:
            self.evaluation_splits = evaluation_splits
        return self

    # --- Checks -----------------------------------------------------------------------------------------------------

    @override(BaseConfig)
    def invalid_values(self) -> Iterator[str]:
        yield from super().invalid_values()
        mode: Any = self.gym_env_vectorize_mode
        if str(getattr(mode, "value", mode)).lower() != gym.VectorizeMode.SYNC.value:  # RLlib before 2.51 says "SYNC"
            yield (
                f"`gym_env_vectorize_mode` is {mode!r}, but must be 'sync': environments are stepped in their runner's "
                "process. Use more env runners (`num_env_runners`) for more processes."
            )
        try:
            if isinstance(self.env_runner_cls, str):
                self.env_runner_cls = compat.load_class(self.env_runner_cls, "env_runner_cls")
        except ValueError as error:
            yield str(error)
        else:
            runner_class = self.env_runner_cls
            if not (isinstance(runner_class, type) and issubclass(runner_class, SingleAgentEnvRunner)):
                yield f"`env_runner_cls` is {runner_class!r}, but must be a SingleAgentEnvRunner."
        yield from self._wrong_evaluation_splits()

    def _wrong_evaluation_splits(self) -> Iterator[str]:
        splits = self.evaluation_splits
        if splits is None:
            return
        are_names = isinstance(splits, list | tuple) and all(isinstance(split, str) and split for split in splits)
        if not are_names or len(set(splits)) < len(splits):
            yield f"`evaluation_splits` is {splits!r}, but must be {self.settings['evaluation_splits'].allowed.words}."
            return
        if splits and not self.can_evaluate_splits:
            other = "`custom_evaluation_function`" if self.custom_evaluation_function else "this `env_runner_cls`"
            yield (
                f"`evaluation_splits` is {splits!r}, but {other} evaluates in its own way. Set `evaluation_splits` to "
                f"[] or leave out {other}."
            )
        if reserved := {compat.ENV_RUNNER_RESULTS, ENV_STEPS} & set(splits):
            yield f"`evaluation_splits` has {min(reserved)!r}, which means something else in the results."
        self.evaluation_splits = list(splits)

    # --- What other parts read from a config ------------------------------------------------------------------------

    @property
    @override(BaseConfig)
    def setting_readers(self) -> frozenset[str]:
        return super().setting_readers | ({ARRAY_RUNNER} if self.has_array_runner else set())

    @property
    @override(BaseConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        return EnvironmentNeeds(scaled_by_rllib=not self.has_array_runner)

    @property
    @override(BaseConfig)
    def can_evaluate_splits(self) -> bool:
        """Whether evaluation is neither the user's own nor left to another env runner."""
        return self.has_array_runner and self.custom_evaluation_function is None

    @property
    def why_array_runner(self) -> str | None:
        """Why no other env runner will do; None if others will."""
        return None

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if self.why_array_runner and not self.has_array_runner:
            yield (
                f"`env_runner_cls` is {self.env_runner_cls.__name__}, but {type(self).__name__.removesuffix('Config')} "
                f"needs ArrayEnvRunner: RLlib's own env runners {self.why_array_runner}. Leave `env_runner_cls` out."
            )

    def updates_within_memory(self, of_update: int) -> int:
        """Returns how many updates' batches may be in memory at once, 1 or more; ``of_update`` is bytes of one."""
        return max(1, MOST_BYTES_DRAWN // (of_update * max(1, self.num_learners)))

    @property
    def has_array_runner(self) -> bool:
        """Whether this package's env runner samples, rather than RLlib's or another one."""
        return isinstance(self.env_runner_cls, type) and issubclass(self.env_runner_cls, ArrayEnvRunner)

    @property
    def counts_inner_steps(self) -> bool:
        """Whether environment steps are those inside a step that takes several, such as those of a skill."""
        return False

    @property
    def num_updates_per_batch(self) -> int:
        """Number of gradient updates that share one batch of the replay buffer."""
        return 1

    @property
    def episode_fields(self) -> dict[str, int]:
        """Widths of further data that the replay buffer stores of each episode, by name."""
        return {}

    @property
    def network_config(self) -> NetworkConfig:
        """Sizes and kinds of the networks."""
        given = {key: getattr(self, key) for key in NetworkConfig.__dataclass_fields__ if key in self.settings}
        return NetworkConfig(**(given if "context_dim" in given else WITHOUT_ENCODER | given))

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | vars(self.network_config)

    def check_machine(self) -> None:
        """Checks that the GPU and the compiler that the settings need are available; takes some seconds.

        Raises:
            ValueError: Naming the setting and what is missing.
        """
        if self.num_learners == 0 and self.num_gpus_per_learner > 0 and not torch.cuda.is_available():
            raise ValueError(
                f"`num_gpus_per_learner` is {self.num_gpus_per_learner}, but torch {torch.__version__} finds no GPU "
                "here. Install torch with CUDA and the GPU's driver, or set `num_gpus_per_learner` to 0."
            )
        on_cpu = self.num_gpus_per_learner == 0
        if on_cpu and getattr(self, "mixed_precision", False) and not fast_bfloat16():
            raise ValueError(
                "`mixed_precision` is True, but this CPU does not compute in bfloat16, which needs AVX-512 or better: "
                "updates would be slower or fail. Set `mixed_precision` to False, or `num_gpus_per_learner` to 1."
            )
        if not self.compile_update:
            return
        try:
            # Remote learners may have a GPU where this process has none.
            check_compilation("cuda" if self.num_gpus_per_learner > 0 and torch.cuda.is_available() else "cpu")
        except RuntimeError as error:
            raise ValueError(
                f"`compile_update` is True, but torch.compile does not work here ({error}). Install a C++ compiler "
                "(g++ or clang++) and Python's headers, or set `compile_update` to False."
            ) from error
