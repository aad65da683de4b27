"""Settings of the off-policy loop: what is stored, and how often the agent learns from it."""

import sys
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
from rllib_sami.config.names import arguments, check_arguments
from rllib_sami.config.rllib_settings import ARRAY_RUNNER, OFF_POLICY
from rllib_sami.core.compilation import check_compilation
from rllib_sami.core.metric_names import ENV_STEPS
from rllib_sami.core.networks import WITHOUT_ENCODER, ActorCriticConfig, NetworkConfig
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import AT_LEAST_0, SWITCH, Allowed, is_integer, is_number, schedule, setting
from rllib_sami.core.text import nearest_hint
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.replay_buffers.task_episode_replay_buffer import Sampler, TaskEpisodeReplayBuffer

CAPACITY = 400_000


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop."""

    # Many updates while there are few episodes, so that learning starts soon. Later they cost more than they teach.
    updates_per_env_step: Schedule = setting(
        [[0, 0.5], [10_000, 0.5], [20_000, 0.25], [60_000, 0.1]],
        schedule("a number above 0", 1.0, lambda x: x > 0),
        "Gradient updates of actor and critics for each environment step, for any number of env runners; a number or a "
        "schedule. 0.1 is one update every ten steps. A schedule that ends at 0 stops learning there.",
    )
    num_steps_sampled_before_learning_starts: int = setting(
        1_000, AT_LEAST_0, "Environment steps with random actions before the first update."
    )
    overlap_sampling: bool = setting(
        True,
        SWITCH,
        "Whether remote env runners keep sampling while the learners update. They then act with weights that are one "
        "round older; the ratio of updates to steps stays exact. Without remote env runners it changes nothing.",
    )
    replay_buffer_config: dict[str, Any] = setting(
        {"type": "TaskEpisodeReplayBuffer", "capacity": CAPACITY},
        Allowed("a dict", None, " such as {'type': 'TaskEpisodeReplayBuffer', 'capacity': 400_000}"),
        '`type` (`"TaskEpisodeReplayBuffer"`, a subclass or its path), `capacity` in environment steps (each episode '
        "takes one more), and further arguments of a subclass.",
    )
    store_buffer_in_checkpoints: bool = setting(
        True,
        SWITCH,
        "Whether checkpoints contain the replay buffer. Without it, a restored run first fills its buffer again.",
    )
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


class OffPolicyConfig(BaseConfig):
    """Base of configs of algorithms that learn from a replay buffer: sample, store, learn, synchronise."""

    parts: ClassVar[tuple[type, ...]] = (LoopSettings, EvaluationSettings, ActorCriticConfig)
    groups: ClassVar[tuple[str, ...]] = (OFF_POLICY,)
    replay_buffer_config: Any

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.lr = None  # each group of parameters has its own learning rate
        self.grad_clip = None
        self.evaluation(evaluation_duration=5)
        self.env_runner_cls = ArrayEnvRunner
        self.num_envs_per_env_runner = 8
        self.rollout_fragment_length = 25
        self.min_time_s_per_iteration = None  # iterations count steps, so that runs are reproducible
        self.min_sample_timesteps_per_iteration = 1_000

    @override(BaseConfig)
    def training(self, **kwargs):
        if isinstance(given := kwargs.get("replay_buffer_config"), dict):
            kwargs["replay_buffer_config"] = {**self.replay_buffer_config, **given}
        return super().training(**kwargs)

    @override(AlgorithmConfig)
    def evaluation(self, *, evaluation_splits: list[str] | None = NotProvided, **kwargs) -> "OffPolicyConfig":
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
        yield from self._wrong_replay_buffer()
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

    def _wrong_replay_buffer(self) -> Iterator[str]:
        """Messages about ``replay_buffer_config``; also resolves its class."""
        options = self.replay_buffer_config
        if not isinstance(options, dict):
            allowed = self.settings["replay_buffer_config"].allowed
            yield f"`replay_buffer_config` is {options!r}, but must be {allowed.words}{allowed.example}."
            return
        buffer_class = options.get("type", TaskEpisodeReplayBuffer)
        if buffer_class == TaskEpisodeReplayBuffer.__name__:
            buffer_class = TaskEpisodeReplayBuffer
        elif isinstance(buffer_class, str):
            hint = "It must be 'TaskEpisodeReplayBuffer' or the path of a subclass of it."
            try:
                buffer_class = compat.load_class(buffer_class, "replay_buffer_config['type']", hint)
            except ValueError as error:
                yield str(error)
                return
        if not (isinstance(buffer_class, type) and issubclass(buffer_class, TaskEpisodeReplayBuffer)):
            yield (
                f"`replay_buffer_config['type']` is {buffer_class!r}, but must be 'TaskEpisodeReplayBuffer' or a "
                "subclass of it: the updates need whole episodes with their tasks."
            )
            return
        given_by_us = {"obs_dim", "action_dim", "sampler", "seed", "fields", "images"}
        known = sorted({"type", *arguments(buffer_class)} - given_by_us)
        for key in options:
            if key not in known:
                yield (
                    f"`replay_buffer_config` has the key {key!r}, but {buffer_class.__name__} takes {known}"
                    f"{nearest_hint(key, known)}"
                )
        capacity: Any = options.get("capacity", CAPACITY)
        first = self.num_steps_sampled_before_learning_starts
        if not is_integer(capacity) or capacity < max(2, first if is_number(first) else 2):
            yield (
                f"`replay_buffer_config['capacity']` is {capacity!r}, but must be an integer >= "
                f"`num_steps_sampled_before_learning_starts` ({first})."
            )
        self.replay_buffer_config = {**options, "type": buffer_class, "capacity": capacity}

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
    def has_array_runner(self) -> bool:
        """Whether this package's env runner samples, rather than RLlib's or another one."""
        return isinstance(self.env_runner_cls, type) and issubclass(self.env_runner_cls, ArrayEnvRunner)

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

    def make_sampler(self) -> Sampler:
        """Returns the function that draws batches for several updates from the replay buffer."""
        raise NotImplementedError

    def updates_per_draw(self, observation_space: gym.Space) -> int:
        """How many updates' batches are held in memory at once; here as many as a round has."""
        return sys.maxsize

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
