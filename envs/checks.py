"""Checks of arguments; each returns the argument and raises a ValueError that says what was expected."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def check_count(name: str, value: Any, default: int | None) -> int:
    """Returns an argument as an int if it is an integer >= 1; the message includes its default."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}: expected an integer >= 1 (default {default}).")
    return int(value)


def check_switch(name: str, value: Any) -> bool:
    """Returns an argument as a bool if it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: expected True or False.")
    return bool(value)


def check_weight(name: str, weight: float) -> float:
    """Returns a reward weight as a float if it is a finite number >= 0."""
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0.0 <= weight < math.inf:
        raise ValueError(f"{name}={weight!r}: expected a finite number >= 0.")
    return float(weight)


def check_positive(name: str, value: float) -> float:
    """Returns an argument as a float if it is a finite number > 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < math.inf:
        raise ValueError(f"{name}={value!r}: expected a finite number > 0.")
    return float(value)


def check_choice(name: str, value: str, known: Iterable[str]) -> str:
    """Returns an argument if it is one of the known names; the message suggests the nearest one."""
    if value not in tuple(known):
        raise ValueError(f"{name}={value!r} is unknown. {suggest(value, known)}")
    return value


def suggest(name: object, known: Iterable[str]) -> str:
    """Returns the end of an error message: the known names, and the nearest one if any is near."""
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}Known: {', '.join(known)}."
