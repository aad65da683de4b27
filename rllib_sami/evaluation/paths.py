"""Where bodies went: paths of episodes with a skill or a goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_sami.env_runners.episodes import Episode

FIELDS = ("coordinates", "goals", "skills", "values")


@dataclass
class Paths:
    """Paths of episodes, one for each row of the episodes of ``Results``. What an episode does not have is NaN."""

    coordinates: np.ndarray  # [num_episodes, T + 1, k] float64; NaN after an episode's end
    goals: np.ndarray  # [num_episodes, k] float64
    skills: np.ndarray  # [num_episodes, d] float32
    values: np.ndarray | None = None  # [num_episodes, T] float32, the agent's value of each state but the last

    def __post_init__(self) -> None:
        # In float32 the edges of cells would be elsewhere.
        self.coordinates, self.goals = np.asarray(self.coordinates, float), np.asarray(self.goals, float)
        self.skills = np.asarray(self.skills, np.float32)
        values = np.zeros((len(self), 0)) if self.values is None else self.values
        self.values = np.asarray(values, np.float32)

    def __len__(self) -> int:
        return len(self.coordinates)

    def take(self, rows: np.ndarray) -> Paths:
        """Returns the paths of other rows."""
        return Paths(*(getattr(self, name)[rows] for name in FIELDS))

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Paths | None:
        """Returns the paths of finished episodes; None if none has one, or a skill or goal."""
        specs = [episode.spec for episode in episodes]
        if all(one.path is None and one.spec.skill is None and one.spec.goal is None for one in episodes):
            return None
        return cls(
            padded([episode.path for episode in episodes], 2),
            padded([None if spec.goal is None else spec.goal.coordinates for spec in specs], 1),
            padded([spec.skill for spec in specs], 1),
            padded([episode.values for episode in episodes], 1),
        )


def padded(arrays: Sequence[np.ndarray | None], num_axes: int) -> np.ndarray:
    """Stacks arrays of ``num_axes`` axes and different sizes, filled up with NaN; None is all NaN."""
    sizes = [array.shape for array in arrays if array is not None]
    most = tuple(max((size[axis] for size in sizes), default=0) for axis in range(num_axes))
    result = np.full((len(arrays), *most), np.nan)
    for row, array in zip(result, arrays, strict=True):
        if array is not None:
            row[tuple(slice(size) for size in array.shape)] = array
    return result


def join(parts: Sequence[tuple[Paths | None, int]]) -> Paths | None:
    """Joins the paths of results, each with its number of episodes."""
    if all(paths is None for paths, _ in parts):
        return None
    columns: dict[str, list[Any]] = {name: [] for name in FIELDS}
    for paths, number in parts:
        for name in FIELDS:
            columns[name] += [None] * number if paths is None else [*getattr(paths, name)]
    return Paths(*(padded(columns[name], 2 if name == "coordinates" else 1) for name in FIELDS))


def path_of(coordinates: np.ndarray) -> np.ndarray:
    """Returns a path ``[T + 1, k]`` without what was filled up."""
    inside = ~np.isnan(coordinates)
    return coordinates[inside.any(axis=1)][:, inside.any(axis=0)]
