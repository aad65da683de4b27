"""One job, in a process of its own: trains as ``rllib train file --resume`` does, evaluates, and leaves a folder.

The folder of a job, in the order in which files come to be:

- ``started.json``: the job's settings; a folder of other settings is never continued. And the commits that its
  training was part of, one after the other.
- ``log.txt``: what the newest attempt said.
- ``training/``: the run of ``rllib train``, with its newest checkpoints; removed once the job is trained.
- ``progress.csv``, ``curve.csv``: a row per iteration, as Tune wrote it and of what is reported.
- ``checkpoint/``: the final one, without replay buffer, which makes it small.
- ``episodes/``: what the evaluation found, as ``Results`` saves it.
- ``done.json``: last of all.
- ``contexts/``: the same episodes with other contexts, where ``contexts`` was asked for.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import pandas as pd

from rllib_sami.checkpoints.files import manifest_of, write_manifest
from rllib_sami.evaluation.play import evaluate
from rllib_sami.evaluation.progress import PROGRESS_FILE
from rllib_sami.evaluation.provenance import provenance_of
from rllib_sami.evaluation.results import Results
from rllib_sami_cli import catalog, schema
from rllib_sami_cli.folders import find_runs
from rllib_sami_cli.resume import has_checkpoint
from rllib_sami_cli.runner import Session, run_all

from .folders import (
    CHECKPOINT,
    CURVE,
    DONE,
    EPISODES,
    FIELDS,
    STARTED,
    TRAINING,
    read_json,
    saved_steps,
    trained_steps,
    write_json,
)
from .suite import Job


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("settings")
@click.argument("checkpoint_interval", type=float)
def main(folder: Path, settings: str, checkpoint_interval: float) -> None:
    """Does whatever is left of a job, unless the process that started it ends before.

    Args:
        folder: Its own; nothing else is in it.
        settings: Of the job, as JSON.
        checkpoint_interval: Wall seconds between checkpoints.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    catalog.prepare()
    job = Job(**json.loads(settings))
    provenance = provenance_of()  # of the code that is running, whatever is checked out meanwhile
    commits = start(job, folder, provenance["commit"])
    if trained_steps(folder / CHECKPOINT) < job.env_steps:
        train(job, folder, checkpoint_interval)
    shutil.rmtree(folder / TRAINING, ignore_errors=True)
    results = play(job, folder)
    save(results, folder / EPISODES)
    write_json(folder / DONE, _done(job, folder, results) | provenance | {"commits": commits})


def _end_with_parent() -> None:
    """Asks this process to save and end when the other end of its standard input is closed."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def start(job: Job, folder: Path, commit: str) -> list[str]:
    """Writes ``started.json`` and returns its commits: those of work that is continued, and the one at hand."""
    before = read_json(folder / STARTED)
    commits = before.get("commits", ["unknown"]) if before and saved_steps(folder) else []
    commits = [*commits, *[commit] * (commit not in commits)]
    write_json(folder / STARTED, {"settings": job.settings, "commits": commits})
    return commits


def train(job: Job, folder: Path, interval_s: float) -> None:
    """Trains from the newest checkpoint, or from the start, to the budget; leaves curve and final checkpoint."""
    runs = [run for run in find_runs(folder, TRAINING) if run.finished or has_checkpoint(run)]
    if not runs:
        shutil.rmtree(folder / TRAINING, ignore_errors=True)
    if not runs or not runs[0].finished:
        plan = schema.check(job.experiment(TRAINING))
        plan.checkpoint_config = {"checkpoint_frequency": 0}  # `measure_steps` asks for them
        plan.config["callbacks_on_algorithm_init"] = functools.partial(measure_steps, interval_s=interval_s)
        session = Session(["benchmark"], resume=bool(runs), storage=str(folder), ray={"num_cpus": 1})
        if code := run_all([plan], session):
            sys.exit(code)
    (trial,) = (path.parent for path in (folder / TRAINING).glob(f"*/{PROGRESS_FILE}"))
    shutil.copy(trial / PROGRESS_FILE, folder)  # for the page, which has learning curves
    curve_of(folder / PROGRESS_FILE).to_csv(folder / CURVE, index=False)
    # Nobody continues from here, so the replay buffer, most of a checkpoint's size, is left out.
    aside = folder / f".{CHECKPOINT}"
    for path in (aside, folder / CHECKPOINT):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(max(trial.glob("checkpoint_*")), aside, ignore=shutil.ignore_patterns("replay_buffer"))
    write_manifest(aside, manifest_of(aside) or {})
    aside.rename(folder / CHECKPOINT)


def measure_steps(algorithm: Any, interval_s: float, **kwargs: Any) -> None:
    """Has each iteration tell its CPU seconds, and ask for a checkpoint where the last one is long ago.

    An RLlib callback, for the beginning of an algorithm. Evaluation, checkpoints and starting are no part of a step, so
    they are not what a curve is drawn over.
    """
    step, saved = algorithm.step, time.monotonic()

    def measured() -> dict[str, Any]:
        nonlocal saved
        before = time.process_time()
        result = step()
        due = time.monotonic() - saved >= interval_s
        saved = time.monotonic() if due else saved
        return {**result, FIELDS["cpu_s"]: time.process_time() - before, "should_checkpoint": due}

    algorithm.step = measured


def curve_of(file: Path) -> pd.DataFrame:
    """Returns the rows of ``curve.csv`` from the ``progress.csv`` of a Tune trial."""
    curve = pd.read_csv(file).reindex(columns=list(FIELDS.values())).set_axis(list(FIELDS), axis="columns")
    curve["cpu_s"] = curve["cpu_s"].cumsum()
    return curve.fillna({"updates": 0}).astype({"env_steps": int, "updates": int}).round({"cpu_s": 3, "wall_s": 3})


def play(job: Job, folder: Path, context: str = "learned") -> Results:
    """Plays all splits of the environment with the final checkpoint; the results have the names that the suite gives.

    Args:
        job: The job.
        folder: Its own.
        context: What the actor sees of the context, as in ``evaluate``.
    """
    results = evaluate(
        folder / CHECKPOINT,
        episodes=job.episodes,
        context=context,
        progress=False,
        env_config=job.evaluation_env_config,
    )
    results.episodes["algorithm"], results.episodes["run"] = job.algorithm, job.id
    (environment,) = results.episodes["environment"].unique()
    results.episodes["environment"] = job.environment  # the same id may stand for several, of different physics
    provenance = results.provenance
    for key in ("max_steps", "task_names"):
        provenance[key] = {
            job.environment if name == environment else name: value for name, value in provenance[key].items()
        }
    provenance["checkpoints"] = [{"run": job.id, "algorithm": job.algorithm, "path": str(folder / CHECKPOINT)}]
    return results


def save(results: Results, folder: Path) -> None:
    """Writes results to a folder that is there as a whole or not at all; a former one goes."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    results.save(aside).rename(folder)


def _done(job: Job, folder: Path, results: Results) -> dict[str, Any]:
    last = pd.read_csv(folder / CURVE).iloc[-1]
    of_training = results.episodes[results.episodes["split"] == results.episodes["split"].iloc[0]]
    return {
        "id": job.id,
        "settings": job.settings,
        **{key: float(last[key]) for key in ("env_steps", "updates", "cpu_s", "wall_s")},
        "return": float(of_training.groupby("task_id")["return"].mean().mean()),
        "split": str(of_training["split"].iloc[0]),
    }


if __name__ == "__main__":
    main()
