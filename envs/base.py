"""Base of the environments: which task an episode gets, what ``info`` contains, when an episode ends."""

import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from .checks import check_count, check_switch, suggest
from .factors import Factor
from .tasks import MetaTask, Splits, Task, parse_meta_task, parse_meta_tasks, parse_task
from .text import describe_task, write_lines
from .time_limit import outer_time_limit, spec_with_limit


class MetaTaskEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A Gymnasium environment whose dynamics are drawn at each reset from a list of meta-tasks.

    Resets without options walk through the meta-tasks in order, so that all are visited equally often;
    ``next_task_id`` is the next one. ``reset(options={"task_id": 2})`` pins the meta-task of this episode, and the walk
    continues from there; ``reset(options={"task": {"mass_scale": 1.8}})`` pins the values and does not move the walk. A
    seeded reset restarts the walk where ``next_task_id`` was last set, otherwise at a meta-task drawn with the seed:
    the same seed always gives the same episodes, and different seeds visit different meta-tasks.

    Subclasses declare ``factors``, ``splits`` and ``default_max_steps``, call ``_build_spaces`` in their constructor
    and implement ``_begin_episode``, ``_advance`` and ``_write_observation``.

    Attributes:
        factors: What may differ between tasks.
        splits: Meta-tasks per split name.
        default_max_steps: Steps after which an episode is truncated by default.
        thread_safe: Whether several environments may be stepped in parallel by threads of one process.
        reward_tells_task: Whether only the reward distinguishes the tasks, so that an agent has to observe it.
        notes: Lines that ``render_task`` writes below the task: what others know of the episode.
    """

    factors: ClassVar[tuple[Factor, ...]]
    splits: ClassVar[Splits]
    default_max_steps: ClassVar[int] = 1000
    thread_safe: ClassVar[bool] = True
    reward_tells_task: ClassVar[bool] = False
    notes: Sequence[str] = ()
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
        *,
        render_task: bool = False,
        max_episode_steps: int | None = None,
        **factors: Any,
    ):
        """Checks and stores everything about tasks; loads nothing.

        Args:
            split: Name of a split of this environment; None is ``"train"``, unless ``tasks`` or factors are given.
            tasks: Your own meta-tasks, each a dict from factor name to one value or several.
            max_steps: Environment steps after which an episode is truncated; None is ``default_max_steps``, or the
                limit of a ``TimeLimit`` around the environment, as ``gymnasium.make(..., max_episode_steps=500)`` adds.
            observe_task: Appends the task's values, centred and scaled, to the observation (the oracle baseline).
            render_mode: None or one of ``metadata["render_modes"]``; ``"human"`` needs a display.
            render_task: Writes the task into each image.
            max_episode_steps: Gymnasium's name for ``max_steps``; if both are given, the smaller one applies.
            **factors: Any factor as a keyword, one value or several: they make the only meta-task, with the other
                factors neutral.

        Raises:
            ValueError: An argument is unknown or invalid; the message names it and says what was expected.
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

        default = self.default_max_steps
        limits = {"max_steps": max_steps, "max_episode_steps": max_episode_steps}
        given = [check_count(name, limit, default) for name, limit in limits.items() if limit is not None]
        self.max_steps, self._is_limit_given = min(given, default=default), bool(given)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = self.metadata["render_modes"]
            raise ValueError(f"render_mode={render_mode!r}: expected None or one of {', '.join(map(repr, modes))}.")

        # Vector environments write their autoreset mode into it, and all families would share the class's dict.
        self.metadata = dict(self.metadata)  # type: ignore[misc]
        self.observe_task = check_switch("observe_task", observe_task)
        self.render_mode = render_mode
        self.render_task = check_switch("render_task", render_task)
        self._walk_start: int | None = None  # drawn, unless it is set
        self._next_task_id = 0
        self._task_id = -1
        self._task: Task | None = None
        self._steps_left = 0

    @classmethod
    def writes_rows(cls) -> bool:
        """Whether ``advance`` writes the whole observation, so that a batch of environments can share an array."""
        return cls.step is MetaTaskEnv.step

    @property
    def spec(self) -> EnvSpec | None:
        """The spec from which Gymnasium's ``make`` built it, with the length of its episodes."""
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
        """Meta-task of this episode; -1 for pinned values that none, or more than one, of the meta-tasks allows."""
        return self._task_id

    @property
    def task(self) -> Task | None:
        """Task of this episode; None before the first reset."""
        return self._task

    @property
    def next_task_id(self) -> int:
        """Meta-task of the next reset without options. Setting it also sets where a seeded reset starts the walk."""
        return self._next_task_id

    @next_task_id.setter
    def next_task_id(self, task_id: int) -> None:
        self._next_task_id = self._walk_start = self._check_task_id(task_id, "next_task_id")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the environment's generator and restarts the walk over the meta-tasks where ``next_task_id``
                was last set, otherwise at a meta-task drawn with the seed.
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
        self._steps_left = self.max_steps
        if limit := outer_time_limit(self):
            self._steps_left = min(limit, self.max_steps) if self._is_limit_given else limit
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
        """Advances by one step without allocating arrays: ``step`` for callers that own the observation buffer.

        Args:
            action: Shape ``[action_dim]``.

        Returns:
            Reward, terminated, truncated. The observation is in the array that ``bind_observation`` was last given.
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
        """Makes ``buffer`` the array that observations are written to, e.g. one row of a batch.

        Args:
            buffer: Shape ``[observation_dim]``, float32; the current observation is copied into it.
        """
        buffer[:] = self._buffer
        self._buffer = buffer
        self._bind()

    def _build_spaces(self, bounds: Sequence[float], action_space: gymnasium.spaces.Box) -> None:
        """Sets the spaces and the observation buffer, with room for the oracle's features if ``observe_task``.

        Args:
            bounds: Largest magnitudes of the observation without the task, ``[observation_dim]``.
            action_space: The action space.
        """
        features = sum(len(factor.keys) for factor in self.factors) if self.observe_task else 0
        high = np.array([*bounds, *[np.inf] * features], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = action_space
        self._action_size = action_space.shape[0]
        self._observation_size = len(bounds)
        self._buffer = np.zeros(len(high), dtype=np.float32)
        self._bind()

    def _bind(self) -> None:
        """Takes the views into the buffers that the hot path uses."""
        self._task_features = self._buffer[self._observation_size :]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Creates the views again: pickle and deepcopy turn them into copies."""
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
        """Returns the ``info`` of this episode's reset and, once it is over, of its last step."""
        return {"task_id": self._task_id, "task": dict(self._task_floats)}

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Draws the current state, with the task written into it if ``render_task``.

        Returns:
            An image ``[height, width, 3]`` uint8; None in mode ``"human"``, where ``reset`` and ``step`` update the
            window themselves, and if no ``render_mode`` was given.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() draws only if a render_mode was given to the constructor.")
            return None
        image = self._draw()
        return image if image is None or not self.render_task else write_lines(image, [*self._caption(), *self.notes])

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
    for base in reversed(cls.__mro__):
        if issubclass(base, MetaTaskEnv) and "__init__" in vars(base):
            for parameter in inspect.signature(base).parameters.values():
                if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                    names[parameter.name] = None
    return list(names)
