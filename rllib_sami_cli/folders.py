"""Runs on disk: one folder each, found again by ``--resume``, never overwritten, used by one process at a time."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any

import yaml
from ray.tune.experiment import Trial
from ray.tune.search.sample import Domain

from rllib_sami import compat
from rllib_sami.checkpoints.files import is_complete, manifest_of
from rllib_sami.exports import checkpoints
from rllib_sami_cli import spaces
from rllib_sami_cli.errors import UserError, one_line
from rllib_sami_cli.stop import flatten

RECORD = "experiment.yaml"
_LOCK = ".lock"


@dataclass
class Run:
    """One run's folder and the record we keep in it.

    Attributes:
        path: `<storage>/<experiment>` or `<storage>/<experiment>_<time>`.
        record: What was asked for (run, config, stop, ...), and whether the run finished.
    """

    path: Path
    record: dict[str, Any] = field(default_factory=dict)
    _lock: IO[str] | None = None

    @property
    def finished(self) -> bool:
        """Whether the run met its stop criteria."""
        return bool(self.record.get("finished"))

    @property
    def started(self) -> str:
        """When the run was begun, to sort by."""
        return str(self.record.get("started", ""))

    def write(self, **changes: Any) -> None:
        """Updates the record in one move, so that a kill leaves the old one or the new one."""
        self.record.update(changes)
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{RECORD}"
        temporary.write_text(yaml.safe_dump(plain(self.record), sort_keys=False), encoding="utf-8")
        temporary.replace(self.path / RECORD)

    def lock(self) -> bool:
        """Takes the run for this process; returns False if another process has it. A dead process has none."""
        try:
            import fcntl
        except ImportError:  # not on this system: no protection, as in Tune itself
            return True
        self.path.mkdir(parents=True, exist_ok=True)
        handle = open(self.path / _LOCK, "w")  # noqa: SIM115 - open as long as the run is locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return False
        self._lock = handle
        return True

    def unlock(self) -> None:
        """Releases the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def in_use(self) -> bool:
        """Returns whether another process has the run."""
        is_free = self.lock()
        self.unlock()
        return not is_free

    def trials(self) -> list[dict[str, Any]]:
        """Returns `status`, last `result` and newest `checkpoint` (a path or None) of each trial."""
        content = next((content for _, content in self._states() if content is not None), None)
        if content is None:
            return []
        trials = []
        for state, metadata in content["trial_data"]:
            trial = Trial.from_json_state(state, stub=True)
            trial.restore_run_metadata(metadata)
            trials.append(
                {"status": trial.status, "result": trial.last_result, "checkpoint": self.newest_checkpoint(trial)}
            )
        return trials

    def orphaned_checkpoint(self) -> Path | None:
        """Returns the newest checkpoint if Tune's states are all damaged, as by a full disk; else None."""
        states = [content for _, content in self._states()]
        if not states or any(content is not None for content in states):
            return None
        try:
            return checkpoints.find(self.path)
        except ValueError:
            return None

    def set_aside_damaged_states(self) -> None:
        """Renames the states of Tune that a kill left half written, so that Tune takes the one before."""
        states = list(self._states())
        if any(content is not None for _, content in states):
            for file, content in states:
                if content is None:
                    file.rename(file.with_suffix(".damaged"))

    def check_state(self) -> None:
        """Raises a UserError if Tune cannot load its newest state."""
        for file, content in self._states():
            if content is not None:
                try:
                    compat.check_run_state(file)
                except Exception as error:
                    raise UserError(
                        f"--resume: {file} cannot be read: {type(error).__name__}: {one_line(error)}. Another version "
                        "of this package, or of one that the run uses, wrote it. Resume with that version, or start a "
                        "new run from the last checkpoint: --restore CHECKPOINT."
                    ) from error
                return

    def _states(self) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        """Yields Tune's states, one per start or resume of the run, newest first; None is a damaged one."""
        for file in sorted(self.path.glob("experiment_state-*.json"), reverse=True):
            try:
                yield file, json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                yield file, None

    def note_checkpoint(self, trial: Any) -> None:
        """Notes that a trial's newest checkpoint is complete.

        Tune writes its own state every ten seconds or so, so that after a kill it may not know the newest one.
        """
        result = {key: trial.last_result.get(key) for key in ("training_iteration", "time_total_s")}
        noted = {"name": Path(trial.checkpoint.path).name, **result}
        self.write(checkpoints={**self.record.get("checkpoints", {}), trial.trial_id: noted})

    def newest_checkpoint(self, trial: Any, is_good: Callable[[Path], bool] = is_complete) -> Path | None:
        """Returns the newest good checkpoint of a Tune trial.

        Every good one with a manifest counts; of the others those that Tune knows or we noted.
        """
        names = {known.name} if (known := compat.saved_checkpoint(trial)) else set()
        if noted := self.noted(trial):
            names.add(noted["name"])
        newest_first = sorted((self.path / str(trial.relative_logdir)).glob("checkpoint_*"), reverse=True)
        return next(
            (
                folder
                for folder in newest_first
                if (folder / "rllib_checkpoint.json").is_file()
                and (folder.name in names or manifest_of(folder))
                and is_good(folder)
            ),
            None,
        )

    def progress_at(self, trial: Any, checkpoint: Path) -> dict[str, Any] | None:
        """Returns a trial's ``training_iteration`` and ``time_total_s`` at a checkpoint; None if unknown."""
        facts = manifest_of(checkpoint) or self.noted(trial) or {}
        if facts.get("name", checkpoint.name) != checkpoint.name:
            return None
        return {key: facts[key] for key in ("training_iteration", "time_total_s") if key in facts} or None

    def noted(self, trial: Any) -> dict[str, Any] | None:
        """Returns what was noted of a trial's newest checkpoint."""
        return self.record.get("checkpoints", {}).get(trial.trial_id)


def storage_folder(given: str | None) -> Path:
    """Returns the folder of all results: the given one, or Ray's default."""
    if given and "://" in given:
        raise UserError(f"--local-dir {given}: only folders of this machine (or mounted here) are supported.")
    return Path(given or "~/ray_results").expanduser().absolute()


def check_writable(folder: Path, option: str) -> None:
    """Raises a UserError for a folder that cannot be made or written to."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()  # the only reliable check for folders of all kinds
    except OSError as error:
        raise UserError(
            f"{option} {folder}: {there} cannot be written to: {error.strerror}. Give another folder."
        ) from error


def new_run(storage: Path, name: str) -> Run:
    """Returns a run in a new folder: the experiment's name, with the time if that is taken."""
    path = storage / name
    if path.exists() and any(path.iterdir()):
        stem = f"{name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
        path, count = storage / stem, 1
        while path.exists():
            count += 1
            path = storage / f"{stem}-{count}"
    return Run(path)


def find_runs(storage: Path, name: str) -> list[Run]:
    """Returns the runs of an experiment, newest first."""
    pattern = re.compile(re.escape(name) + r"(_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?)?")
    folders = [path for path in storage.glob("*") if path.is_dir() and pattern.fullmatch(path.name)]
    runs = []
    for folder in folders:
        try:
            record = yaml.safe_load((folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue  # not one of ours
        if isinstance(record, dict):
            runs.append(Run(folder, record))
    return sorted(runs, key=lambda run: run.started, reverse=True)


def plain(value: Any) -> Any:
    """Returns a value in a form that YAML can hold: classes and functions by path, objects by their text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Domain):
        return spaces.describe(value)
    if isinstance(value, type) or callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns 'key: old -> new' for each setting in which two configs differ."""
    before, after = flatten(plain(old)), flatten(plain(new))
    missing = object()
    return [
        f"{key}: {before.get(key, '(not set)')} -> {after.get(key, '(not set)')}"
        for key in sorted({*before, *after})
        if before.get(key, missing) != after.get(key, missing)
    ]
