"""Factors: the quantities that differ between tasks, how their values are written and which are valid."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FactorValue = float | tuple[float, ...]  # tuples of int for sets of parts


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
        neutral: The value if a task does not name the factor: the simulator's own.
        spread: Scale of the oracle's feature ``(value - neutral) / spread``, so that training tasks lie within ±1.
        unit: For error messages and tables.
        bounds: The range of valid values.
        closed: Whether the bounds themselves are valid.
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
        except (TypeError, ValueError, OverflowError):
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
class DirectionFactor(VectorFactor):
    """A direction in the plane: a vector of length one, continuous where an angle would jump."""

    name: str = "direction"
    neutral: FactorValue = (1.0, 0.0)
    spread: float = 1.0
    unit: str = "a direction other than (0, 0)"
    bounds: tuple[float, float] = (-1.0, 1.0)
    closed: bool = True
    components: tuple[str, ...] = ("x", "y")

    def parse(self, value: Any) -> FactorValue:
        """Returns the vector, scaled to length one; raises ValueError for one without a direction."""
        vector: tuple[float, ...] = super().parse(value)  # type: ignore[assignment]
        length = math.hypot(*vector)
        if length == 0.0:
            raise ValueError(f"{self.name}={value!r} is not possible: expected {self.expected}.")
        # One of length one stays as it is to the last bit, so that what info reports reads back the same.
        return vector if abs(length - 1.0) < 1e-9 else tuple(part / length for part in vector)


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
        """Returns one float per part: 1 if it is in the set."""
        return tuple(float(part in value) for part in range(len(self.parts)))  # type: ignore[operator]

    def features(self, value: FactorValue) -> tuple[float, ...]:
        """Returns one feature per part: 1 if it is in the set."""
        return self.floats(value)
