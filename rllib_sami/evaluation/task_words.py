"""What the environments of this package say of their tasks' columns: what is neutral, which of them are one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rllib_sami.evaluation import tables

if TYPE_CHECKING:
    from rllib_sami.envs.base import MetaTaskEnv
    from rllib_sami.envs.factors import Factor

NO_PARTS = "none"


def class_of(environment: str) -> type[MetaTaskEnv] | None:
    """Returns the class of one of this package's environments, None for any other."""
    from rllib_sami.envs.registration import ENVIRONMENTS

    return ENVIRONMENTS.get(environment.rpartition(":")[2])


def neutral(environment: str) -> dict[str, float | str]:
    """Returns the neutral value of each task column that is known, as ``with_parts`` leaves them."""
    found: dict[str, float | str] = {}
    for factor in _factors(environment):
        if _is_parts(factor):
            found[f"task_{factor.name}"] = NO_PARTS
        else:
            found |= dict(zip((f"task_{key}" for key in factor.keys), factor.floats(factor.neutral_value), strict=True))
    return found


def with_parts(episodes: pd.DataFrame, environment: str) -> pd.DataFrame:
    """Returns episodes of one environment in which a set of parts is one column of words instead of 0 or 1 for each.

    ``task_cripple_0`` to ``task_cripple_3`` become ``task_cripple``, with ``"3"``, ``"0, 2"`` or ``"none"``.
    """
    for factor in _factors(environment):
        columns = [f"task_{key}" for key in factor.keys]
        if _is_parts(factor) and set(columns) <= set(episodes):
            dead = episodes[columns].to_numpy(float) > 0
            words = [", ".join(str(part) for part in row.nonzero()[0]) or NO_PARTS for row in dead]
            episodes = episodes.drop(columns=columns).assign(**{f"task_{factor.name}": words})
    return episodes


def factor_label(column: str, environment: str) -> str:
    """Returns what a task column is, with its unit: ``cube mass (kg)``."""
    from rllib_sami.envs.factors import DirectionFactor

    key = column.removeprefix("task_")
    factor = next((one for one in _factors(environment) if key in (one.name, *one.keys)), None)
    unit = (
        ""
        if factor is None or isinstance(factor, DirectionFactor)
        else factor.unit.replace("a multiple of the", "× the")
    )
    return key.replace("_", " ") + (f" ({unit})" if unit else "")


def factor_values(episodes: pd.DataFrame, environment: str) -> list[pd.Series]:
    """Returns what tells the tasks of one environment apart, that with most values first.

    Returns:
        Per factor its value in each episode, named: a number, or words for a set of parts. A direction is one number,
        its angle, and has ``attrs["cyclic"]``.
    """
    from rllib_sami.envs.factors import DirectionFactor

    mine = with_parts(episodes, environment)
    found = {name: mine[name].rename(factor_label(name, environment)) for name in tables.factors(mine)}
    for factor in _factors(environment):
        x, y = (f"task_{key}" for key in factor.keys) if isinstance(factor, DirectionFactor) else ("", "")
        if {x, y} & set(found):
            found = {name: values for name, values in found.items() if name not in (x, y)}
            angle = (np.degrees(np.arctan2(mine[y], mine[x])) % 360).rename(f"{factor.name} (degrees)")
            angle.attrs["cyclic"] = True
            found[factor.name] = angle
    return sorted(found.values(), key=lambda values: -values.nunique())


def task_values(episodes: pd.DataFrame) -> dict[tuple, str]:
    """Returns what each (environment, split, task_id) is: the factors that vary in its environment, in words."""
    from rllib_sami.envs.factors import VectorFactor

    found = {}
    for environment, mine in episodes.groupby("environment", sort=False):
        mine = with_parts(mine, str(environment))
        varying, nouns = sorted(tables.factors(mine)), {f"task_{f.name}": f.unit for f in _factors(str(environment))}
        vectors = {f"task_{f.keys[0]}": f for f in _factors(str(environment)) if isinstance(f, VectorFactor)}
        parts = {f"task_{key}" for factor in vectors.values() for key in factor.keys}
        heads = [name for name, factor in vectors.items() if {f"task_{key}" for key in factor.keys} & set(varying)]
        varying = sorted({*(name for name in varying if name not in parts), *heads})
        for key, task in mine.groupby(["environment", "split", "task_id"], sort=False):
            words = [
                _vector(task, vectors[name])
                if name in vectors
                else _words(name, nouns.get(name, ""), _distinct(task[name]))
                for name in varying
            ]
            found[key] = ", ".join(word for word in words if word)
    return found


def meta_tasks_of(episodes: pd.DataFrame) -> tuple[list[str], dict[tuple[str, int], list[str]]] | None:
    """Returns the meta-tasks of the splits that were played in one environment, as `rllib envs` shows them.

    Returns:
        The factors, and by split and ``task_id`` the values of each that may be drawn; None for an environment of
        others, or with tasks of the agent's own.
    """
    from rllib_sami.envs.tasks import parse_meta_tasks
    from rllib_sami.envs.text import describe_meta_tasks

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


def _words(column: str, noun: str, values: list) -> str:
    name = column.removeprefix("task_")
    if not values:
        return ""
    if isinstance(values[0], str):
        name = noun if noun.endswith("s") else name
        return f"{name.removesuffix('s') if max(map(len, values)) == 1 else name} {' or '.join(values)}"
    return f"{name} {_span(values)}"


def _vector(task: pd.DataFrame, factor: Factor) -> str:
    """Returns ``direction (0.866, 0.5)``; where the task may have several values, a component is a span."""
    return f"{factor.name} ({', '.join(_span(_distinct(task[f'task_{key}'])) for key in factor.keys)})"


def _span(values: list) -> str:
    return "–".join(f"{number + 0.0:.3g}" for number in dict.fromkeys((values[0], values[-1])))


def _distinct(column: pd.Series) -> list:
    return sorted(column.dropna().unique())


def _factors(environment: str) -> tuple[Factor, ...]:
    return getattr(class_of(environment), "factors", ())


def _is_parts(factor: Factor) -> bool:
    from rllib_sami.envs.factors import PartsFactor

    return isinstance(factor, PartsFactor)
