"""Does a value fit a declared type? Written for the type hints of RLlib's config methods."""

from __future__ import annotations

import collections.abc
import types
import typing
from types import NoneType
from typing import Any, Literal, Union

_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    NoneType: "null",
}
_SAME = {
    None: NoneType,
    types.UnionType: Union,
    collections.abc.Mapping: dict,
    tuple: list,
    collections.abc.Sequence: list,
    collections.abc.Collection: list,
}


def fits(value: Any, hint: Any) -> bool:
    """Returns whether ``value``, as YAML gives it, fits the type ``hint``; unknown hints fit every value."""
    kind, args = _kind(hint), typing.get_args(hint)
    if kind is Union:
        return any(fits(value, arg) for arg in args)
    if kind is Literal:
        return value in args
    if kind in (int, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (kind is float or float(value).is_integer())
    if kind is list and isinstance(value, list | tuple) and args:
        if typing.get_origin(hint) is tuple and Ellipsis not in args:
            return len(value) == len(args) and all(map(fits, value, args))
        return all(fits(item, args[0]) for item in value)
    if kind is list:
        return isinstance(value, list | tuple)
    if kind in _WORDS:
        return isinstance(value, kind)
    # A class, a function, an object: from YAML they come as a class path, from Python as themselves.
    return not (_is_code(kind) and isinstance(value, bool | int | float))


def cast(value: Any, hint: Any) -> Any:
    """Returns ``value``, with a float such as 1e6 made an int where only an int fits."""
    kinds = typing.get_args(hint) if _kind(hint) is Union else (hint,)
    is_int = isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds
    return int(value) if is_int else value


def without_none(hint: Any) -> Any:
    """Returns the type without its None."""
    if _kind(hint) is not Union:
        return hint
    return Union[tuple(arg for arg in typing.get_args(hint) if arg is not NoneType)]  # noqa: UP007 - a value


def describe(hint: Any) -> str:
    """Returns the type in words, for messages."""
    kind, args = _kind(hint), typing.get_args(hint)
    if kind is Union:
        return " or ".join(dict.fromkeys(describe(arg) for arg in sorted(args, key=lambda arg: arg is NoneType)))
    if kind is Literal:
        return " or ".join(repr(arg) for arg in args)
    return _WORDS.get(kind) or ("a class path" if _is_code(kind) else str(hint).replace("typing.", ""))


def type_of_default(value: Any) -> Any:
    """Returns the type that a default value stands for; None stands for anything."""
    return next((kind for kind in (bool, int, float, str, dict, list, tuple) if isinstance(value, kind)), Any)


def _kind(hint: Any) -> Any:
    """Returns a hint's kind: dict for ``Mapping[str, int]``, list for all sequences, Union for ``int | None``."""
    origin = typing.get_origin(hint) or hint
    return _SAME.get(origin, origin)


def _is_code(kind: Any) -> bool:
    return kind is not Any and (kind is collections.abc.Callable or isinstance(kind, type))
