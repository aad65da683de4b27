"""Search spaces in YAML: ``temperature: {loguniform: [0.05, 0.5]}``, ``context_dim: {choice: [4, 6, 10]}``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rllib_sami_cli.errors import UserError

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain

GRID = "grid_search"
# Name, which is also that of the function in `ray.tune` -> what it takes, for messages.
SPACES = {
    "choice": "a list of alternatives",
    "uniform": "[lowest, highest], two numbers",
    "loguniform": "[lowest, highest], two numbers above 0",
    "randint": "[lowest, highest + 1], two integers",
    "lograndint": "[lowest, highest + 1], two integers above 0",
}


def is_space(value: Any) -> bool:
    """Returns whether a value as YAML gives it is a search space (its contents may still be wrong)."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in (GRID, *SPACES)


def parse_nested(value: Any, place: str) -> Any:
    """Returns a value, such as an ``env_config``, in which all search spaces at any depth are those of :func:`parse`.

    Raises:
        UserError: If a space has no bounds or impossible ones.
    """
    space = parse(value, place)
    if space is None and isinstance(value, Mapping):
        return {key: parse_nested(item, f"{place}.{key}") for key, item in value.items()}
    return value if space is None else space


def parse(value: Any, place: str) -> Domain | dict[str, list] | None:
    """Returns the search space that a value stands for: Tune's object, ``{grid_search: [...]}``, or None if it is none.

    Args:
        value: The value of a setting, from YAML or Python.
        place: Where it stands, for messages.

    Raises:
        UserError: If the space has no bounds or impossible ones.
    """
    from ray import tune
    from ray.tune.search.sample import Domain

    if isinstance(value, Domain):
        return value
    if not is_space(value):
        return None
    [(name, given)] = value.items()
    if name in (GRID, "choice"):
        if not isinstance(given, list) or not given:
            raise UserError(f"{place}: {name}: a list of alternatives is needed, not {given!r}.")
        return value if name == GRID else tune.choice(given)
    if not _are_bounds(name, given):
        raise UserError(f"{place}: {name}: {SPACES[name]}, is needed, not {given!r}.")
    return getattr(tune, name)(*given)


def _are_bounds(name: str, given: Any) -> bool:
    kinds = int if name.endswith("randint") else (int, float)
    if not isinstance(given, list) or len(given) != 2:
        return False
    if any(not isinstance(item, kinds) or isinstance(item, bool) for item in given):
        return False
    low, high = given
    return -math.inf < low < high < math.inf and (low > 0 or not name.startswith("log"))


def refuse_misspelt(value: Any, place: str) -> None:
    """Raises a UserError for ``{logunifrom: [...]}`` in place of a number or text, with the nearest space."""
    from rllib_sami.core.text import nearest_name

    if isinstance(value, dict) and len(value) == 1:
        [name] = value
        close = nearest_name(name, (GRID, *SPACES))
        hint = f"Did you mean '{close}'? " if close else ""
        raise UserError(f"{place}: unknown search space '{name}'. {hint}Valid: {', '.join((*SPACES, GRID))}.")


def alternatives(value: Any) -> Iterator[Any]:
    """Yields what a setting may become: every alternative of a list, numbers of a range, or the value itself.

    Of a mapping with several spaces inside, one is varied at a time. What is left to a function is not there.
    """
    from ray.tune.search.sample import Categorical, Domain, Float, Function, Integer

    if isinstance(value, dict) and set(value) == {GRID}:
        yield from value[GRID]
    elif isinstance(value, Categorical):
        yield from value.categories
    elif isinstance(value, Integer):
        yield from (value.lower, value.upper - 1)
    elif isinstance(value, Float) and math.isfinite(value.lower) and math.isfinite(value.upper):
        yield from (value.lower, value.upper, (value.lower + value.upper) / 2)  # which is hardly a whole number
    elif isinstance(value, Domain) and not isinstance(value, Function):
        yield value.sample()
    elif isinstance(value, Mapping):
        choices = {key: list(alternatives(item)) for key, item in value.items() if not isinstance(item, Function)}
        first = {key: items[0] for key, items in choices.items()}
        yield first
        for key, items in choices.items():
            yield from ({**first, key: item} for item in items[1:])
    else:
        yield value


def searched(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the checked settings that differ between trials, with their search spaces.

    Those within a mapping have keys such as ``env_config/max_steps``, as in Tune.
    """
    from ray.tune.search.sample import Domain

    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Domain) or (isinstance(value, dict) and set(value) == {GRID}):
            found[key] = value
        elif isinstance(value, dict):
            found |= {f"{key}/{inner}": space for inner, space in searched(value).items()}
    return found


def chosen(config: Mapping[str, Any], key: str) -> Any:
    """Returns a trial's value of a key of :func:`searched`."""
    outer, _, inner = key.partition("/")
    return chosen(config[outer], inner) if inner and isinstance(config.get(outer), Mapping) else config.get(key)


def describe(domain: Domain) -> str:
    """Returns a search space as text, such as ``LogUniform(0.05, 0.5)``."""
    return f"{domain.get_sampler()}{domain.domain_str}"
