"""One job: trains until its budget is used up, evaluates, and leaves a folder that says so.

The folder of a job, in the order in which files come to be:

- ``started.json``: the job's settings; a folder of other settings is never gone on with. And the commits that its
  training was part of, one after the other.
- ``curve.csv``: a row per iteration.
- ``checkpoint/``: the newest, with the replay buffer. The final one is without, which makes it small.
- ``episodes/``: what the evaluation found, as ``Results`` saves it.
- ``done.json``: last of all.
- ``contexts/``: the same episodes with other contexts, where ``contexts`` was asked for.
"""

from __future__ import annotations

import math
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

from rllib_sami import compat
from rllib_sami.algorithms.off_policy.algorithm import REPLAY_BUFFER
from rllib_sami.evaluation.play import evaluate
from rllib_sami.evaluation.provenance import provenance_of
from rllib_sami.evaluation.results import Results
from rllib_sami.registration import ALGORITHMS
from rllib_sami_cli import catalog
from rllib_sami_cli.errors import one_line

from .files import (
    CHECKPOINT,
    CURVE,
    DONE,
    EPISODES,
    ERROR,
    METRICS,
    PATIENCE_S,
    STARTED,
    Curve,
    checkpoint_steps,
    locked,
)
from .files import read_json as read
from .files import write_json as write
from .suite import Job

CHECKPOINT_INTERVAL_S = 60.0


def train_job(job: Job, folder: Path, interval_s: float = CHECKPOINT_INTERVAL_S) -> dict[str, Any]:
    """Does whatever is left of a job.

    Args:
        job: The job.
        folder: Its own; nothing else is in it.
        interval_s: Wall seconds between checkpoints.

    Returns:
        The content of ``done.json``.

    Raises:
        Exception: Whatever stopped it; ``error.txt`` has the traceback.
    """
    catalog.quiet(0)
    with locked(folder, PATIENCE_S):
        if (done := read(folder / DONE)) is not None:
            return done
        provenance = provenance_of()  # of the code that is running, whatever is checked out meanwhile
        (folder / ERROR).unlink(missing_ok=True)  # of another attempt
        try:
            commits = start(job, folder, provenance["commit"])
            curve = Curve(folder / CURVE, checkpoint_steps(folder))
            try:
                if curve.last["env_steps"] < job.env_steps:
                    _train(job, folder, curve, interval_s)
            finally:
                curve.close()
            results = play(job, folder)
            save(results, folder / EPISODES)
        except Exception:
            (folder / ERROR).write_text(traceback.format_exc(), "utf-8")
            raise
        done = _done(job, curve, results) | provenance | {"commits": commits}
        write(folder / DONE, done)
        return done


def start(job: Job, folder: Path, commit: str) -> list[str]:
    """Writes ``started.json`` and returns its commits: those of work that is gone on with, and the one at hand."""
    before = read(folder / STARTED)
    commits = before.get("commits", ["unknown"]) if before and checkpoint_steps(folder) else []
    commits = [*commits, *[commit] * (commit not in commits)]
    write(folder / STARTED, {"fingerprint": job.fingerprint, "settings": job.settings, "commits": commits})
    return commits


def _train(job: Job, folder: Path, curve: Curve, interval_s: float) -> None:
    """Trains from the newest checkpoint, or from the start, to the budget, and saves what was learned."""
    config = ALGORITHMS[job.run].get_default_config().environment(job.env).update_from_dict(job.config)
    algorithm = config.build_algo()
    if curve.last["env_steps"]:
        try:
            algorithm.restore_from_path(folder / CHECKPOINT)
        except Exception as error:  # such as a network that is another by default now
            raise RuntimeError(
                f"{one_line(error)} If the same command does not help, remove {folder} and the job starts over."
            ) from error
    saved = time.monotonic()
    while curve.last["env_steps"] < job.env_steps:
        cpu, wall = time.process_time(), time.perf_counter()
        result = algorithm.train()
        # Of training alone: evaluation, checkpoints and starting are not what a curve is drawn over.
        spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        curve.append(_row(result, {key: curve.last[key] + value for key, value in spent.items()}))
        if time.monotonic() - saved >= interval_s and curve.last["env_steps"] < job.env_steps:
            curve.sync()
            algorithm.save_to_path(folder / CHECKPOINT)
            saved = time.monotonic()
    curve.sync()
    # Nobody goes on from here, so the replay buffer, most of a checkpoint's size, is left out.
    algorithm.save_to_path(folder / CHECKPOINT, state=algorithm.get_state(not_components=REPLAY_BUFFER))
    algorithm.stop()


def _row(result: dict[str, Any], spent: dict[str, float]) -> dict[str, float]:
    learner = result.get("learners", {}).get(compat.DEFAULT_MODULE_ID, {})
    return {
        "env_steps": int(result["num_env_steps_sampled_lifetime"]),
        "updates": int(learner.get("num_updates_lifetime", 0)),
        **{key: round(value, 3) for key, value in spent.items()},
        "return_mean": result.get("env_runners", {}).get("episode_return_mean", math.nan),
        **{key: float(learner.get(key, math.nan)) for key in METRICS},
    }


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


def _done(job: Job, curve: Curve, results: Results) -> dict[str, Any]:
    of_training = results.episodes[results.episodes["split"] == results.episodes["split"].iloc[0]]
    return {
        "id": job.id,
        "fingerprint": job.fingerprint,
        "settings": job.settings,
        **{key: curve.last[key] for key in ("env_steps", "updates", "cpu_s", "wall_s")},
        "return": float(of_training.groupby("task_id")["return"].mean().mean()),
        "split": str(of_training["split"].iloc[0]),
    }
