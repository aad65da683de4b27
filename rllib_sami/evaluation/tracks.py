"""Tracks of the episodes of an evaluation: values of the tasks' quantities, and what was inferred of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_sami.env_runners.episodes import Episode
from rllib_sami.evaluation.paths import padded

AXES = {
    "values": 1,
    "wanted": 1,
    "steps": 1,
    "families": 1,
    "inferred": 1,
    "clusters": 1,
    "ends": 1,
    "latents": 2,
}  # besides that of episodes


@dataclass
class Tracks:
    """Tracks of episodes, one for each row of the episodes of ``Results``: see ``env_runners.tracks.Track``.

    What an episode does not have is NaN, and so is everything after its end. ``T`` steps are the most of an episode.
    """

    values: np.ndarray  # [num_episodes, T + 1] float32, as is everything else but names
    wanted: np.ndarray  # [num_episodes, T + 1]
    steps: np.ndarray  # [num_episodes, T + 1]
    families: np.ndarray  # [num_episodes, T + 1], indices into names
    inferred: np.ndarray  # [num_episodes, T + 1], likewise
    clusters: np.ndarray  # [num_episodes, T + 1], numbers of the latents' clusters
    # [num_episodes, T + 1], where another task has begun: what the former one's quantity got to
    ends: np.ndarray
    latents: np.ndarray  # [num_episodes, T + 1, L]
    names: np.ndarray  # [F], names of families

    def __post_init__(self) -> None:
        for name in AXES:
            setattr(self, name, np.asarray(getattr(self, name), np.float32))
        self.names = np.asarray(self.names, str)
        shapes = {name: getattr(self, name).shape for name in AXES}
        different = [name for name, axes in AXES.items() if len(shapes[name]) != 1 + axes]
        different += [name for name, shape in shapes.items() if shape[:2] != self.values.shape]
        if different:
            name = different[0]
            raise ValueError(f"tracks: {name} {shapes[name]} and values {self.values.shape} do not match.")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Tracks:
        """Returns the tracks of other rows."""
        return Tracks(**{name: getattr(self, name)[rows] for name in AXES}, names=self.names)

    def has_any(self) -> bool:
        """Whether any of the episodes has a track."""
        return not np.isnan(self.values).all()

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Tracks | None:
        """Returns the tracks of finished episodes; None if none has one."""
        tracks = [episode.track for episode in episodes]
        known = [track for track in tracks if track is not None]
        if not known:
            return None
        told = {name for track in known for name in (*track.families, *track.inferred) if name is not None}
        names = sorted(told)
        index = {name: float(number) for number, name in enumerate(names)} | {None: np.nan}
        columns: dict[str, list[Any]] = {name: [] for name in AXES}
        for track in tracks:
            for name in AXES:
                found = None if track is None else getattr(track, name)
                columns[name].append(np.array([index[one] for one in found]) if isinstance(found, list) else found)
        return cls(**{name: padded(columns[name], axes) for name, axes in AXES.items()}, names=np.array(names))


def join(parts: Sequence[tuple[Tracks | None, int]]) -> Tracks | None:
    """Joins the tracks of results, each with its number of episodes."""
    known = [tracks for tracks, _ in parts if tracks is not None]
    if not known:
        return None
    names = np.unique(np.concatenate([tracks.names for tracks in known]))
    columns: dict[str, list[Any]] = {name: [] for name in AXES}
    for tracks, number in parts:
        for name in AXES:
            if tracks is None:
                columns[name] += [None] * number
            elif name in ("families", "inferred"):
                columns[name] += [*_renumbered(getattr(tracks, name), tracks.names, names)]
            else:
                columns[name] += [*getattr(tracks, name)]
    return Tracks(**{name: padded(columns[name], axes) for name, axes in AXES.items()}, names=names)


def _renumbered(indices: np.ndarray, names: np.ndarray, new_names: np.ndarray) -> np.ndarray:
    """Returns indices into ``new_names`` in place of those into ``names``; NaN stays."""
    known = ~np.isnan(indices)
    result = np.full(indices.shape, np.nan)
    result[known] = np.searchsorted(new_names, names)[indices[known].astype(int)]
    return result
