"""What is held against a contrast and its contexts, at the edges of each rule."""

import math

import pytest

from rllib_sami import CCMConfig, PlainSACConfig, RecurrentSACConfig, SaCCMConfig, SaPPOConfig, TESACConfig
from rllib_sami.algorithms.base import health

LOG_K = math.log(128)


def test_at_chance():
    assert health.at_chance(0.05 * LOG_K - 1e-9, LOG_K)
    assert health.at_chance(-0.3, LOG_K)
    assert not health.at_chance(0.05 * LOG_K, LOG_K)


@pytest.mark.parametrize(("width", "on_sphere", "edge"), [(4, True, 0.05), (16, True, 0.025), (16, False, 0.02)])
def test_equal_contexts(width, on_sphere, edge):
    assert health.are_equal(edge - 1e-6, width, on_sphere)
    assert not health.are_equal(edge + 1e-6, width, on_sphere)


def test_contexts_are_of_use_beyond_two_standard_errors_of_the_pairs():
    zeroed = [-100.0, 0.0, 50.0, 7.0]
    gains = [1.0, 2.0, 3.0, 4.0]
    error = math.sqrt(5 / 3) / 2
    assert health.gain_of_contexts([z + g for z, g in zip(zeroed, gains, strict=True)], zeroed) == (
        pytest.approx(2.5),
        pytest.approx(error),
    )
    for mean, is_of_use in ((2 * error + 0.01, True), (2 * error - 0.01, False), (-5, False)):
        learned = [z + g - 2.5 + mean for z, g in zip(zeroed, gains, strict=True)]
        assert health.are_of_use(learned, zeroed) is is_of_use
    assert not health.are_of_use([5.0], [0.0])  # one episode says nothing


def bounds(skill, task, std=0.4):
    return {"skill_bound": skill, "task_bound": task, "log_k": LOG_K, "context_std": std}


def test_updates_in_a_row_are_counted_each_by_itself():
    watched = SaCCMConfig().make_health()
    assert watched.look({}, 0) == {"skills_at_chance": 0, "tasks_at_chance": 0, "contexts_equal": 0}
    watched.look(bounds(0.0, 0.0, std=0.01), 100)
    assert [*watched.look(bounds(0.0, 0.0, std=0.01), 300).values()] == [200, 200, 200]
    assert [*watched.look(bounds(0.0, 1.0, std=0.3), 400).values()] == [300, 0, 0]
    # Without numbers it goes on as it was; one that is back begins again.
    assert [*watched.look({"skill_bound": math.nan}, 500).values()] == [400, 0, 0]
    watched.look(bounds(0.0, 0.0), 600)
    assert [*watched.look(bounds(0.0, 0.0), 1100).values()] == [1000, 500, 0]


@pytest.mark.parametrize(
    ("config_class", "names"),
    [
        (CCMConfig, ["contrast_at_chance", "contexts_equal"]),
        (SaPPOConfig, ["skills_at_chance", "tasks_at_chance"]),
        (RecurrentSACConfig, ["contexts_equal"]),
        (TESACConfig, ["contexts_equal"]),
        (PlainSACConfig, []),
    ],
)
def test_what_is_watched(config_class, names):
    assert [*config_class().make_health().look({}, 0)] == names


def test_symptoms_and_what_is_told_of_them():
    counts = {"skills_at_chance": 9999, "tasks_at_chance": 1000, "contrast_at_chance": 999, "contexts_equal": 1001}
    assert health.symptoms(counts) == ["tasks_at_chance", "contexts_equal"]  # skills are no symptom by themselves
    text = health.warning("tasks_at_chance", 1000, bounds(0.0, 0.012))
    assert (
        "between tasks is at chance: `task_bound` is 0.012 of at most 4.85 nats, and has been for 1,000 updates" in text
    )
    assert "`contrast_episodes`" in text
    assert "`context_std` is 0.010, and has been for 1,001 updates" in health.warning(
        "contexts_equal", 1001, bounds(0, 0, 0.01)
    )
