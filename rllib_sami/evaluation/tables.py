"""Tables of results: per task, per split, between agents, over two factors.

Functions take ``Results.episodes`` and return tidy tables. An *agent* is an algorithm, together with the replacement of
its context or its exploration noise if there is any; its runs are its training seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from rllib_sami.evaluation import statistics
from rllib_sami.evaluation.names import agent_order
from rllib_sami.evaluation.results import TASK, split_order, task_columns

REFERENCE = "TESAC"
ALL_ENVIRONMENTS = "all"
_THRESHOLDS = 101


def agents(episodes: pd.DataFrame) -> pd.Series:
    """Returns the agent's name per row: ``SaCCM``, or ``SaCCM, zero context``, or ``SaCCM, exploring``."""
    context = (", " + episodes["context"] + " context").where(episodes["context"] != "learned", "")
    return episodes["algorithm"] + context + np.where(episodes["explore"], ", exploring", "")


def scores(episodes: pd.DataFrame, value: str = "return") -> pd.DataFrame:
    """Returns each run's mean over its episodes of a task.

    Args:
        episodes: As in ``Results``; rows without the value are left out.
        value: ``"return"``, ``"success"`` or ``"length"``.

    Returns:
        Columns ``agent, environment, split, task_id, run, episodes, score``.
    """
    groups = _with_value(episodes, value).groupby(["agent", *TASK, "run"])[value]
    table = groups.agg(episodes="size", score="mean").reset_index()
    return table.sort_values(["environment", "split", "agent"], key=sort_key, kind="stable", ignore_index=True)


class Normalised(NamedTuple):
    """Scores in units of a reference."""

    scores: pd.DataFrame  # as of `scores()`, with `score` divided by the reference's mean on the same task
    by: str  # the divisor in words, as every table names it; see `is_raw`


def normalise(table: pd.DataFrame, reference: str | None = REFERENCE) -> Normalised:
    """Divides scores by the mean, over its runs, of a reference agent on the same task.

    The reference's own uncertainty is in no interval. A reference that is zero or negative on some task is no unit
    (a better return might become a smaller score), so scores stay as they are then, as they do without a reference.

    Raises:
        ValueError: A reference other than the default is not among the agents.
    """
    if reference is None:
        return Normalised(table, "nothing")
    mine = table[table["agent"] == reference].groupby(TASK)["score"].mean()
    if mine.empty and reference == REFERENCE:
        return Normalised(table, "nothing")
    if mine.empty:
        names = ", ".join(table["agent"].unique())
        raise ValueError(f"reference={reference!r}: no such agent in the results. Expected one of: {names}.")
    unit = pd.MultiIndex.from_frame(table[TASK]).map(mine)
    if not (unit > 0).all():
        row = table[~(unit > 0)].iloc[0]
        place = f"{row['environment']}, {row['split']}, task {row['task_id']}"
        return Normalised(table, f"nothing ({reference} has no positive mean on {place})")
    return Normalised(table.assign(score=table["score"] / unit), f"{reference}'s mean per task")


def is_raw(normalised_by: str) -> bool:
    """Returns whether scores are not divided by a reference."""
    return normalised_by.startswith("nothing")


def per_task(episodes: pd.DataFrame, value: str = "return") -> pd.DataFrame:
    """Returns the mean per task with its 95 % interval (Student's).

    Returns:
        Columns ``agent, environment, split, task_id, runs, episodes, mean, low, high, interval_over``. The interval is
        over runs; for a single run it is over its episodes, which says nothing about other training seeds.
    """
    keys = ["agent", *TASK]
    rows = []
    table = _with_value(episodes, value).sort_values(["environment", "split", "agent", "task_id"], key=sort_key)
    for key, mine in table.groupby(keys, sort=False):
        by_run = mine.groupby("run")[value].mean()
        over, values = ("runs", by_run) if len(by_run) > 1 else ("episodes", mine[value])
        low, high = statistics.mean_interval(values.to_numpy(), bounds=(0, 1) if value == "success" else None)
        rows.append((*key, len(by_run), len(mine), by_run.mean(), low, high, over))
    return pd.DataFrame(rows, columns=[*keys, "runs", "episodes", "mean", "low", "high", "interval_over"])


def per_split(
    episodes: pd.DataFrame,
    value: str = "return",
    reference: str | None = REFERENCE,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns IQM, mean, median and optimality gap per split with 95 % stratified bootstrap intervals.

    Runs are drawn within each environment, all tasks of a run together; a single run has no interval (NaN).
    Environments are pooled only if scores are in units of a reference.

    Args:
        episodes: As in ``Results``.
        value: ``"return"``, ``"success"`` or ``"length"``.
        reference: Agent whose mean per task is the unit, see ``normalise``; successes are never divided.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Columns ``agent, environment, split, statistic, estimate, low, high, runs, tasks, normalised_by, value``.
    """
    table, unit = _in_units(episodes, value, reference)
    rows = []
    for group in _groups(table, pooled=not is_raw(unit)):
        for agent, matrix in group.matrices.items():
            samples = statistics.resample(matrix, group.strata, resamples, seed)
            for name, aggregate in statistics.AGGREGATES.items():
                if name == "optimality gap" and is_raw(unit) and value != "success":
                    continue  # a raw return has no target to fall short of
                low, high = _interval(aggregate(samples), matrix)
                found = {"statistic": name, "estimate": float(aggregate(matrix)), "low": low, "high": high}
                size = {"runs": matrix.shape[0], "tasks": matrix.shape[1], "normalised_by": unit, "value": value}
                rows.append({"agent": agent, **group.where, **found, **size})
    return pd.DataFrame(rows)


def profiles(
    episodes: pd.DataFrame,
    value: str = "return",
    reference: str | None = REFERENCE,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns performance profiles: the fraction of runs above each threshold, with pointwise 95 % intervals.

    Returns:
        Columns ``agent, environment, split, threshold, fraction, low, high, normalised_by, value``; arguments as of
        ``per_split``.
    """
    table, unit = _in_units(episodes, value, reference)
    found = []
    for group in _groups(table, pooled=not is_raw(unit)):
        every = np.concatenate([matrix.ravel() for matrix in group.matrices.values()])
        lowest, margin = every.min(), 0.02 * (np.ptp(every) or 1.0)  # so that every curve begins at 1
        if (value == "success" or not is_raw(unit)) and lowest > 0:
            lowest, margin = 0.0, 0.0
        thresholds = np.linspace(lowest - margin, every.max(), _THRESHOLDS)
        for agent, matrix in group.matrices.items():
            samples = statistics.resample(matrix, group.strata, resamples, seed)
            low, high = _interval(statistics.performance_profile(samples, thresholds), matrix)
            fraction = statistics.performance_profile(matrix, thresholds)
            columns = {"threshold": thresholds, "fraction": fraction, "low": low, "high": high}
            found.append(
                pd.DataFrame({"agent": agent, **group.where, **columns, "normalised_by": unit, "value": value})
            )
    return pd.concat(found, ignore_index=True)


def improvements(
    episodes: pd.DataFrame, value: str = "return", resamples: int = statistics.RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Returns, per split and pair of agents, how likely a run of x is to beat one of y, with 95 % intervals.

    Returns:
        Columns ``environment, split, x, y, probability, low, high``. The other direction is 1 - probability. Without
        interval (NaN) where an agent has a single run.
    """
    rows = []
    for group in _groups(scores(episodes, value), pooled=True):
        for (x, first), (y, second) in itertools.combinations(group.matrices.items(), 2):
            samples = statistics.resample_improvement(first, second, group.strata, resamples, seed)
            low, high = _interval(samples, first, second)
            probability = statistics.probability_of_improvement(first, second)
            rows.append({**group.where, "x": x, "y": y, "probability": probability, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["environment", "split", "x", "y", "probability", "low", "high"])


def t_tests(episodes: pd.DataFrame, value: str = "return") -> pd.DataFrame:
    """Compares agents' means over a split's tasks, one score per run, per environment: Welch's t-test and Student's.

    P-values are not corrected for the number of comparisons.

    Returns:
        Columns ``environment, split, x, y, mean_x, mean_y, t, df, p`` (Welch's) and ``student_t, student_df,
        student_p`` (equal variances assumed, as the method's authors did). NaN where an agent has a single run.
    """
    columns = ["environment", "split", "x", "y", "mean_x", "mean_y", "t", "df", "p"]
    rows = []
    for group in _groups(scores(episodes, value), pooled=False):
        means = {agent: matrix.mean(axis=1) for agent, matrix in group.matrices.items()}
        for (x, first), (y, second) in itertools.combinations(means.items(), 2):
            student = statistics.t_test(first, second, equal_variances=True)
            rows.append(
                {
                    **{**group.where, "x": x, "y": y, "mean_x": first.mean(), "mean_y": second.mean()},
                    **statistics.t_test(first, second)._asdict(),
                    **{f"student_{key}": number for key, number in student._asdict().items()},
                }
            )
    return pd.DataFrame(rows, columns=[*columns, "student_t", "student_df", "student_p"])


def factors(episodes: pd.DataFrame) -> list[str]:
    """Returns the task columns with several values, sorted by their number in descending order."""
    counts = episodes[task_columns(episodes)].nunique()
    return list(counts[counts > 1].sort_values(ascending=False, kind="stable").index)


def cells(episodes: pd.DataFrame, x: str, y: str, value: str = "return") -> pd.DataFrame:
    """Returns the mean over episodes of all runs for each pair of values of two factors.

    Returns:
        Columns ``agent, environment, <x>, <y>, mean, episodes, trained`` (whether the pair is one of training).
    """
    rows = _with_value(episodes, value).dropna(subset=[x, y])
    groups = rows.groupby(["environment", "agent", x, y])
    table = groups.agg(mean=(value, "mean"), episodes=(value, "size")).reset_index()
    trained = rows[rows["split"] == "train"].groupby(["environment", x, y]).size().index
    return table.assign(trained=pd.MultiIndex.from_frame(table[["environment", x, y]]).isin(trained))


def skill_rates(episodes: pd.DataFrame, x: str, y: str, label: str = "skill") -> pd.DataFrame:
    """Returns how often each skill was shown for each pair of values of two factors, failures included.

    Args:
        episodes: As in ``Results``.
        x: Task column.
        y: Task column.
        label: ``"skill"``, or ``"reference_skill"`` for the label of the method's authors.

    Returns:
        Columns ``agent, environment, <x>, <y>, skill, rate, trained``: rate is the share of the cell's episodes.
    """
    rows = episodes.dropna(subset=[label, x, y])
    shown = [
        cells(rows.assign(shown=rows[label] == skill), x, y, "shown").assign(skill=skill)
        for skill in sorted(rows[label].unique())
    ]
    columns = ["agent", "environment", x, y, "skill", "rate", "trained"]
    if not shown:
        return pd.DataFrame(columns=columns)
    return pd.concat(shown, ignore_index=True).rename(columns={"mean": "rate"})[columns]


class _Group(NamedTuple):
    """Scores of several agents on the same tasks."""

    where: dict[str, str]  # environment (or all) and split
    matrices: dict[str, np.ndarray]  # [R, T] per agent
    strata: np.ndarray  # [T], the environment of each task


def _groups(table: pd.DataFrame, pooled: bool) -> Iterator[_Group]:
    """Yields the scores of each split, of all environments together if ``pooled``, or else of each environment.

    Raises:
        ValueError: Agents did not play the same tasks, or an agent has not as many runs on all of them.
    """
    environments = table.groupby("agent")["environment"].nunique()
    # Agents that play in different environments, such as with skills as actions and without, are not put together.
    together = pooled and table["environment"].nunique() > 1 and environments.min() == table["environment"].nunique()
    groups = table.assign(group=ALL_ENVIRONMENTS if together else table["environment"])
    for (environment, split), rows in groups.groupby(["group", "split"], sort=False):
        tasks = pd.MultiIndex.from_frame(rows[TASK].drop_duplicates()).sort_values()
        matrices = {str(agent): _matrix(str(agent), mine, tasks) for agent, mine in rows.groupby("agent", sort=False)}
        strata = pd.factorize(tasks.get_level_values("environment"))[0]
        yield _Group({"environment": environment, "split": str(split)}, matrices, strata)


def _matrix(agent: str, mine: pd.DataFrame, tasks: pd.MultiIndex) -> np.ndarray:
    """Returns scores ``[R, T]``; each row has one run of every environment."""
    number = mine.groupby("environment")["run"].rank("dense")
    wide = mine.assign(number=number).pivot(index="number", columns=TASK, values="score").reindex(columns=tasks)
    if wide.isna().any(axis=None):
        environment, split, task = wide.columns[wide.isna().any()][0]
        raise ValueError(
            f"{agent}: {wide[environment, split, task].notna().sum()} of {len(wide)} runs on {environment}, {split}, "
            f"task {task}. Expected all agents on the same tasks, each with as many runs on one as on the others. "
            "Evaluate what is missing, or leave the rest out."
        )
    return wide.to_numpy()


def _interval(samples: np.ndarray, *matrices: np.ndarray) -> np.ndarray:
    """Returns the interval of resampled statistics; NaN if a matrix ``[R, T]`` has a single run."""
    found = statistics.interval(samples)
    return np.full_like(found, np.nan) if min(map(len, matrices)) < 2 else found


def _in_units(episodes: pd.DataFrame, value: str, reference: str | None) -> Normalised:
    return normalise(scores(episodes, value), None if value == "success" else reference)


def _with_value(episodes: pd.DataFrame, value: str) -> pd.DataFrame:
    """Returns the episodes that have a value, as a float, and their ``agent``."""
    return episodes.assign(agent=agents(episodes)).dropna(subset=value).astype({value: "float64"})


def sort_key(column: pd.Series) -> pd.Series:
    """Returns the sort keys of splits and agents; all else is sorted by its value."""
    orders = {"split": split_order, "agent": agent_order, "algorithm": agent_order}
    return column.map(orders[column.name]) if column.name in orders else column
