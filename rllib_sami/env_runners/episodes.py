"""Episodes of an evaluation: what is to be played, the one in progress in a slot, and the finished one."""

from __future__ import annotations

import itertools
import math
import numbers
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from rllib_sami.env_runners.tracks import Track, Tracker
from rllib_sami.envs import MetaTaskEnv  # installed from envs/
from rllib_sami.envs.maze import Maze

NUM_SLOTS = 16  # episodes played at once, and the batch size of the networks whether or not there are as many
DEFAULT_MAX_STEPS = 1000  # of environments without a known limit, only to choose the steps at which contexts are kept


@dataclass(frozen=True)
class Goal:
    """A place to reach."""

    obs: np.ndarray  # flat observation there, [O]
    coordinates: np.ndarray  # [k]


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode to play."""

    split: str
    task_id: int | None  # meta-task to set; None if the environment has none or selects them itself
    episode: int  # number of the episode of this task
    seed: int | None  # of the reset; None lets the environment continue after its last episode
    noise_seed: int  # of the agent's noise
    skill: np.ndarray | None = field(default=None, compare=False)  # [d], for agents that have skills; None: drawn
    goal: Goal | None = field(default=None, compare=False)  # for which the skill is chosen at each step


@dataclass
class Episode:
    """A finished episode."""

    spec: EpisodeSpec
    task_id: int | str | None  # number or name of the task in the infos
    task: Mapping[str, float]  # numeric values of the task in the infos, by name
    total: float  # sum of the rewards
    length: int  # steps of the environment; where a step takes several inside, these
    success: bool | None  # None if unknown
    skills: dict[str, str]  # `skill` and `reference_skill`, if the infos name them
    contexts: np.ndarray | None  # [M, D] at `context_steps`, NaN after the end; None if the agent has no context
    # Coordinates from the start on, [actions + 1, k], of episodes with a skill or goal, and in mazes.
    path: np.ndarray | None = None
    values: np.ndarray | None = None  # of the states along the path but the last, [actions]; None where there are none
    track: Track | None = None  # of environments with families of tasks
    # Steps at which sub-tasks were done, infinity for those that were not; empty if the infos do not tell.
    subtasks: Mapping[str, float] = field(default_factory=dict)


def episode_seed(seed: int, split: str, task_id: int, episode: int) -> int:
    """Returns the seed of an episode. It depends on nothing else, so agents can be compared episode by episode.

    It is below 2**31 because some simulators take no larger seeds.
    """
    key = (zlib.crc32(split.encode()), task_id, episode)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0]) & 0x7FFFFFFF


def list_episodes(env: gymnasium.Env, split: str, episodes: int, seed: int) -> tuple[list[EpisodeSpec], bool]:
    """Lists the episodes to play of a split.

    Args:
        env: The environment, with the tasks of the split.
        split: Name of the split.
        episodes: Number of episodes of each meta-task, in an order in which neighbours are of different tasks. If the
            environment cannot be told its next meta-task (attributes ``num_tasks`` and ``next_task_id``), it is the
            total number.
        seed: Seed of the evaluation.

    Returns:
        The episodes, and whether a single environment has to play all of them. That is the case if the environment
        selects its tasks itself: copies of it might all select the same ones.
    """
    accepts_task_ids = env.has_wrapper_attr("next_task_id") and env.has_wrapper_attr("num_tasks")
    tasks: Sequence[int | None] = range(env.get_wrapper_attr("num_tasks")) if accepts_task_ids else [None]
    single_env = not accepts_task_ids and TASK_ID in reset_of(env.reset(seed=seed))[1]
    specs = []
    for number, task in itertools.product(range(episodes), tasks):
        own_seed = episode_seed(seed, split, task or 0, number)
        specs.append(EpisodeSpec(split, task, number, None if single_env and number else own_seed, own_seed))
    return specs, single_env


COORDINATES, SUBTASK_STEPS = "coordinates", "subtask_steps"
ON_INNER_STEP = "on_inner_step"  # attribute of environments that take several steps inside of one


def coordinates_of(env: gymnasium.Env, info: Mapping[str, Any]) -> np.ndarray | None:
    """Returns where an environment's body is, ``[k]``: ``info["coordinates"]`` or its attribute; None without both."""
    if COORDINATES in info:
        found = info[COORDINATES]
    elif env.has_wrapper_attr(COORDINATES):
        found = env.get_wrapper_attr(COORDINATES)
    else:
        return None
    return np.array(found, np.float64).reshape(-1)


def context_steps(max_steps: int | None) -> np.ndarray:
    """Returns the steps ``[M]`` at which contexts are kept: 0, powers of two and every sixteenth of ``max_steps``."""
    limit = max_steps or DEFAULT_MAX_STEPS
    powers = [2**n for n in range(limit.bit_length())]
    return np.unique([step for step in (0, *powers, *(limit * n // 16 for n in range(16))) if step < limit])


def max_episode_steps(env: gymnasium.Env) -> int | None:
    """Returns an environment's limit on episode length in steps; None if it is unknown."""
    limits: list[Any] = [] if env.spec is None else [env.spec.max_episode_steps]
    # The spec of this package's environments is more reliable: there may be a TimeLimit around them.
    if env.has_wrapper_attr("max_steps") and not (limits and isinstance(env.unwrapped, MetaTaskEnv)):
        limits.append(env.get_wrapper_attr("max_steps"))
    # Other environments may use the name for something else.
    known = [int(float(limit)) for limit in limits if isinstance(limit, numbers.Real) and 0 < float(limit) < math.inf]
    return min(known, default=None)


class Slot:
    """One environment and its episode in progress.

    Attributes:
        env: The environment.
        spec: What is played.
        info: Newest info.
        reward: Reward of the last step, 0 at the start.
        done: Whether the episode is over.
        terminated: Whether the environment terminated it.
        length: Number of steps so far.
        inner_steps: The same with all steps inside of them, if a step may take several (``LatentActionEnv``).
        tracker: Keeps the track of the episode.
    """

    def __init__(self, env: gymnasium.Env, flat_obs: np.ndarray):
        """Has the environment write its flat observations to ``flat_obs``, ``[O]``."""
        self.env, self._flat_obs = env, flat_obs
        # Environments of this package, not wrapped, need no copies and no infos.
        self._bare = env if isinstance(env, MetaTaskEnv) and env.writes_rows() else None
        if self._bare is not None:
            self._bare.bind_observation(flat_obs)
        self._has_inner_steps = env.has_wrapper_attr(ON_INNER_STEP)
        self._is_maze = isinstance(env.unwrapped, Maze)
        self.tracker = Tracker(env)

    def reset(self, spec: EpisodeSpec) -> None:
        """Starts an episode."""
        self.spec, self.length, self.inner_steps = spec, 0, 0
        self._reported: dict[str, Any] = {}
        self._task: int | str | None = None  # that of the reset
        if spec.task_id is not None:
            self.env.set_wrapper_attr("next_task_id", spec.task_id)
        self._obs, self.info = reset_of(self.env.reset(seed=spec.seed))
        self._read_info()
        self._task = self._reported.get(TASK_ID)
        has_path = self._is_maze or spec.skill is not None or spec.goal is not None
        self._path: list[np.ndarray] | None = [] if has_path else None
        self._values: list[float] = []
        self._go_on_path()
        self.tracker.begin()
        self.tracker.add(self.info)
        self.reward, self.total = 0.0, 0.0
        check_finite(self._flat_obs, 0.0)
        self.done = self.terminated = False

    def step(self, action: np.ndarray) -> None:
        """Takes a step with an action of the action space."""
        truncated: Any
        if self._bare is not None:
            # As in training: the physics is in double precision.
            self.reward, self.terminated, truncated = self._bare.advance(np.asarray(action, np.float64))
            if self.terminated or truncated:
                self.info = self._bare.episode_info()
                self._read_info()
        else:
            self._obs, self.reward, self.terminated, truncated, self.info = step_of(self.env.step(action))
            self._read_info()
        check_finite(self._flat_obs, self.reward)
        self._go_on_path()
        self.tracker.add(self.info)
        self.total += self.reward
        self.length += 1
        self.inner_steps += self.info.get("env_steps", 1) if self._has_inner_steps else 1
        self.done = bool(self.terminated or truncated)

    @property
    def has_path(self) -> bool:
        """Whether the episode's path is kept."""
        return self._path is not None

    def add_value(self, value: float) -> None:
        """Keeps the agent's value of the present state."""
        self._values.append(float(value))

    def _go_on_path(self) -> None:
        """Adds the present coordinates to the path; environments without any have none."""
        if self._path is not None:
            info = self.info if self._bare is None else {}
            here = coordinates_of(self.env, info)
            if here is None:
                self._path = None
            else:
                self._path.append(here)

    def _read_info(self) -> None:
        """Reads observation and info. The first value of the task counts, of everything else the last one."""
        if self._bare is None:
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                row = self._flat_obs
                row[:] = flat_observation(self._obs, self.env.observation_space, row.shape, row.dtype)
        if TASK_ID in self.info:
            task = task_told(self.info)
            if self._task is not None and task != self._task:
                raise other_task(self.info, self._task)
            self._reported.setdefault(TASK_ID, task)
        for key in ("task", IS_SUCCESS, "skill", "reference_skill", SUBTASK_STEPS):
            if key in self.info and not (key == "task" and key in self._reported):
                self._reported[key] = success_of(self.info) if key == IS_SUCCESS else snapshot(self.info[key])

    @property
    def place(self) -> str:
        """Split, task and episode, for messages."""
        task = self._reported.get(TASK_ID, self.spec.task_id)
        return f"split {self.spec.split}, {'' if task is None else f'task {task}, '}episode {self.spec.episode}"

    @property
    def obs(self) -> Any:
        """Newest observation, as the environment gave it."""
        return self._flat_obs.copy() if self._bare is not None else snapshot(self._obs)

    def result(self, contexts: np.ndarray | None) -> Episode:
        """Returns the finished episode."""
        reported = self._reported
        return Episode(
            spec=self.spec,
            task_id=reported.get(TASK_ID),
            task=_numbers(reported.get("task")),
            total=float(self.total),
            length=self.inner_steps,
            success=reported.get(IS_SUCCESS),
            skills={key: str(reported[key]) for key in ("skill", "reference_skill") if reported.get(key) is not None},
            contexts=contexts,
            path=np.stack(self._path) if self._path else None,
            values=np.array(self._values) if self._values else None,
            track=self.tracker.track(),
            subtasks=_numbers(reported.get(SUBTASK_STEPS)),
        )


def _numbers(told: Any) -> dict[str, float]:
    """Returns the numbers that an info has under a key, by name."""
    values = told.items() if isinstance(told, Mapping) else ()
    return {str(key): float(value) for key, value in values if isinstance(value, numbers.Real)}
