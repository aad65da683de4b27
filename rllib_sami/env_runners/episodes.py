"""Episodes: which ones are played, on which environments, and what came of them."""

from __future__ import annotations

import itertools
import math
import numbers
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from rllib_sami.core.env_values import (
    IS_SUCCESS,
    TASK_ID,
    check_finite,
    flat_observation,
    other_task,
    reset_of,
    snapshot,
    step_of,
    success_of,
    task_told,
)
from rllib_sami.envs import MetaTaskEnv  # installed from envs/

ROWS = 16  # episodes played at once, and rows of each matrix product whether or not there are as many
USUAL_CAP = 1000  # of environments that do not tell theirs, only to choose the steps at which contexts are kept


@dataclass(frozen=True)
class Job:
    """One episode to play.

    Attributes:
        split: Name of the split.
        task_id: Meta-task to set; None where the environment has none or chooses itself.
        episode: Number of the episode of this task.
        seed: Of the reset; None lets the environment go on from its last episode.
        noise_seed: Of the agent's noise.
    """

    split: str
    task_id: int | None
    episode: int
    seed: int | None
    noise_seed: int


@dataclass
class Episode:
    """What came of a job.

    Attributes:
        job: The job.
        task_id: As the environment told it, a number or a name; None if it did not.
        task: Those of the task's values that are numbers, by name.
        total: Sum of the rewards.
        length: Steps.
        success: Whether it succeeded, where the environment knows.
        skills: ``skill`` and ``reference_skill``, where the environment names them.
        contexts: ``[M, D]`` at the steps kept, NaN after the end; None if the agent has no context.
    """

    job: Job
    task_id: int | str | None
    task: Mapping[str, float]
    total: float
    length: int
    success: bool | None
    skills: dict[str, str]
    contexts: np.ndarray | None


def seed_of(seed: int, split: str, task_id: int, episode: int) -> int:
    """Returns the seed of an episode, which nothing else has a say in: agents can be compared episode by episode.

    It is below 2**31: some simulators take no larger ones.
    """
    key = (zlib.crc32(split.encode()), task_id, episode)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0]) & 0x7FFFFFFF


def jobs_of(env: gymnasium.Env, split: str, episodes: int, seed: int) -> list[Job]:
    """Returns the episodes to play of a split: ``episodes`` of each meta-task, neighbours of different tasks.

    Of an environment that cannot be told its next meta-task (attributes ``num_tasks`` and ``next_task_id``) it is
    ``episodes`` in all, of the tasks that it chooses.
    """
    if walks(env):
        tasks: Sequence[int | None] = range(env.get_wrapper_attr("num_tasks"))
    else:
        tasks = [None]
    chosen_by_env = chooses(env, seed)
    jobs = []
    for number, task in itertools.product(range(episodes), tasks):
        own_seed = seed_of(seed, split, task or 0, number)
        jobs.append(Job(split, task, number, None if chosen_by_env and number else own_seed, own_seed))
    return jobs


def walks(env: gymnasium.Env) -> bool:
    """Returns whether an environment can be told its next meta-task."""
    return env.has_wrapper_attr("next_task_id") and env.has_wrapper_attr("num_tasks")


def chooses(env: gymnasium.Env, seed: int) -> bool:
    """Returns whether an environment has tasks that only itself chooses.

    Copies of it might all choose the same: a single one has to go on from task to task.
    """
    return not walks(env) and TASK_ID in reset_of(env.reset(seed=seed))[1]


def chunks_of(jobs: Sequence[Job], in_one: bool = False) -> list[list[Job]]:
    """Returns the jobs in chunks of up to ``ROWS`` that are equally long, or ``in_one``.

    A chunk is played by one process from beginning to end, so that results depend on no number of processes.
    """
    if in_one:
        return [list(jobs)]
    bounds = np.linspace(0, len(jobs), -(-len(jobs) // ROWS) + 1).astype(int).tolist()
    return [list(jobs[first:end]) for first, end in itertools.pairwise(bounds)]


def kept_steps(cap: int | None) -> np.ndarray:
    """Returns the steps ``[M]`` at which contexts are kept: 0, powers of two and every sixteenth of the cap."""
    cap = cap or USUAL_CAP
    powers = [2**n for n in range(cap.bit_length())]
    return np.unique([step for step in (0, *powers, *(cap * n // 16 for n in range(16))) if step < cap])


def max_episode_steps(env: gymnasium.Env) -> int | None:
    """Returns the cap on an environment's episodes in steps; None if it does not tell."""
    caps: list[Any] = [] if env.spec is None else [env.spec.max_episode_steps]
    # Of environments of this package the spec knows better: there may be a TimeLimit around them.
    if env.has_wrapper_attr("max_steps") and not (caps and isinstance(env.unwrapped, MetaTaskEnv)):
        caps.append(env.get_wrapper_attr("max_steps"))
    # Environments of others may mean much by the name.
    known = [int(float(cap)) for cap in caps if isinstance(cap, numbers.Real) and 0 < float(cap) < math.inf]
    return min(known, default=None)


class Slot:
    """One environment and its episode in progress.

    Attributes:
        env: The environment.
        job: The episode's job.
        reward: Of the last step, 0 at the start.
        done: Whether the episode is over.
        terminated: Whether it was the environment that ended it.
        length: Steps so far.
    """

    def __init__(self, env: gymnasium.Env, row: np.ndarray):
        """Has the environment write its flat observations to ``row``, ``[O]`` float32."""
        self.env, self._row = env, row
        # Environments of this package, not wrapped, do without copies and infos.
        self._bare = env if isinstance(env, MetaTaskEnv) and type(env).step is MetaTaskEnv.step else None
        if self._bare is not None:
            self._bare.bind_observation(row)

    def begin(self, job: Job) -> None:
        """Begins the episode of a job."""
        self.job, self.length = job, 0
        self._told: dict[str, Any] = {}
        self._task: int | str | None = None  # that of the reset
        if job.task_id is not None:
            self.env.set_wrapper_attr("next_task_id", job.task_id)
        self._obs, self.info = reset_of(self.env.reset(seed=job.seed))
        self._note()
        self._task = self._told.get(TASK_ID)
        self.reward, self.total = 0.0, 0.0
        check_finite(self._row, 0.0)
        self.done = self.terminated = False

    def step(self, action: np.ndarray) -> None:
        """Takes a step with an action of the action space."""
        truncated: Any
        if self._bare is not None:
            # As in training: the physics is in double precision.
            self.reward, self.terminated, truncated = self._bare.advance(np.asarray(action, np.float64))
            if self.terminated or truncated:
                self.info = self._bare.episode_info()
                self._note()
        else:
            self._obs, self.reward, self.terminated, truncated, self.info = step_of(self.env.step(action))
            self._note()
        check_finite(self._row, self.reward)
        self.total += self.reward
        self.length += 1
        self.done = bool(self.terminated or truncated)

    def _note(self) -> None:
        """Takes from the info what is told of the episode: of its task the first word stands, else the last."""
        if self._bare is None:
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                self._row[:] = flat_observation(self._obs, self.env.observation_space, self._row.shape)
        if TASK_ID in self.info:
            task = task_told(self.info)
            if self._task is not None and task != self._task:
                raise other_task(self.info, self._task)
            self._told.setdefault(TASK_ID, task)
        for key in ("task", IS_SUCCESS, "skill", "reference_skill"):
            if key in self.info and not (key == "task" and key in self._told):
                self._told[key] = success_of(self.info) if key == IS_SUCCESS else snapshot(self.info[key])

    @property
    def place(self) -> str:
        """Which episode it is at, for messages."""
        task = self._told.get(TASK_ID, self.job.task_id)
        parts = (f"split {self.job.split}", "" if task is None else f"task {task}", f"episode {self.job.episode}")
        return ", ".join(part for part in parts if part)

    @property
    def obs(self) -> Any:
        """The newest observation, as the environment gave it."""
        return self._row.copy() if self._bare is not None else snapshot(self._obs)

    def result(self, contexts: np.ndarray | None) -> Episode:
        """Returns what came of the episode."""
        told, task = self._told, self._told.get("task")
        return Episode(
            job=self.job,
            task_id=told.get(TASK_ID),
            task={
                str(key): float(value)
                for key, value in (task.items() if isinstance(task, Mapping) else ())
                if isinstance(value, numbers.Real)
            },
            total=float(self.total),
            length=self.length,
            success=told.get(IS_SUCCESS),
            skills={key: str(told[key]) for key in ("skill", "reference_skill") if told.get(key) is not None},
            contexts=contexts,
        )
