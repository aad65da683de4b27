"""The folder of a benchmark and those of its jobs: names, records, curves, and who may write."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_sami.checkpoints.files import manifest_of
from rllib_sami_cli.errors import UserError

from .suite import ENV_STEPS, Job

_LEARNER = "learners/default_policy/"
# Column of a job's curve -> that of Tune's progress.csv; what a learner has none of is left empty.
FIELDS = {
    "env_steps": ENV_STEPS,
    "updates": f"{_LEARNER}num_updates_lifetime",
    "cpu_s": "cpu_this_iter_s",
    "wall_s": "time_total_s",
    "return_mean": "env_runners/episode_return_mean",
    **{name: _LEARNER + name for name in ("sance_bound", "skill_bound", "task_bound", "log_k", "context_std")},
}
LOCK = ".lock"
PATIENCE_S = 30.0  # jobs of a `run` that was killed save and end; they are waited for
STARTED, LOG, TRAINING, CURVE = "started.json", "log.txt", "training", "curve.csv"
CHECKPOINT, EPISODES, CONTEXTS, DONE = "checkpoint", "episodes", "contexts", "done.json"


def folder_of(out: Path, job: Job) -> Path:
    """Returns the folder of a job."""
    return out / "jobs" / job.id


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is either there as a whole or as it was before."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(content, indent=1), "utf-8")
    aside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns a file's content, None if there is no such file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Holds a folder for this process and for those that inherit the file descriptor it yields.

    Args:
        folder: Made if missing.

    Raises:
        UserError: Another process has it still, after ``PATIENCE_S``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + PATIENCE_S
    with (folder / LOCK).open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise UserError(f"{folder} is in use by another process.") from None
                time.sleep(0.2)
        yield handle.fileno()


def trained_steps(checkpoint: Path) -> int:
    """Returns for how many environment steps a checkpoint was trained, 0 if there is none or it is damaged."""
    return int((manifest_of(checkpoint) or {}).get(ENV_STEPS, 0))


def saved_steps(folder: Path) -> int:
    """Returns for how many environment steps a job was trained that need not be trained again."""
    checkpoints = [folder / CHECKPOINT, *folder.glob(f"{TRAINING}/*/checkpoint_*")]
    return max(map(trained_steps, checkpoints))
