"""Numbers about contexts, on contexts whose structure is known."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")

from rllib_sami.evaluation import contexts

from .synthetic import STEPS, cheetah


@pytest.fixture(scope="module")
def results():
    return cheetah()


def test_final_context_is_the_last_before_the_end():
    values = np.full((2, 3, 2), np.nan)
    values[0, :2] = [[1, 2], [3, 4]]
    values[1] = [[1, 1], [2, 2], [5, 6]]
    np.testing.assert_array_equal(contexts.final_contexts(values), [[3, 4], [5, 6]])


def test_tasks_told_apart_by_one_algorithm_only(results):
    table = contexts.describe(results).groupby("algorithm").mean(numeric_only=True)
    assert table.loc["SaCCM", "neighbour_accuracy"] > 0.8 > table.loc["TESAC", "neighbour_accuracy"]
    assert table.loc["SaCCM", "silhouette"] > table.loc["TESAC", "silhouette"] + 0.2
    assert table.loc["SaCCM", "chance"] == pytest.approx(1 / 8)


def test_probe_finds_a_factor_the_context_holds_and_no_other():
    rng = np.random.default_rng(0)
    factor = np.repeat(np.linspace(0.5, 1.5, 12), 5)
    episodes = pd.DataFrame({"task_id": 0, "task_mass": factor, "task_noise": rng.permutation(factor), "task_one": 1.0})
    values = np.stack([3 * factor + 1, rng.normal(size=60)], axis=1)
    r2 = contexts.probe_factors(values, episodes)
    assert set(r2) == {"mass", "noise"}
    assert r2["mass"] == pytest.approx(1.0, abs=1e-6)
    assert r2["noise"] < 0.2


def test_probe_is_judged_on_tasks_it_has_not_seen():
    """Contexts that name the task, in no order, hold nothing of the factor for a new task."""
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(10), 6)
    values = rng.normal(size=(10, 8))[number] + 0.01 * rng.normal(size=(60, 8))
    episodes = pd.DataFrame({"task_id": number, "task_mass": number / 10})
    assert contexts.neighbour_accuracy(values, contexts.task_labels(episodes.assign(split="train"))) == 1.0
    assert contexts.probe_factors(values, episodes)["mass"] < 0.5
    few = contexts.PROBE_EPISODES * values.shape[1] - 1
    assert contexts.probe_factors(values[:few], episodes[:few]) == {}


def test_clusters_are_found_and_ordered_by_size():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [5, 20, 10])
    values = np.array([[0, 0], [9, 0], [0, 9]])[truth] + 0.1 * rng.normal(size=(35, 2))
    groups, score = contexts.cluster(values)
    assert score > 0.9
    assert np.bincount(groups).tolist() == [20, 10, 5]
    assert pd.crosstab(groups, truth).gt(0).sum(axis=1).tolist() == [1, 1, 1]


def test_contexts_all_alike_are_one_cluster():
    groups, score = contexts.cluster(np.ones((6, 3)))
    assert groups.tolist() == [0] * 6
    assert np.isnan(score)


def test_distance_to_the_mean_of_the_cluster(results):
    episodes, _ = contexts.clusters_of(results, "SaCCM seed 0")
    final = contexts.final_contexts(contexts.of_run(results, "SaCCM seed 0")[1])
    first = (episodes["cluster"] == 0).to_numpy()
    expected = np.linalg.norm(final[first] - final[first].mean(axis=0), axis=1)
    np.testing.assert_allclose(episodes["distance"][first], expected)


def test_context_settles(results):
    curve = contexts.settling(results, "SaCCM seed 0").set_index("step")
    assert curve.index.tolist() == STEPS.tolist()
    assert curve["distance"].is_monotonic_decreasing
    assert curve["distance"].iloc[0] > 0.5
    assert curve["distance"].iloc[-1] == pytest.approx(0.0)
    assert curve["accuracy"].iloc[-1] > curve["accuracy"].iloc[0] + 0.3
    assert curve["episodes"].iloc[[0, -1]].tolist() == [24, 16]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_projection_is_repeatable_and_says_what_it_is(results, method):
    values = contexts.final_contexts(contexts.of_run(results, "SaCCM seed 0")[1])
    points, what = contexts.project(values, method)
    assert points.shape == (24, 2)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points, contexts.project(values, method)[0])
    assert "variance" in what if method == "pca" else "perplexity" in what


def test_dimensions_that_an_encoder_lacks_are_left_out(results):
    mixed = cheetah()
    mixed.contexts.values[(mixed.episodes["algorithm"] == "TESAC").to_numpy(), :, 2] = np.nan
    assert contexts.of_run(mixed, "TESAC seed 0")[1].shape[2] == 2
    assert contexts.of_run(mixed, "SaCCM seed 0")[1].shape[2] == 3
    assert len(contexts.describe(mixed)) == 6


def test_missing_contexts_are_named(results):
    with pytest.raises(ValueError, match="PPO seed 9"):
        contexts.of_run(results, "PPO seed 9")
    assert contexts.describe(cheetah(with_contexts=False)).empty
    with pytest.raises(ValueError, match="at least 3"):
        contexts.project(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="umap"):
        contexts.project(np.zeros((9, 2)), "umap")


def test_equal_contexts_are_one_point():
    for method in ("pca", "tsne"):
        points, _ = contexts.project(np.full((40, 3), 0.5), method)
        np.testing.assert_array_equal(points, np.zeros((40, 2)))
