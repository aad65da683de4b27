"""Jobs that run: changes and folders in use are told, a kill loses nothing and repeats nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from .three_jobs import ROOT

MANIFEST = '{"num_env_steps_sampled_lifetime": %d, "files": {}, "format": 1}'


def checkpoint_at(folder: Path, env_steps: int) -> Path:
    """A folder that looks like a checkpoint of so many environment steps."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(MANIFEST % env_steps)
    return folder


def invoke(*words: object):
    from benchmarks.learning.__main__ import main

    return CliRunner().invoke(main, [str(word) for word in words])


def test_changed_settings_are_an_error_that_names_them(benchmark, suite_file, tmp_path):
    from benchmarks.learning.folders import DONE, folder_of, write_json
    from benchmarks.learning.running import left_to_do
    from benchmarks.learning.suite import load_jobs
    from rllib_sami_cli.errors import UserError

    jobs = load_jobs(suite_file)
    assert [job.id for job in load_jobs(suite_file, ["Sa*"])] == ["SaCCM-Pendulum-seed3"]
    assert left_to_do(jobs, tmp_path) == jobs
    for job in jobs:
        folder_of(tmp_path, job).mkdir(parents=True)
        write_json(folder_of(tmp_path, job) / DONE, {"settings": job.settings})
    assert left_to_do(jobs, tmp_path) == []
    changed = [replace(jobs[0], config={**jobs[0].config, "gamma": 0.5}), *jobs[1:]]
    with pytest.raises(UserError, match=r"SAC-Pendulum-seed3: config.gamma: .* -> 0.5"):
        left_to_do(changed, tmp_path)
    assert (folder_of(tmp_path, jobs[0]) / DONE).exists()
    assert left_to_do(changed, tmp_path, overwrite=True) == changed[:1]
    assert not folder_of(tmp_path, jobs[0]).exists()
    assert left_to_do([jobs[1]], tmp_path) == []


def test_a_folder_in_use_is_refused_and_left_as_it_is(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import folders

    monkeypatch.setattr(folders, "PATIENCE_S", 0.0)
    kept = tmp_path / "out/jobs/SAC-Pendulum-seed3"  # of other settings, which --overwrite would remove
    checkpoint_at(kept / "training/trial/checkpoint_000001", 400)
    folders.write_json(kept / folders.STARTED, {"settings": {}})
    before = sorted(kept.rglob("*"))
    with folders.locked(tmp_path / "out") as lock:
        # What the lock is inherited by holds it too, as the jobs of a run that was killed do.
        holder = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        run = ["run", suite_file, "--out", tmp_path / "out"]
        for words in (run, [*run, "--overwrite"], ["contexts", tmp_path / "out"]):
            result = invoke(*words)
            assert result.exit_code == 2
            assert f"{tmp_path / 'out'} is in use by another process" in result.output
            assert sorted(kept.rglob("*")) == before
    finally:
        holder.kill()
        holder.wait()
    with folders.locked(tmp_path / "out"):
        pass


def test_what_is_left_and_where_it_goes_on_and_what_failed_is_told(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import __main__ as command_line

    out = tmp_path / "out"
    checkpoint_at(out / "jobs/SaCCM-Pendulum-seed3/training/trial/checkpoint_000003", 2000)
    checkpoint_at(out / "jobs/SaCCM-Pendulum-seed3/training/trial/checkpoint_000007", 4000)
    monkeypatch.setattr(command_line, "run_jobs", lambda jobs, *given: {job.id: "no result" for job in jobs})
    result = invoke("run", suite_file, "--out", out)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"3 jobs, 3 to do, in {out}",
        "SaCCM-Pendulum-seed3 goes on from step 4,000",
    ]
    assert result.stderr.splitlines() == [
        *[
            f"failed: {name}-Pendulum-seed3: no result ({out}/jobs/{name}-Pendulum-seed3/log.txt)"
            for name in ("SAC", "SaCCM", "CCM")
        ],
        "3 of 3 jobs failed. The same command tries them again. If that does not help, remove the folder of such a "
        "job, and it starts over.",
    ]
    output = invoke("run", suite_file, "--out", out, "--only", "SAC-*").output
    assert output.startswith("1 job, 1 to do, in ")
    assert "goes on" not in output


def test_the_help_has_its_examples_a_line_each(benchmark):
    lines = [line.strip() for line in invoke("--help").output.splitlines()]
    assert "python -m benchmarks.learning report results/quick" in lines


def test_a_job_tells_all_commits_that_it_was_trained_with(benchmark, suite_file, tmp_path):
    from benchmarks.learning.folders import STARTED, read_json, write_json
    from benchmarks.learning.job import start
    from benchmarks.learning.suite import load_jobs
    from benchmarks.learning.tables import provenance

    job = load_jobs(suite_file)[0]
    assert start(job, tmp_path, "first") == ["first"]
    assert start(job, tmp_path, "second") == ["second"]  # nothing of the first had been saved
    checkpoint_at(tmp_path / "training" / "trial" / "checkpoint_000000", 400)
    assert start(job, tmp_path, "third") == start(job, tmp_path, "third") == ["second", "third"]
    assert read_json(tmp_path / STARTED)["commits"] == ["second", "third"]
    write_json(tmp_path / STARTED, {"settings": job.settings})
    assert start(job, tmp_path, "third") == ["unknown", "third"]
    hardware = {"hardware": {"processor": "p"}}
    said = provenance([{"commit": "b", "commits": ["a", "b"], **hardware}, {"commit": "c", **hardware}])
    assert said.startswith("2 jobs on p, of commit a and b and c. They are of different code")


def test_a_curve_has_the_cpu_time_of_its_iterations_summed(benchmark, tmp_path):
    from benchmarks.learning.job import curve_of, measure_steps

    class Algorithm:
        def step(self):
            sum(range(300_000))
            return {}

    algorithm = Algorithm()
    measure_steps(algorithm, interval_s=0.0)
    result = algorithm.step()
    assert result["cpu_this_iter_s"] > 0.0005
    assert result["should_checkpoint"]
    measure_steps(algorithm, interval_s=1000.0)
    assert not algorithm.step()["should_checkpoint"]

    rows = [{"num_env_steps_sampled_lifetime": 100.0 * i, "time_total_s": 2.0 * i, **result} for i in (1, 2, 3)]
    rows[2] |= {f"learners/default_policy/{name}": 1.5 for name in ("num_updates_lifetime", "log_k")}
    pd.DataFrame(rows).to_csv(tmp_path / "progress.csv")
    curve = curve_of(tmp_path / "progress.csv")
    assert curve[["env_steps", "updates", "wall_s"]].values.tolist() == [[100, 0, 2], [200, 0, 4], [300, 1, 6]]
    assert curve["cpu_s"].iloc[-1] == pytest.approx(3 * result["cpu_this_iter_s"], abs=1e-3)
    assert curve["log_k"].tolist()[2] == 1.5
    assert curve[["return_mean", "sance_bound"]].isna().all(axis=None)


def test_an_interruption_stops_the_jobs_that_run_and_starts_no_other(benchmark, suite_file, tmp_path, monkeypatch):
    from benchmarks.learning import running
    from benchmarks.learning.suite import load_jobs

    started = []

    class Process(subprocess.Popen):
        """Takes the place of a job: ends, like one, when its standard input does."""

        def __init__(self, words, **options):
            started.append(words)
            super().__init__(["cat"], **options)

    def interrupted(futures):
        while not started:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(running.subprocess, "Popen", Process)
    monkeypatch.setattr(running, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.run_jobs(load_jobs(suite_file), tmp_path, 1, 60.0, lock=sys.stderr.fileno())
    assert len(started) == 1


@pytest.mark.learning
def test_a_killed_run_goes_on_and_repeats_nothing_and_a_failure_ends_no_other_job(benchmark, suite_file, tmp_path):
    from benchmarks.learning.folders import locked, saved_steps
    from benchmarks.learning.job import curve_of

    out = tmp_path / "out"
    first, second, third = (out / "jobs" / f"{name}-Pendulum-seed3" for name in ("SAC", "SaCCM", "CCM"))
    words = [sys.executable, "-m", "benchmarks.learning", "run", suite_file, "--out", out]
    words = [*map(str, words), "--cpus", "1", "--checkpoint-interval", "0.1"]
    where = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "text": True}
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **where)
    try:
        until = time.monotonic() + 240
        # With whole episodes in it: a buffer without any would first have to fill, and updates be fewer.
        while saved_steps(second) < 2_000:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    with locked(out):  # once the job has noticed, saved and ended
        kept = saved_steps(second)
    assert 2_000 <= kept < 6_000
    assert not (second / "done.json").exists()
    written = (first / "done.json").stat().st_mtime_ns
    (log,) = second.glob("training/*/progress.csv")
    before = curve_of(log)
    before = before[before["env_steps"] <= kept]
    assert len(before) == kept / 200

    shutil.copytree(first / "checkpoint", third / "checkpoint")  # without a curve: somebody has meddled with it
    finished = subprocess.run(words, capture_output=True, timeout=400, **where)
    assert finished.returncode == 1, finished.stderr
    assert "3 jobs, 2 to do" in finished.stdout
    assert "SaCCM-Pendulum-seed3 goes on from step " in finished.stdout
    reason = f"FileNotFoundError: [Errno 2] No such file or directory: '{third / 'curve.csv'}'"
    assert f"failed: CCM-Pendulum-seed3: {reason} ({third / 'log.txt'})" in finished.stderr.splitlines()
    assert not (third / "done.json").exists()
    assert (first / "done.json").stat().st_mtime_ns == written
    for folder, updates in ((first, 560), (second, 544)):  # 28 x 200 steps of learning / 10; 17 x 32 of those
        curve = pd.read_csv(folder / "curve.csv")
        assert list(curve["env_steps"]) == list(range(200, 6_001, 200))
        assert curve["cpu_s"].is_monotonic_increasing
        assert curve["wall_s"].is_monotonic_increasing
        assert curve["updates"].is_monotonic_increasing
        assert curve["updates"].iloc[-1] == updates
        done = json.loads((folder / "done.json").read_text())
        assert done["env_steps"] == 6_000
        assert done["commits"] == [done["commit"]]
        assert not (folder / "training").exists()
        assert not (folder / "checkpoint" / "replay_buffer").exists()
    pd.testing.assert_frame_equal(before, curve.iloc[: len(before)])
    assert (out / "report" / "index.html").exists()
    assert set(pd.read_parquet(out / "results.parquet")["algorithm"]) == {"SAC", "SaCCM"}
    assert "return of SaCCM less that of SAC" in (out / "tables.md").read_text()
