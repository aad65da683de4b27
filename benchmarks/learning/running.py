"""Runs the jobs of a suite that are left to do, through one Tuner."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rllib_sami_cli import catalog
from rllib_sami_cli.errors import UserError, one_line
from rllib_sami_cli.folders import differences

from .files import DONE, PATIENCE_S, STARTED, empty, locked, read_json
from .suite import Job

ROOT = Path(__file__).parents[2]
_TUNE = ".tune"  # what Tune writes of its own; nothing in it is needed, jobs go on from their own folders


def expect_unused_settings() -> None:
    """Silences this process's warnings of settings without effect: a suite's algorithms share their settings."""
    logging.getLogger("rllib_sami.config.unused_settings").setLevel(logging.ERROR)


def folder_of(out: Path, job: Job) -> Path:
    """Returns the folder of a job."""
    return out / "jobs" / job.id


def left_to_do(jobs: Sequence[Job], out: Path, overwrite: bool = False) -> list[Job]:
    """Returns the jobs that are not done.

    Args:
        jobs: Of the suite.
        out: Folder of the benchmark.
        overwrite: Whether jobs whose settings have changed since are run again; their folders are emptied.

    Raises:
        InUse: Another process works on a job that would be run again.
        UserError: A folder is of a job with other settings.
    """
    changed: list[tuple[Job, str]] = []
    left = []
    for job in jobs:
        folder = folder_of(out, job)
        record = read_json(folder / DONE) or read_json(folder / STARTED)
        if record is not None and record["fingerprint"] != job.fingerprint:
            changed.append((job, "; ".join(differences(record["settings"], job.settings))))
            left.append(job)
        elif not (folder / DONE).exists():
            left.append(job)
    if changed and not overwrite:
        lines = [f"  {job.id}: {what}" for job, what in changed[:10]]
        raise UserError(
            f"{out}: {len(changed)} of its jobs have other settings now:\n" + "\n".join(lines) + "\n"
            "Give another --out, or --overwrite to remove what these jobs have done and run them again."
        )
    for job, _ in changed:
        empty(folder_of(out, job), PATIENCE_S)
    return left


def run_jobs(jobs: Sequence[Job], out: Path, cpus: int | None, interval_s: float) -> dict[str, str]:
    """Runs jobs, as many at once as there are CPUs, one process each.

    Args:
        jobs: What is left to do.
        out: Folder of the benchmark.
        cpus: How many at once; None takes all CPUs of this process.
        interval_s: Wall seconds between a job's checkpoints.

    Returns:
        Id to message of each job that failed; ``error.txt`` in its folder has the traceback, unless it was killed.

    Raises:
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    catalog.prepare()
    import ray
    from ray import tune

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # jobs have a log of their own
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # for workers
    ray.init(
        address="local",  # never a cluster that happens to run on this machine
        num_cpus=cpus or len(os.sched_getaffinity(0)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    catalog.quiet(0)
    by_id = {job.id: job for job in jobs}
    out = out.absolute()
    shutil.rmtree(out / _TUNE, ignore_errors=True)  # of a run that was killed
    progress = _progress(len(jobs))
    try:
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, jobs=by_id, out=out, interval_s=interval_s), {"cpu": 1}),
            param_space={"job": tune.grid_search(list(by_id))},
            # A process of its own for each job: nothing that one leaves behind can reach the next.
            tune_config=tune.TuneConfig(reuse_actors=False),
            run_config=tune.RunConfig(name=_TUNE, storage_path=str(out), verbose=0, callbacks=[progress]),
        ).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(out / _TUNE, ignore_errors=True)
    # Also of a job whose process was killed, which could write nothing.
    failed = {job.id for job in jobs if not (folder_of(out, job) / DONE).exists()}
    messages = {result.config["job"]: _message(result.error) for result in results if result.config}
    return {name: messages.get(name) or "no result" for name in sorted(failed)}


def _trial(config: dict[str, Any], jobs: dict[str, Job], out: Path, interval_s: float) -> None:
    """What Tune calls in a process of its own."""
    from ray import tune

    from .job import train_job

    expect_unused_settings()
    job = jobs[config["job"]]
    done = train_job(job, folder_of(out, job), interval_s)
    tune.report({key: done[key] for key in ("return", "split", "cpu_s", "env_steps")})


def _message(error: BaseException | None) -> str:
    lines = [line for line in str(error or "").splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


@dataclass
class _Pace:
    """How long what is left will take, from how long it has taken so far."""

    total: int
    started: float
    finished: int = 0

    def line(self, trial: Any) -> str:
        self.finished += 1
        left = (time.monotonic() - self.started) / self.finished * (self.total - self.finished)
        result = trial.last_result or {}
        said = "failed"
        if "return" in result:
            said = f"{result['split']} return {result['return']:,.1f}, {result['cpu_s']:,.0f} CPU s of training"
        return f"[{self.finished}/{self.total}] {trial.config['job']}: {said}; {left / 60:,.0f} min left"


def _progress(total: int) -> Any:
    """Returns a Tune callback that prints a line per finished job."""
    from ray import tune

    class Progress(tune.Callback):
        pace = _Pace(total, time.monotonic())

        def on_trial_complete(self, iteration, trials, trial, **info) -> None:
            click.echo(self.pace.line(trial))
            sys.stdout.flush()

        on_trial_error = on_trial_complete

    return Progress()


def hold(out: Path) -> Any:
    """Returns a context that keeps a second ``run`` out of the folder."""
    return locked(out, patience_s=0.0)
