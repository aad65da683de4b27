"""Does a value fit a declared type? Written for the type hints of RLlib's config methods."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any, Literal, Union

_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
}
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Collection)


def fits(value: Any, hint: Any) -> bool:
    """Returns whether ``value``, as YAML gives it, fits the type ``hint``; hints not understood fit everything."""
    if hint is None or hint is type(None):
        return value is None
    if hint is Any:
        return True
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if hint is dict:
        return isinstance(value, dict)
    if hint in (list, tuple):
        return isinstance(value, list | tuple)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if origin in (dict, collections.abc.Mapping):
        return isinstance(value, dict)
    if origin is tuple and args and Ellipsis not in args:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(args)
            and all(fits(item, arg) for item, arg in zip(value, args, strict=True))
        )
    if origin in _SEQUENCES:
        return isinstance(value, list | tuple) and all(fits(item, args[0]) for item in value if args)
    # A class, a function, an object: from YAML they come as a class path, from Python as themselves.
    return not isinstance(value, bool | int | float) if _is_code(hint, origin) else True


def _is_code(hint: Any, origin: Any) -> bool:
    return hint is type or origin in (type, collections.abc.Callable) or isinstance(hint, type)


def cast(value: Any, hint: Any) -> Any:
    """Returns ``value`` with 1e6 made a whole number where only a whole number fits."""
    if isinstance(value, float) and value.is_integer():
        options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
        if int in options and float not in options:
            return int(value)
    return value


def without_none(hint: Any) -> Any:
    """Returns the type without its None."""
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return hint
    return Union[tuple(arg for arg in typing.get_args(hint) if arg is not type(None))]  # noqa: UP007 - a value


def describe(hint: Any) -> str:
    """Returns the type in words, for messages."""
    if hint in _NAMES:
        return _NAMES[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(describe(arg) for arg in args if arg is not type(None))
        if type(None) in args:
            words["null"] = None
        return " or ".join(words)
    if origin is Literal:
        return " or ".join(repr(arg) for arg in args)
    if origin in _SEQUENCES or hint is tuple:
        return "a list"
    if origin in (dict, collections.abc.Mapping):
        return "a mapping"
    return "a class path" if _is_code(hint, origin) else str(hint).replace("typing.", "")


def type_of_default(value: Any) -> Any:
    """Returns the type that a default value stands for; None stands for anything."""
    if value is None:
        return Any
    for kind in (bool, int, float, str, dict, list):
        if isinstance(value, kind):
            return kind
    return list if isinstance(value, tuple) else Any
