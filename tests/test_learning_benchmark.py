"""The learning benchmark: suites expand and are valid, changes are told, a kill loses nothing and repeats nothing."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
ALGORITHMS = ["TESAC", "CCM", "SaTESAC", "SaCCM", "SAC", "oracle"]
THREE_JOBS = """
seeds: [3]
episodes: 1
config:
  encoder_hidden_dim: 8
  actor_hidden: [16]
  critic_hidden: [16]
  min_sample_timesteps_per_iteration: 200
  num_steps_sampled_before_learning_starts: 400
algorithms:
  SAC: {run: PlainSAC}
  SaCCM: {config: {contrast_episodes: 8, num_negatives: 7}}
  CCM: {config: {contrast_episodes: 8, num_negatives: 7}}
environments:
  Pendulum: {env: SaMI/Pendulum-v0, stop: {num_env_steps_sampled_lifetime: 6_000}}
"""


@pytest.fixture
def benchmark(monkeypatch):
    """Lets a test import the benchmark, which is no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def suite_file(tmp_path):
    file = tmp_path / "three.yaml"
    file.write_text(THREE_JOBS)
    return file


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.learning", *map(str, words)]


@pytest.mark.parametrize(
    ("name", "seeds", "environments"), [("quick", range(3), 3), ("cpu", range(5), 6), ("paper", range(100, 105), 22)]
)
def test_a_suite_is_algorithms_times_environments_times_seeds(benchmark, name, seeds, environments):
    from benchmarks.learning.suite import find_suite, load_jobs

    jobs = load_jobs(find_suite(name))
    assert len({job.id for job in jobs}) == len({job.fingerprint for job in jobs}) == len(jobs)
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


@pytest.mark.parametrize("name", ["quick", "cpu", "paper"])
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
        ("encoder_hidden_dim", "encoder_hiden_dim", "encoder_hidden_dim"),
        ("num_env_steps_sampled_lifetime", "training_iteration", "'stop' must be"),
        ("SaMI/Pendulum-v0", "SaMI/Pendulum-v9", "unknown environment"),
    ],
)
def test_a_mistake_in_a_suite_is_told_before_anything_runs(benchmark, suite_file, tmp_path, old, new, said):
    from benchmarks.learning.__main__ import main

    suite_file.write_text(THREE_JOBS.replace(old, new))
    result = CliRunner().invoke(main, ["run", str(suite_file), "--out", str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()


def test_changed_settings_are_an_error_that_names_them(benchmark, suite_file, tmp_path):
    from benchmarks.learning.files import DONE, write_json
    from benchmarks.learning.running import folder_of, left_to_do
    from benchmarks.learning.suite import load_jobs
    from rllib_sami.cli.errors import UserError

    jobs = load_jobs(suite_file)
    assert [job.id for job in load_jobs(suite_file, ["Sa*"])] == ["SaCCM-Pendulum-seed3"]
    assert left_to_do(jobs, tmp_path) == jobs
    for job in jobs:
        folder_of(tmp_path, job).mkdir(parents=True)
        write_json(folder_of(tmp_path, job) / DONE, {"fingerprint": job.fingerprint, "settings": job.settings})
    assert left_to_do(jobs, tmp_path) == []
    changed = [replace(jobs[0], config={**jobs[0].config, "gamma": 0.5}), *jobs[1:]]
    with pytest.raises(UserError, match=r"SAC-Pendulum-seed3: config.gamma: .* -> 0.5"):
        left_to_do(changed, tmp_path)
    assert (folder_of(tmp_path, jobs[0]) / DONE).exists()
    assert left_to_do(changed, tmp_path, overwrite=True) == changed[:1]
    assert not folder_of(tmp_path, jobs[0]).exists()
    assert left_to_do([jobs[1]], tmp_path) == []


def test_a_curve_goes_on_from_the_checkpoint(benchmark, tmp_path):
    from benchmarks.learning.files import FIELDS, Curve, read_curve

    path = tmp_path / "curve.csv"
    curve = Curve(path, 0)
    for steps in (100, 200, 300):
        curve.append({**dict.fromkeys(FIELDS, 1.0), "env_steps": steps, "return_mean": float("nan")})
    curve.close()
    with path.open("a") as handle:
        handle.write("400,1.0,1")  # killed while writing
    assert list(read_curve(path)["env_steps"]) == [100, 200, 300]
    curve = Curve(path, 200)
    assert curve.last["env_steps"] == 200
    curve.close()
    assert list(read_curve(path)["env_steps"]) == [100, 200]
    with pytest.raises(ValueError, match="ends before the checkpoint"):
        Curve(path, 300)


def test_a_folder_in_use_is_refused(benchmark, suite_file, tmp_path):
    from benchmarks.learning.__main__ import main
    from benchmarks.learning.files import locked

    with locked(tmp_path / "out", 0.0):
        result = CliRunner().invoke(main, ["run", str(suite_file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "in use by another process" in result.output


def test_time_to_return_counts_seeds_that_got_there(benchmark, monkeypatch, tmp_path):
    from benchmarks.learning import reporting, tables

    steps = [1_000.0 * i for i in range(1, 11)]
    good = pd.DataFrame({"env_steps": steps, "cpu_s": range(1, 11), "return_mean": range(10)})
    every = [good.assign(algorithm="A", job=f"A{i}", environment="E", cpu_s=good["cpu_s"] * i) for i in (1, 3)]
    every.append(good.assign(algorithm="B", job="B1", environment="E", return_mean=float("nan")))
    monkeypatch.setattr(reporting, "finished", lambda folder: [])
    monkeypatch.setattr(reporting, "curves", lambda jobs: pd.concat(every, ignore_index=True))
    table = tables.time_to_return_table(tmp_path, "E", 4.0).set_index("algorithm")
    assert list(table["seeds there"]) == ["2 of 2", "0 of 1"]
    assert table.loc["A", "env steps"] == "7,000 (7,000 to 7,000)"  # the mean of returns 2 to 6
    assert table.loc["A", "CPU s"] == "14 (7 to 21)"
    assert table.loc["B", "CPU s"] == "–"


def test_comparisons_of_known_scores(benchmark):
    from benchmarks.learning.tables import comparisons

    rows = [
        {"algorithm": name, "run": f"{name}{seed}", "context": "learned", "explore": False, "environment": "E",
         "split": "train", "task_id": task, "return": value + seed, "success": None}
        for name, value in (("SaCCM", 10.0), ("SAC", 0.0), ("CCM", 10.0)) for seed in range(3) for task in range(2)
    ]  # fmt: skip
    table = comparisons(pd.DataFrame(rows)).set_index("comparison")["estimate"]
    assert table["P(SaCCM > SAC)"] == "1.00 (1.00 to 1.00)"
    assert table["P(SaCCM > CCM)"].startswith("0.50 (")
    assert table["return of SaCCM less that of SAC"].startswith("10.0 (")
    assert "P(SaTESAC > TESAC)" not in table


@pytest.mark.slow
def test_a_killed_run_goes_on_and_repeats_nothing_and_a_failure_ends_no_other_job(suite_file, tmp_path):
    out = tmp_path / "out"
    first, second, third = (out / "jobs" / f"{name}-Pendulum-seed3" for name in ("SAC", "SaCCM", "CCM"))
    words = command("run", suite_file, "--out", out, "--cpus", 1, "--checkpoint-interval", 0.1)
    where = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "text": True}
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **where)
    try:
        until = time.monotonic() + 240
        while not (second / "checkpoint" / "manifest.json").exists():
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not (second / "done.json").exists()
    written = (first / "done.json").stat().st_mtime_ns
    kept = json.loads((second / "checkpoint" / "manifest.json").read_text())["num_env_steps_sampled_lifetime"]
    before = pd.read_csv(second / "curve.csv", on_bad_lines="skip")
    before = before[before["env_steps"] <= kept]
    assert 0 < kept < 6_000

    (third / "checkpoint").mkdir(parents=True)  # without a curve: somebody has meddled with it
    (third / "checkpoint" / "manifest.json").write_text('{"num_env_steps_sampled_lifetime": 400}')
    finished = subprocess.run(words, capture_output=True, timeout=400, **where)
    assert finished.returncode == 1, finished.stderr
    assert "3 jobs, 2 of them to do" in finished.stdout
    assert "failed: CCM-Pendulum-seed3: " in finished.stderr
    assert "ends before the checkpoint at 400" in finished.stderr
    assert "ends before the checkpoint at 400" in (third / "error.txt").read_text()
    assert not (third / "done.json").exists()
    assert (first / "done.json").stat().st_mtime_ns == written
    for folder in (first, second):
        curve = pd.read_csv(folder / "curve.csv")
        assert list(curve["env_steps"]) == list(range(200, 6_001, 200))
        assert curve["cpu_s"].is_monotonic_increasing
        assert curve["updates"].is_monotonic_increasing
        assert json.loads((folder / "done.json").read_text())["env_steps"] == 6_000
        assert not (folder / "checkpoint" / "replay_buffer").exists()
    pd.testing.assert_frame_equal(before, pd.read_csv(second / "curve.csv").iloc[: len(before)])
    assert (out / "report" / "index.html").exists()
    assert set(pd.read_parquet(out / "results.parquet")["algorithm"]) == {"SAC", "SaCCM"}
    assert "return of SaCCM less that of SAC" in (out / "tables.md").read_text()
