"""Trainings with the command line, for benchmarks that compare many of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RLLIB = str(Path(sys.executable).with_name("rllib"))
DONE = "done"  # file in the folder of a run that has ended


def train(arguments: Sequence[str], name: str, out: Path) -> None:
    """Runs ``rllib train file ...`` to its end, unless it has ended before.

    A run that was stopped starts over, and what it left is deleted: results of two halves would be no single training.

    Args:
        arguments: What follows ``rllib train file``, without name and folder.
        name: Name of the run.
        out: Folder of all runs.
    """
    folder = out / name
    if (folder / DONE).exists():
        return
    if folder.exists():
        shutil.rmtree(folder)
    command = [RLLIB, "train", "file", *arguments, "-n", name, "--storage-path", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (folder / DONE).touch()


def results(folder: Path) -> list[dict[str, Any]]:
    """Results of a run that has ended, one for each iteration; an empty list for another one."""
    files = [*folder.glob("*/result.json")] if (folder / DONE).exists() else []
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
