"""What tracks tell: tasks within episodes, how near bodies came to what they ask for, how often they were inferred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rllib_sami.envs.reuse.families import SUCCESS_ERROR, quantity_of
from rllib_sami.evaluation import tables
from rllib_sami.evaluation.results import Results, split_order

GRID = "grid"  # the split whose tasks are meant to be shown
NOTHING = ""  # in place of a family, where nothing was inferred


@dataclass(frozen=True)
class Segment:
    """A task within an episode, from the row of the track on at which it began.

    Attributes:
        episode: Row of the episode in the results.
        family: Name of its family.
        wanted: What its quantity should get to.
        begins: Steps of the body before it.
        steps: Steps of the body since it began, ``[m]``, from 0 on.
        values: Of the quantity, ``[m]``.
        inferred: Families that were inferred, ``[m]``.
        clusters: Numbers of the latents' clusters, ``[m]``, NaN where there are none.
        latents: ``[m, L]``, NaN where there are none.
    """

    episode: int
    family: str
    wanted: float
    begins: int
    steps: np.ndarray
    values: np.ndarray
    inferred: np.ndarray
    clusters: np.ndarray
    latents: np.ndarray

    @property
    def quantity(self) -> str:
        """What the task is about."""
        return quantity_of(self.family)

    @property
    def errors(self) -> np.ndarray:
        """Relative errors, ``[m]``; absolute ones where 0 is wanted."""
        return np.abs(self.values - self.wanted) / (abs(self.wanted) or 1.0)

    def late_error(self) -> float:
        """Mean relative error over the last quarter of the steps; rows count as often as they had steps."""
        strides, last = np.diff(self.steps), self.steps[-1]
        late = self.steps[1:] > last - max(1, last // 4)
        return float(np.average(self.errors[1:][late], weights=strides[late]))

    def is_right(self) -> np.ndarray:
        """Whether the family is right where one was inferred, in the order of the rows."""
        return self.inferred[self.inferred != NOTHING] == self.family

    def second_half(self) -> np.ndarray:
        """Which rows are in the second half of the steps, ``[m]``."""
        return self.steps > self.steps[-1] / 2


def segments(results: Results) -> list[Segment]:
    """Returns the tasks within all episodes, in their order; most episodes have one."""
    tracks = results.tracks
    if tracks is None:
        return []
    names = np.append(tracks.names, NOTHING)
    found = []
    for episode, (values, wanted, families) in enumerate(
        zip(tracks.values, tracks.wanted, tracks.families, strict=True)
    ):
        known = np.flatnonzero(~np.isnan(values) & ~np.isnan(families))
        changes = np.flatnonzero((np.diff(wanted[known]) != 0) | (np.diff(families[known]) != 0)) + 1
        for rows in np.split(known, changes):
            own = values[rows]
            after = rows[-1:] + 1
            if after.size and after[0] < len(values) and not np.isnan(tracks.ends[episode, after[0]]):
                # The row at which the next task begins is this one's last.
                rows, own = np.append(rows, after), np.append(own, tracks.ends[episode, after])
            if len(rows) < 2:  # the episode ended before its first step
                continue
            steps = tracks.steps[episode, rows].astype(int)
            inferred = np.nan_to_num(tracks.inferred[episode, rows], nan=len(tracks.names)).astype(int)
            found.append(
                Segment(
                    episode=episode,
                    family=str(names[int(families[rows[0]])]),
                    wanted=float(wanted[rows[0]]),
                    begins=int(steps[0]),
                    steps=steps - steps[0],
                    values=own,
                    inferred=names[inferred],
                    clusters=tracks.clusters[episode, rows],
                    latents=tracks.latents[episode, rows],
                )
            )
    return found


def by_task(results: Results) -> pd.DataFrame:
    """Returns how each task within an episode went.

    Returns:
        Columns ``agent, environment, split, return`` (of the episode), ``quantity, episode``, ``error`` (the late
        error), ``right`` (steps at which the family was right) and ``told`` (steps at which one was inferred).
    """
    played = results.episodes.assign(agent=tables.agents(results.episodes))
    rows = []
    for segment in segments(results):
        episode, right = played.iloc[segment.episode], segment.is_right()
        rows.append(
            {
                **{name: episode[name] for name in ("agent", "environment", "split", "return")},
                "quantity": segment.quantity,
                "episode": segment.episode,
                "error": segment.late_error(),
                "right": right.sum(),
                "told": len(right),
            }
        )
    return pd.DataFrame(rows)


def per_quantity(tasks: pd.DataFrame) -> pd.DataFrame:
    """Returns how near bodies came to what tasks ask for.

    Args:
        tasks: Table of :func:`by_task`.

    Returns:
        Columns ``agent, environment, split, quantity, episodes, success`` (share of tasks whose late error is below
        25 %), ``error`` (median of late errors), ``return`` (mean of episodes), ``right`` (share of steps at which the
        family was right; NaN where none was inferred).
    """
    keys = ["agent", "environment", "split", "quantity"]
    sums = {"success": ("success", "mean"), "error": ("error", "median"), "return": ("return", "mean")}
    counts = {"episodes": ("episode", "nunique"), "right": ("right", "sum"), "told": ("told", "sum")}
    table = tasks.assign(success=tasks["error"] < SUCCESS_ERROR)
    found = table.groupby(keys, sort=False).agg(**counts, **sums).reset_index()
    found["right"] = found["right"].where(found["told"] > 0) / found["told"].where(found["told"] > 0)
    found = found.sort_values(["environment", "agent", "split", "quantity"], key=tables.sort_key, kind="stable")
    return found[[*keys, "episodes", "success", "error", "return", "right"]].reset_index(drop=True)


def by_agent(results: Results) -> Iterator[tuple[str, str, str, list[Segment]]]:
    """Yields agent, environment, run and tasks of the first run of each agent on each environment."""
    everything = segments(results)
    played = results.episodes.assign(agent=tables.agents(results.episodes))
    played = played.iloc[sorted({segment.episode for segment in everything})]
    first = played.drop_duplicates(["agent", "environment"])
    first = first.sort_values(["environment", "agent"], key=tables.sort_key, kind="stable")
    for agent, environment, run in zip(first["agent"], first["environment"], first["run"], strict=True):
        mine = played["agent"].eq(agent) & played["environment"].eq(environment) & played["run"].eq(run)
        rows = {*played.index[mine]}
        yield str(agent), str(environment), str(run), [one for one in everything if one.episode in rows]


def shown_split(results: Results, found: Sequence[Segment]) -> str:
    """Returns the split whose trajectories are shown: ``grid``, or else that which is farthest from training."""
    splits = set(results.episodes["split"].iloc[[segment.episode for segment in found]])
    return GRID if GRID in splits else max(splits, key=split_order)


def chosen(results: Results, found: Sequence[Segment], most: int = 3) -> list[Segment]:
    """Returns the first episode of some tasks of each family, at equal distances among their wanted values.

    Args:
        results: What was played.
        found: Tasks of one run.
        most: Of a family.
    """
    in_split = results.episodes["split"].eq(shown_split(results, found)).to_numpy()
    by_family: dict[str, dict[float, Segment]] = {}
    for segment in found:
        if in_split[segment.episode]:
            by_family.setdefault(segment.family, {}).setdefault(segment.wanted, segment)
    picked = []
    for tasks in by_family.values():
        values = sorted(tasks)
        picked += [tasks[values[at]] for at in np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]
    return picked


def strides(found: Sequence[Segment]) -> np.ndarray:
    """Returns the steps of all strides."""
    return np.concatenate([np.diff(segment.steps) for segment in found])


def confusion(found: Sequence[Segment]) -> pd.DataFrame:
    """Returns how often each family was inferred in the second half of tasks of each family, as shares of its rows.

    Returns:
        One row for each true family, one column for each that was ever true or inferred; empty if none was inferred.
    """
    pairs = [
        (segment.family, family)
        for segment in found
        for family in segment.inferred[segment.second_half()]
        if family != NOTHING
    ]
    if not pairs:
        return pd.DataFrame()
    true, inferred = zip(*pairs, strict=True)
    names = sorted({*true, *inferred})
    return pd.crosstab(pd.Series(true), pd.Series(inferred), normalize="index").reindex(columns=names, fill_value=0.0)


def clusters(found: Sequence[Segment]) -> tuple[int, float]:
    """Returns how many clusters the latents in the second half of tasks are in, and the clusters' purity.

    The purity is the share of latents whose family is the most frequent one of their cluster. It is NaN, and the number
    0, where latents have no clusters.
    """
    rows = [(cluster, one.family) for one in found for cluster in one.clusters[one.second_half()]]
    table = pd.DataFrame(rows, columns=["cluster", "family"]).dropna()
    if table.empty:
        return 0, np.nan
    counts = pd.crosstab(table["cluster"], table["family"])
    return len(counts), float(counts.max(axis=1).sum() / len(table))


def since_change(found: Sequence[Segment], points: int = 101) -> pd.DataFrame:
    """Returns how error and inference go on after the beginning of a task.

    Returns:
        Columns ``steps`` of the body since it began, ``error`` (median over tasks) and ``right`` (share of tasks with
        the right family; NaN where none was inferred).
    """
    longest = max(segment.steps[-1] for segment in found)
    grid = np.unique(np.linspace(0, longest, points).round().astype(int))
    errors, right = np.full((2, len(found), len(grid)), np.nan)
    for row, segment in enumerate(found):
        lasts = grid <= segment.steps[-1]
        at = np.searchsorted(segment.steps, grid[lasts], side="right") - 1
        errors[row, lasts] = segment.errors[at]
        told = segment.inferred[at] != NOTHING
        right[row, lasts] = np.where(told, segment.inferred[at] == segment.family, np.nan)
    enough = (~np.isnan(errors)).sum(axis=0) >= len(found) / 2  # else the few longest tasks are alone at the end
    shares = pd.DataFrame(right).mean().to_numpy()  # NaN where all are
    table = pd.DataFrame({"steps": grid, "error": np.nanmedian(errors, axis=0), "right": shares})
    return table[enough]
