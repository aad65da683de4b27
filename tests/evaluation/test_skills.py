"""The evaluation of skills: its numbers by hand, what is played, and results with paths."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from adapters.envs import Nowhere
from adapters.skill_agents import SKILLS as UNITS
from adapters.skill_agents import by_hand, skills_config
from click.testing import CliRunner

import rllib_sami
from rllib_sami import CSFConfig, DIAYNConfig
from rllib_sami.algorithms.skill_discovery.evaluation import (
    GOALS,
    SKILLS,
    SkillGrid,
    coverage,
    of_goals,
    of_skills,
    reached,
)
from rllib_sami.env_runners.episodes import Episode, EpisodeSpec, Goal
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.evaluation import Results, evaluate
from rllib_sami.evaluation.paths import Paths
from rllib_sami.evaluation.results import join
from rllib_sami.evaluation.skill_tables import per_run
from rllib_sami_cli import main

POINT = "Skills/PosturePoint-v0"
POSTURE_POINT = ENVIRONMENTS[POINT]


def play(path, **given) -> Results:
    return evaluate(path, **{"episodes": 3, "progress": False} | given)


def row_of(results) -> dict:
    [row] = per_run(results).to_dict("records")
    return row


def paths_of(results, part) -> np.ndarray:
    return results.paths.coordinates[(results.episodes["split"] == part).to_numpy()]


# --- Numbers by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "cell_size", "cells"),
    [
        ([[[0.0, 0.0]], [[0.9, 0.9]]], 1.0, 1),
        ([[[-0.1, 0.0], [0.1, 0.0]]], 1.0, 2),  # 0 is an edge: -0.1 is not in the cell of 0.1
        ([[[-0.1, -0.1], [-0.9, -0.9], [-1.1, -0.9]]], 1.0, 2),
        ([[[0.0, 0.0], [0.4, 0.4], [0.5, 0.4], [0.9, 0.9]]], 0.5, 3),
        ([[[-0.5, 0.0], [-0.6, 0.0]], [[-0.5, 0.0], [-0.5, -0.1]]], 0.5, 3),
        ([[[0.0], [1.0], [2.0]], [[2.5], [1.5], [-3.0]]], 1.0, 4),  # paths share cells
        ([[[0.0, 5.0], [0.0, -5.0]]], 10.0, 2),
    ],
)
def test_coverage_counts_different_cells_of_all_paths(paths, cell_size, cells):
    assert coverage([np.array(path) for path in paths], cell_size) == cells


def episode(path, part=SKILLS, goal=None, total=0.0, skill=None):
    goal = None if goal is None else Goal(np.zeros(8), np.array(goal))
    spec = EpisodeSpec(part, None, 0, 1, 1, skill=skill, goal=goal)
    path = None if path is None else np.array(path, np.float64)
    return Episode(spec, None, {}, total, 4, None, {}, None, path)


# Distances after each step: 5, 3, 2.9, 0.5 and 10. The start, which is at the goal, does not count.
NEAR_THEN_AWAY = episode([[3.0, 0.0], [3.0, 5.0], [0.0, 0.0], [3.0, -2.9], [2.5, 0.0], [3.0, 10.0]], GOALS, [3.0, 0.0])
NEVER_NEAR = episode([[0.0, 0.0], [0.0, 1.0], [0.0, 4.0]], GOALS, [0.0, 10.0])  # 9, 6


def test_time_near_goals_and_success_by_hand():
    grid = SkillGrid(POINT, skills_config(), goal_radius=3.0)
    found = of_goals(grid, [NEAR_THEN_AWAY, NEVER_NEAR])
    assert found == pytest.approx({
        "staying_time": (2 / 5 + 0) / 2,  # at exactly 3 it is not near
        "staying_time_close": (1 / 5 + 0) / 2,
        "success_rate": 1 / 2,
        "final_distance": (10 + 6) / 2,
    })  # fmt: skip
    assert [reached(grid, one) for one in (NEAR_THEN_AWAY, NEVER_NEAR)] == [True, False]
    wide = SkillGrid(POINT, skills_config(), goal_radius=9.5)
    assert of_goals(wide, [NEAR_THEN_AWAY, NEVER_NEAR])["staying_time"] == pytest.approx((4 / 5 + 1) / 2)
    assert reached(wide, NEVER_NEAR)
    only_start = episode([[0.0], [50.0]], GOALS, [0.0])
    assert not reached(grid, only_start)


def test_coverage_ends_and_returns_of_skills_by_hand():
    grid = SkillGrid(POINT, skills_config(), cell_size=0.5)
    played = [
        episode([[1.0, 1.0], [1.4, 1.4], [4.0, 5.0]], total=2.0),
        episode([[0.0, 0.0], [9.0, 9.0], [0.0, 1.0]], total=-4.0),
    ]
    assert of_skills(grid, played) == {
        "state_coverage": 5.0,
        "end_distance": (5.0 + 1.0) / 2,
        "return_mean": -1.0,
        "return_max": 2.0,
    }
    assert of_skills(grid, [episode(None, total=1.0)]) == {"return_mean": 1.0, "return_max": 1.0}


def results_of(run, skills, goals=(), dim=2, sizes=None, algorithm="CSF", environment="Here", **more) -> Results:
    """Results with paths of skills, and with paths to goals, each a path and a goal."""
    units = np.eye(dim, dtype=np.float32)
    episodes = [episode(path, total=total, skill=units[number]) for number, (path, total) in enumerate(skills)]
    episodes += [episode(path, GOALS, goal) for path, goal in goals]
    rows = [
        {"algorithm": algorithm, "run": run, "seed": 1, "env_steps": 9, "context": "learned", "explore": False,
         "environment": environment, "split": one.spec.split, "task_id": -1, "episode": number, "episode_seed": number,
         "return": one.total, "length": 4} | more
        for number, one in enumerate(episodes)
    ]  # fmt: skip
    sizes = {"skill_sizes": {environment: sizes}} if sizes else {}
    return Results(pd.DataFrame(rows), None, sizes, Paths.of(episodes))


FLAT = results_of("flat", [([[0.0], [2.5]], 1.0), ([[0.0], [-2.5], [-5.0]], 4.0)], dim=3)
PLANE = results_of(
    "plane",
    [([[0.0, 0.0], [0.6, 0.0], [0.6, 0.9]], 0.0)],
    [([[0.0, 0.0], [0.0, 4.0], [0.0, 5.0]], [0.0, 7.0]), ([[0.0, 0.0], [1.0, 0.0]], [9.0, 0.0])],
    sizes={"cell_size": 0.5, "goal_radius": 2.5},
    algorithm="METRA",
    environment="There",
)


def test_numbers_of_runs_by_hand():
    table = per_run(join([FLAT, PLANE])).set_index("run")
    flat, plane = table.loc["flat"], table.loc["plane"]
    assert (flat["skills"], flat["goals"]) == (2, 0)
    assert flat["state_coverage"] == 4  # 0, 2, -3, -5: cells of 1, as no other size is known
    assert (flat["end_distance"], flat["return_mean"], flat["return_max"]) == (3.75, 2.5, 4.0)
    assert flat[["staying_time", "success_rate", "final_distance"]].isna().all()
    assert (plane["skills"], plane["goals"], plane["state_coverage"]) == (1, 2, 3)
    assert plane["end_distance"] == pytest.approx(math.hypot(0.6, 0.9))
    assert (plane["staying_time"], plane["success_rate"]) == ((1 / 2 + 0) / 2, 1 / 2)  # after 2 steps, and 1
    assert plane["final_distance"] == (2 + 8) / 2
    assert (plane["algorithm"], plane["seed"], plane["env_steps"], plane["environment"]) == ("METRA", 1, 9, "There")


def test_runs_without_skills_have_no_row():
    alone = Results(FLAT.episodes.assign(run="other", split="train"))
    assert list(per_run(alone).index) == []
    table = per_run(join([alone, FLAT]))
    assert list(table["run"]) == ["flat"]
    pd.testing.assert_frame_equal(table, per_run(FLAT))


# --- Results with paths ---------------------------------------------------------------------------------------------


def same(one, other):
    for name in ("coordinates", "goals", "skills"):
        np.testing.assert_array_equal(getattr(one.paths, name), getattr(other.paths, name))
    pd.testing.assert_frame_equal(per_run(one), per_run(other))


def test_paths_are_saved_loaded_and_joined_though_their_widths_differ(tmp_path):
    for results, name in ((FLAT, "flat"), (PLANE, "plane")):
        same(Results.load(results.save(tmp_path / name)), results)
    both = Results.load([tmp_path / "plane", tmp_path / "flat"])
    assert both.paths.coordinates.shape == (5, 3, 2)
    assert both.paths.goals.shape == (5, 2)
    assert both.paths.skills.shape == (5, 3)
    together = per_run(both).set_index("run")
    for results, name in ((FLAT, "flat"), (PLANE, "plane")):
        alone = per_run(results).set_index("run")
        pd.testing.assert_frame_equal(together.loc[[name]], alone, check_dtype=False)
    again = Results.load(both.save(tmp_path / "both"))
    same(again, both)
    # Each row still has its own path, and NaN beyond it.
    flat = again.paths.take(np.flatnonzero(again.episodes["run"] == "flat"))
    np.testing.assert_array_equal(flat.coordinates[0, :, 0], [0.0, 2.5, np.nan])
    assert np.isnan(flat.coordinates[..., 1]).all()
    np.testing.assert_array_equal(flat.skills, np.eye(3)[:2])


def test_the_files_of_former_results_with_paths_do_not_stay(tmp_path):
    PLANE.save(tmp_path / "it")
    without = Results(PLANE.episodes)
    without.save(tmp_path / "it")
    assert Results.load(tmp_path / "it").paths is None
    assert not (tmp_path / "it" / "paths.npz").exists()


def test_paths_follow_their_episodes_when_rows_are_sorted():
    order = [2, 0, 1]
    shuffled = Results(PLANE.episodes.iloc[order], None, PLANE.provenance, PLANE.paths.take(np.array(order)))
    same(shuffled, PLANE)


# --- What is played -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("config_class", [CSFConfig, DIAYNConfig])
def test_evaluation_in_training_has_the_numbers_of_evaluating_its_checkpoint(config_class, tmp_path):
    config = skills_config(config_class, num_steps_sampled_before_learning_starts=40, train_batch_size_per_learner=16)
    config.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=10)
    config.reporting(min_sample_timesteps_per_iteration=60).evaluation(evaluation_interval=1, evaluation_duration=5)
    algo = config.evaluation(evaluation_goals=5).build_algo()
    found = algo.train()["evaluation"]
    algo.save_to_path(tmp_path / "it")
    algo.stop()
    row = row_of(play(tmp_path / "it", episodes=5))
    for part, names in ((SKILLS, ("state_coverage", "end_distance", "return_mean", "return_max")),
                        (GOALS, ("staying_time", "success_rate", "final_distance"))):  # fmt: skip
        for name in names:
            assert row[name] == pytest.approx(found[part][name], rel=1e-6), name
    assert row["end_distance"] > 0
    other = row_of(play(tmp_path / "it", episodes=5, seed=1))
    assert abs(other["final_distance"] - row["final_distance"]) > 1e-3
    # Of one-hot skills each seed plays all, from the same place.
    assert (other["end_distance"] != row["end_distance"]) == (config_class is CSFConfig)


def test_processes_do_not_change_what_is_found(agents):
    """More skills than are played at once, so that there are several parts of them."""
    one, two = (play(agents / "csf", episodes=20, workers=workers) for workers in (0, 1))
    same(one, two)
    pd.testing.assert_frame_equal(one.episodes, two.episodes)
    np.testing.assert_array_equal(one.contexts.values, two.contexts.values)
    assert len(one.episodes) == 40
    few = play(agents / "csf", episodes=3)
    np.testing.assert_array_equal(paths_of(few, SKILLS), paths_of(one, SKILLS)[:3])
    np.testing.assert_allclose(paths_of(few, GOALS), paths_of(one, GOALS)[:3], atol=1e-6)


@pytest.mark.parametrize("number", [1, 17])
def test_as_many_skills_and_goals_are_played_as_are_asked_for(agents, number):
    results = play(agents / "csf", episodes=number)
    assert results.episodes["split"].value_counts().to_dict() == {SKILLS: number, GOALS: number}
    assert (row_of(results)["skills"], row_of(results)["goals"]) == (number, number)
    assert len(np.unique(paths_of(results, GOALS)[:, -1], axis=0)) == number
    known = results.paths.skills[~np.isnan(results.paths.skills).any(axis=1)]
    assert len(np.unique(known, axis=0)) == number
    assert (~np.isnan(results.paths.goals)).any(axis=1).sum() == number


def test_one_hot_skills_are_played_equally_often(agents):
    results = play(agents / "diayn", episodes=7, splits=[SKILLS])
    assert sorted(results.paths.skills.sum(axis=0).tolist()) == [2, 2, 3]


def test_by_default_it_is_48_skills_and_50_goals(agents):
    results = play(agents / "csf", episodes=None)
    assert results.episodes["split"].value_counts().to_dict() == {SKILLS: 48, GOALS: 50}
    assert "episodes_per_task" not in results.provenance  # there are no tasks


@pytest.mark.parametrize(("part", "other"), [(SKILLS, GOALS), (GOALS, SKILLS)])
def test_a_part_alone_has_the_same_episodes(agents, part, other):
    results, both = play(agents / "csf", splits=[part, part]), play(agents / "csf")
    assert set(results.episodes["split"]) == {part}
    np.testing.assert_array_equal(paths_of(results, part), paths_of(both, part))
    assert row_of(results)[other] == 0


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("csf", {"splits": "train"}, "'train' is no part of an evaluation of skills: it plays 'skills' and 'goals'"),
        ("csf", {"splits": ["skills", "goal"]}, "'goal' is no part of an evaluation"),
        ("csf", {"splits": []}, "splits: none given"),
        (
            "dads",
            {"splits": ["skills", "goals"]},
            "'goals' cannot be played: DADS finds no skill for a goal. Leave it out",
        ),
        ("cic", {"splits": "goals"}, "'goals' cannot be played: CIC finds no skill for a goal"),
        ("csf", {"env": Nowhere, "splits": "goals"}, "'goals' cannot be played: '.*Nowhere' tells no coordinates"),
        ("csf", {"env": "Pendulum-v1"}, "trained on 8 observations and 8 actions, but this environment has 3 and 1"),
        ("csf", {"episodes": 0}, "episodes=0.* expected at least 1"),
        ("csf", {"context": "oracle"}, "context='oracle'"),
    ],
)
def test_what_cannot_be_played(agents, name, given, message):
    with pytest.raises(ValueError, match=message):
        play(agents / name, **given)


@pytest.mark.parametrize("name", ["dads", "cic"])
def test_an_agent_that_finds_no_goals_plays_its_skills(agents, name):
    row = row_of(play(agents / name))
    assert (row["skills"], row["goals"]) == (3, 0)
    assert row["end_distance"] > 0
    assert math.isnan(row["staying_time"])
    done = CliRunner().invoke(main, ["evaluate", str(agents / name), "--episodes", "2", "-q"])
    assert done.exit_code == 0, done.output
    assert re.search(r"^  2 skills: \d+ cells covered", done.output, re.MULTILINE)
    assert "goals" not in done.output


def test_an_environment_that_tells_no_coordinates_has_returns_only(agents, caplog, monkeypatch):
    # It may be said once for each environment only, and another test was told.
    where = "rllib_sami.algorithms.skill_discovery.evaluation.log_once"
    monkeypatch.setattr(where, lambda key: True, raising=False)
    results = play(agents / "csf", env=Nowhere)
    [warning] = [one for one in caplog.messages if "coordinates" in one]
    assert "Nowhere' tells no coordinates" in warning
    row = row_of(results)
    assert (row["skills"], row["goals"], row["return_mean"]) == (3, 0, 0.0)
    assert math.isnan(row["state_coverage"])
    assert math.isnan(row["end_distance"])
    assert len(results.paths) == 3
    words = ["evaluate", str(agents / "csf"), "--env", f"{__name__}.Nowhere", "--episodes", "2", "-q"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "  2 skills: return 0.00, at most 0.00\n" in done.output


def test_an_environments_own_sizes_count(agents):
    class Fine(POSTURE_POINT):
        cell_size, goal_radius = 0.01, 100.0

        def __init__(self, config=None):
            super().__init__(max_steps=10)

    usual, fine = (row_of(play(agents / "csf", **given)) for given in ({}, {"env": Fine}))
    assert fine["state_coverage"] > usual["state_coverage"]
    assert (fine["staying_time"], fine["success_rate"]) == (1.0, 1.0)
    assert fine["final_distance"] == usual["final_distance"]


def test_exploring_agents_act_with_noise_that_is_seeded(agents):
    still, one, two = (play(agents / "csf", explore=explore) for explore in (False, True, True))
    same(one, two)
    assert one.episodes["explore"].all()
    apart = np.abs(paths_of(one, SKILLS)[:, -1] - paths_of(still, SKILLS)[:, -1])
    assert (apart.max(axis=1) > 1e-3).all()
    np.testing.assert_array_equal(one.paths.skills, still.paths.skills)


def test_other_contexts_are_other_skills(agents):
    learned, zero, shuffled, frozen = (
        play(agents / "csf", context=context) for context in ("learned", "zero", "shuffled", "frozen-after=0")
    )
    module = rllib_sami.load(agents / "csf").module
    paths = paths_of(zero, SKILLS)
    np.testing.assert_array_equal(paths, paths[[0, 0, 0]])  # the same skill, which is none
    np.testing.assert_allclose(paths[0], walk(module, np.zeros(3), seed=0), atol=1e-5)
    # The point always starts at the same place, so another episode's skill gives that episode's path.
    mine, others = paths_of(learned, SKILLS), paths_of(shuffled, SKILLS)
    np.testing.assert_array_equal(mine[:, 0], others[:, 0])
    matches = np.array([[np.allclose(one, other, atol=1e-5) for other in mine] for one in others])
    assert (matches.sum(axis=1) == 1).all()
    assert not matches.diagonal().any()
    # A skill does not change, but that for a goal does.
    np.testing.assert_allclose(paths_of(frozen, SKILLS), mine, atol=1e-6)
    assert np.abs(paths_of(frozen, GOALS) - paths_of(learned, GOALS)).max() > 1e-4
    assert set(zero.episodes["context"]) == {"zero"}


# --- What the policy reads ------------------------------------------------------------------------------------------


def walk(module, skill, seed, goal=None, steps=10):
    """The path of a skill, or the one to a goal with the skill chosen again in each step, played by hand."""
    env = POSTURE_POINT(max_steps=steps)
    obs, _ = env.reset(seed=int(seed))
    path = [env.coordinates.copy()]
    for _ in range(steps):
        if goal is not None:
            skill = module.infer_skill(obs[None], goal[None])[0].numpy()
        obs, *_ = env.step(by_hand(module, obs, np.asarray(skill, np.float32)))
        path.append(env.coordinates.copy())
    return np.stack(path)


@pytest.mark.parametrize("name", ["csf", "metra", "diayn", "dads", "cic"])
def test_an_episode_plays_the_skill_that_it_is_said_to_have(agents, name):
    results, module = play(agents / name, splits=[SKILLS], episodes=4), rllib_sami.load(agents / name).module
    assert np.ptp(results.paths.coordinates[:, -1], axis=0).max() > 0.05
    for at, row in results.episodes.iterrows():
        expected = walk(module, results.paths.skills[at], row["episode_seed"])
        np.testing.assert_allclose(results.paths.coordinates[at], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["csf", "metra", "diayn"])
def test_an_episode_goes_to_its_goal_with_the_skill_chosen_at_each_step(agents, name):
    results, module = play(agents / name, splits=[GOALS], episodes=4), rllib_sami.load(agents / name).module
    env, rng = POSTURE_POINT(), np.random.default_rng([0, 1])
    for at, row in results.episodes.iterrows():
        obs, coordinates = env.sample_goal(rng)
        np.testing.assert_allclose(results.paths.goals[at], coordinates, rtol=1e-6)
        expected = walk(module, None, row["episode_seed"], obs.copy())
        np.testing.assert_allclose(results.paths.coordinates[at], expected, atol=1e-5)
        assert row["success"] == (np.linalg.norm(expected[1:] - coordinates, axis=1) < 3.0).any()
    assert results.paths.skills.size == 0  # they change


def test_diayn_plays_the_skill_that_its_discriminator_says_of_the_goal(agents):
    module = rllib_sami.load(agents / "diayn").module
    obs, goals = np.random.default_rng(0).normal(size=(2, 30, 8)).astype(np.float32)
    with torch.no_grad():
        likely = module.acting.representation(torch.from_numpy(goals)).argmax(dim=-1).numpy()
    assert len(set(likely)) > 1
    np.testing.assert_array_equal(module.infer_skill(obs, goals).numpy(), UNITS[likely])


def test_the_features_that_are_kept_are_those_of_the_states(agents):
    results, module = play(agents / "csf", splits=[SKILLS]), rllib_sami.load(agents / "csf").module
    np.testing.assert_array_equal(results.contexts.steps, np.arange(10))
    env = POSTURE_POINT(max_steps=10)
    obs, _ = env.reset(seed=int(results.episodes["episode_seed"][0]))
    for step in range(10):
        np.testing.assert_allclose(results.contexts.values[0, step], module.features(obs[None])[0], atol=1e-5)
        obs, *_ = env.step(by_hand(module, obs, results.paths.skills[0]))
    assert play(agents / "dads").contexts is None
