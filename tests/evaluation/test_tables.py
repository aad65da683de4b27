"""Tables: the paper's numbers come out as they should, and what cannot be compared is not."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from rllib_sami.evaluation import tables
from rllib_sami.evaluation.paper import paper_cells, paper_results, paper_skill_rates
from rllib_sami.evaluation.results import Results

PAPER = paper_results().episodes


def play(
    scores: dict[str, list[float]], environment: str = "SaMI/Ant-v0", episodes: int = 2, **columns
) -> pd.DataFrame:
    """Two splits of two tasks; agents' runs score as given, 1 more on task 1, 10 less on the extreme split."""
    rows = [
        {
            "algorithm": algorithm, "run": f"{algorithm} {run} {environment}", "seed": run, "env_steps": 0,
            "context": "learned", "explore": False, "environment": environment, "split": split, "task_id": task,
            "episode": episode, "episode_seed": 0, "length": 1, "task_mass": 1.0 + task + 2 * (split == "extreme"),
            "task_damping": 1.0 + episode, "return": score + task - 10 * (split == "extreme") + (-1) ** episode,
        }
        for algorithm, runs in scores.items() for run, score in enumerate(runs)
        for split, task, episode in itertools.product(("train", "extreme"), range(2), range(episodes))
    ]  # fmt: skip
    return Results(pd.DataFrame(rows).assign(**columns)).episodes


def one(table: pd.DataFrame, **where) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_the_papers_iqm():
    table = tables.per_split(PAPER)
    for split, agent, iqm, low, high in [
        ("extreme", "CCM", 1.10, 1.05, 1.16),
        ("extreme", "SaTESAC", 1.62, 1.55, 1.69),
        ("extreme", "SaCCM", 1.59, 1.51, 1.67),
        ("moderate", "CCM", 1.07, 1.03, 1.11),
        ("moderate", "SaTESAC", 1.18, 1.12, 1.25),
        ("moderate", "SaCCM", 1.19, 1.14, 1.24),
        ("train", "TESAC", 1.01, 0.98, 1.04),
        ("train", "SaCCM", 1.08, 1.05, 1.11),
    ]:
        row = one(table, split=split, agent=agent, statistic="IQM")
        assert row["estimate"] == pytest.approx(iqm, abs=0.01), (split, agent)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.02), (split, agent)
        assert (row["runs"], row["tasks"], row["environment"]) == (5, 10, "all")
        assert row["normalised_by"] == "TESAC's mean per task"


def test_the_papers_tables_are_as_published():
    assert len(PAPER) == 4 * 10 * 3 * 5
    row = one(tables.per_task(PAPER), agent="TESAC", environment="SaMI/CrippledAnt-v0", split="train")
    assert round(row["mean"]) == 2139
    assert (row["runs"], row["interval_over"]) == (5, "runs")
    assert "length" not in str(paper_results())
    cell = one(paper_cells(), agent="TESAC", task_table_friction=0.1, task_cube_mass=30.0)
    assert (round(cell["mean"], 2), cell["trained"]) == (0.67, False)
    assert paper_cells().groupby("agent")["trained"].sum().to_dict() == dict.fromkeys(paper_cells()["agent"], 6)
    assert set(paper_skill_rates()["skill"]) == {"push", "roll", "pick_and_place"}


def test_per_task_intervals_are_over_runs_and_of_one_run_over_episodes():
    row = one(tables.per_task(play({"SaCCM": [1.0, 2.0, 3.0]})), split="train", task_id=1)
    assert (row["mean"], row["runs"], row["episodes"], row["interval_over"]) == (3.0, 3, 6, "runs")
    assert row["high"] - row["mean"] == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    row = one(tables.per_task(play({"SaCCM": [1.0]})), split="train", task_id=1)
    assert (row["mean"], row["interval_over"]) == (2.0, "episodes")
    assert row["high"] - row["mean"] == pytest.approx(12.7062, rel=1e-5)


def test_splits_are_in_the_order_from_training_outwards():
    assert list(tables.per_task(play({"SaCCM": [1.0, 2.0]}))["split"].unique()) == ["train", "extreme"]
    assert list(tables.per_split(PAPER, resamples=2)["split"].unique()) == ["train", "moderate", "extreme"]


def test_normalising_divides_by_the_references_mean_per_task():
    episodes = play({"TESAC": [20.0, 40.0], "SaCCM": [60.0, 60.0]})
    table = tables.normalise(tables.scores(episodes)).scores
    row = one(table[table["agent"] == "SaCCM"], split="train", task_id=0, run="SaCCM 0 SaMI/Ant-v0")
    assert row["score"] == pytest.approx(60 / 30)
    assert tables.normalise(tables.scores(episodes), "SaCCM").by == "SaCCM's mean per task"


@pytest.mark.parametrize(
    ("runs", "reference", "by"),
    [
        ({"SaCCM": [5.0]}, "TESAC", "nothing"),
        ({"SaCCM": [5.0], "TESAC": [5.0]}, "TESAC", "nothing (TESAC has no positive mean on SaMI/Ant-v0, extreme, "),
        ({"SaCCM": [5.0], "TESAC": [50.0]}, None, "nothing"),
    ],
)
def test_without_a_unit_scores_stay_as_they_are_and_the_table_says_so(runs, reference, by):
    table = tables.per_split(play(runs), reference=reference, resamples=10)
    assert table["normalised_by"].str.startswith(by).all()
    assert one(table, agent="SaCCM", split="train", statistic="mean")["estimate"] == 5.5
    assert "optimality gap" not in set(table["statistic"])


def test_a_reference_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"reference='PEARL': no such agent.*Expected one of: SaCCM"):
        tables.per_split(play({"SaCCM": [1.0]}), reference="PEARL")


def test_environments_are_put_together_only_in_units_of_a_reference():
    runs = {"TESAC": [50.0, 60.0], "SaCCM": [70.0, 80.0]}
    both = pd.concat([play(runs), play(runs, "SaMI/Hopper-v0")], ignore_index=True)
    assert set(tables.per_split(both, resamples=10)["environment"]) == {"all"}
    apart = tables.per_split(both, reference=None, resamples=10)
    assert set(apart["environment"]) == {"SaMI/Ant-v0", "SaMI/Hopper-v0"}


def test_unequal_tasks_and_runs_are_refused():
    episodes = play({"SaCCM": [1.0, 2.0], "TESAC": [50.0]})
    tables.per_split(episodes, resamples=2)  # agents may have unequal numbers of runs
    lacking = episodes[(episodes["algorithm"] != "TESAC") | (episodes["task_id"] != 1)]
    with pytest.raises(ValueError, match="TESAC: 0 of 1 runs on SaMI/Ant-v0, train, task 1"):
        tables.per_split(lacking, reference=None)
    ragged = pd.concat([episodes, play({"SaCCM": [1.0], "TESAC": [50.0]}, "SaMI/Hopper-v0")], ignore_index=True)
    with pytest.raises(ValueError, match="SaCCM: 1 of 2 runs on SaMI/Hopper-v0"):
        tables.improvements(ragged)


def test_successes_are_not_divided_and_have_a_gap():
    episodes = play({"SaCCM": [1.0, 2.0], "TESAC": [50.0, 60.0]}, success=[True, False, True, True] * 8)
    row = one(tables.per_split(episodes, "success", resamples=10), agent="SaCCM", split="train", statistic="mean")
    assert (row["estimate"], row["normalised_by"]) == (0.75, "nothing")
    gap = one(
        tables.per_split(episodes, "success", resamples=2), agent="SaCCM", split="train", statistic="optimality gap"
    )
    assert gap["estimate"] == pytest.approx(0.25)


def test_improvements_and_t_tests():
    episodes = play({"SaCCM": [1.0, 2.0, 3.0], "TESAC": [2.0, 4.0, 6.0]})
    table = tables.improvements(episodes)
    there = one(table, split="train")  # each pair once
    assert (there["x"], there["y"]) == ("SaCCM", "TESAC")
    assert there["probability"] == pytest.approx(1.5 / 9)  # 3 beats 2, and 2 ties with 2
    assert there["low"] < there["probability"] < there["high"]
    test = one(tables.t_tests(episodes), split="train")
    assert (test["mean_x"], test["mean_y"], test["student_df"]) == (2.5, 4.5, 4)
    assert test["df"] < 4


def test_a_single_run_has_no_interval():
    episodes = play({"SaCCM": [50.0], "TESAC": [50.0, 60.0]})
    table = tables.per_split(episodes, resamples=10)
    assert table.groupby("agent")["low"].agg(lambda low: low.notna().any()).to_dict() == {"SaCCM": False, "TESAC": True}
    assert tables.improvements(episodes, resamples=10)[["low", "high"]].isna().all(axis=None)
    profiles = tables.profiles(episodes, resamples=10)
    assert profiles.loc[profiles["agent"] == "SaCCM", ["low", "high"]].isna().all(axis=None)
    assert tables.t_tests(episodes)["p"].isna().all()


def test_profiles_begin_at_one_also_where_scores_are_not_divided():
    table = tables.profiles(play({"SaCCM": [-5.0, 2.0], "TESAC": [3.0, 4.0]}), resamples=10)
    assert (table.groupby(["split", "agent"])["fraction"].first() == 1).all()


def test_profiles_fall_from_one_to_zero():
    table = tables.profiles(PAPER, resamples=50)
    mine = table[(table["agent"] == "SaCCM") & (table["split"] == "extreme")]
    assert mine["fraction"].iloc[0] == 1
    assert mine["fraction"].iloc[-1] < 0.05
    assert (mine["fraction"].diff().dropna() <= 0).all()
    assert ((mine["low"] <= mine["fraction"]) & (mine["fraction"] <= mine["high"])).mean() > 0.95


def test_agents_are_told_apart_by_context_and_noise():
    episodes = play({"SaCCM": [1.0]})
    assert set(tables.agents(episodes)) == {"SaCCM"}
    assert set(tables.agents(episodes.assign(context="zero", explore=True))) == {"SaCCM, zero context, exploring"}


def test_cells_and_skills():
    episodes = play({"SaCCM": [1.0]}, skill=["push", "roll", "push", "push"] * 2)
    assert tables.factors(episodes) == ["task_mass", "task_damping"]
    table = tables.cells(episodes, "task_mass", "task_damping")
    assert len(table) == 8
    row = one(table, task_mass=2.0, task_damping=2.0)
    assert (row["mean"], row["episodes"], row["trained"]) == (1.0, 1, True)
    assert set(table.loc[table["trained"], "task_mass"]) == {1.0, 2.0}
    rates = tables.skill_rates(episodes, "task_mass", "task_damping")
    sums = rates.groupby(["task_mass", "task_damping"])["rate"].sum()
    assert (sums == 1).all()
    assert one(rates, task_mass=1.0, task_damping=2.0, skill="roll")["rate"] == 1
    assert tables.skill_rates(play({"SaCCM": [1.0]}), "task_mass", "task_damping").empty


def test_intervals_of_success_rates_stay_within_their_range():
    row = tables.per_task(play({"SaCCM": [1.0]}, success=[True, False] * 4), "success")
    assert (row["low"].min(), row["high"].max()) == (0.0, 1.0)
