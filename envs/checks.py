"""Checks of arguments."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_count(name: str, value: Any, default: int) -> int:
    """Returns an argument as an int; raises ValueError, with its default, unless it is an integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}={value!r}: expected an integer >= 1 (default {default}).")
    return int(value)


def check_switch(name: str, value: Any) -> bool:
    """Returns an argument as a bool; raises ValueError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: expected True or False.")
    return bool(value)
