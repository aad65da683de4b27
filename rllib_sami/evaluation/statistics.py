"""Statistics over runs and tasks, with stratified bootstrap intervals.

After Agarwal et al., Deep RL at the Edge of the Statistical Precipice, 2021 (https://arxiv.org/abs/2108.13264).
Scores are arrays ``[..., R, T]`` of R runs (training seeds) and T tasks, each the mean over a run's episodes. Functions
of them are vectorised over the leading axes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 5000
LEVEL = 0.95


def iqm(scores: np.ndarray) -> np.ndarray:
    """Returns the interquartile mean: the mean of the middle half of all runs on all tasks."""
    return stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def mean(scores: np.ndarray) -> np.ndarray:
    """Returns the mean of all runs on all tasks."""
    return scores.mean(axis=(-2, -1))


def median(scores: np.ndarray) -> np.ndarray:
    """Returns the median over tasks of the mean over runs."""
    return np.median(scores.mean(axis=-2), axis=-1)


def optimality_gap(scores: np.ndarray, target: float = 1.0) -> np.ndarray:
    """Returns by how much runs miss the target score on average, without credit for exceeding it."""
    return target - np.minimum(scores, target).mean(axis=(-2, -1))


AGGREGATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{"IQM": iqm, "mean": mean, "median": median, "optimality gap": optimality_gap}
}


def resample(
    scores: np.ndarray, strata: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Draws runs with replacement, independently in each stratum.

    Args:
        scores: ``[R, T]``.
        strata: Stratum of each task, ``[T]`` integers. Tasks of one stratum get the same runs, as is necessary if one
            trained agent played all of them: its scores are not independent. None: each task is a stratum.
        resamples: Number of resamples B.
        seed: Seed of the generator.

    Returns:
        ``[B, R, T]``.
    """
    (num_runs, num_tasks), rng = scores.shape, np.random.default_rng(seed)
    column = _strata(strata, num_tasks)
    drawn = rng.integers(num_runs, size=(resamples, num_runs, column.max() + 1))
    return scores[drawn[:, :, column], np.arange(num_tasks)]


def interval(samples: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Returns the percentile interval ``[2, ...]`` (low, high) of resampled statistics ``[B, ...]``."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the probability that a run of x ``[R, T]`` beats one of y ``[S, T]`` on a random task; ties count 1/2."""
    return float(_wins(x, y).mean())


def resample_improvement(
    x: np.ndarray, y: np.ndarray, strata: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Returns the probability of improvement ``[B]`` of resampled runs of both, see :func:`resample`."""
    rng, column = np.random.default_rng(seed), _strata(strata, x.shape[1])

    def shares(num_runs: int) -> np.ndarray:  # of each run among those drawn, [B, runs, T]
        counts = rng.multinomial(num_runs, np.full(num_runs, 1 / num_runs), size=(resamples, column.max() + 1))
        return counts.transpose(0, 2, 1)[:, :, column] / num_runs

    wins = np.einsum("brt,rst,bst->b", shares(len(x)), _wins(x, y), shares(len(y)), optimize=True)
    return wins / x.shape[1]


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the fraction ``[..., N]`` of runs, over all tasks, whose score is above each of N thresholds."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    rows = flat.reshape(-1, flat.shape[-1])
    below = np.stack([np.searchsorted(row, thresholds, side="right") for row in rows])
    return 1 - below.reshape(*flat.shape[:-1], len(thresholds)) / flat.shape[-1]


class TTest(NamedTuple):
    """A two-sided t-test of equal means."""

    t: float  # its statistic; positive if the first mean is larger
    df: float  # degrees of freedom
    p: float  # probability of such a difference, or a larger one, if the means are equal


def t_test(x: np.ndarray, y: np.ndarray, equal_variances: bool = False) -> TTest:
    """Compares the means of two samples, ``[R]`` and ``[S]``, with one score per run.

    It is Welch's test, or with ``equal_variances`` Student's, which the method's authors used.
    """
    if min(len(x), len(y)) < 2:
        return TTest(np.nan, np.nan, np.nan)
    # The samples may have no spread.
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        found = stats.ttest_ind(x, y, equal_var=equal_variances)
    return TTest(float(found.statistic), float(found.df), float(found.pvalue))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Returns valid p-values ``[N]`` adjusted for N comparisons, by Holm's method.

    If those with an adjusted value below α are called differences, one that is none is among them with a probability of
    at most α.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def mean_interval(
    values: np.ndarray, level: float = LEVEL, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Returns Student's confidence interval of a mean, within ``bounds``; NaN for fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan
    centre = float(np.mean(values))
    margin = float(stats.sem(values) * stats.t.ppf((1 + level) / 2, len(values) - 1))
    lowest, highest = bounds or (-np.inf, np.inf)
    return max(centre - margin, lowest), min(centre + margin, highest)


def _wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns 1, 1/2 or 0 for each pair of runs and task: ``[R, S, T]``."""
    return (np.sign(x[:, None] - y[None]) + 1) / 2


def _strata(strata: np.ndarray | None, num_tasks: int) -> np.ndarray:
    return np.arange(num_tasks) if strata is None else np.unique(strata, return_inverse=True)[1]
