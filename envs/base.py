"""The environment base: which task an episode gets, what ``info`` says, when an episode ends."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from .checks import check_count, check_switch
from .factors import Factor, suggest
from .tasks import MetaTask, Splits, Task, parse_meta_task, parse_meta_tasks, parse_task
from .text import describe_task, write_lines
from .time_limit import limit_outside, spec_with_limit


class MetaTaskEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A Gymnasium environment whose dynamics are drawn at each reset from a list of meta-tasks.

    A reset without options walks the meta-tasks in order, so that all are visited equally often; ``next_task_id``
    says which comes next. ``reset(options={"task_id": 2})`` pins the meta-task of this episode and the walk goes on
    from there; ``reset(options={"task": {"mass_scale": 1.8}})`` pins the values and leaves the walk alone. A seeded
    reset starts the walk again where ``next_task_id`` was last set, else at a meta-task that the seed draws: the same
    seed always gives the same episodes, and different seeds visit different meta-tasks.

    Subclasses declare ``factors``, ``splits`` and ``default_max_steps``, call ``_build_spaces`` in their constructor
    and implement ``_begin_episode``, ``_advance`` and ``_write_observation``.

    Attributes:
        factors: What may differ between tasks.
        splits: Meta-tasks per split name.
        default_max_steps: The usual cap on the episode's length.
        thread_safe: Whether several environments may be stepped at once in threads of one process.
        reward_tells_task: Whether only the reward tells the tasks apart, so that an agent has to observe it.
    """

    factors: ClassVar[tuple[Factor, ...]]
    splits: ClassVar[Splits]
    default_max_steps: ClassVar[int] = 1000
    thread_safe: ClassVar[bool] = True
    reward_tells_task: ClassVar[bool] = False
    _spec: EnvSpec | None = None
    _buffer: np.ndarray
    _task_features: np.ndarray
    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        split: str | None = None,
        tasks: Sequence[Mapping[str, Any]] | None = None,
        max_steps: int | None = None,
        observe_task: bool = False,
        render_mode: str | None = None,
        render_task: bool = False,
        max_episode_steps: int | None = None,
        **factors: Any,
    ):
        """Checks and stores everything that concerns tasks; loads nothing.

        Args:
            split: Name of a split of this environment; None is ``"train"``, unless ``tasks`` or factors are given.
            tasks: Own meta-tasks, each a dict from factor name to one value or several.
            max_steps: Cap on the episode's length, in environment steps; None is the environment's usual one, or the
                limit of the ``TimeLimit`` around it, such as ``gymnasium.make(..., max_episode_steps=500)`` makes.
            observe_task: Appends the task's values, centred and scaled, to the observation (the oracle baseline).
            render_mode: None or one of ``metadata["render_modes"]``.
            render_task: Writes the task into each picture.
            max_episode_steps: ``max_steps`` by Gymnasium's name; of both, the smaller one holds.
            **factors: Any factor as a keyword, one value or several: the only meta-task is then this one, with the
                other factors neutral.

        Raises:
            ValueError: An argument is unknown or impossible; the message names it and says what was expected.
        """
        names = [factor.name for factor in self.factors]
        for name, value in factors.items():
            if name not in names:
                raise ValueError(
                    f"{name}={value!r}: {type(self).__name__} has no such argument or factor. "
                    f"{suggest(name, [*names, *constructor_names(type(self))])}"
                )
        if tasks is not None and factors:
            raise ValueError(
                f"tasks and {next(iter(factors))!r} both set the tasks. Put the factor into the dicts of tasks."
            )
        if split is not None and (tasks is not None or factors):
            other = "tasks" if tasks is not None else next(iter(factors))
            raise ValueError(f"split={split!r} and {other!r} both set the tasks. Leave one of them out, or at None.")
        split = "train" if split is None else split
        if tasks is not None:
            self._tasks, self._split = parse_meta_tasks(self.factors, tasks), "custom"
        elif factors:
            self._tasks, self._split = (parse_meta_task(self.factors, factors, type(self).__name__),), "custom"
        elif isinstance(split, str) and split in self.splits:
            self._tasks, self._split = parse_meta_tasks(self.factors, self.splits[split], f"split {split!r}"), split
        else:
            raise ValueError(f"split={split!r}: {type(self).__name__} has no such split. {suggest(split, self.splits)}")

        caps = {"max_steps": max_steps, "max_episode_steps": max_episode_steps}
        given = [check_count(name, cap, self.default_max_steps) for name, cap in caps.items() if cap is not None]
        self.max_steps, self._is_cap_given = min(given, default=self.default_max_steps), bool(given)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = self.metadata["render_modes"]
            raise ValueError(f"render_mode={render_mode!r}: expected None or one of {', '.join(map(repr, modes))}.")

        # Vector environments write their mode of resetting into it; the class's own is shared by all families.
        self.metadata = dict(self.metadata)  # type: ignore[misc]
        self.observe_task = check_switch("observe_task", observe_task)
        self.render_mode = render_mode
        self.render_task = check_switch("render_task", render_task)
        self._walk_start: int | None = None  # drawn, unless it is set
        self._next_task_id = 0
        self._task_id = -1
        self._task: Task | None = None
        self._steps_left = 0

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium's ``make`` made it from, with the length of its episodes."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec_with_limit(spec, self.max_steps)

    @property
    def tasks(self) -> tuple[MetaTask, ...]:
        """The meta-tasks; the index of each is its ``task_id``."""
        return self._tasks

    @property
    def num_tasks(self) -> int:
        """Number of meta-tasks."""
        return len(self._tasks)

    @property
    def split(self) -> str:
        """Name of the split, ``"custom"`` if tasks or factors were given."""
        return self._split

    @property
    def task_id(self) -> int:
        """Meta-task of this episode; -1 for pinned values that fit none, or more than one, of the meta-tasks."""
        return self._task_id

    @property
    def task(self) -> Task | None:
        """Task of this episode; None before the first reset."""
        return self._task

    @property
    def next_task_id(self) -> int:
        """Meta-task of the next reset without options. Setting it also says where a seeded reset starts the walk."""
        return self._next_task_id

    @next_task_id.setter
    def next_task_id(self, task_id: int) -> None:
        self._next_task_id = self._walk_start = self._check_task_id(task_id, "next_task_id")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the environment's generator and starts the walk over the meta-tasks again, where
                ``next_task_id`` was last set, else at a meta-task that the seed draws.
            options: ``{"task_id": int}`` pins the meta-task, ``{"task": {...}}`` pins the values.

        Returns:
            The observation, and an info dict with ``task_id`` (int) and ``task`` (dict of floats).
        """
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in ("task_id", "task"):
                raise ValueError(f"reset option {name!r} is unknown. {suggest(name, ('task_id', 'task'))}")
        if len(options) == 2:
            raise ValueError("reset options 'task_id' and 'task' exclude each other. Give one of them.")

        if self._walk_start is not None:
            self._next_task_id = self._walk_start if seed is not None else self._next_task_id
        elif seed is not None or self._task is None:
            self._next_task_id = int(self.np_random.integers(self.num_tasks))
        if "task" in options:
            task = parse_task(self.factors, options["task"])
            matches = [index for index, meta_task in enumerate(self._tasks) if meta_task.allows(task)]
            self._task_id = matches[0] if len(matches) == 1 else -1
        else:
            pinned = "task_id" in options
            self._task_id = self._check_task_id(options["task_id"], "task_id") if pinned else self._next_task_id
            self._next_task_id = (self._task_id + 1) % self.num_tasks
            task = self._tasks[self._task_id].sample(self.np_random)
        self._task = task
        self._task_floats = task.as_floats()
        limit = limit_outside(self)
        self._steps_left = limit if limit and not self._is_cap_given else min(limit or self.max_steps, self.max_steps)
        if self.observe_task:
            self._task_features[:] = task.features()
        self._begin_episode(task)
        if self.render_mode == "human":
            self.render()
        return self._observation(), self.episode_info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances by one step.

        Args:
            action: Shape ``[action_dim]``.

        Returns:
            Observation ``[observation_dim]``, reward, terminated, truncated (at ``max_steps``), and an info dict with
            ``task_id``; on the last step of an episode also ``task``.
        """
        reward, terminated, truncated = self.advance(action)
        if terminated or truncated:
            return self._buffer.copy(), reward, terminated, truncated, self.episode_info()
        return self._buffer.copy(), reward, False, False, {"task_id": self._task_id}

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Advances by one step without making anything new: ``step`` for callers that hold the observation's buffer.

        Args:
            action: Shape ``[action_dim]``.

        Returns:
            Reward, terminated, truncated. The observation is in the array last given to ``bind_observation``.
        """
        if self._steps_left <= 0:
            raise ResetNeeded("The episode is over or has not begun. Call reset() before step().")
        if len(action) != self._action_size:
            raise ValueError(f"action has {len(action)} entries; expected {self._action_size}.")
        reward, terminated = self._advance(action)
        if self.render_mode == "human":
            self.render()
        self._steps_left -= 1
        truncated = self._steps_left == 0
        if terminated:
            self._steps_left = 0
        self._write_observation()
        return reward, terminated, truncated

    def bind_observation(self, buffer: np.ndarray) -> None:
        """Makes ``buffer`` the array that observations are written to, e.g. a row of a batch.

        Args:
            buffer: Shape ``[observation_dim]``, float32; takes over the present content.
        """
        buffer[:] = self._buffer
        self._buffer = buffer
        self._bind()

    def _build_spaces(self, low: np.ndarray, high: np.ndarray, action_space: gymnasium.spaces.Box) -> None:
        """Sets the spaces and the observation buffer, with room for the oracle's features where wanted.

        Args:
            low: Lower bounds of the observation without the task, ``[observation_dim]``.
            high: Upper bounds, ``[observation_dim]``.
            action_space: The action space.
        """
        size = len(low)
        features = sum(len(factor.keys) for factor in self.factors) if self.observe_task else 0
        low = np.concatenate([low, np.full(features, -np.inf)]).astype(np.float32)
        high = np.concatenate([high, np.full(features, np.inf)]).astype(np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = action_space
        self._action_size = action_space.shape[0]
        self._observation_size = size
        self._buffer = np.zeros(size + features, dtype=np.float32)
        self._bind()

    def _bind(self) -> None:
        """Takes the views into the buffers that the hot path uses."""
        self._task_features = self._buffer[self._observation_size :]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Creates the views again, since pickle and deepcopy turn them into copies."""
        vars(self).update(state)
        self._bind()

    def _observation(self) -> np.ndarray:
        """Returns the observation as a fresh float32 array ``[observation_dim]``."""
        self._write_observation()
        return self._buffer.copy()

    def _begin_episode(self, task: Task) -> None:
        """Sets the simulator to ``task`` and draws the initial state from ``self.np_random``."""
        raise NotImplementedError

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        """Advances the simulator by one step; returns the reward and whether the episode terminated."""
        raise NotImplementedError

    def _write_observation(self) -> None:
        """Writes the observation without the task's features to the front of ``self._buffer``."""
        raise NotImplementedError

    def episode_info(self) -> dict[str, Any]:
        """Returns what ``info`` says at the first and, once it is reached, at the last step of the present episode."""
        return {"task_id": self._task_id, "task": dict(self._task_floats)}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Draws the current state, with the task written into it if ``render_task``.

        Returns:
            An image ``[height, width, 3]`` uint8; None in mode ``"human"``, which shows a window (``reset`` and
            ``step`` do so of themselves), and if no ``render_mode`` was given.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() draws only if a render_mode was given to the constructor.")
            return None
        image = self._draw()
        return image if image is None or not self.render_task else write_lines(image, self._caption())

    def _caption(self) -> list[str]:
        """Returns the task as lines of text, none before the first reset."""
        return describe_task(self._task) if self._task else []

    def _draw(self) -> np.ndarray | None:
        """Returns an image of the current state, ``[height, width, 3]`` uint8, or shows it and returns None."""
        raise NotImplementedError

    def _check_task_id(self, task_id: Any, name: str) -> int:
        try:
            index = operator.index(task_id)
        except TypeError:
            index = -1
        if isinstance(task_id, bool) or not 0 <= index < self.num_tasks:
            raise ValueError(
                f"{name}={task_id!r}: expected an integer in 0..{self.num_tasks - 1}, "
                f"the meta-tasks of split {self._split!r} of {type(self).__name__}."
            )
        return index


def constructor_names(cls: type) -> list[str]:
    """Returns the names of the keyword arguments of ``cls`` and its bases, factors aside."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if issubclass(base, MetaTaskEnv) and "__init__" in vars(base):
            for parameter in inspect.signature(base).parameters.values():
                if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                    names[parameter.name] = None
    return list(names)
