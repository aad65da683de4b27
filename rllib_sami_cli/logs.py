"""Tune's CSV and JSON logs, changed such that they survive kills and resumes and have all metrics."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, LoggerCallback
from ray.tune.result import EXPR_PROGRESS_FILE, EXPR_RESULT_FILE
from ray.tune.utils import flatten_dict

_ITERATION = "training_iteration"


class _Log(LoggerCallback):
    """A file with exactly one row per iteration.

    Tune writes such files into a staging folder and copies it to the results every ten seconds or so: after a kill the
    newest checkpoint may be there without the rows before it. Here they are written to the results at once. When a
    trial goes on from a checkpoint, the rows after it are removed.
    """

    _file: str

    def __init__(self) -> None:
        super().__init__()
        self._going: set[str] = set()

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Notes that a trial failed and starts again from its last checkpoint."""
        self._going.discard(trial.trial_id)

    def _path(self, trial: Trial) -> Path:
        return Path(trial.storage.trial_fs_path, self._file)

    def _last_kept(self, trial: Trial) -> float:
        """Returns the last iteration that a trial, about to start, does not repeat; infinity after a pause."""
        if trial.trial_id in self._going:
            return math.inf
        self._going.add(trial.trial_id)
        restored = trial.latest_checkpoint_result
        return restored.metrics.get(_ITERATION, 0) if restored and restored.metrics else 0


class CsvLog(_Log, CSVLoggerCallback):
    """`progress.csv` with a column for every metric and one row per iteration.

    Tune fixes the columns at the first result, so that losses, which appear once learning starts, are never written,
    and writes the rows of a resumed run under the columns of the old one. Here new columns are added as they appear.
    """

    _file = EXPR_PROGRESS_FILE

    def log_trial_start(self, trial: Trial) -> None:
        """Opens the file, without the rows of iterations that are repeated."""
        self._setup_trial(trial)

    def _setup_trial(self, trial: Trial) -> None:
        self.log_trial_end(trial)
        path, last = self._path(trial), self._last_kept(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        columns, rows = _read(path)
        self._write(trial, columns, [row for row in rows if float(row[_ITERATION]) <= last])

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Writes a row, after adding the columns that it needs first."""
        if trial not in self._trial_files:
            self._setup_trial(trial)
        flat = flatten_dict({key: value for key, value in result.items() if key != "config"}, delimiter="/")
        columns = list(self._trial_csv[trial].fieldnames)
        if new := [key for key in flat if key not in columns]:
            self._write(trial, columns + new, _read(self._path(trial))[1])
        self._trial_csv[trial].writerow(flat)
        self._trial_files[trial].flush()

    def _write(self, trial: Trial, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
        """Rewrites the file and opens it for more rows."""
        self.log_trial_end(trial)
        path = self._path(trial)
        with _rewritten(path) as file:
            if columns:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        self._trial_files[trial] = path.open("a", newline="", encoding="utf-8")
        self._trial_csv[trial] = csv.DictWriter(self._trial_files[trial], columns, restval="")


class JsonLog(_Log, JsonLoggerCallback):
    """`result.json` with one line per iteration."""

    _file = EXPR_RESULT_FILE

    def log_trial_start(self, trial: Trial) -> None:
        """Opens the file, without the lines of iterations that are repeated."""
        self.log_trial_end(trial)
        trial.init_local_path()
        self.update_config(trial, trial.config)
        path, last = self._path(trial), self._last_kept(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open(encoding="utf-8") as old, _rewritten(path) as new:
                # A line without an end was cut off by a kill.
                new.writelines(line for line in old if line.endswith("\n") and json.loads(line)[_ITERATION] <= last)
        self._trial_files[trial] = path.open("a", encoding="utf-8")


@contextmanager
def _rewritten(path: Path) -> Iterator[Any]:
    """Opens a new version of a file, which replaces it in one move, so that a kill loses nothing."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        yield file
    temporary.replace(path)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns the columns and rows of a CSV file, without a last row that a kill cut off."""
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), restval="")
    rows = [{key: value for key, value in row.items() if key is not None} for row in reader]
    return list(reader.fieldnames or []), rows
