"""Runs the jobs of a suite that are left to do, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import click

from rllib_sami_cli.errors import INTERRUPTED, UserError, one_line
from rllib_sami_cli.folders import differences

from .folders import CHECKPOINT, DONE, LOG, STARTED, TRAINING, folder_of, read_json
from .suite import Job

ROOT = Path(__file__).parents[2]


def left_to_do(jobs: Sequence[Job], out: Path, overwrite: bool = False) -> list[Job]:
    """Returns the jobs that are not done.

    Args:
        jobs: Of the suite.
        out: Folder of the benchmark.
        overwrite: Whether jobs whose settings have changed since are run again; their folders are removed.

    Raises:
        UserError: A folder is of a job with other settings.
    """
    changed: list[tuple[Job, str]] = []
    left = []
    for job in jobs:
        folder = folder_of(out, job)
        record = read_json(folder / DONE) or read_json(folder / STARTED)
        is_changed = record is not None and record["settings"] != job.settings
        if is_changed:
            changed.append((job, "; ".join(differences(record["settings"], job.settings))))
        if is_changed or not (folder / DONE).exists():
            left.append(job)
    if changed and not overwrite:
        lines = [f"  {job.id}: {what}" for job, what in changed[:10]]
        raise UserError(
            f"{out}: {len(changed)} of its jobs have other settings now:\n" + "\n".join(lines) + "\n"
            "Give another --out, or --overwrite to remove what these jobs have done and run them again."
        )
    for job, _ in changed:
        folder = folder_of(out, job)
        # First what could be continued: a kill must not leave it without the record of its settings.
        for path in (folder / TRAINING, folder / CHECKPOINT, folder):
            shutil.rmtree(path, ignore_errors=path != folder)
    return left


def run_jobs(jobs: Sequence[Job], out: Path, cpus: int | None, interval_s: float, lock: int) -> dict[str, str]:
    """Runs jobs, as many at once as there are CPUs.

    Args:
        jobs: What is left to do.
        out: Folder of the benchmark.
        cpus: How many at once; None takes all CPUs of this process.
        interval_s: Wall seconds between a job's checkpoints.
        lock: File descriptor that holds the folder, which it does as long as one of the jobs runs.

    Returns:
        Id to message of each job that failed; ``log.txt`` in its folder has all that it said.

    Raises:
        KeyboardInterrupt: Ctrl-C; the jobs have saved what they had, and the same command continues.
    """
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}  # each has its own Ray
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    processes: list[subprocess.Popen] = []
    interrupted = threading.Event()

    def run(job: Job) -> str | None:
        folder = folder_of(out, job).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "benchmarks.learning.job", folder, json.dumps(job.settings), str(interval_s)]
        with (folder / LOG).open("w") as log:
            streams = {"stdin": subprocess.PIPE, "stdout": log, "stderr": subprocess.STDOUT}
            with subprocess.Popen(words, **streams, env=environment, pass_fds=[lock]) as process:
                processes.append(process)
                if interrupted.is_set():  # it may have started too late to be in the list that was gone through
                    process.stdin.close()
                code = process.wait()
        return _message(code, folder / LOG) if code else None

    failed, started = {}, time.monotonic()
    with ThreadPoolExecutor(cpus or len(os.sched_getaffinity(0))) as pool:
        futures = {pool.submit(run, job): job for job in jobs}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                job, message = futures[future], future.result()
                left_s = (time.monotonic() - started) / number * (len(jobs) - number)
                said = "failed"
                if message:
                    failed[job.id] = message
                else:
                    done = read_json(folder_of(out, job) / DONE)
                    said = f"{done['split']} return {done['return']:,.1f}, {done['cpu_s']:,.0f} CPU s of training"
                click.echo(f"[{number}/{len(jobs)}] {job.id}: {said}; {left_s / 60:,.0f} min left")
                sys.stdout.flush()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            interrupted.set()
            for process in processes:
                process.stdin.close()
            raise
    return failed


def _message(code: int, log: Path) -> str:
    """Returns what a job that failed said of it, from its exit code and its log."""
    if code < 0 or code == INTERRUPTED:
        return f"killed by {signal.Signals(-code).name}" if code < 0 else "interrupted"
    lines = [line for line in log.read_text("utf-8").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("Error: ")]
    return one_line((told or lines or ["no result"])[-1]).removeprefix("Error: ")
