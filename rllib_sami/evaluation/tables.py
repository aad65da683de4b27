"""Tables of results: per task, per split, between agents, over two factors.

Functions take ``Results.episodes`` and return tidy tables. An *agent* is an algorithm, with the way its context was
replaced or its acting with noise where that was asked for; its runs are its training seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rllib_sami.evaluation import statistics
from rllib_sami.evaluation.names import order
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
        episodes: As in ``Results``; rows in which the value is missing are left out.
        value: ``"return"``, ``"success"`` or ``"length"``.

    Returns:
        Columns ``agent, environment, split, task_id, run, episodes, score``.
    """
    rows = episodes.assign(agent=agents(episodes)).dropna(subset=value)
    groups = rows.astype({value: "float64"}).groupby(["agent", *TASK, "run"])[value]
    table = groups.agg(episodes="size", score="mean").reset_index()
    return table.sort_values(["environment", "split", "agent"], key=ranks, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Normalised:
    """Scores in units of a reference.

    Attributes:
        scores: As of ``scores()``, ``score`` divided by the reference's mean on the same task.
        by: What they were divided by, in words; every table of them names it.
        divided: Whether they were.
    """

    scores: pd.DataFrame
    by: str
    divided: bool


def normalise(table: pd.DataFrame, reference: str | None = REFERENCE) -> Normalised:
    """Divides scores by the mean, over its runs, of a reference agent on the same task.

    The reference's own uncertainty is in no interval. A reference that is zero or negative on some task is no unit
    (a better return might become a smaller score), so scores stay as they are then, as they do without a reference.

    Raises:
        ValueError: A reference other than the usual one is not among the agents.
    """
    if reference is None:
        return Normalised(table, "nothing", False)
    mine = table[table["agent"] == reference].groupby(TASK)["score"].mean()
    if mine.empty and reference == REFERENCE:
        return Normalised(table, f"nothing ({reference} is not among the results)", False)
    if mine.empty:
        names = ", ".join(table["agent"].unique())
        raise ValueError(f"reference={reference!r}: no such agent in the results. Expected one of: {names}.")
    unit = pd.MultiIndex.from_frame(table[TASK]).map(mine)
    if not (unit > 0).all():
        row = table.iloc[int(np.flatnonzero(~(unit > 0))[0])]
        place = f"{row['environment']}, {row['split']}, task {row['task_id']}"
        return Normalised(table, f"nothing ({reference} has no positive mean on {place})", False)
    return Normalised(table.assign(score=table["score"] / unit), f"{reference}'s mean per task", True)


def per_task(episodes: pd.DataFrame, value: str = "return") -> pd.DataFrame:
    """Returns the mean per task with its 95 % interval (Student's).

    Returns:
        Columns ``agent, environment, split, task_id, runs, episodes, mean, low, high, interval_over``. The interval is
        over runs; of a single run over its episodes, which says nothing about other training seeds.
    """
    table = scores(episodes, value)
    rows = []
    for key, mine in table.groupby(["agent", *TASK], sort=False):
        over, values = "runs", mine["score"].to_numpy()
        if len(mine) == 1:
            over, values = "episodes", _values(episodes, value, key, mine["run"].iloc[0])
        low, high = statistics.mean_interval(values)
        counts = {"runs": len(mine), "episodes": int(mine["episodes"].sum())}
        found = {"mean": mine["score"].mean(), "low": low, "high": high, "interval_over": over}
        rows.append({**dict(zip(["agent", *TASK], key, strict=True)), **counts, **found})
    return pd.DataFrame(rows)


def per_split(
    episodes: pd.DataFrame,
    value: str = "return",
    reference: str | None = REFERENCE,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns IQM, mean, median and optimality gap per split with 95 % stratified bootstrap intervals.

    Runs are drawn within each environment, all tasks of a run together; a single run has no interval (NaN).
    Environments are put together only where scores are in units of a reference.

    Args:
        episodes: As in ``Results``.
        value: ``"return"``, ``"success"`` or ``"length"``.
        reference: Agent whose mean per task is the unit, see ``normalise``; successes are never divided.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Columns ``agent, environment, split, statistic, estimate, low, high, runs, tasks, normalised_by, value``.
    """
    normalised = _in_units(episodes, value, reference)
    rows = []
    for group in _groups(normalised.scores, normalised.divided):
        for agent, matrix in group.matrices.items():
            samples = statistics.resample(matrix, group.strata, resamples, seed)
            for name, aggregate in statistics.AGGREGATES.items():
                if name == "optimality gap" and not normalised.divided and value != "success":
                    continue  # a raw return has no target to fall short of
                low, high = _interval(aggregate(samples), matrix)
                found = {"statistic": name, "estimate": float(aggregate(matrix)), "low": low, "high": high}
                size = {
                    "runs": matrix.shape[0],
                    "tasks": matrix.shape[1],
                    "normalised_by": normalised.by,
                    "value": value,
                }
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
    normalised = _in_units(episodes, value, reference)
    tables = []
    for group in _groups(normalised.scores, normalised.divided):
        every = np.concatenate([matrix.ravel() for matrix in group.matrices.values()])
        lowest, margin = every.min(), 0.02 * (np.ptp(every) or 1.0)  # so that every curve begins at 1
        if (normalised.divided or value == "success") and lowest > 0:
            lowest, margin = 0.0, 0.0
        thresholds = np.linspace(lowest - margin, every.max(), _THRESHOLDS)
        for agent, matrix in group.matrices.items():
            samples = statistics.resample(matrix, group.strata, resamples, seed)
            low, high = _interval(statistics.performance_profile(samples, thresholds), matrix)
            fraction = statistics.performance_profile(matrix, thresholds)
            columns = {"threshold": thresholds, "fraction": fraction, "low": low, "high": high}
            tables.append(
                pd.DataFrame({"agent": agent, **group.where, **columns, "normalised_by": normalised.by, "value": value})
            )
    return pd.concat(tables, ignore_index=True)


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
        for x, y in itertools.combinations(group.matrices, 2):
            first, second = group.matrices[x], group.matrices[y]
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
    names = ["environment", "split", "x", "y", "mean_x", "mean_y", "t", "df", "p"]
    rows = []
    for group in _groups(scores(episodes, value), pooled=False):
        for x, y in itertools.combinations(group.matrices, 2):
            first, second = group.matrices[x].mean(axis=1), group.matrices[y].mean(axis=1)
            student = statistics.t_test(first, second, equal_variances=True)
            rows.append(
                {
                    **{**group.where, "x": x, "y": y, "mean_x": first.mean(), "mean_y": second.mean()},
                    **statistics.t_test(first, second)._asdict(),
                    **{f"student_{key}": number for key, number in student._asdict().items()},
                }
            )
    return pd.DataFrame(rows, columns=[*names, "student_t", "student_df", "student_p"])


def factors(episodes: pd.DataFrame) -> list[str]:
    """Returns the task columns with more than one value, those with most values first."""
    counts = episodes[task_columns(episodes)].nunique()
    return list(counts[counts > 1].sort_values(ascending=False, kind="stable").index)


def cells(episodes: pd.DataFrame, x: str, y: str, value: str = "return") -> pd.DataFrame:
    """Returns the mean over episodes of all runs for each pair of values of two factors.

    Returns:
        Columns ``agent, environment, <x>, <y>, mean, episodes, trained`` (whether the pair is one of training).
    """
    rows = episodes.assign(agent=agents(episodes)).dropna(subset=[value, x, y]).astype({value: "float64"})
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


@dataclass(frozen=True)
class _Group:
    """Scores of several agents on the same tasks.

    Attributes:
        where: The environment (or all) and the split.
        matrices: ``[R, T]`` per agent.
        strata: ``[T]``, the environment of each task.
    """

    where: dict[str, str]
    matrices: dict[str, np.ndarray]
    strata: np.ndarray


def _groups(table: pd.DataFrame, pooled: bool) -> Iterator[_Group]:
    """Yields the scores of each split, of all environments together or of one after the other.

    Raises:
        ValueError: Agents did not play the same tasks, or an agent has not as many runs on all of them.
    """
    names = list(table["environment"].unique())
    together = pooled and len(names) > 1
    for environment in [ALL_ENVIRONMENTS] if together else names:
        here = table if together else table[table["environment"] == environment]
        for split, rows in here.groupby("split", sort=False):
            tasks = pd.MultiIndex.from_frame(rows[TASK].drop_duplicates()).sort_values()
            matrices = {agent: _matrix(str(agent), mine, tasks) for agent, mine in rows.groupby("agent", sort=False)}
            strata = pd.factorize(tasks.get_level_values("environment"))[0]
            yield _Group({"environment": environment, "split": str(split)}, matrices, strata)


def _matrix(agent: str, mine: pd.DataFrame, tasks: pd.MultiIndex) -> np.ndarray:
    """Returns scores ``[R, T]``; a row holds one run per environment."""
    ranks = mine.groupby("environment")["run"].rank("dense")
    wide = mine.assign(row=ranks).pivot(index="row", columns=TASK, values="score").reindex(columns=tasks)
    if wide.isna().any(axis=None):
        environment, split, task = wide.columns[wide.isna().any()][0]
        raise ValueError(
            f"{agent}: {wide[environment, split, task].notna().sum()} of {len(wide)} runs on {environment}, {split}, "
            f"task {task}. Expected all agents on the same tasks, each with as many runs on one as on the others. "
            "Evaluate what is missing, or leave the rest out."
        )
    return wide.to_numpy()


def _interval(samples: np.ndarray, *matrices: np.ndarray) -> np.ndarray:
    """Returns the interval of resampled statistics; NaN where a matrix ``[R, T]`` has one run, to be drawn only."""
    found = statistics.interval(samples)
    return np.full_like(found, np.nan) if min(map(len, matrices)) < 2 else found


def _in_units(episodes: pd.DataFrame, value: str, reference: str | None) -> Normalised:
    return normalise(scores(episodes, value), None if value == "success" else reference)


def _values(episodes: pd.DataFrame, value: str, key: tuple, run: str) -> np.ndarray:
    """Returns the episodes' values of one run on one task."""
    mine = (agents(episodes) == key[0]) & (episodes["run"] == run)
    for name, wanted in zip(TASK, key[1:], strict=True):
        mine &= episodes[name] == wanted
    return episodes.loc[mine, value].dropna().to_numpy("float64")


def ranks(column: pd.Series) -> pd.Series:
    """Returns the places of splits and agents in their own order; all else has that of its name."""
    values = list(column.unique())
    if column.name == "split":
        values.sort(key=split_order)
    elif column.name in ("agent", "algorithm"):
        values = order(values)
    else:
        return column
    return column.map({value: rank for rank, value in enumerate(values)})
