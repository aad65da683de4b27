"""Suites expand and are valid, and a mistake in one is told before anything runs."""

import importlib.util

import pytest
from click.testing import CliRunner

from .three_jobs import THREE_JOBS

ALGORITHMS = ["TESAC", "CCM", "SaTESAC", "SaCCM", "SAC", "oracle"]


@pytest.mark.parametrize(
    ("name", "seeds", "environments"), [("quick", range(3), 3), ("cpu", range(5), 7), ("paper", range(100, 105), 22)]
)
def test_a_suite_is_algorithms_times_environments_times_seeds(benchmark, name, seeds, environments):
    from benchmarks.learning.suite import find_suite, load_jobs

    jobs = load_jobs(find_suite(name))
    assert len({job.id for job in jobs}) == len({str(job.settings) for job in jobs}) == len(jobs)
    assert len(jobs) == len(ALGORITHMS) * environments * len(seeds)
    assert {job.algorithm for job in jobs} == set(ALGORITHMS)
    assert {job.seed for job in jobs} == {job.config["seed"] for job in jobs} == set(seeds)
    for job in jobs:
        assert job.id == f"{job.algorithm}-{job.environment}-seed{job.seed}"
        assert job.config["num_env_runners"] == 0
        assert job.config["env_config"].get("observe_task", False) == (job.algorithm == "oracle")
        assert (job.run == "PlainSAC") == (job.algorithm in ("SAC", "oracle"))
    # An oracle is its baseline, and told the task.
    by_id = {job.id: job for job in jobs}
    for job in jobs:
        if job.algorithm == "oracle":
            plain = by_id[job.id.replace("oracle", "SAC")].config
            assert job.config == {**plain, "env_config": {**plain["env_config"], "observe_task": True}}


@pytest.mark.parametrize("name", ["quick", "cpu", "controls", "ablations", "long", "paper", "small", "motors", "plain"])
def test_every_job_of_a_suite_is_valid(benchmark, name):
    from benchmarks.learning.suite import check_jobs, find_suite, load_jobs

    jobs = load_jobs(find_suite(name))
    if importlib.util.find_spec("pybullet") is None:
        jobs = [job for job in jobs if "Panda" not in job.env]
    assert list(check_jobs(jobs)) == jobs


def test_a_suite_lays_its_settings_over_files_and_single_ones_over_all(benchmark, tmp_path):
    from benchmarks.learning.suite import load_jobs

    (tmp_path / "base.yaml").write_text(
        "{env: SaMI/Pendulum-v0, stop: {num_env_steps_sampled_lifetime: 10}, config: {gamma: 0.1, tau: 0.1}}"
    )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "seeds: [0]\nconfig: {gamma: 0.2, actor_lr: 0.2}\nalgorithms: {SaCCM: {config: {critic_lr: 0.4}}, CCM: {}}\n"
        "environments:\n"
        "  A: {extends: base.yaml, config: {actor_lr: 0.3}, algorithms: {CCM: {config: {actor_lr: 0.5}}}}\n"
    )
    first, second = load_jobs(suite)
    assert (first.run, first.env_steps, first.episodes) == ("SaCCM", 10, 5)
    assert {key: first.config.get(key) for key in ("gamma", "tau", "actor_lr", "critic_lr")} == {
        "gamma": 0.2,
        "tau": 0.1,
        "actor_lr": 0.3,
        "critic_lr": 0.4,
    }
    assert second.config["actor_lr"] == 0.5
    assert "critic_lr" not in second.config


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("episodes: 1", "episode: 1", "Did you mean 'episodes'"),
        ("seeds: [3]", "seeds: []", "'seeds' is missing or empty"),
        ("actor_hidden", "actor_hiden", "Did you mean 'actor_hidden'"),
        ("num_env_steps_sampled_lifetime", "training_iteration", "'stop' must be"),
        ("SaMI/Pendulum-v0", "SaMI/Pendulum-v9", "unknown environment"),
        ("seeds: [3]", "seeds: 3", "'seeds' is 3, but must be a list"),
        ("seeds: [3]", "seeds: [3, a]", "'seeds' must be a list of integers, such as [0, 1, 2], not [3, 'a']"),
        ("seeds: [3]", "seeds: [3, 3]", "2 of its jobs would be 'SAC-Pendulum-seed3'"),
        ("episodes: 1", "episodes: many", "'episodes' must be an integer >= 1, not 'many'"),
        ("  SAC: {run: PlainSAC}", "  SAC: PlainSAC", "algorithm 'SAC' must be a mapping"),
        ("  SAC: {run: PlainSAC}", "  SAC: {run: PlainSAC, config: [a]}", "'config' is ['a'], but must be a mapping"),
        ("  SAC: {run: PlainSAC}", "  plain/SAC: {run: PlainSAC}", "'plain/SAC' cannot name an algorithm"),
        ("  Pendulum: {", "  3: {", "3 cannot name an algorithm or an environment"),
        ("stop: {num_env_steps_sampled_lifetime: 6_000}", "stop: 6_000", "'stop' is 6000, but must be a mapping"),
        (
            "environments:",
            "  SAC-A: {run: PlainSAC}\nenvironments:\n  A-Pendulum: {stop: {num_env_steps_sampled_lifetime: 1}}",
            "2 of its jobs would be 'SAC-A-Pendulum-seed3'",
        ),
    ],
)
def test_a_mistake_in_a_suite_is_told_before_anything_runs(benchmark, suite_file, tmp_path, old, new, said):
    from benchmarks.learning.__main__ import main

    suite_file.write_text(THREE_JOBS.replace(old, new))
    result = CliRunner().invoke(main, ["run", str(suite_file), "--out", str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()
