"""Environments that are made of other environments and of agents, and what of these an exported agent may name.

Their settings name a body or a task, which may be the path of a class, and agents, which may be checkpoints. Both can
run code that whoever wrote the settings has chosen.
"""

import json
import re
import shlex
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from rllib_sami import compat

CONTROL = "Skills/Control-v0"
LOW_LEVEL, STRIDING, HIGH_LEVEL = "Reuse/LowLevel-v0", "Reuse/Striding-v0", "Reuse/HighLevel-v0"
COMPOSED = (CONTROL, LOW_LEVEL, STRIDING, HIGH_LEVEL)
BODIES = ("env", "body")  # settings that name an environment
AGENTS = ("skills", "toy", "low_level", "striding", "high_level")  # settings that name an agent


def title_of(env: str, body: Any) -> str:
    """Returns how an environment that is made of another one is called in results: ``Reuse/Striding-v0 (Hopper)``.

    Of the body, a namespace that is that of the environment is left out, and so is the version 0.

    Args:
        env: Its name.
        body: What its settings name: an id, a class, or the path of one.
    """
    path = getattr(body, "__name__", str(body))
    if not re.search(r"-v\d+$", path):  # the path of a class
        path = re.split(r"[.:]", path)[-1]
    return f"{env} ({path.removeprefix(env.partition('/')[0] + '/').removesuffix('-v0')})"


def is_titled(title: str, ids: Container[str]) -> bool:
    """Returns whether a title of :func:`title_of`, or a name, is that of one of the environments."""
    return title.partition(" (")[0] in ids


def agents_of(env: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the agents that an environment is made of: setting -> path."""
    return {name: settings[name] for name in AGENTS if settings.get(name) is not None} if env in COMPOSED else {}


def code_of(env: Any, settings: Mapping[str, Any], is_exported: Callable[[Path], bool]) -> str | None:
    """Returns what would run code of their author's choice if an environment were made from settings; None: nothing.

    Args:
        env: The environment as the settings name it.
        settings: Its ``env_config``.
        is_exported: Returns whether a folder is that of an exported agent, which is data.
    """
    if not compat.is_registered(env):
        return f"the environment {env!r}, which is not registered here"
    if env not in COMPOSED:
        return None
    # Wherever a name stands: a setting of the environment, or of what it is made of.
    for name, value in _items(settings):
        if value is None:
            continue
        if name in AGENTS and not _is_data(value, is_exported):
            return f"{name}={value!r}, which is no exported agent"
        if name in BODIES and not compat.is_registered(value):
            return f"{name}={value!r}, which is not registered here"
        if name in BODIES and value in COMPOSED:
            return f"{name}={value!r}, which is made of others itself"
    return None


def evaluate_options(env: Any, settings: Mapping[str, Any], is_exported: Callable[[Path], bool]) -> str:
    """Returns the options with which ``rllib evaluate`` plays an exported agent in its environment; may be empty.

    They repeat what would run code: it runs if who loads the agent asks for it.
    """
    own = {name: value for name, value in settings.items() if code_of(env, {name: value}, is_exported)}
    given = json.dumps(own)
    return compat.env_option(env) + (f" --env-config {shlex.quote(given)}" if own and env in COMPOSED else "")


def _items(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the settings, and those within them."""
    for name, value in settings.items():
        yield name, value
        if isinstance(value, Mapping):
            yield from _items(value)


def _is_data(path: Any, is_exported: Callable[[Path], bool]) -> bool:
    return isinstance(path, str) and is_exported(Path(path).expanduser())
