"""Tables of a benchmark: how well each algorithm did, against the others, and for how much."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rllib_sami.evaluation import statistics, tables

ORACLE, PLAIN = "oracle", "SAC"
PAIRS = (
    ("SaCCM", "CCM"),
    ("SaTESAC", "TESAC"),
    ("SaCCM", "TESAC"),
    ("SaCCM", "SAC"),
)  # does the first beat the second?
DIFFERENCES = (("SaCCM", "SAC"), ("CCM", "SAC"), ("SaCCM", "CCM"))  # what the context, what the skills are worth
TOO_NARROW = """\
Intervals of few seeds are too narrow: in simulations with a seed effect that all tasks share, those of 95 % held the
true value in about three of four cases with 3 seeds and in about nine of ten with 5."""
_LEGEND = f"""\
Of each split: interquartile mean over runs (training seeds) and tasks, with its 95 % bootstrap interval over seeds; of
successes the mean rate. Share of {ORACLE}: return divided by that of the agent that is told the task, where both are
positive. Environment steps and CPU seconds are the median of training, evaluation left out.

{TOO_NARROW}

With their default settings, algorithms differ in more than the contrast. TESAC trains its encoder through the critics,
so it reads 6 new episodes for every update. CCM, SaTESAC and SaCCM share 128 episodes among 32 updates. {PLAIN} and
{ORACLE} draw 256 single transitions for every update. So P(SaTESAC > TESAC) is not about the contrast alone where a
suite leaves the defaults."""


def write_tables(episodes: pd.DataFrame, jobs: list[dict[str, Any]], path: Path) -> Path:
    """Writes ``tables.md``.

    Args:
        episodes: Of all jobs, as in ``Results``.
        jobs: The ``done.json`` of each.
        path: The file.

    Returns:
        The file.
    """
    cost = pd.DataFrame([{**job["settings"], "env_steps": job["env_steps"], "cpu_s": job["cpu_s"]} for job in jobs])
    text = ["# Learning benchmark", provenance(jobs), _LEGEND]
    for environment, mine in episodes.groupby("environment", sort=False):
        text += [f"## {environment}", markdown(score_table(mine, cost[cost["environment"] == environment]))]
        compared = comparisons(mine)
        if len(compared):
            text.append(markdown(spans(compared)))
    path.write_text("\n\n".join(text) + "\n", "utf-8")
    return path


def score_table(episodes: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per split and algorithm of one environment.

    Args:
        episodes: Of the environment.
        cost: Columns ``algorithm, env_steps, cpu_s``, a row per job.
    """
    spent = cost.groupby("algorithm")[["env_steps", "cpu_s"]].median()
    returns = aggregates(episodes, "return")
    successes = aggregates(episodes, "success", "mean") if episodes["success"].notna().any() else {}
    rows = []
    for (split, algorithm), (estimate, low, high, runs) in returns.items():
        row = {"split": split, "algorithm": algorithm, "seeds": runs, "return": span(estimate, low, high)}
        if successes:
            row["success"] = span(*successes[split, algorithm][:3])
        oracle = returns.get((split, ORACLE), (np.nan,))[0]
        if ORACLE in spent.index:
            row[f"share of {ORACLE}"] = f"{estimate / oracle:.2f}" if min(estimate, oracle) > 0 else "–"
        row["env steps"] = f"{spent.loc[algorithm, 'env_steps']:,.0f}"
        row["CPU s"] = f"{spent.loc[algorithm, 'cpu_s']:,.0f}"
        rows.append(row)
    table, share = pd.DataFrame(rows), f"share of {ORACLE}"
    says_nothing = share in table and (table[share] == "–").all()  # returns are costs
    return table.drop(columns=share) if says_nothing else table


def comparisons(episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns, per split of one environment, how likely one algorithm's run beats another's, and differences of IQMs.

    Returns:
        Columns ``split, comparison, estimate, low, high``; empty where the algorithms to be compared are not there.
    """
    rows = []
    for split, mine in episodes.groupby("split", sort=False):
        scores = matrices(mine)
        for x, y in PAIRS:
            if x in scores and y in scores:
                first, second = scores[x], scores[y]
                samples = statistics.resample_improvement(first, second, np.zeros(first.shape[1]))
                chance = float(statistics.probability_of_improvement(first, second))
                rows.append((split, f"P({x} > {y})", chance, *interval(samples, first, second)))
        for x, y in DIFFERENCES:
            if x in scores and y in scores:
                gap = float(statistics.iqm(scores[x]) - statistics.iqm(scores[y]))
                # Seeds of their own: the runs of the two are independent, and so must be what is drawn of them.
                samples = drawn_iqms(scores[x], seed=0) - drawn_iqms(scores[y], seed=1)
                rows.append((split, difference(x, y), gap, *interval(samples, scores[x], scores[y])))
    return pd.DataFrame(rows, columns=["split", "comparison", "estimate", "low", "high"])


def mean_difference(episodes: pd.DataFrame, x: str, y: str) -> tuple[float, float, float, float]:
    """Compares two algorithms' mean returns of each seed, on one split of one environment, by Welch's test.

    Returns:
        The difference, its 95 % interval and the p-value; the last three are NaN where a single seed was run.
    """
    first, second = (matrices(episodes[episodes["algorithm"] == name])[name].mean(axis=1) for name in (x, y))
    gap = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return gap, np.nan, np.nan, np.nan
    test = stats.ttest_ind(first, second, equal_var=False)
    span_of_gap = test.confidence_interval(0.95)
    return gap, float(span_of_gap.low), float(span_of_gap.high), float(test.pvalue)


def difference(x: str, y: str) -> str:
    """Returns the name of the comparison of two algorithms' returns."""
    return f"return of {x} less that of {y}"


def spans(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with its columns ``estimate, low, high`` as one, in words."""
    said = [span(row.estimate, row.low, row.high) for row in table.itertuples()]
    return table.drop(columns=["low", "high"]).assign(estimate=said)


def markdown(table: pd.DataFrame) -> str:
    """Returns a table as Markdown."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def provenance(jobs: list[dict[str, Any]]) -> str:
    """Returns a sentence on the machines and the code that jobs (their ``done.json``) were run with."""
    commits = commits_of(jobs)
    processors = sorted({job["hardware"]["processor"] for job in jobs})
    said = f"{len(jobs)} jobs on {_and(processors)}, of commit {_and(commits)}."
    return said if len(commits) == 1 else f"{said} They are of different code: compare with care."


def commits_of(jobs: Iterable[dict[str, Any]]) -> list[str]:
    """Returns the commits that jobs were trained with, of one that was interrupted possibly several."""
    return sorted({commit for job in jobs for commit in job.get("commits", [job["commit"]])})


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)


def aggregates(
    episodes: pd.DataFrame, value: str, statistic: str = "IQM"
) -> dict[tuple[str, str], tuple[float, float, float, int]]:
    """Returns estimate, interval and number of runs by split and algorithm.

    The interquartile mean of success rates is no share of episodes: take their mean.
    """
    table = tables.per_split(episodes, value, reference=None)
    table = table[table["statistic"] == statistic]
    return {(row.split, row.agent): (row.estimate, row.low, row.high, row.runs) for row in table.itertuples()}


def matrices(episodes: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns scores ``[R, T]`` of each algorithm on one split."""
    scores = tables.scores(episodes)
    return {
        str(agent): mine.pivot(index="run", columns="task_id", values="score").to_numpy()
        for agent, mine in scores.groupby("agent", sort=False)
    }


def drawn_iqms(scores: np.ndarray, seed: int) -> np.ndarray:
    """Returns interquartile means ``[B]`` of resampled runs, all tasks of a run together."""
    return statistics.iqm(statistics.resample(scores, np.zeros(scores.shape[1]), seed=seed))


def share_of_gain(episodes: pd.DataFrame, agent: str) -> tuple[float, float, float] | None:
    """Returns what share of the oracle's gain over SAC an algorithm has, in means, with its bootstrap interval.

    None where one of them is missing, or the interval of that gain does not exclude 0.
    """
    if not {agent, PLAIN, ORACLE} <= set(episodes["algorithm"]) or not mean_difference(episodes, ORACLE, PLAIN)[1] > 0:
        return None
    scores = matrices(episodes)
    own, low, high = (
        statistics.resample(scores[name], np.zeros(scores[name].shape[1]), seed=seed).mean(axis=(1, 2))
        for seed, name in enumerate((agent, PLAIN, ORACLE))
    )
    mean, plain, oracle = (float(scores[name].mean()) for name in (agent, PLAIN, ORACLE))
    return (mean - plain) / (oracle - plain), *interval((own - low) / (high - low), scores[agent])


def interval(samples: np.ndarray, *scores: np.ndarray) -> tuple[float, float]:
    """Returns the interval of resampled statistics, NaN where a single run leaves nothing to draw from."""
    if min(len(matrix) for matrix in scores) < 2:
        return np.nan, np.nan
    low, high = statistics.interval(samples)
    return float(low), float(high)


def span(estimate: float, low: float, high: float, is_bold: bool = False) -> str:
    """Returns an estimate with its interval, if it has one, in words."""
    digits = 2 if max(abs(estimate), abs(low), abs(high)) < 10 else 1
    said, lowest, highest = (f"{round(value, digits) + 0.0:,.{digits}f}" for value in (estimate, low, high))  # no -0.00
    said = f"**{said}**" if is_bold else said
    return said if np.isnan(low) else f"{said} ({lowest} to {highest})"
