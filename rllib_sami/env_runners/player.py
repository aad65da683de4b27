"""Plays episodes in lockstep and names the environment that fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from rllib_sami.core.faults import ENVIRONMENT_ERRORS, EnvironmentFaultError, Watch, close_env, named
from rllib_sami.core.images import row_dtype
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.env_runners.episodes import NUM_SLOTS, Episode, EpisodeSpec, Slot, context_steps, max_episode_steps

TIMEOUT = "evaluation_sample_timeout_s"
OnStep = Callable[[int, Slot], None]


class RunningEpisode(Protocol):
    """An episode in progress as an agent sees it, such as that of a ``Slot``."""

    env: Any  # has the observation and action space
    spec: EpisodeSpec
    info: dict[str, Any]  # newest info
    reward: float  # of the last step, 0 at the start

    @property
    def obs(self) -> Any:
        """Newest observation, as the environment gave it."""


class Agent(Protocol):
    """Something that acts in several episodes at once."""

    explore: bool  # whether to act with noise, as in training
    spaces: tuple[gymnasium.Space | None, gymnasium.Space | None]  # observations and actions in training, if known

    @property
    def contexts(self) -> np.ndarray | None:
        """Contexts at the last :meth:`act`, ``[NUM_SLOTS, D]``; None without an encoder."""

    def values(self) -> np.ndarray | None:
        """Values of the states at the last :meth:`act`, ``[NUM_SLOTS]``; None where the agent has none."""

    def inferred_tasks(self) -> Sequence[InferredTask] | None:
        """What was inferred of the tasks at the last :meth:`act`, one for each slot; None if it infers none."""

    def reset(self, episodes: Sequence[RunningEpisode], obs: np.ndarray) -> None:
        """Starts new episodes, whose flat observations are written to ``obs``, ``[NUM_SLOTS, O]``."""

    def act(self, episodes: Sequence[RunningEpisode], live: list[int]) -> Mapping[int, Any] | np.ndarray:
        """Returns an action of the action space for each ``live`` episode, by its index."""


class Player:
    """Environments of one kind, and the loop that plays on them.

    Args:
        make_env: Makes the environment of a slot.
        single_env: Whether one environment has to play all episodes, one after the other.
        name: Name of the environment, for messages.
        timeout_s: How long an episode may take in seconds, see :class:`~rllib_sami.core.faults.Watch`; None: any time.
    """

    def __init__(
        self,
        make_env: Callable[[int], gymnasium.Env],
        single_env: bool = False,
        name: Any = "",
        timeout_s: float | None = None,
    ):
        self._make_env, self._single_env, self._name, self._timeout_s = make_env, single_env, name, timeout_s
        self._slots: list[Slot] = []
        self._active: Slot | None = None  # the one that is reset or stepped
        self._obs = np.zeros((0, 0), np.float32)
        self._context_steps = np.zeros(0, np.int64)

    def play(self, agent: Agent, specs: Sequence[EpisodeSpec], on_step: OnStep | None = None) -> list[Episode]:
        """Plays episodes.

        Args:
            agent: Who plays.
            specs: At most ``NUM_SLOTS`` episodes, unless one environment plays all.
            on_step: Called with the episode's index in ``specs`` and its slot, at the start and after each step.

        Returns:
            The finished episodes, in the order of ``specs``.

        Raises:
            EnvironmentFaultError: An environment raised, hangs or has episodes without an end.
        """
        self.start(agent, specs, on_step)
        episodes = self.resume()
        assert episodes is not None
        return episodes

    def start(self, agent: Agent, specs: Sequence[EpisodeSpec], on_step: OnStep | None = None) -> None:
        """Prepares to play episodes, as :meth:`play` does, with calls of :meth:`resume`."""
        self._active = None
        self._watch = Watch(
            self._name, self._timeout_s, TIMEOUT, where=lambda: self._active.place if self._active else ""
        )
        self._playing = self._play(agent, specs, on_step)

    def resume(self, seconds: float = math.inf) -> list[Episode] | None:
        """Plays for so many seconds; returns the episodes once all are finished, None before."""
        end = time.monotonic() + seconds
        with self._watch:
            while True:
                try:
                    next(self._playing)
                except StopIteration as finished:
                    return finished.value
                if time.monotonic() > end:
                    return None

    def _play(
        self, agent: Agent, specs: Sequence[EpisodeSpec], on_step: OnStep | None
    ) -> Generator[None, None, list[Episode]]:
        episodes: list[Episode] = []
        for batch in [[spec] for spec in specs] if self._single_env else [specs]:
            episodes += yield from self._play_at_once(agent, batch, len(episodes), on_step)
        return episodes

    def _play_at_once(
        self, agent: Agent, specs: Sequence[EpisodeSpec], first: int, on_step: OnStep | None
    ) -> Generator[None, None, list[Episode]]:
        """Plays episodes in lockstep, of which the first one has the index ``first``; yields after each step."""
        slots = self._prepare_slots(len(specs))
        self._watch.allow(max_episode_steps(slots[0].env))
        try:
            for self._active, spec in zip(slots, specs, strict=True):
                self._active.reset(spec)
                self._watch.step(0)
        except ENVIRONMENT_ERRORS as error:
            raise self._named(error, "reset") from error
        agent.reset(slots, self._obs)
        contexts: list[np.ndarray] = []
        live = list(range(len(slots)))
        keep_at, step = set(self._context_steps.tolist()), 0
        while live:
            if on_step is not None and step == 0:
                for index in live:
                    on_step(first + index, slots[index])
            actions = agent.act(slots, live)
            if slots[0].tracker.asks_agent and (inferred := agent.inferred_tasks()) is not None:
                for index in live:
                    slots[index].tracker.infer(inferred[index])
            if slots[0].has_path and (values := agent.values()) is not None:
                for index in live:
                    slots[index].add_value(values[index])
            if step in keep_at and (now := _contexts(agent, slots)) is not None:
                contexts.append(np.where([[not slot.done] for slot in slots], now[: len(slots)], np.nan))
            for index in live:
                self._active = slots[index]
                try:
                    self._active.step(actions[index])
                    self._watch.step(step + 1)
                except ENVIRONMENT_ERRORS as error:
                    raise self._named(error, f"step {step + 1}") from error
                if on_step is not None:
                    on_step(first + index, slots[index])
            step += 1
            if any(slots[index].done for index in live):
                self._watch.episode()
                live = [index for index in live if not slots[index].done]
            yield
        if not contexts:
            return [slot.result(None) for slot in slots]
        # Steps that none of these episodes has reached stay NaN.
        values = np.full((len(slots), len(self._context_steps), contexts[0].shape[1]), np.nan, np.float32)
        values[:, : len(contexts)] = np.stack(contexts, axis=1)
        return [slot.result(of_episode) for slot, of_episode in zip(slots, values, strict=True)]

    def _named(self, error: BaseException, when: str) -> EnvironmentFaultError:
        return named(error, self._name, f"{self._active.place}, {when}" if self._active else when)

    def _prepare_slots(self, count: int) -> list[Slot]:
        """Returns ``count`` slots; existing environments are used again."""
        while len(self._slots) < count:
            env = self._make_env(len(self._slots))
            if not self._slots:
                space = env.observation_space
                self._obs = np.zeros((NUM_SLOTS, gymnasium.spaces.flatdim(space)), row_dtype(space))
                self._context_steps = context_steps(max_episode_steps(env))
            self._slots.append(Slot(env, self._obs[len(self._slots)]))
            self._watch.step(None)
        self._obs[count:] = 0.0
        return self._slots[:count]

    def close(self) -> None:
        """Closes the environments."""
        for slot in self._slots:
            close_env(slot.env, self._name)
        self._slots = []


def _contexts(agent: Agent, slots: Sequence[Slot]) -> np.ndarray | None:
    """Returns the agent's contexts, or the latents of who infers the tasks in the environments, ``[slots or more, D]``.

    None if there are neither.
    """
    contexts = agent.contexts
    if contexts is not None:
        return contexts
    latents = [slot.tracker.latent for slot in slots]
    return None if any(latent is None for latent in latents) else np.stack(latents)  # type: ignore[arg-type]
