"""Results of an evaluation: one table of episodes, the contexts along them, and the provenance of both."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami.core.metric_names import SPLITS
from rllib_sami.core.text import one_line
from rllib_sami.evaluation.paths import FIELDS, Paths
from rllib_sami.evaluation.paths import join as join_paths
from rllib_sami.evaluation.tracks import Tracks
from rllib_sami.evaluation.tracks import join as join_tracks

EPISODES_FILE, CONTEXTS_FILE, PROVENANCE_FILE = "results.parquet", "embeddings.npz", "provenance.json"
PATHS_FILE, TRACKS_FILE = "paths.npz", "tracks.npz"

COLUMNS = {
    "algorithm": "str",  # name of the algorithm, such as SaCCM
    "run": "str",  # label of the checkpoint, unique per checkpoint
    "seed": "int64",  # of training; -1: unknown
    "env_steps": "int64",  # trained; -1: unknown
    "context": "str",  # "learned", or how the context was replaced
    "explore": "bool",  # whether the agent acted with noise
    "environment": "str",
    "split": "str",
    "task_id": "int64",  # index of the meta-task in its split; -1: the environment has none
    "episode": "int64",  # index within (run, split, task_id)
    "episode_seed": "int64",
    "return": "float64",
    "length": "int64",  # environment steps; -1: unknown
    "success": "boolean",  # missing where the environment has none
    "skill": "string",  # missing where the environment names none
    "reference_skill": "string",  # by the label of the method's authors
}
PLAYER = ["algorithm", "run", "context", "explore"]  # who played: these columns
TASK = ["environment", "split", "task_id"]  # what was played
SUBTASK = "subtask_"  # and the name of a sub-task: the step at which it was done
_NULLABLE = ("success", "skill", "reference_skill")


@dataclass
class Contexts:
    """Contexts along episodes."""

    steps: np.ndarray  # [M] int64, environment steps after which they were kept, see `episodes.context_steps`
    # [num_episodes, M, D] float32, one entry per row of the episodes. NaN after an episode's end, for agents without
    # context, and beyond the width of a context narrower than D.
    values: np.ndarray

    def __post_init__(self) -> None:
        self.steps, self.values = np.asarray(self.steps, np.int64), np.asarray(self.values, np.float32)
        if self.values.ndim != 3 or self.steps.shape != self.values.shape[1:2]:
            raise ValueError(
                f"contexts: steps {self.steps.shape} and values {self.values.shape} do not match: expected [M] and "
                "[num_episodes, M, D]."
            )

    def __len__(self) -> int:
        return len(self.values)


@dataclass(repr=False)
class Results:
    """Episodes of trained agents on tasks they may never have seen.

    Columns and rows of ``episodes`` are sorted, so that equal results are equal files.

    Attributes:
        episodes: One row per episode: the columns of ``COLUMNS``, one ``task_<key>`` (float64) per number of the
            environment's ``info["task"]``, and one ``subtask_<name>`` (float64) for each of its sub-tasks: the step
            at which it was done, infinity if it was not.
        contexts: Contexts along the episodes (of agents with skills, their features of states), or None where no agent
            has any.
        paths: Where the body went in each episode, or None where no agent has skills.
        tracks: How each episode went in terms of its task, or None where no environment has families of tasks.
        provenance: Versions, commands, seeds, hardware; of joined results ``{"parts": [...]}``. Its ``max_steps``
            (limit on episode length by environment) is part of the task grid. Its ``videos`` may have paths relative
            to the folder of the files; ``load`` makes them absolute.
    """

    episodes: pd.DataFrame
    contexts: Contexts | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    paths: Paths | None = None
    tracks: Tracks | None = None

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.episodes and name not in _NULLABLE]
        if missing:
            raise ValueError(f"episodes: no column {', '.join(missing)}. Expected: {', '.join(COLUMNS)}.")
        for name in ("contexts", "paths", "tracks"):
            kept = getattr(self, name)
            if kept is not None and len(kept) != len(self.episodes):
                raise ValueError(f"{name}: values of {len(kept)} episodes, but there are {len(self.episodes)}.")
        of_tasks = [*task_columns(self.episodes), *subtask_columns(self.episodes)]
        episodes = self.episodes.reindex(columns=[*COLUMNS, *of_tasks])
        episodes = episodes.astype({**COLUMNS, **dict.fromkeys(of_tasks, "float64")})
        episodes = episodes.reset_index(drop=True)
        episodes = episodes.sort_values([*PLAYER, *TASK, "episode"], key=_split_key, kind="stable")
        order = episodes.index.to_numpy()
        self.episodes = episodes.reset_index(drop=True)
        if self.contexts is not None:
            self.contexts = Contexts(self.contexts.steps, self.contexts.values[order])
        if self.paths is not None:
            self.paths = self.paths.take(order)
            if all(np.isnan(getattr(self.paths, name)).all() for name in FIELDS):
                self.paths = None  # of no episode that is left
        if self.tracks is not None:
            tracks = self.tracks.take(order)
            self.tracks = tracks if tracks.has_any() else None

    def take(self, rows: np.ndarray) -> Results:
        """Returns some of the episodes, with the same provenance."""
        contexts = None if self.contexts is None else Contexts(self.contexts.steps, self.contexts.values[rows])
        paths = None if self.paths is None else self.paths.take(rows)
        tracks = None if self.tracks is None else self.tracks.take(rows)
        return Results(self.episodes.iloc[rows], contexts, self.provenance, paths, tracks)

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Provenance of each part that the results were joined from."""
        return self.provenance.get("parts", [self.provenance])

    def summary(self) -> pd.DataFrame:
        """Returns one row per algorithm, context, environment and split; all tasks have the same weight."""
        groups = ["algorithm", "context", "explore", "environment", "split"]
        counts = {"runs": ("run", "nunique"), "tasks": ("task_id", "nunique"), "episodes": ("run", "size")}
        table = self.episodes.groupby(groups, sort=False).agg(**counts)
        values = self.episodes.astype({"success": "Float64"})
        values = values.assign(length=values["length"].where(values["length"] >= 0))
        by_task = values.groupby([*groups, "task_id"], sort=False)[["return", "length", "success"]].mean()
        means = by_task.groupby(groups, sort=False).mean().astype("float64")
        return table.join(means).reset_index()

    def __repr__(self) -> str:
        return (
            self._shown().to_string(index=False, float_format="{:,.4g}".format) if len(self.episodes) else "Results()"
        )

    def _repr_html_(self) -> str:
        return self._shown().to_html(index=False, float_format="{:,.4g}".format)

    def _shown(self) -> pd.DataFrame:
        """Returns the summary without columns that are empty or at their default."""
        table = self.summary().dropna(axis="columns", how="all")
        defaults = {"context": "learned", "explore": False}
        return table.drop(columns=[name for name, value in defaults.items() if (table[name] == value).all()])

    def save(self, folder: str | Path) -> Path:
        """Writes ``results.parquet``, ``provenance.json``, and what there is of the other ``.npz`` files.

        Args:
            folder: Folder for the files; made if missing. Former results in it are replaced.

        Raises:
            ValueError: The folder cannot be written to.
        """
        folder = Path(folder).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            here = folder.absolute()
            provenance = _with_video_paths(
                self.provenance, lambda file: file.relative_to(here) if file.is_relative_to(here) else file
            )
            for left in folder.glob(".results-*"):  # by a kill
                shutil.rmtree(left, ignore_errors=True)
            # Written aside first: a kill meanwhile leaves former results as they are.
            with tempfile.TemporaryDirectory(prefix=".results-", dir=folder) as aside:
                self.episodes.to_parquet(Path(aside, EPISODES_FILE), index=False)
                Path(aside, PROVENANCE_FILE).write_text(json.dumps(provenance, indent=1, default=str) + "\n", "utf-8")
                arrays = {CONTEXTS_FILE: self.contexts, PATHS_FILE: self.paths, TRACKS_FILE: self.tracks}
                for name, kept in arrays.items():
                    if kept is not None:
                        np.savez_compressed(Path(aside, name), **vars(kept))
                for name in (EPISODES_FILE, PROVENANCE_FILE, *arrays):
                    if Path(aside, name).exists():
                        Path(aside, name).replace(folder / name)
                    else:
                        (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"{folder}: results cannot be written there: {error.strerror}. Give another one."
            ) from error
        return folder

    @classmethod
    def load(cls, folders: str | Path | Iterable[str | Path]) -> Results:
        """Reads results from one folder, or joins those of several.

        Raises:
            ValueError: A folder holds no results, two hold the same ones, or their task grids differ.
        """
        folders = [folders] if isinstance(folders, str | Path) else list(folders)
        if not folders:
            raise ValueError("results: no folder given. Give one that `rllib evaluate --out` has written.")
        parts = _with_own_runs([_read(Path(folder).expanduser()) for folder in folders])
        _check_grids(parts, [str(folder) for folder in folders])
        return parts[0] if len(parts) == 1 else join(parts)


def join(parts: Sequence[Results]) -> Results:
    """Joins results whose task grids agree."""
    episodes = pd.concat([part.episodes for part in parts], ignore_index=True)
    provenance = [piece for part in parts for piece in part.parts]
    kept = [part.contexts for part in parts if part.contexts is not None]
    contexts = None
    if kept:
        steps = np.unique(np.concatenate([part.steps for part in kept]))
        values = np.full((len(episodes), len(steps), max(part.values.shape[2] for part in kept)), np.nan, np.float32)
        start = 0
        for part in parts:
            if part.contexts is not None:
                rows = np.arange(start, start + len(part.episodes))
                at = np.searchsorted(steps, part.contexts.steps)
                values[np.ix_(rows, at, np.arange(part.contexts.values.shape[2]))] = part.contexts.values
            start += len(part.episodes)
        contexts = Contexts(steps, values)
    paths = join_paths([(part.paths, len(part.episodes)) for part in parts])
    tracks = join_tracks([(part.tracks, len(part.episodes)) for part in parts])
    return Results(episodes, contexts, {"parts": provenance}, paths, tracks)


def task_columns(episodes: pd.DataFrame) -> list[str]:
    """Returns the names of the columns with the tasks' values."""
    return [name for name in episodes if name.startswith("task_") and name != "task_id"]


def subtask_columns(episodes: pd.DataFrame) -> list[str]:
    """Returns the names of the columns with the steps at which sub-tasks were done, in the order of the sub-tasks."""
    return [name for name in episodes if name.startswith(SUBTASK)]


def split_order(split: str) -> str:
    """Returns the sort key of a split: from training outwards, then by name."""
    return f"{SPLITS.index(split) if split in SPLITS else len(SPLITS)} {split}"


def _split_key(column: pd.Series) -> pd.Series:
    return column.map(split_order) if column.name == "split" else column


def _read(folder: Path) -> Results:
    file = folder / EPISODES_FILE
    if not file.is_file():
        raise ValueError(f"{folder}: no {EPISODES_FILE} in it. Give a folder that `rllib evaluate --out` has written.")
    try:
        episodes = pd.read_parquet(file)
        file, contexts = folder / CONTEXTS_FILE, None
        if file.is_file():
            with np.load(file) as arrays:
                contexts = Contexts(arrays["steps"], arrays["values"])
        file, paths = folder / PATHS_FILE, None
        if file.is_file():
            with np.load(file) as arrays:
                paths = Paths(**arrays)
        file, tracks = folder / TRACKS_FILE, None
        if file.is_file():
            with np.load(file) as arrays:
                tracks = Tracks(**arrays)
        file, provenance = folder / PROVENANCE_FILE, {}
        if file.is_file():
            provenance = json.loads(file.read_text("utf-8"))
            provenance = _with_video_paths(provenance, lambda video: (folder / video).absolute())
    except Exception as error:  # whatever parquet, zip and JSON readers raise
        raise ValueError(f"{file}: cannot be read: {one_line(error)} Evaluate again, or restore the file.") from error
    try:
        return Results(episodes, contexts, provenance, paths, tracks)
    except ValueError as error:
        raise ValueError(f"{folder}: its files do not fit each other: {error} Evaluate again.") from error


def _with_own_runs(parts: list[Results]) -> list[Results]:
    """Returns results in which no two agents share the label of a run: those that do have their names before it."""
    played = pd.concat([part.episodes[["algorithm", "run"]] for part in parts]).drop_duplicates()
    shared = set(played["run"][played["run"].duplicated()])
    if not shared:
        return parts

    def relabelled(row: Mapping[str, Any]) -> str:
        return f"{row['algorithm']}/{row['run']}" if row["run"] in shared else str(row["run"])

    found = []
    for part in parts:
        runs = [relabelled(row) for row in part.episodes[["algorithm", "run"]].to_dict("records")]
        provenance = copy.deepcopy(part.provenance)
        for piece in provenance.get("parts", [provenance]):
            for row in [*piece.get("checkpoints", []), *piece.get("videos", [])]:
                if {"algorithm", "run"} <= set(row):
                    row["run"] = relabelled(row)
        found.append(dataclasses.replace(part, episodes=part.episodes.assign(run=runs), provenance=provenance))
    return found


def _with_video_paths(provenance: dict[str, Any], change: Callable[[Path], Path]) -> dict[str, Any]:
    """Returns a copy of provenance with other paths of its videos."""
    provenance = copy.deepcopy(provenance)
    for part in provenance.get("parts", [provenance]):
        for video in part.get("videos", []):
            paths = {key: Path(video[key]) for key in ("file", "poster") if video.get(key)}
            video.update({key: change(path).as_posix() for key, path in paths.items()})
    return provenance


def _check_grids(parts: Sequence[Results], names: Sequence[str]) -> None:
    """Checks that results can be compared: each run must have played the same episodes of an environment, and once.

    Raises:
        ValueError: They cannot.
    """
    seen: dict[Any, tuple[str, pd.DataFrame]] = {}
    first: dict[Any, tuple[str, pd.DataFrame, Any]] = {}
    for part, name in zip(parts, names, strict=True):
        for (environment, *player), mine in part.episodes.groupby(["environment", *PLAYER], sort=False):
            who = f"{player[1]} ({player[2]} context{', exploring' if player[3] else ''})"
            other, theirs = seen.setdefault((environment, *player), (name, mine))
            if theirs is not mine:
                raise ValueError(f"{name}: {who} on {environment} is in {other} too{_twice(mine, theirs)}")
            values = mine.dropna(axis="columns", how="all")
            grid = values[[*TASK, "episode", "episode_seed", *task_columns(values)]].reset_index(drop=True)
            here = (f"{name}, {who}", grid, _max_steps(part, environment))
            if difference := _difference(first.setdefault(environment, here)[1:], here[1:]):
                raise ValueError(
                    f"{name}, {who}: other tasks of {environment} than in {first[environment][0]}: {difference}. "
                    "Evaluate them with the same splits, episodes, seed and env_config, or report them apart."
                )


def _twice(mine: pd.DataFrame, other: pd.DataFrame) -> str:
    """Returns how two sets of episodes of one run on one environment differ, and what to do."""
    columns = [*TASK, "episode", "episode_seed"]
    if mine[columns].reset_index(drop=True).equals(other[columns].reset_index(drop=True)):
        return ", with the same episodes. Leave one of them out."
    return (
        ", with other episodes (their seeds or tasks differ), and one report shows a run once. Leave one of them out; "
        "for more episodes of one run, evaluate it once with a larger --episodes."
    )


def _difference(wanted: tuple[pd.DataFrame, Any], given: tuple[pd.DataFrame, Any]) -> str | None:
    """Returns the first difference between two task grids, each with its limit on episode length."""
    (grid, max_steps), (other, other_max_steps) = wanted, given
    if None not in (max_steps, other_max_steps) and max_steps != other_max_steps:
        return f"max_steps {other_max_steps} instead of {max_steps}"
    for keys in (["split"], ["split", "task_id"], ["split", "task_id", "episode"]):
        ours, theirs = ({tuple(row) for row in table[keys].itertuples(index=False)} for table in (grid, other))
        if ours != theirs:
            missing, extra = sorted(ours - theirs), sorted(theirs - ours)
            verb, row = ("lacks", missing[0]) if missing else ("has also", extra[0])
            return f"it {verb} {', '.join(f'{key} {value}' for key, value in zip(keys, row, strict=True))}"
    if list(grid.columns) != list(other.columns):
        return f"its tasks have {', '.join(task_columns(other))} instead of {', '.join(task_columns(grid))}"
    both_missing = grid.isna() & other.isna()
    unequal = (grid != other) & ~both_missing
    for name in grid.columns[unequal.any()]:
        at = unequal[name].idxmax()
        place = f"split {grid['split'][at]}, task_id {grid['task_id'][at]}, episode {grid['episode'][at]}"
        return f"{name} is {other[name][at]} instead of {grid[name][at]} in {place}"
    return None


def _max_steps(results: Results, environment: Any) -> Any:
    limits = [part.get("max_steps") or {} for part in results.parts]
    found = {by_env[environment] for by_env in limits if environment in by_env}
    return found.pop() if len(found) == 1 else None
