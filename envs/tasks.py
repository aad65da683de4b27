"""Tasks: what differs between episodes and is not observed.

Three nouns, each a small frozen class:

* ``Factor``: one quantity that differs between tasks (a mass scale, a set of dead joints).
* ``MetaTask``: a set of allowed values per factor; its index in its split is the ``task_id``.
* ``Task``: one value per factor, drawn from a meta-task at reset.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .checks import suggest
from .factors import Factor, FactorValue, PartsFactor, is_sequence

Splits = Mapping[str, Sequence[Mapping[str, Any]]]
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class _FactorMapping(Mapping[str, T]):
    """An immutable mapping from the names of ``self.factors``, in their order."""

    factors: tuple[Factor, ...]

    def __iter__(self) -> Iterator[str]:
        return (factor.name for factor in self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"


@dataclass(frozen=True, repr=False)
class Task(_FactorMapping[FactorValue]):
    """One value per factor, by name.

    Attributes:
        factors: The environment's factors, in order.
        assignment: One value per factor.
    """

    assignment: tuple[FactorValue, ...]

    def __getitem__(self, name: str) -> FactorValue:
        return dict(zip(self, self.assignment, strict=True))[name]

    def as_floats(self) -> dict[str, float]:
        """Returns the task as a dict of floats, the form of ``info["task"]``; ``parse_task`` reads it back."""
        pairs = zip(self.factors, self.assignment, strict=True)
        return {key: number for f, v in pairs for key, number in zip(f.keys, f.floats(v), strict=True)}

    def features(self) -> list[float]:
        """Returns the oracle's features, one per key of ``as_floats``, centred and scaled."""
        return [feature for f, v in zip(self.factors, self.assignment, strict=True) for feature in f.features(v)]


@dataclass(frozen=True, repr=False)
class MetaTask(_FactorMapping[tuple[FactorValue, ...]]):
    """A tuple of allowed values per factor, by name.

    Attributes:
        factors: The environment's factors, in order.
        allowed: One tuple of allowed values per factor.
    """

    allowed: tuple[tuple[FactorValue, ...], ...]

    def __getitem__(self, name: str) -> tuple[FactorValue, ...]:
        return dict(zip(self, self.allowed, strict=True))[name]

    def sample(self, rng: np.random.Generator) -> Task:
        """Draws one value per factor, each uniformly and independently."""
        return Task(self.factors, tuple(values[rng.integers(len(values))] for values in self.allowed))

    def allows(self, task: Task) -> bool:
        """Returns whether ``task`` could have been drawn from this meta-task."""
        return all(value in values for value, values in zip(task.assignment, self.allowed, strict=True))


def parse_task(factors: tuple[Factor, ...], values: Mapping[str, Any]) -> Task:
    """Reads a task from a mapping of factor names to one value each.

    Args:
        factors: The environment's factors.
        values: A value per factor, or the floats of ``info["task"]``; factors left out are neutral.

    Raises:
        ValueError: A name is unknown or a value invalid.
    """
    if not isinstance(values, Mapping):
        example = {factors[0].name: factors[0].neutral} if factors else {}
        raise ValueError(f"task={values!r}: expected a dict such as {example}.")
    remaining = dict(values)
    parsed = []
    for factor in factors:
        if factor.name in remaining:
            value = factor.parse(remaining.pop(factor.name))
        elif given := [key for key in factor.keys if key in remaining]:
            value = _from_floats(factor, {key: remaining.pop(key) for key in given})
        else:
            value = factor.neutral_value
        parsed.append(value)
    _reject_unknown(remaining, factors, "task")
    return Task(factors, tuple(parsed))


def parse_meta_task(factors: tuple[Factor, ...], values: Mapping[str, Any], where: str = "tasks[0]") -> MetaTask:
    """Reads a meta-task from a mapping of factor names to one value or a sequence of allowed values.

    Args:
        factors: The environment's factors.
        values: Allowed values per factor; factors left out are neutral.
        where: Name of the meta-task in error messages.

    Raises:
        ValueError: A name is unknown or a value invalid.
    """
    if not isinstance(values, Mapping):
        example = {factors[0].name: (0.75, 0.85)} if factors else {}
        raise ValueError(f"{where}={values!r}: expected a dict such as {example}.")
    _reject_unknown(values, factors, where)
    try:
        parsed = tuple(f.parse_set(values[f.name]) if f.name in values else (f.neutral_value,) for f in factors)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return MetaTask(factors, parsed)


def parse_meta_tasks(factors: tuple[Factor, ...], tasks: Any, where: str = "tasks") -> tuple[MetaTask, ...]:
    """Reads a non-empty list of meta-tasks; the index of each is its ``task_id``."""
    if not is_sequence(tasks):
        raise ValueError(f"{where}={tasks!r}: expected a list of dicts, one per meta-task.")
    if len(tasks) == 0:
        raise ValueError(f"{where} is empty: expected at least one meta-task. E.g. {where}=[{{}}] is the neutral one.")
    return tuple(parse_meta_task(factors, task, f"{where}[{index}]") for index, task in enumerate(tasks))


def grid(**pools: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Returns the cross product of allowed-value sets as meta-tasks; the first factor varies slowest.

    Example: ``grid(mass_scale=[(0.75, 0.85), (1.0,)], damping_scale=[(1.0,), (1.15, 1.25)])`` gives four meta-tasks.
    """
    return tuple(dict(zip(pools, sets, strict=True)) for sets in itertools.product(*pools.values()))


def polar(radius: float, degrees: float) -> tuple[float, float]:
    """Returns x and y of a point in the plane, rounded to 12 digits so that the axes' zeros are zeros."""
    angle = math.radians(degrees)
    return round(radius * math.cos(angle), 12) + 0.0, round(radius * math.sin(angle), 12) + 0.0


def _from_floats(factor: Factor, given: Mapping[str, Any]) -> FactorValue:
    """Reads a value of several components back from the floats of ``info["task"]``."""
    if isinstance(factor, PartsFactor):
        for key, flag in given.items():
            if flag not in (0, 1):
                raise ValueError(f"{key}={flag!r} is not possible: expected 0 or 1 (1 is in the set).")
        return tuple(part for part, key in enumerate(factor.keys) if given.get(key))
    neutral = factor.floats(factor.neutral_value)
    return factor.parse([given.get(key, part) for key, part in zip(factor.keys, neutral, strict=True)])


def _reject_unknown(values: Iterable[str], factors: tuple[Factor, ...], where: str) -> None:
    names = [factor.name for factor in factors]
    for name in values:
        if name not in names:
            raise ValueError(f"{where}: {name!r} is not a factor of this environment. {suggest(name, names)}")
