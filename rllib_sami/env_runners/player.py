"""Plays episodes in lockstep, a chunk at a time, and names the environment that fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from rllib_sami.core.faults import ENVIRONMENT_ERRORS, EnvironmentFaultError, Watch, close_env, named
from rllib_sami.env_runners.episodes import ROWS, Episode, Job, Slot, kept_steps, max_episode_steps

TIMEOUT = "evaluation_sample_timeout_s"


class Turn(Protocol):
    """An episode in progress as an agent sees it; a ``Slot`` of the player is one."""

    @property
    def env(self) -> Any:
        """What has the spaces of observations and actions."""

    @property
    def job(self) -> Job:
        """Its task and the seed of the agent's noise."""

    @property
    def obs(self) -> Any:
        """The newest observation, as the environment gives it."""

    @property
    def info(self) -> dict[str, Any]:
        """The newest info."""

    @property
    def reward(self) -> float:
        """Of the last step, 0 at the start."""


class Agent(Protocol):
    """Something that acts on several episodes at once.

    Attributes:
        explore: Whether it acts with noise, as in training.
        contexts: ``[ROWS, D]``, what the encoder made of the episodes at the last act; None without an encoder.
        spaces: Of the observations and actions of the environments it was trained on; None where it is not known.
    """

    explore: bool
    contexts: np.ndarray | None
    spaces: tuple[gymnasium.Space | None, gymnasium.Space | None]

    def begin(self, slots: Sequence[Turn], rows: np.ndarray) -> None:
        """Takes up new episodes, whose flat observations are in ``rows``, ``[ROWS, O]``."""

    def act(self, slots: Sequence[Turn], live: list[int]) -> Mapping[int, Any] | np.ndarray:
        """Returns an action of the action space for each slot that is ``live``, by its number."""


class Player:
    """Environments of one kind, and the loop that plays on them.

    Args:
        make_env: Makes the environment of a slot.
        alone: Whether one environment has to play all episodes, one after the other.
        name: Of the environment, for messages.
        timeout_s: How long an episode may take in seconds, see :class:`~rllib_sami.core.faults.Watch`; None: any time.
    """

    def __init__(
        self,
        make_env: Callable[[int], gymnasium.Env],
        alone: bool = False,
        name: Any = "",
        timeout_s: float | None = None,
    ):
        self._make_env, self._alone, self._name, self._timeout_s = make_env, alone, name, timeout_s
        self._slots: list[Slot] = []
        self._at: Slot | None = None  # what is reset or stepped
        self._rows = np.zeros((0, 0), np.float32)
        self._playing: Generator[None, None, list[Episode]] | None = None
        self.kept = np.zeros(0, np.int64)

    def play(
        self, agent: Agent, jobs: Sequence[Job], watch: Callable[[int, Slot], None] | None = None
    ) -> list[Episode]:
        """Plays a chunk of jobs.

        Args:
            agent: Who plays.
            jobs: At most ``ROWS``, unless one environment plays all.
            watch: Called with the job's place in the chunk and its slot at the start and after each step.

        Returns:
            An episode for each job.

        Raises:
            EnvironmentFaultError: An environment raised, hangs or has episodes without an end.
        """
        self.begin(agent, jobs, watch)
        episodes = self.go_on()
        assert episodes is not None
        return episodes

    def begin(self, agent: Agent, jobs: Sequence[Job], watch: Callable[[int, Slot], None] | None = None) -> None:
        """Takes up a chunk of jobs, as :meth:`play` does, for :meth:`go_on`."""
        self._at = None
        self._patience = Watch(self._name, self._timeout_s, TIMEOUT, where=lambda: self._at.place if self._at else "")
        self._playing = self._play(agent, jobs, watch)

    def go_on(self, seconds: float = math.inf) -> list[Episode] | None:
        """Plays on for as long in seconds; returns an episode for each job, or None if there is more to play."""
        end = time.monotonic() + seconds
        assert self._playing is not None
        with self._patience:
            while True:
                try:
                    next(self._playing)
                except StopIteration as finished:
                    return finished.value
                if time.monotonic() > end:
                    return None

    def _play(
        self, agent: Agent, jobs: Sequence[Job], watch: Callable[[int, Slot], None] | None
    ) -> Generator[None, None, list[Episode]]:
        groups: Iterator[Sequence[Job]] = iter([[job] for job in jobs] if self._alone else [jobs])
        episodes: list[Episode] = []
        for group in groups:
            episodes += yield from self._play_at_once(agent, group, len(episodes), watch)
        return episodes

    def _play_at_once(
        self, agent: Agent, jobs: Sequence[Job], first: int, watch: Callable[[int, Slot], None] | None
    ) -> Generator[None, None, list[Episode]]:
        """Plays a group of episodes in lockstep; yields after each step."""
        slots = self._take(len(jobs))
        self._patience.allow(max_episode_steps(slots[0].env))
        try:
            for self._at, job in zip(slots, jobs, strict=True):
                self._at.begin(job)
                self._patience.step(0)
        except ENVIRONMENT_ERRORS as error:
            raise self._named(error, "reset") from error
        agent.begin(slots, self._rows)
        kept: list[np.ndarray] = []
        live = list(range(len(slots)))
        keep_at, step = set(self.kept.tolist()), 0
        while live:
            if watch is not None and step == 0:
                _ = [watch(first + index, slots[index]) for index in live]
            actions = agent.act(slots, live)
            if agent.contexts is not None and step in keep_at:
                kept.append(np.where([[not slot.done] for slot in slots], agent.contexts[: len(slots)], np.nan))
            for index in live:
                self._at = slots[index]
                try:
                    self._at.step(actions[index])
                    self._patience.step(step + 1)
                except ENVIRONMENT_ERRORS as error:
                    raise self._named(error, f"step {step + 1}") from error
                if watch is not None:
                    watch(first + index, slots[index])
            step += 1
            still = [index for index in live if not slots[index].done]
            if len(still) < len(live):
                self._patience.episode()
            live = still
            yield
        contexts: list[np.ndarray | None] = [None] * len(slots)
        if agent.contexts is not None:
            # Steps that no episode of the chunk has reached are missing in all.
            width = agent.contexts.shape[1]
            values = np.full((len(slots), len(self.kept), width), np.nan, np.float32)
            values[:, : len(kept)] = np.stack(kept, axis=1)
            contexts = list(values)
        return [slot.result(context) for slot, context in zip(slots, contexts, strict=True)]

    def _named(self, error: BaseException, when: str) -> EnvironmentFaultError:
        return named(error, self._name, f"{self._at.place}, {when}" if self._at else when)

    def _take(self, count: int) -> list[Slot]:
        """Returns as many slots; environments that are there already are used again."""
        while len(self._slots) < count:
            env = self._make_env(len(self._slots))
            if not self._slots:
                size = gymnasium.spaces.flatdim(env.observation_space)
                self._rows = np.zeros((ROWS, size), np.float32)
                self.kept = kept_steps(max_episode_steps(env))
            self._slots.append(Slot(env, self._rows[len(self._slots)]))
            self._patience.step(None)
        self._rows[count:] = 0.0
        return self._slots[:count]

    def close(self) -> None:
        """Closes the environments."""
        for slot in self._slots:
            close_env(slot.env, self._name)
        self._slots = []
