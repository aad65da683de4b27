"""Names of settings: an unknown one is refused, and the nearest that there is named."""

import inspect
from collections.abc import Collection
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_sami import compat
from rllib_sami.core.text import nearest_name


class WrongSettings(ValueError):
    """Mistakes of a configuration, all at once; ``args`` are their messages."""

    def __str__(self) -> str:
        return "\n".join(self.args)


def refuse(mistakes: Collection[str]) -> None:
    """Raises :class:`WrongSettings` if there are any; a mistake found twice is said once."""
    if mistakes:
        raise WrongSettings(*dict.fromkeys(mistakes))


def check_keys(config: AlgorithmConfig, keys: Collection[str]) -> None:
    """Refuses names that a dict gives and the config does not know, which RLlib would take silently.

    Raises:
        WrongSettings: Naming each key and the nearest valid one.
    """
    properties = {key for key in dir(type(config)) if not callable(getattr(type(config), key))}
    known = {key for key in vars(config).keys() | properties if not key.startswith("__")}
    public = [key for key in known if not key.startswith("_")]
    # Tune adds keys of its own with two underscores.
    taken = known | compat.SPECIAL_CONFIG_KEYS
    wrong = [k for k in keys if not (name := compat.present_name(config, k)).startswith("__") and name not in taken]
    refuse([f"{type(config).__name__} has no setting {key!r}{nearest(key, public)}" for key in wrong])


def check_arguments(config: AlgorithmConfig, method: str, given: Collection[str]) -> None:
    """Refuses what a method of the config does not take, as Python would, but with a hint.

    Raises:
        TypeError: Naming the argument and the nearest valid one.
    """
    known = arguments(type(config), method)
    for key in given:
        if key not in known:
            raise TypeError(
                f"{type(config).__name__}.{method}() got an unexpected keyword argument {key!r}{nearest(key, known)}"
            )


def arguments(cls: type, method: str = "__init__") -> set[str]:
    """Names of the arguments of a class's method, and of those of its bases that it passes on (``**kwargs``)."""
    names: set[str] = set()
    for base in cls.__mro__:
        if method in vars(base):
            parameters = inspect.signature(vars(base)[method]).parameters.values()
            names |= {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
            if all(p.kind != p.VAR_KEYWORD for p in parameters):
                break
    return names - {"self"}


def nearest(value: Any, choices: Collection[Any]) -> str:
    """The end of a sentence about an unknown name: the choice most like it, if any is."""
    close = nearest_name(value, [choice for choice in choices if isinstance(choice, str)])
    return f"; did you mean {close!r}?" if close else "."
