"""Files of a job that survive a kill at any moment: written aside and renamed, or appended and cut on resumption."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_sami.checkpoints import files as checkpoint_files

METRICS = ("sance_bound", "skill_bound", "task_bound", "log_k", "context_std")  # of the learner; NaN if it has none
FIELDS = ("env_steps", "updates", "cpu_s", "wall_s", "return_mean", *METRICS)
LOCK = ".lock"
PATIENCE_S = 60.0  # a process whose `run` was killed lives on for a moment; it is waited for
CURVE, CHECKPOINT, EPISODES, CONTEXTS, STARTED, DONE, ERROR = (
    "curve.csv",
    "checkpoint",
    "episodes",
    "contexts",
    "started.json",
    "done.json",
    "error.txt",
)


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is either there as a whole or as it was before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as handle:
        json.dump(content, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns a file's content, None if there is no such file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None


class InUse(TimeoutError):
    """Another process has a folder."""


@contextlib.contextmanager
def locked(folder: Path, patience_s: float) -> Iterator[None]:
    """Holds a folder for this process, whose death frees it.

    Args:
        folder: Made if missing.
        patience_s: How long to wait for another process, in seconds.

    Raises:
        InUse: Another process has it still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience_s
    with (folder / LOCK).open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise InUse(f"{folder} is in use by another process.") from None
                time.sleep(0.2)
        yield


def empty(folder: Path, patience_s: float) -> None:
    """Removes what a job has done; the lock stays and is held, so that no process writes there meanwhile.

    Args:
        folder: Of the job.
        patience_s: As of ``locked``.

    Raises:
        InUse: Another process has it still.
    """
    with locked(folder, patience_s):
        # Of a folder that a kill left half empty its records still say that it is of other settings.
        for path in sorted(folder.iterdir(), key=lambda path: path.name in (STARTED, DONE)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


class Curve:
    """A job's ``curve.csv``: a row per iteration, as far as the newest checkpoint when it goes on.

    Attributes:
        last: The last row.
    """

    def __init__(self, path: Path, env_steps: int):
        """Opens the file and drops all rows after ``env_steps``, those of work that was lost with the process."""
        rows = read_curve(path) if env_steps and path.exists() else pd.DataFrame(columns=list(FIELDS))
        rows = rows[rows["env_steps"] <= env_steps]
        if env_steps and (rows.empty or rows["env_steps"].iloc[-1] != env_steps):
            raise ValueError(
                f"{path} ends before the checkpoint at {env_steps} environment steps: it was changed. Remove "
                f"{path.parent} and the job starts over."
            )
        aside = path.with_name(f".{path.name}")
        rows.reindex(columns=list(FIELDS)).to_csv(aside, index=False)  # of an earlier version there are fewer
        aside.replace(path)
        self.last = rows.iloc[-1].to_dict() if len(rows) else dict.fromkeys(FIELDS, 0)
        self._handle = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._handle, FIELDS)

    def append(self, row: dict[str, float]) -> None:
        """Adds a row."""
        self._writer.writerow(row)
        self._handle.flush()
        self.last = row

    def sync(self) -> None:
        """Sees to it that all rows are on disk, so that no checkpoint is ahead of them."""
        os.fsync(self._handle.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._handle.close()


def read_curve(path: Path) -> pd.DataFrame:
    """Reads a ``curve.csv``, a last line that was cut short left out."""
    text = path.read_text("utf-8")
    return pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1]))


def checkpoint_steps(folder: Path) -> int:
    """Returns for how many environment steps the checkpoint in a job's folder was trained, 0 if there is none."""
    with checkpoint_files.as_local(folder / CHECKPOINT) as checkpoint:  # a kill may have left it half exchanged
        return trained_steps(checkpoint)


def trained_steps(checkpoint: Path) -> int:
    """Returns for how many environment steps a checkpoint was trained, 0 if there is none; changes nothing."""
    manifest = checkpoint_files.manifest_of(checkpoint) or {}
    return int(manifest.get("num_env_steps_sampled_lifetime", 0))  # one that is damaged has none
