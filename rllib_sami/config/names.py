"""Names of settings: unknown ones are refused, with the nearest valid name."""

import inspect
from collections.abc import Collection

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_sami import compat
from rllib_sami.core.text import nearest_hint


class WrongSettings(ValueError):
    """All mistakes of a configuration in one error; ``args`` are their messages."""

    def __str__(self) -> str:
        return "\n".join(self.args)


def refuse(mistakes: Collection[str]) -> None:
    """Raises :class:`WrongSettings` if there are any mistakes; reports each message once."""
    if mistakes:
        raise WrongSettings(*dict.fromkeys(mistakes))


def check_keys(config: AlgorithmConfig, keys: Collection[str]) -> None:
    """Refuses keys of a dict that the config does not know; RLlib would accept them silently.

    Raises:
        WrongSettings: Naming each unknown key and the nearest valid one.
    """
    of_rllib = {key for key in dir(AlgorithmConfig) if not callable(getattr(AlgorithmConfig, key))}
    known = {key for key in vars(config).keys() | of_rllib if not key.startswith("__")}
    public = [key for key in known if not key.startswith("_")]
    # Tune adds keys of its own with two underscores.
    taken = known | compat.SPECIAL_CONFIG_KEYS
    wrong = [k for k in keys if not (name := compat.present_name(config, k)).startswith("__") and name not in taken]
    refuse([f"{type(config).__name__} has no setting {key!r}{nearest_hint(key, public)}" for key in wrong])


def check_arguments(config: AlgorithmConfig, method: str, given: Collection[str]) -> None:
    """Refuses unknown arguments of a config's method, as Python would, but with a hint.

    Raises:
        TypeError: Naming the argument and the nearest valid one.
    """
    known = arguments(type(config), method)
    for key in given:
        if key not in known:
            hint = nearest_hint(key, known)
            raise TypeError(f"{type(config).__name__}.{method}() got an unexpected keyword argument {key!r}{hint}")


def arguments(cls: type, method: str = "__init__") -> set[str]:
    """Names of a method's arguments, including those of base classes that it passes on (``**kwargs``)."""
    names: set[str] = set()
    for base in cls.__mro__:
        if method in vars(base):
            parameters = inspect.signature(vars(base)[method]).parameters.values()
            names |= {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
            if all(p.kind != p.VAR_KEYWORD for p in parameters):
                break
    return names - {"self"}
