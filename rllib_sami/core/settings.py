"""Settings, each declared once, beside the code that reads it: its default, the values it takes and what it means.

.. code-block:: python

    @dataclass(frozen=True)
    class ContrastConfig:
        temperature: float = setting(0.1, number("a number above 0", lambda x: x > 0), "What scores are divided by.")

The config of an algorithm is made of such dataclasses: it takes its fields, their checks and their documentation from
:func:`settings_of`. Fields that are not declared with :func:`setting` are no settings.
"""

import copy
import dataclasses
import itertools
import math
import numbers
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rllib_sami.core.text import nearest_hint


@dataclass(frozen=True)
class Allowed:
    """The values that a setting takes.

    Attributes:
        words: A description that continues "must be".
        holds: Whether a value is allowed; None if the config checks it in another way.
        example: An example for messages, after the description.
        choices: The values, if they are names.
    """

    words: str
    holds: Callable[[Any], bool] | None
    example: str = ""
    choices: tuple[str | None, ...] = ()

    def refusal(self, name: str, value: Any) -> str | None:
        """The message that refuses a value; None if it is allowed."""
        if self.holds is None or self.holds(value):
            return None
        hint = nearest_hint(value, [choice for choice in self.choices if choice])
        return f"`{name}` is {value!r}, but must be {self.words}{self.example}{hint}"

    def or_none(self) -> "Allowed":
        """The same values, or None."""
        return self._or(None)

    def or_auto(self) -> "Allowed":
        """The same values, or ``"auto"``."""
        return self._or("auto")

    def _or(self, other: str | None) -> "Allowed":
        holds = self.holds
        may_be = holds and (lambda x: (x is None if other is None else x == other) or holds(x))
        return Allowed(f"{self.words}, or {other!r}", may_be, self.example)


@dataclass(frozen=True)
class Setting:
    """One setting of an algorithm.

    Attributes:
        name: Its name.
        type: The type of its values.
        default: Its default, unless an algorithm has another one.
        allowed: The values that it takes.
        meaning: What it does, in a sentence or two, and the range worth trying.
        method: The method of a config that sets it.
    """

    name: str
    type: Any
    default: Any
    allowed: Allowed
    meaning: str
    method: str = "training"


def setting(default: Any, allowed: Allowed, meaning: str, method: str = "training") -> Any:
    """Declares a field of a dataclass as a setting; see the module's docstring."""
    metadata = {"allowed": allowed, "meaning": meaning, "method": method}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(*parts: type) -> dict[str, Setting]:
    """The settings of dataclasses, by name."""
    found = {}
    for part in parts:
        for field in dataclasses.fields(part):
            if field.metadata:
                made = field.default_factory
                default = field.default if made is dataclasses.MISSING else made()
                found[field.name] = Setting(field.name, field.type, default, **field.metadata)
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are not."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False


def is_integer(value: Any) -> bool:
    """Whether a value is an integer; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


# --- Values that settings take --------------------------------------------------------------------------------------


def number(words: str, holds: Callable[[Any], bool]) -> Allowed:
    """Finite numbers for which ``holds`` is true."""
    return Allowed(words, lambda x: is_number(x) and holds(x))


def integer(least: int) -> Allowed:
    """Integers >= ``least``."""
    return Allowed(f"an integer >= {least}", lambda x: is_integer(x) and x >= least)


def one_of(choices: Collection[str | None]) -> Allowed:
    """One of several names; messages list them and name the nearest one."""
    return Allowed(
        f"one of {list(choices)}", lambda x: isinstance(x, str | None) and x in choices, choices=tuple(choices)
    )


def schedule(words: str, example: float, holds: Callable[[Any], bool]) -> Allowed:
    """Numbers for which ``holds`` is true, and schedules of them; the last number of a schedule may be 0."""

    def is_schedule(value: Any) -> bool:
        points = value if isinstance(value, list | tuple) else [[0, value], [1, value]]
        pairs = [point for point in points if isinstance(point, list | tuple) and len(point) == 2]
        if len(points) < 2 or len(pairs) < len(points) or not all(is_number(x) for pair in pairs for x in pair):
            return False
        steps, rates = zip(*pairs, strict=True)
        rise = steps[0] == 0 and all(one < next_one for one, next_one in itertools.pairwise(steps))
        return rise and all(map(holds, rates[:-1])) and (holds(rates[-1]) or rates[-1] == 0)

    pairs = "a schedule of [environment steps, value] pairs whose steps begin at 0 and rise"
    return Allowed(f"{words}, or {pairs}", is_schedule, f", such as [[0, {example}], [1_000_000, {example / 10}]]")


SWITCH = Allowed("True or False", lambda x: isinstance(x, bool))
LAYER_SIZES = Allowed(
    "a list of layer sizes",
    lambda x: isinstance(x, list | tuple) and bool(x) and all(is_integer(size) and size >= 1 for size in x),
    " such as [256, 256]",
)
CONVOLUTIONS = Allowed(
    "a list of [channels, kernel, stride]",
    lambda x: (
        isinstance(x, list | tuple) and bool(x) and all(not LAYER_SIZES.refusal("", y) and len(y) == 3 for y in x)
    ),
    " such as [[48, 4, 2], [96, 4, 2]]",
)
RATE = number("a number in (0, 1]", lambda x: 0 < x <= 1)
TARGET_ENTROPY = schedule("a number", -1.0, lambda x: True).or_auto()
LEARNING_RATE = schedule("a number of at least 0", 1e-3, lambda x: x >= 0)
AT_LEAST_0 = number("a number of at least 0", lambda x: x >= 0)
ABOVE_0 = number("a number above 0", lambda x: x > 0)


def taken(cls: Any, given: Mapping[str, Any]) -> Any:
    """Makes a dataclass from those of the given values that are its fields."""
    return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given})
