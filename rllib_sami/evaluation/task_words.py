"""Tasks in words: what the environments of this package know about the columns of their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rllib_sami.envs.factors import DirectionFactor, PartsFactor, VectorFactor
from rllib_sami.envs.registration import ENVIRONMENTS
from rllib_sami.envs.tasks import parse_meta_tasks
from rllib_sami.envs.text import describe_meta_tasks
from rllib_sami.evaluation import tables

if TYPE_CHECKING:
    from rllib_sami.envs.base import MetaTaskEnv
    from rllib_sami.envs.factors import Factor

NO_PARTS = "none"


def class_of(environment: str) -> type[MetaTaskEnv] | None:
    """Returns the class of one of this package's environments; None for any other."""
    return ENVIRONMENTS.get(environment.rpartition(":")[2])


def _factors(environment: str) -> tuple[Factor, ...]:
    return getattr(class_of(environment), "factors", ())


def _columns(factor: Factor) -> list[str]:
    return [f"task_{key}" for key in factor.keys]


def neutral(environment: str) -> dict[str, float | str]:
    """Returns the neutral value of each known task column, as ``with_parts`` leaves them."""
    found: dict[str, float | str] = {}
    for factor in _factors(environment):
        if isinstance(factor, PartsFactor):
            found[f"task_{factor.name}"] = NO_PARTS
        else:
            found |= dict(zip(_columns(factor), factor.floats(factor.neutral_value), strict=True))
    return found


def with_parts(episodes: pd.DataFrame, environment: str) -> pd.DataFrame:
    """Returns episodes of one environment in which a set of parts is one column of words instead of 0 or 1 for each.

    ``task_cripple_0`` to ``task_cripple_3`` become ``task_cripple``, with ``"3"``, ``"0, 2"`` or ``"none"``.
    """
    for factor in _factors(environment):
        columns = _columns(factor)
        if isinstance(factor, PartsFactor) and set(columns) <= set(episodes):
            dead = episodes[columns].to_numpy(float) > 0
            words = [", ".join(str(part) for part in row.nonzero()[0]) or NO_PARTS for row in dead]
            episodes = episodes.drop(columns=columns).assign(**{f"task_{factor.name}": words})
    return episodes


def factor_label(column: str, environment: str) -> str:
    """Returns a task column's name with its unit: ``cube mass (kg)``."""
    key = column.removeprefix("task_")
    factor = next((one for one in _factors(environment) if key in (one.name, *one.keys)), None)
    has_unit = factor is not None and not isinstance(factor, DirectionFactor)
    unit = factor.unit.replace("a multiple of the", "× the") if factor is not None and has_unit else ""
    return key.replace("_", " ") + (f" ({unit})" if unit else "")


def factor_values(episodes: pd.DataFrame, environment: str) -> list[pd.Series]:
    """Returns the factors in which the tasks of one environment differ, sorted by their number of values, descending.

    Returns:
        The value of each factor in each episode, named: a number, or words for a set of parts. A direction is one
        number, its angle, and has ``attrs["cyclic"]``.
    """
    mine = with_parts(episodes, environment)
    found = {name: mine[name].rename(factor_label(name, environment)) for name in tables.factors(mine)}
    for factor in _factors(environment):
        columns = _columns(factor)
        if isinstance(factor, DirectionFactor) and set(columns) & set(found):
            x, y = columns
            angle = (np.degrees(np.arctan2(mine[y], mine[x])) % 360).rename(f"{factor.name} (degrees)")
            angle.attrs["cyclic"] = True
            found = {name: values for name, values in found.items() if name not in columns} | {factor.name: angle}
    return sorted(found.values(), key=lambda values: -values.nunique())


def task_values(episodes: pd.DataFrame) -> dict[tuple, str]:
    """Returns the factors that vary in the environment, in words, of each (environment, split, task_id)."""
    found = {}
    for name, mine in episodes.groupby("environment", sort=False):
        factors, mine = _factors(str(name)), with_parts(mine, str(name))
        varying, units = set(tables.factors(mine)), {f"task_{factor.name}": factor.unit for factor in factors}
        vectors = {}  # by their first column, which stands for all of them
        for factor in factors:
            columns = _columns(factor)
            if isinstance(factor, VectorFactor):
                if varying & set(columns):
                    vectors[columns[0]] = factor
                varying -= set(columns)
        for key, task in mine.groupby(["environment", "split", "task_id"], sort=False):
            words = [
                _vector(task, vectors[column])
                if column in vectors
                else _words(column, units.get(column, ""), _distinct(task[column]))
                for column in sorted({*varying, *vectors})
            ]
            found[key] = ", ".join(filter(None, words))
    return found


def meta_tasks_of(episodes: pd.DataFrame) -> tuple[list[str], dict[tuple[str, int], list[str]]] | None:
    """Returns the meta-tasks of the splits that were played in one environment, as ``rllib envs`` shows them.

    Returns:
        The factors, and the values that each may have by split and ``task_id``; None for other environments, and for
        tasks of the agent's own.
    """
    cls, played = class_of(episodes["environment"].iloc[0]), episodes["split"].unique()
    if cls is None or not set(played) <= set(cls.splits):
        return None
    meta_tasks = {
        (split, task_id): meta_task
        for split in played
        for task_id, meta_task in enumerate(parse_meta_tasks(cls.factors, cls.splits[split]))
    }
    titles, rows = describe_meta_tasks([*meta_tasks.values()])
    return titles, dict(zip(meta_tasks, rows, strict=True))


def _words(column: str, unit: str, values: list) -> str:
    name = column.removeprefix("task_")
    if not values:
        return ""
    if isinstance(values[0], str):  # the unit of a set of parts is their plural, such as "dead joints"
        name = unit if unit.endswith("s") else name
        return f"{name.removesuffix('s') if max(map(len, values)) == 1 else name} {' or '.join(values)}"
    return f"{name} {_range(values)}"


def _vector(task: pd.DataFrame, factor: Factor) -> str:
    """Returns ``direction (0.866, 0.5)``; a component with several values is a range."""
    return f"{factor.name} ({', '.join(_range(_distinct(task[column])) for column in _columns(factor))})"


def _range(values: list) -> str:
    return "–".join(f"{number + 0.0:.3g}" for number in dict.fromkeys((values[0], values[-1])))


def _distinct(column: pd.Series) -> list:
    return sorted(column.dropna().unique())
