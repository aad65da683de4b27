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
from unittest.mock import MagicMock

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


def results_of(job, context: str = "learned"):
    """Episodes that nobody played, of two tasks on two splits: seed 4 gets 100 more, zeros cost 4, shuffling 1."""
    from rllib_sami.evaluation.results import Results

    level = 10 + 100 * (job.seed == 4) - {"learned": 0, "zero": 4, "shuffled": 1}[context]
    rows = [
        {"algorithm": job.algorithm, "run": job.id, "seed": job.seed, "env_steps": job.env_steps, "context": context,
         "explore": False, "environment": job.environment, "split": split, "task_id": task, "episode": episode,
         "episode_seed": task, "return": level, "length": 200}
        for split in ("train", "extreme") for task in range(2) for episode in range(2)
    ]  # fmt: skip
    return Results(pd.DataFrame(rows), provenance={"max_steps": {job.environment: 100}})


@pytest.fixture
def finished_jobs(benchmark, suite_file, tmp_path):
    """A folder of SAC, SaCCM and CCM with two seeds each, done without training, and its jobs."""
    from benchmarks.learning.files import CURVE, DONE, EPISODES, FIELDS, Curve, write_json
    from benchmarks.learning.running import folder_of
    from benchmarks.learning.suite import load_jobs

    suite_file.write_text(THREE_JOBS.replace("[3]", "[3, 4]"))
    jobs = load_jobs(suite_file)
    for job in jobs:
        folder = folder_of(tmp_path / "out", job)
        results_of(job).save(folder / EPISODES)
        curve = Curve(folder / CURVE, 0)
        for i in range(1, 9):
            curve.append({**dict.fromkeys(FIELDS, 0), "env_steps": 200 * i, "cpu_s": i, "return_mean": 100 * i})
        curve.close()
        done = {"id": job.id, "settings": job.settings, "commit": "c", "hardware": {"processor": "p"}}
        write_json(folder / DONE, done)
    return tmp_path / "out", jobs


def saved_steps(checkpoint: Path) -> int:
    """Environment steps of a checkpoint that another process may be exchanging; 0 if none is there just now."""
    from rllib_sami.checkpoint_files import manifest_of

    return (manifest_of(checkpoint) or {}).get("num_env_steps_sampled_lifetime", 0)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.learning", *map(str, words)]


@pytest.mark.parametrize(
    ("name", "seeds", "environments"), [("quick", range(3), 3), ("cpu", range(5), 7), ("paper", range(100, 105), 22)]
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


@pytest.mark.parametrize("name", ["quick", "cpu", "controls", "ablations", "long", "paper"])
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
        ("seeds: [3]", "seeds: 3", "'seeds' must be a list of whole numbers, such as [0, 1, 2], not 3."),
        ("seeds: [3]", "seeds: [3, a]", "not [3, 'a']"),
        ("seeds: [3]", "seeds: [3, 3]", "2 of its jobs would be 'SAC-Pendulum-seed3'"),
        ("episodes: 1", "episodes: many", "'episodes' must be a whole number of at least 1, not 'many'"),
        ("  SAC: {run: PlainSAC}", "  SAC: PlainSAC", "algorithm 'SAC' must be a mapping"),
        ("  SAC: {run: PlainSAC}", "  SAC: {run: PlainSAC, config: [a]}", "'config' must be a mapping"),
        ("  SAC: {run: PlainSAC}", "  plain/SAC: {run: PlainSAC}", "'plain/SAC' cannot name an algorithm"),
        ("  Pendulum: {", "  3: {", "3 cannot name an algorithm or an environment"),
        ("stop: {num_env_steps_sampled_lifetime: 6_000}", "stop: 6_000", "'stop' must be a mapping"),
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
    assert [path.name for path in folder_of(tmp_path, jobs[0]).iterdir()] == [".lock"]
    assert left_to_do([jobs[1]], tmp_path) == []


def test_a_job_that_runs_is_not_overwritten(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import running
    from benchmarks.learning.__main__ import main
    from benchmarks.learning.files import CHECKPOINT, STARTED, locked, write_json
    from benchmarks.learning.suite import load_jobs

    job = load_jobs(suite_file)[0]
    folder = running.folder_of(tmp_path / "out", job)
    (folder / CHECKPOINT).mkdir(parents=True)
    write_json(folder / STARTED, {"fingerprint": "another", "settings": job.settings})
    monkeypatch.setattr(running, "PATIENCE_S", 0.0)
    words = ["run", str(suite_file), "--out", str(tmp_path / "out"), "--overwrite"]
    with locked(folder, 0.0):
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert f"--out: {folder} is in use by another process" in result.output
    assert (folder / CHECKPOINT).exists()


def test_only_folders_in_use_are_told_as_such(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import __main__ as command_line

    def run_jobs(*given):
        raise TimeoutError("Ray did not start")

    monkeypatch.setattr(command_line, "run_jobs", run_jobs)
    result = CliRunner().invoke(command_line.main, ["run", str(suite_file), "--out", str(tmp_path)])
    assert isinstance(result.exception, TimeoutError)
    assert "--out" not in result.output.replace(str(tmp_path), "")


def test_a_traceback_is_named_only_where_there_is_one(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import __main__ as command_line

    def run_jobs(jobs, out, *given):
        (out / "jobs" / jobs[0].id).mkdir(parents=True)
        (out / "jobs" / jobs[0].id / "error.txt").write_text("traceback")
        return {job.id: "no result" for job in jobs}

    monkeypatch.setattr(command_line, "run_jobs", run_jobs)
    result = CliRunner().invoke(command_line.main, ["run", str(suite_file), "--out", str(tmp_path)])
    assert result.exit_code == 1
    first, *others = [line for line in result.output.splitlines() if line.startswith("failed: ")]
    assert first == f"failed: SAC-Pendulum-seed3: no result ({tmp_path}/jobs/SAC-Pendulum-seed3/error.txt)"
    assert others == ["failed: SaCCM-Pendulum-seed3: no result", "failed: CCM-Pendulum-seed3: no result"]


def test_a_job_tells_all_commits_that_it_was_trained_with(benchmark, suite_file, tmp_path):
    from benchmarks.learning.files import STARTED, read_json, write_json
    from benchmarks.learning.job import start
    from benchmarks.learning.suite import load_jobs
    from benchmarks.learning.tables import whence

    job = load_jobs(suite_file)[0]
    assert start(job, tmp_path, "first") == ["first"]
    assert start(job, tmp_path, "second") == ["second"]  # nothing of the first had been saved
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "manifest.json").write_text('{"num_env_steps_sampled_lifetime": 400}')
    assert start(job, tmp_path, "third") == start(job, tmp_path, "third") == ["second", "third"]
    assert read_json(tmp_path / STARTED)["commits"] == ["second", "third"]
    write_json(tmp_path / STARTED, {"fingerprint": job.fingerprint, "settings": job.settings})
    assert start(job, tmp_path, "third") == ["unknown", "third"]
    hardware = {"hardware": {"processor": "p"}}
    said = whence([{"commit": "b", "commits": ["a", "b"], **hardware}, {"commit": "c", **hardware}])
    assert said.startswith("2 jobs on p, of commit a and b and c. They are of different code")


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
    with pytest.raises(ValueError, match=f"ends before the checkpoint.* Remove {tmp_path} and the job begins anew"):
        Curve(path, 300)


def test_a_checkpoint_that_is_refused_says_how_to_begin_anew(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import job as jobs
    from benchmarks.learning.files import FIELDS, Curve
    from benchmarks.learning.suite import load_jobs

    curve = Curve(tmp_path / "curve.csv", 0)
    curve.append({**dict.fromkeys(FIELDS, 1.0), "env_steps": 400})
    curve.close()
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "manifest.json").write_text('{"num_env_steps_sampled_lifetime": 400}')
    algorithm = MagicMock()
    made = algorithm.get_default_config().environment().update_from_dict().build_algo()
    made.restore_from_path.side_effect = ValueError("made with 64,\nbut this has 128.")
    monkeypatch.setattr(jobs, "ALGORITHMS", {"PlainSAC": algorithm})
    with pytest.raises(RuntimeError, match=f"made with 64, but this has 128. .*remove {tmp_path} and"):
        jobs.train_job(load_jobs(suite_file)[0], tmp_path)
    assert f"remove {tmp_path} and the job begins anew" in (tmp_path / "error.txt").read_text()


def test_a_folder_in_use_is_refused(benchmark, suite_file, tmp_path):
    from benchmarks.learning.__main__ import main
    from benchmarks.learning.files import locked

    with locked(tmp_path / "out", 0.0):
        result = CliRunner().invoke(main, ["run", str(suite_file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "in use by another process" in result.output


def test_time_to_return_counts_seeds_that_got_there(benchmark, monkeypatch, tmp_path):
    from benchmarks.learning import time_to_return

    steps = [1_000.0 * i for i in range(1, 11)]
    good = pd.DataFrame({"env_steps": steps, "cpu_s": range(1, 11), "return_mean": range(10)})
    every = [good.assign(algorithm="A", job=f"A{i}", environment="E", cpu_s=good["cpu_s"] * i) for i in (1, 3)]
    every.append(good.assign(algorithm="B", job="B1", environment="E", return_mean=float("nan")))
    monkeypatch.setattr(time_to_return, "finished", lambda folder: [])
    monkeypatch.setattr(time_to_return, "curves", lambda jobs: pd.concat(every, ignore_index=True))
    table = time_to_return.time_to_return_table(tmp_path, "E", 4.0).set_index("algorithm")
    assert list(table["seeds there"]) == ["2 of 2", "0 of 1"]
    assert table.loc["A", "env steps"] == "7,000 (7,000 to 7,000)"  # the mean of returns 2 to 6
    assert table.loc["A", "CPU s"] == "14 (7 to 21)"
    assert table.loc["B", "CPU s"] == "–"


def test_time_to_return_per_step_and_of_a_reference(benchmark, finished_jobs, tmp_path):
    from benchmarks.learning.__main__ import main

    folder, jobs = finished_jobs  # each gets a return of 100 i after 200 i steps and i CPU seconds
    (folder / "jobs" / jobs[0].id / "episodes" / "provenance.json").write_text('{"max_steps": {"Pendulum": 200}}')
    reference = tmp_path / "reference.csv"
    reference.write_text("env_steps,cpu_s,return_last100,length_last100\n5000,1,,\n6000,2,900,1000\n7000,3,3500,1000\n")

    def rows(*words: object) -> dict[str, list[str]]:
        words = ["time-to-return", folder, "--env", "Pendulum", "--reference", reference, *words]
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        lines = [line.strip("| ").split(" | ") for line in result.output.splitlines()[2:]]
        return {name: cells for name, *cells in lines}

    # The smoothed 300 is reached where 500 is; 3 a step is a return of 600 in 200 steps, of 300 in 100.
    assert rows("--return", 300)["SAC"] == ["2 of 2", "1,000 (1,000 to 1,000)", "5 (5 to 5)"]
    assert rows("--return", 300)["reference"] == ["1 of 1", "6,000", "2"]
    per_step = rows("--return", 3, "--per-step")
    assert per_step["SAC"] == ["2 of 2", "1,300 (1,000 to 1,600)", "6 (5 to 8)"]
    assert per_step["SaCCM"] == ["2 of 2", "1,000 (1,000 to 1,000)", "5 (5 to 5)"]
    assert per_step["reference"] == ["1 of 1", "7,000", "3"]
    assert rows("--return", 4, "--per-step")["reference"] == ["0 of 1", "– (best 3.50 at 7,000 steps, 3 CPU s)", "–"]

    reference.write_text("env_steps,cpu_s\n1,1\n")
    words = ["time-to-return", str(folder), "--env", "Pendulum", "--return", "3", "--reference", str(reference)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "no column return_last100" in result.output


def test_contexts_are_played_once_and_compared_seed_by_seed(benchmark, finished_jobs, monkeypatch):
    from benchmarks.learning import contexts
    from benchmarks.learning.__main__ import main

    folder, _ = finished_jobs
    played = []

    def play(job, place, context):
        assert place == folder / "jobs" / job.id
        played.append((job.id, context))
        return results_of(job, context)

    def contexts_of(*words: str) -> str:
        result = CliRunner().invoke(main, ["contexts", str(folder), *words])
        assert result.exit_code == 0, result.output
        return (folder / "contexts.md").read_text()

    monkeypatch.setattr(contexts, "play", play)
    for seed, run, width in ((3, "PlainSAC", None), (4, "SaMI", 0)):
        file = folder / "jobs" / f"SAC-Pendulum-seed{seed}" / "done.json"
        done = json.loads(file.read_text())
        done["settings"]["run"] = run
        done["settings"]["config"]["context_dim"] = width
        file.write_text(json.dumps(done))
    (folder / "jobs" / "CCM-Pendulum-seed3" / ".contexts").mkdir()  # of a process that was killed
    assert "| SaCCM |" not in contexts_of("--only", "CCM-*")
    first = [(f"CCM-Pendulum-seed{seed}", context) for seed in (3, 4) for context in ("zero", "shuffled")]
    assert played == first
    page = contexts_of()
    assert played == first + [(f"Sa{name}", context) for name, context in first]  # and those without context never
    assert contexts_of() == page
    assert len(played) == 8
    # Seeds differ by 100, contexts by 4 and 1 for each: the difference in pairs has no spread.
    row = "| 2 | 60.0 (10.0 to 110.0) | 56.0 (6.0 to 106.0) | 59.0 (9.0 to 109.0) | 4.00 (4.00 to 4.00) |"
    assert f"| train | SaCCM {row}" in page
    assert f"| extreme | CCM {row}" in page
    table = pd.read_parquet(folder / "contexts.parquet")
    assert dict(table.groupby("context").size()) == {"learned": 32, "zero": 32, "shuffled": 32}
    assert set(table["algorithm"]) == {"SaCCM", "CCM"}

    result = CliRunner().invoke(main, ["contexts", str(folder), "--only", "SAC-*"])
    assert result.exit_code == 2
    assert "none of the 4 finished jobs fits, such as CCM-Pendulum-seed3" in result.output


def test_the_page_has_the_environments_with_the_usual_algorithms_and_seeds(benchmark):
    from benchmarks.learning.reporting import as_complete

    def jobs(environment, **seeds):
        some = [(algorithm, seed) for algorithm, mine in seeds.items() for seed in mine]
        return [{"settings": {"environment": environment, "algorithm": name, "seed": seed}} for name, seed in some]

    usual = jobs("one", CCM=[0, 1], SAC=[0, 1]) + jobs("other", SAC=[1, 0], CCM=[0, 1])
    odd = {
        "a seed less": {"CCM": [0], "SAC": [0, 1]},
        "other seeds": {"CCM": [0, 1], "SAC": [0, 2]},
        "a seed more": {"CCM": [0, 1, 2], "SAC": [0, 1]},
        "an algorithm less": {"CCM": [0, 1]},
    }
    others = [job for name, seeds in odd.items() for job in jobs(name, **seeds)]
    assert as_complete(others + usual) == (usual, list(odd))
    assert as_complete(others) == (jobs("a seed more", **odd["a seed more"]), [*odd][:2] + [*odd][3:])  # the fullest
    assert as_complete(usual[:3]) == (usual[:3], [])


def test_a_figure_is_small_and_the_same_from_the_same_results(benchmark, finished_jobs, tmp_path):
    from benchmarks.learning.__main__ import main
    from rllib_sami.evaluation.style import STYLES

    for name in ("first", "second"):
        result = CliRunner().invoke(main, ["figure", str(finished_jobs[0]), "--out", str(tmp_path / name / "a.svg")])
        assert result.exit_code == 0, result.output
    first, second = ((tmp_path / name / "a.svg").read_text() for name in ("first", "second"))
    assert first == second
    assert len(first) < 200_000
    assert "dc:date" not in first
    for word in ("Pendulum", "train", "extreme", "SaCCM", "CCM", "SAC"):
        assert f"<!-- {word} -->" in first  # beside the glyphs' outlines
    for name in ("SaCCM", "CCM"):
        assert STYLES["light"].algorithms[name] in first
    assert "stroke-dasharray" in first


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
        # With whole episodes in it: a buffer without any would first have to fill, and updates be fewer.
        while (kept := saved_steps(second / "checkpoint")) < 2_000:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not (second / "done.json").exists()
    written = (first / "done.json").stat().st_mtime_ns
    before = pd.read_csv(second / "curve.csv", on_bad_lines="skip")
    before = before[before["env_steps"] <= kept]
    assert len(before) == kept / 200 < 30

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
    for folder, updates in ((first, 560), (second, 544)):  # 28 x 200 steps of learning / 10; 17 x 32 of those
        curve = pd.read_csv(folder / "curve.csv")
        assert list(curve["env_steps"]) == list(range(200, 6_001, 200))
        assert curve["cpu_s"].is_monotonic_increasing
        assert curve["updates"].is_monotonic_increasing
        assert curve["updates"].iloc[-1] == updates
        done = json.loads((folder / "done.json").read_text())
        assert done["env_steps"] == 6_000
        assert done["commits"] == [done["commit"]]
        assert not (folder / "checkpoint" / "replay_buffer").exists()
    pd.testing.assert_frame_equal(before, pd.read_csv(second / "curve.csv").iloc[: len(before)])
    assert (out / "report" / "index.html").exists()
    assert set(pd.read_parquet(out / "results.parquet")["algorithm"]) == {"SAC", "SaCCM"}
    assert "return of SaCCM less that of SAC" in (out / "tables.md").read_text()
