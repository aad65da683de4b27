"""Families of tasks: a quantity that should get to a value, such as a place or a velocity.

A family is a quantity with a sign; its tasks differ in the value. Rewards are relative errors, so a task of a toy and
one of a robot give the same rewards for the same share of the way: that is what lets an encoder that learned on a toy
infer the tasks of a robot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..base import MetaTaskEnv
from ..checks import check_count, check_switch
from ..factors import Factor
from ..tasks import MetaTask, Splits, Task

UNITS = {"goal": "m", "velocity": "m/s", "stand": "rad", "jump": "m/s"}
NO_FAMILY = -1
SUCCESS_ERROR = 0.25
NUM_TRAIN, NUM_TEST = 80, 40  # meta-tasks of the splits, divided evenly among families


@dataclass(frozen=True)
class Family:
    """Tasks that differ only in the value of one quantity.

    Attributes:
        quantity: What should get to the value: ``"goal"`` (the place along x), ``"velocity"`` along x, ``"stand"``
            (the pitch) or ``"jump"`` (the vertical speed).
        low: Least magnitude of the value.
        high: Largest magnitude.
        sign: 1 or -1, that of the value.
    """

    quantity: str
    low: float
    high: float
    sign: int = 1

    @property
    def name(self) -> str:
        """Quantity and sign, such as ``"goal+"``."""
        return family_name(self.quantity, self.sign)

    def values(self, number: int) -> np.ndarray:
        """Values at equal distances over the whole range."""
        return self.sign * np.linspace(self.low, self.high, number)


def family_name(quantity: str, value: float) -> str:
    """Returns the name of the family that a value of a quantity belongs to."""
    return f"{quantity}{'+' if value > 0 else '-'}"


def quantity_of(family: str) -> str:
    """Returns the quantity that the tasks of a family are about, given the family's name."""
    return family.rstrip("+-")


def both_signs(quantity: str, low: float, high: float) -> tuple[Family, Family]:
    """The families of positive and of negative values."""
    return Family(quantity, low, high), Family(quantity, low, high, sign=-1)


def factors_of(families: Sequence[Family]) -> tuple[Factor, ...]:
    """One factor for each quantity; 0 means that the task is about another one."""
    highest: dict[str, float] = {}
    for family in families:
        highest[family.quantity] = max(family.high, highest.get(family.quantity, 0.0))
    bounds = (-np.inf, np.inf)
    return tuple(
        Factor(name, neutral=0.0, spread=high, unit=UNITS[name], bounds=bounds) for name, high in highest.items()
    )


def splits_of(families: Sequence[Family], num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> Splits:
    """Divides values at equal distances at random among training and test tasks, the same number for each family."""
    train, test = num_train // len(families), num_test // len(families)
    rng = np.random.default_rng(0)
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for family in families:
        values = rng.permutation(family.values(train + test))
        for split, part in (("train", values[:train]), ("test", values[train:])):
            splits[split] += [{family.quantity: float(value)} for value in np.sort(part)]
    return {split: tuple(tasks) for split, tasks in splits.items()}


class TaskFamilyEnv(MetaTaskEnv):
    """An environment whose tasks belong to families: reward ``-|y - w| / |w|``, with the quantity y and its value w.

    A task that gives several quantities a value has the sum of their rewards, and belongs to no family.

    The info of the last step has ``tracking_error``, the mean relative error over the last quarter of the episode, and
    ``is_success``: whether it is below a quarter.

    Attributes:
        families: The families; the index of each is its class.
    """

    reward_tells_task = True
    default_max_steps = 200
    families: ClassVar[tuple[Family, ...]]
    _wanted: Mapping[str, float] = {}
    _errors: list[float]

    def __init__(self, *args: Any, relative_reward: bool = True, task_steps: int | None = None, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            relative_reward: Whether the reward is the relative error; otherwise it is the error itself, as in
                ``Reuse/ToyGoal-v0``.
            task_steps: Steps after which an episode gets another meta-task, which is drawn; None: never. Infos keep
                telling the first one, ``task`` is the present one.
            **kwargs: As for ``MetaTaskEnv``.
        """
        super().__init__(*args, **kwargs)
        self.relative_reward = check_switch("relative_reward", relative_reward)
        self.task_steps = None if task_steps is None else check_count("task_steps", task_steps, None)
        if task_steps is not None and self.num_tasks == 1:
            raise ValueError(f"task_steps={task_steps}: there is no other meta-task to change to. Give several tasks.")

    @property
    def family_names(self) -> tuple[str, ...]:
        """Names of the families, such as ``"goal+"``."""
        return tuple(family.name for family in self.families)

    @property
    def task_families(self) -> tuple[int, ...]:
        """Family of each meta-task, an index into ``family_names``; -1 for those of none, or of several."""
        return tuple(self._family(meta_task) for meta_task in self.tasks)

    def quantity(self, name: str) -> float:
        """Returns the present value of a quantity."""
        raise NotImplementedError

    def tracked_quantity(self) -> tuple[str | None, float, float]:
        """Returns the family of the present task, the present value of its quantity, and the wanted value.

        For tasks about several quantities, or none, it is None and NaN twice.
        """
        if len(self._wanted) != 1:
            return None, np.nan, np.nan
        ((name, wanted),) = self._wanted.items()
        return family_name(name, wanted), self.quantity(name), wanted

    def change_task(self, task_id: int) -> None:
        """Gives the present episode another meta-task, for tasks that change under way.

        The success of the episode is then that in its last task.
        """
        self._task_id = self._check_task_id(task_id, "task_id")
        self._task_floats = self._draw_task(self._task_id).as_floats()

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Advances by one step, after which the task may be another one."""
        outcome = super().advance(action)
        if len(self._errors) == self.task_steps and self._steps_left > 0:
            other = int(self.np_random.integers(self.num_tasks - 1))
            self._draw_task(other + (other >= self._present_id))
        return outcome

    def _begin_episode(self, task: Task) -> None:
        self._present_id = self._task_id
        self._begin_task(task)

    def _draw_task(self, task_id: int) -> Task:
        """Gives the present episode another task."""
        self._present_id, self._task = task_id, self._tasks[task_id].sample(self.np_random)
        if self.observe_task:
            self._task_features[:] = self._task.features()
        self._begin_task(self._task)
        return self._task

    def _begin_task(self, task: Task) -> None:
        self._wanted = {name: task.as_floats()[name] for name in UNITS if task.as_floats().get(name)}
        self._errors = []

    def _reward(self) -> float:
        errors = {name: abs(self.quantity(name) - value) for name, value in self._wanted.items()}
        relative = sum(error / abs(self._wanted[name]) for name, error in errors.items())
        self._errors.append(relative)
        return -relative if self.relative_reward else -float(sum(errors.values()))

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``tracking_error`` and ``is_success``."""
        info = super().episode_info()
        if self._steps_left > 0:
            return info
        error = float(np.mean(self._errors[-max(1, len(self._errors) // 4) :]))
        return info | {"tracking_error": error, "is_success": error < SUCCESS_ERROR}

    def _family(self, meta_task: MetaTask) -> int:
        """Returns the family that all tasks of a meta-task belong to, or -1."""
        about = {name: values for name, values in meta_task.items() if any(values)}
        if not all(all(values) for values in about.values()):  # 0 is the value of a task about something else
            return NO_FAMILY
        names = {family_name(name, value) for name, values in about.items() for value in values}  # type: ignore[arg-type]
        return self.family_names.index(min(names)) if len(names) == 1 and names <= {*self.family_names} else NO_FAMILY
