"""Tasks: what differs between episodes and is not observed.

Three nouns, each a small frozen class:

* ``Factor``: one quantity that may differ (a mass scale, a set of dead joints).
* ``MetaTask``: a set of allowed values per factor; its index in its split is the ``task_id``.
* ``Task``: one value per factor, drawn from a meta-task at reset.
"""

from __future__ import annotations

import difflib
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FactorValue = float | tuple[float, ...]  # tuples of int for sets of parts
Splits = Mapping[str, Sequence[Mapping[str, Any]]]


def suggest(name: object, known: Iterable[str]) -> str:
    """Returns the end of an error message: the known names, and the nearest one if there is any."""
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}Known: {', '.join(known)}."


def is_sequence(value: object) -> bool:
    """Returns whether ``value`` is a list, tuple or array of values (and not one value)."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


@dataclass(frozen=True)
class Factor:
    """A number that may differ between tasks.

    Attributes:
        name: Its key in task dicts and its keyword in the constructor.
        neutral: The value where a task does not name the factor: the simulator as it comes.
        spread: Scale of the oracle's feature ``(value - neutral) / spread``, so that training tasks lie within ±1.
        unit: For error messages and tables.
        bounds: The range of possible values.
        closed: Whether the bounds themselves are possible.
        log: Whether the oracle's feature is ``log(value / neutral) / spread``; for ratios. All values must be > 0.
    """

    name: str
    neutral: FactorValue = 1.0
    spread: float = 0.5
    unit: str = "a multiple of the model's own value"
    bounds: tuple[float, float] = (0.0, math.inf)
    closed: bool = False
    log: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the floats that describe a value in ``info["task"]``."""
        return (self.name,)

    @property
    def neutral_value(self) -> FactorValue:
        """The neutral value in its canonical form."""
        return self.neutral

    @property
    def expected(self) -> str:
        """What a value must be, for error messages."""
        (low, high), equal = self.bounds, "=" if self.closed else ""
        limits = [f" >{equal} {low:g}"] if low > -math.inf else []
        limits += [f" <{equal} {high:g}"] if high < math.inf else []
        return f"a finite number{' and'.join(limits)} ({self.unit}; {self.neutral} by default)"

    def parse(self, value: Any) -> FactorValue:
        """Returns one value in its canonical form; raises ValueError for anything else."""
        number = self._parse_number(value)
        if number is None:
            raise ValueError(
                f"{self.name}={value!r} is not possible: expected {self.expected}. "
                f"Give e.g. {self.name}={self.neutral!r}."
            )
        return number

    def parse_set(self, values: Any) -> tuple[FactorValue, ...]:
        """Returns the allowed values, given one value or a non-empty sequence of values."""
        if not is_sequence(values):
            return (self.parse(values),)
        if len(values) == 0:
            raise ValueError(
                f"{self.name}={values!r} is empty: expected one value or several, each {self.expected}. "
                f"Leave {self.name} out to keep it at {self.neutral!r}."
            )
        return tuple(self.parse(value) for value in values)

    def floats(self, value: FactorValue) -> tuple[float, ...]:
        """Returns the floats that describe ``value``, one per key."""
        return (value,)  # type: ignore[return-value]

    def features(self, value: FactorValue) -> tuple[float, ...]:
        """Returns the oracle's features of ``value``, one per key, of order one on the training split."""
        return (self._feature(value, self.neutral),)  # type: ignore[arg-type]

    def _feature(self, number: float, neutral: float) -> float:
        return (math.log(number / neutral) if self.log else number - neutral) / self.spread

    def _parse_number(self, value: Any) -> float | None:
        """Returns ``value`` as a float, None if it is not a finite number within the bounds."""
        try:
            number = math.nan if isinstance(value, (bool, str)) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        low, high = self.bounds
        inside = low <= number <= high if self.closed else low < number < high
        return number if inside and math.isfinite(number) else None


@dataclass(frozen=True)
class VectorFactor(Factor):
    """Several numbers that vary together (a goal's coordinates, one mass scale per body): a value is a tuple of floats.

    Where several values are allowed, each element is one value: ``((0.0, 1.0), (1.0, 0.0))``. In ``info["task"]`` each
    component is a float of its own, ``goal_x``, ``goal_y``.

    Attributes:
        neutral: One number for all components, or a tuple with one per component.
        components: Names of the components.
    """

    components: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the floats that describe a value."""
        return tuple(f"{self.name}_{component}" for component in self.components)

    @property
    def neutral_value(self) -> FactorValue:
        """The neutral number of each component."""
        return self.neutral if isinstance(self.neutral, tuple) else (self.neutral,) * len(self.components)

    @property
    def expected(self) -> str:
        """What a value must be, for error messages."""
        return f"a tuple of {len(self.components)} numbers ({', '.join(self.components)}), each {super().expected}"

    def parse(self, value: Any) -> FactorValue:
        """Returns the components as a tuple of floats."""
        parts = [self._parse_number(part) for part in value] if is_sequence(value) else []
        numbers = tuple(part for part in parts if part is not None)
        if not len(parts) == len(numbers) == len(self.components):
            raise ValueError(f"{self.name}={value!r} is not possible: expected {self.expected}.")
        return numbers

    def parse_set(self, values: Any) -> tuple[FactorValue, ...]:
        """Returns the allowed values, given one value (a sequence of numbers) or a sequence of values."""
        if is_sequence(values) and len(values) and not any(is_sequence(value) for value in values):
            return (self.parse(values),)
        return super().parse_set(values)

    def floats(self, value: FactorValue) -> tuple[float, ...]:
        """Returns the components."""
        return value  # type: ignore[return-value]

    def features(self, value: FactorValue) -> tuple[float, ...]:
        """Returns one centred and scaled feature per component."""
        return tuple(map(self._feature, value, self.neutral_value))  # type: ignore[arg-type]


@dataclass(frozen=True)
class PartsFactor(Factor):
    """A set of parts of the robot (dead joints or legs, flipped motors): a value is a tuple of indices, ``()`` is none.

    Where several values are allowed, each element is one value: ``(0, (1, 4), ())`` means part 0, or parts 1 and 4,
    or none. In ``info["task"]`` a value becomes one 0/1 float per part, ``cripple_0``, ``cripple_1``, …

    Attributes:
        parts: Names of the parts, in the order of their indices.
    """

    name: str = "cripple"
    neutral: FactorValue = ()
    unit: str = "dead joints"
    parts: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the 0/1 floats that describe a value."""
        return tuple(f"{self.name}_{part}" for part in range(len(self.parts)))

    @property
    def expected(self) -> str:
        """What a value must be, for error messages."""
        names = ", ".join(f"{index} {part}" for index, part in enumerate(self.parts))
        return f"an index or a tuple of different indices in 0..{len(self.parts) - 1} ({names}), or () for none"

    def parse(self, value: Any) -> FactorValue:
        """Returns the parts as a sorted tuple; accepts one index, a sequence of indices, or None."""
        parts = () if value is None else value if is_sequence(value) else (value,)
        try:
            indices = [operator.index(part) for part in parts]
            known = all(0 <= index < len(self.parts) for index in indices)
        except TypeError:
            indices, known = [], False
        if not known or any(isinstance(part, bool) for part in parts) or len(set(indices)) != len(indices):
            raise ValueError(
                f"{self.name}={value!r} is not possible: expected {self.expected}. "
                f"Give e.g. {self.name}=0, or {self.name}=[(0, 1)] for both of two."
            )
        return tuple(sorted(indices))

    def floats(self, value: FactorValue) -> tuple[float, ...]:
        """Returns one float per part: 1 where it is in the set."""
        return tuple(float(part in value) for part in range(len(self.parts)))  # type: ignore[operator]

    def features(self, value: FactorValue) -> tuple[float, ...]:
        """Returns one feature per part: 1 where it is in the set."""
        return self.floats(value)


@dataclass(frozen=True, repr=False)
class Task(Mapping[str, FactorValue]):
    """One value per factor: an immutable mapping from factor name to value.

    Attributes:
        factors: What varies, in the environment's order.
        assignment: One value per factor.
    """

    factors: tuple[Factor, ...]
    assignment: tuple[FactorValue, ...]

    def __getitem__(self, name: str) -> FactorValue:
        for factor, value in zip(self.factors, self.assignment, strict=True):
            if factor.name == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (factor.name for factor in self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def __repr__(self) -> str:
        return f"Task({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def as_floats(self) -> dict[str, float]:
        """Returns the task as a dict of floats, the form of ``info["task"]``; ``parse_task`` reads it back."""
        pairs = zip(self.factors, self.assignment, strict=True)
        return {key: number for f, v in pairs for key, number in zip(f.keys, f.floats(v), strict=True)}

    def features(self) -> list[float]:
        """Returns the oracle's features, one per key of ``as_floats``, centred and scaled."""
        return [feature for f, v in zip(self.factors, self.assignment, strict=True) for feature in f.features(v)]


@dataclass(frozen=True, repr=False)
class MetaTask(Mapping[str, tuple[FactorValue, ...]]):
    """The allowed values per factor: an immutable mapping from factor name to a tuple of values.

    Attributes:
        factors: What varies, in the environment's order.
        allowed: One tuple of allowed values per factor.
    """

    factors: tuple[Factor, ...]
    allowed: tuple[tuple[FactorValue, ...], ...]

    def __getitem__(self, name: str) -> tuple[FactorValue, ...]:
        for factor, values in zip(self.factors, self.allowed, strict=True):
            if factor.name == name:
                return values
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (factor.name for factor in self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def __repr__(self) -> str:
        return f"MetaTask({', '.join(f'{name}={values!r}' for name, values in self.items())})"

    def sample(self, rng: np.random.Generator) -> Task:
        """Draws one value per factor, each uniformly and independently."""
        return Task(self.factors, tuple(values[rng.integers(len(values))] for values in self.allowed))

    def allows(self, task: Task) -> bool:
        """Returns whether ``task`` could have been drawn from this meta-task."""
        return all(value in values for value, values in zip(task.assignment, self.allowed, strict=True))


def parse_task(factors: tuple[Factor, ...], values: Mapping[str, Any]) -> Task:
    """Reads a task from a mapping of factor names to one value each.

    Args:
        factors: What can vary.
        values: A value per factor, or the floats of ``info["task"]``; factors left out are neutral.

    Raises:
        ValueError: A name is unknown or a value impossible.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"task={values!r}: expected a dict such as {{{factors[0].name!r}: {factors[0].neutral!r}}}.")
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
        factors: What can vary.
        values: Allowed values per factor; factors left out are neutral.
        where: Place of the meta-task, for error messages.

    Raises:
        ValueError: A name is unknown or a value impossible.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}={values!r}: expected a dict such as {{{factors[0].name!r}: (0.75, 0.85)}}.")
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
