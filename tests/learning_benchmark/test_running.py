"""Jobs that run: changes and folders in use are told, a kill loses nothing and repeats nothing."""

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

from .three_jobs import ROOT


def saved_steps(checkpoint: Path) -> int:
    """Environment steps of a checkpoint that another process may be exchanging; 0 if none is there just now."""
    from rllib_sami.checkpoints.files import manifest_of

    return (manifest_of(checkpoint) or {}).get("num_env_steps_sampled_lifetime", 0)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.learning", *map(str, words)]


def test_changed_settings_are_an_error_that_names_them(benchmark, suite_file, tmp_path):
    from benchmarks.learning.files import DONE, write_json
    from benchmarks.learning.running import folder_of, left_to_do
    from benchmarks.learning.suite import load_jobs
    from rllib_sami_cli.errors import UserError

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


def test_what_is_left_and_where_it_goes_on_is_told(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import __main__ as command_line

    checkpoint = tmp_path / "out/jobs/SaCCM-Pendulum-seed3/checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text('{"num_env_steps_sampled_lifetime": 4000}')
    monkeypatch.setattr(command_line, "run_jobs", lambda jobs, *given: {job.id: "no result" for job in jobs})
    words = ["run", str(suite_file), "--out", str(tmp_path / "out")]
    first, second, *_ = CliRunner().invoke(command_line.main, words).output.splitlines()
    assert first == f"3 jobs, 3 to do, in {tmp_path}/out"
    assert second == "SaCCM-Pendulum-seed3 goes on from step 4,000"
    output = CliRunner().invoke(command_line.main, [*words, "--only", "SAC-*"]).output
    assert output.startswith("1 job, 1 to do, in ")
    assert "goes on" not in output


def test_the_help_has_its_examples_a_line_each(benchmark):
    from benchmarks.learning.__main__ import main

    lines = [line.strip() for line in CliRunner().invoke(main, ["--help"]).output.splitlines()]
    assert "python -m benchmarks.learning report results/quick" in lines


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
    with pytest.raises(ValueError, match=f"ends before the checkpoint.* Remove {tmp_path} and the job starts over"):
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
    assert f"remove {tmp_path} and the job starts over" in (tmp_path / "error.txt").read_text()


def test_a_folder_in_use_is_refused(benchmark, suite_file, tmp_path):
    from benchmarks.learning.__main__ import main
    from benchmarks.learning.files import locked

    with locked(tmp_path / "out", 0.0):
        result = CliRunner().invoke(main, ["run", str(suite_file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "in use by another process" in result.output


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
    assert "3 jobs, 2 to do" in finished.stdout
    assert "SaCCM-Pendulum-seed3 goes on from step " in finished.stdout
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
