"""Tune's own CSV and JSON logs, mended where they do not survive a resume or miss metrics."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray.air.constants import EXPR_PROGRESS_FILE, EXPR_RESULT_FILE
from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.utils import flatten_dict

_ITERATION = "training_iteration"


class CsvLog(CSVLoggerCallback):
    """`progress.csv` with a column for every metric and one row per iteration.

    Tune fixes the columns at the first result, so that losses, which come once learning starts, are never written,
    and writes the rows of a resumed run under the columns of the old one. Here new columns are added when they come.

    Args:
        resumed: Whether the trials go on from checkpoints: rows after those are then of lost iterations, and go.
    """

    def __init__(self, resumed: bool = False):
        super().__init__()
        self._resumed = resumed
        self._started: set[str] = set()

    def _setup_trial(self, trial: Trial) -> None:
        super()._setup_trial(trial)
        path = self._path(trial)
        columns, rows = _read(path)
        last = _restored_iteration(trial) if self._resumed and trial.trial_id not in self._started else None
        self._started.add(trial.trial_id)
        if last is not None:
            rows = [row for row in rows if float(row[_ITERATION] or 0) <= last]
        if columns:
            self._rewrite(trial, columns, rows)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Writes a row, after adding the columns that it is the first to need."""
        if trial not in self._trial_files:
            self._setup_trial(trial)
        flat = flatten_dict({key: value for key, value in result.items() if key != "config"}, delimiter="/")
        writer = self._trial_csv[trial]
        columns = list(writer.fieldnames) if writer else []
        if new := [key for key in flat if key not in columns]:
            self._rewrite(trial, columns + new, _read(self._path(trial))[1])
        self._trial_csv[trial].writerow(flat)
        self._trial_files[trial].flush()

    def _path(self, trial: Trial) -> Path:
        return Path(str(trial.local_path), EXPR_PROGRESS_FILE)

    def _rewrite(self, trial: Trial, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
        path = self._path(trial)
        self._trial_files[trial].close()
        self._trial_files[trial] = path.open("w", newline="", encoding="utf-8")
        self._trial_csv[trial] = csv.DictWriter(self._trial_files[trial], columns, restval="")
        self._trial_csv[trial].writeheader()
        self._trial_csv[trial].writerows(rows)
        self._trial_files[trial].flush()


class JsonLog(JsonLoggerCallback):
    """`result.json` with one line per iteration, also after a resume."""

    def __init__(self, resumed: bool = False):
        super().__init__()
        self._resumed = resumed
        self._started: set[str] = set()

    def log_trial_start(self, trial: Trial) -> None:
        """Opens the file, without the lines of iterations that the resumed run does again."""
        super().log_trial_start(trial)
        last = _restored_iteration(trial) if self._resumed and trial.trial_id not in self._started else None
        self._started.add(trial.trial_id)
        path = Path(str(trial.local_path), EXPR_RESULT_FILE)
        if last is None or not path.exists():
            return
        self._trial_files[trial].close()
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line).get(_ITERATION, 0) <= last]
        path.write_text("".join(kept), encoding="utf-8")
        self._trial_files[trial] = path.open("at")


def _restored_iteration(trial: Trial) -> float | None:
    result = trial.latest_checkpoint_result
    return result.metrics.get(_ITERATION) if result and result.metrics else None


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restval="")
        rows = [{key: value for key, value in row.items() if key is not None} for row in reader]
        return list(reader.fieldnames or []), rows
