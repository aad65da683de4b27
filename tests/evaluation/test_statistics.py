"""Statistics: equal to rliable's on stored scores, and to what can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rllib_sami.evaluation import statistics

RLIABLE = json.loads((Path(__file__).parent / "data" / "rliable.json").read_text("utf-8"))  # by data/make_rliable.py
SCORES = {name: np.array(matrix) for name, matrix in RLIABLE["scores"].items()}
AGGREGATES = list(statistics.AGGREGATES.values())


@pytest.mark.parametrize("name", ["x", "y"])
def test_aggregates_and_intervals_are_those_of_rliable(name):
    wanted = RLIABLE["aggregates"][name]
    np.testing.assert_allclose([aggregate(SCORES[name]) for aggregate in AGGREGATES], wanted["estimates"], rtol=1e-12)
    samples = statistics.resample(SCORES[name], resamples=20_000)
    intervals = [statistics.interval(aggregate(samples)) for aggregate in AGGREGATES]
    np.testing.assert_allclose(np.transpose(intervals), wanted["intervals"], atol=0.015)


def test_probability_of_improvement_is_that_of_rliable():
    wanted = RLIABLE["improvement"]
    assert statistics.probability_of_improvement(SCORES["x"], SCORES["y"]) == pytest.approx(wanted["estimate"])
    samples = statistics.resample_improvement(SCORES["x"], SCORES["y"])
    np.testing.assert_allclose(statistics.interval(samples), wanted["interval"], atol=0.015)


@pytest.mark.parametrize("name", ["x", "y"])
def test_performance_profile_is_that_of_rliable(name):
    thresholds = np.array(RLIABLE["profiles"]["thresholds"])
    found = statistics.performance_profile(SCORES[name], thresholds)
    np.testing.assert_allclose(found, RLIABLE["profiles"][name], rtol=1e-12)
    both = statistics.performance_profile(np.stack([SCORES[name], SCORES[name] + 9]), thresholds)
    np.testing.assert_array_equal(both, [found, np.ones(len(thresholds))])


def test_aggregates_are_vectorised():
    stack = np.random.default_rng(0).normal(size=(4, 5, 3))
    for aggregate in AGGREGATES:
        np.testing.assert_allclose(aggregate(stack), [aggregate(matrix) for matrix in stack])


def test_resampling_keeps_to_tasks_and_draws_whole_runs_within_a_stratum():
    scores = np.arange(6)[:, None] + 10 * np.arange(4)  # run r on task t: r + 10 t
    samples = statistics.resample(scores, np.array([5, 5, 2, 2]), resamples=300)
    assert samples.shape == (300, 6, 4)
    np.testing.assert_array_equal(samples // 10, np.broadcast_to(np.arange(4), samples.shape))
    runs = samples % 10
    np.testing.assert_array_equal(runs[..., 0], runs[..., 1])
    np.testing.assert_array_equal(runs[..., 2], runs[..., 3])
    assert (runs[..., 0] != runs[..., 2]).any()
    np.testing.assert_array_equal(samples, statistics.resample(scores, np.array([5, 5, 2, 2]), resamples=300))
    assert (samples != statistics.resample(scores, np.array([5, 5, 2, 2]), resamples=300, seed=1)).any()


def test_runs_drawn_whole_give_the_wider_interval_that_they_should():
    """Where a run is good on all tasks or on none, ten tasks tell no more than one."""
    scores = np.repeat(np.random.default_rng(0).normal(size=(5, 1)), 10, axis=1)
    one, whole, apart = (
        np.diff(statistics.interval(statistics.mean(statistics.resample(matrix, strata))))[0]
        for matrix, strata in [(scores[:, :1], None), (scores, np.zeros(10)), (scores, None)]
    )
    assert whole == pytest.approx(one, rel=1e-6)
    assert apart < 0.5 * whole


def test_improvement_with_strata_spreads_wider():
    rng = np.random.default_rng(0)
    x, y = (np.repeat(rng.normal(size=(5, 1)), 10, axis=1) for _ in range(2))
    apart, whole = (np.std(statistics.resample_improvement(x, y, strata)) for strata in (None, np.zeros(10)))
    assert apart < 0.5 * whole
    assert np.mean(statistics.resample_improvement(x, y)) == pytest.approx(
        statistics.probability_of_improvement(x, y), abs=0.01
    )


def test_t_tests():
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 4.0, 6.0, 8.0, 10.0])
    welch, student = statistics.t_test(x, y), statistics.t_test(x, y, equal_variances=True)
    assert student.df == 8
    assert welch.t == student.t == pytest.approx(-3 / np.sqrt(2.5 / 5 + 10 / 5))
    assert welch.df == pytest.approx(2.5**2 / (0.5**2 / 4 + 2**2 / 4))
    assert welch.p > student.p
    assert np.isnan(statistics.t_test(x[:1], y)).all()


def test_holm_adjusts_for_all_comparisons():
    # From smallest: 4 x 0.001, 3 x 0.02, 2 x 0.025 (no less than the one before), 1 x 0.9.
    found = statistics.holm(np.array([0.02, 0.9, 0.001, 0.025]))
    np.testing.assert_allclose(found, [0.06, 0.9, 0.004, 0.06])
    np.testing.assert_allclose(statistics.holm(np.array([0.8, 0.7])), [1.0, 1.0])


def test_mean_interval():
    low, high = statistics.mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (low + high) / 2 == pytest.approx(2)
    assert (high - low) / 2 == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    assert np.isnan(statistics.mean_interval(np.array([1.0]))).all()
