"""Settings of the off-policy loop: what is stored, and how often the agent learns from it."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.array_config import ArrayConfig
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.config.names import arguments
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import AT_LEAST_0, SWITCH, Allowed, is_integer, is_number, schedule, setting
from rllib_sami.core.text import nearest_hint
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
        1_000,
        AT_LEAST_0,
        "Environment steps before the first update, with random actions (SkiMo and SPiRL: with the policy, which "
        "begins as the prior).",
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


class OffPolicyConfig(ArrayConfig):
    """Base of configs of algorithms that learn from a replay buffer: sample, store, learn, synchronise."""

    parts: ClassVar[tuple[type, ...]] = (LoopSettings,)
    replay_buffer_config: Any

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.rollout_fragment_length = 25
        self.min_sample_timesteps_per_iteration = 1_000

    @override(BaseConfig)
    def training(self, **kwargs):
        if isinstance(given := kwargs.get("replay_buffer_config"), dict):
            kwargs["replay_buffer_config"] = {**self.replay_buffer_config, **given}
        return super().training(**kwargs)

    # --- Checks -----------------------------------------------------------------------------------------------------

    @override(BaseConfig)
    def invalid_values(self) -> Iterator[str]:
        yield from super().invalid_values()
        yield from self._wrong_replay_buffer()

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
        # Steps inside a step of the agent are not stored.
        least = first if is_number(first) and not self.counts_inner_steps else 2
        if not is_integer(capacity) or capacity < max(2, least):
            yield (
                f"`replay_buffer_config['capacity']` is {capacity!r}, but must be an integer >= "
                f"`num_steps_sampled_before_learning_starts` ({first})."
            )
        self.replay_buffer_config = {**options, "type": buffer_class, "capacity": capacity}

    # --- What other parts read from a config ------------------------------------------------------------------------

    @property
    def makes_up_for_warm_up(self) -> bool:
        """Whether the updates that steps before learning would have had are made once learning starts."""
        return False

    def make_sampler(self) -> Sampler:
        """Returns the function that draws batches for several updates from the replay buffer."""
        raise NotImplementedError

    def updates_per_draw(self, observation_space: gym.Space, action_space: gym.Space) -> int:
        """How many updates' batches are held in memory at once; here as many as a round has."""
        return sys.maxsize
