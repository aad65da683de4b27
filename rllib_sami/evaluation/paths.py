"""Where bodies went: paths of episodes with a skill or a goal, and what they say of an agent's skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rllib_sami.algorithms.skill_discovery.evaluation import GOALS, SKILLS, coverage
from rllib_sami.env_runners.episodes import Episode

if TYPE_CHECKING:
    from rllib_sami.evaluation.results import Results

FIELDS = ("coordinates", "goals", "skills")


@dataclass
class Paths:
    """Paths of episodes, one for each row of the episodes of ``Results``. What an episode does not have is NaN."""

    coordinates: np.ndarray  # [num_episodes, T + 1, k] float32; NaN after an episode's end
    goals: np.ndarray  # [num_episodes, k] float32
    skills: np.ndarray  # [num_episodes, d] float32

    def __post_init__(self) -> None:
        self.coordinates, self.goals, self.skills = (np.asarray(getattr(self, name), np.float32) for name in FIELDS)

    def __len__(self) -> int:
        return len(self.coordinates)

    def take(self, rows: np.ndarray) -> Paths:
        """Returns the paths of other rows."""
        return Paths(*(getattr(self, name)[rows] for name in FIELDS))

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Paths | None:
        """Returns the paths of finished episodes; None if none has a skill or goal."""
        specs = [episode.spec for episode in episodes]
        if all(spec.skill is None and spec.goal is None for spec in specs):
            return None
        return cls(
            padded([episode.path for episode in episodes], 2),
            padded([None if spec.goal is None else spec.goal.coordinates for spec in specs], 1),
            padded([spec.skill for spec in specs], 1),
        )


def padded(arrays: Sequence[np.ndarray | None], num_axes: int) -> np.ndarray:
    """Stacks arrays of ``num_axes`` axes and different sizes, filled up with NaN; None is all NaN."""
    sizes = [array.shape for array in arrays if array is not None]
    most = tuple(max((size[axis] for size in sizes), default=0) for axis in range(num_axes))
    result = np.full((len(arrays), *most), np.nan, np.float32)
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


def sizes_of(results: Results, environment: str) -> Mapping[str, float]:
    """The cell size and goal radius of an environment."""
    for part in results.parts:
        if environment in part.get("skill_sizes", {}):
            return part["skill_sizes"][environment]
    return {"cell_size": 1.0, "goal_radius": 3.0}


def per_run(results: Results) -> pd.DataFrame:
    """Returns one row per run with skills: what they cover, and the goals that they reach.

    Columns ``algorithm, run, seed, env_steps, environment``; ``skills`` (played), ``state_coverage`` (cells),
    ``end_distance``, ``return_mean``, ``return_max``; ``goals`` (tried), ``staying_time``, ``success_rate``,
    ``final_distance``. What was not played is NaN.
    """
    rows = []
    keys = ["algorithm", "run", "seed", "env_steps", "environment"]
    for names, mine in results.episodes.groupby(keys, sort=False):
        paths = results.paths.take(mine.index.to_numpy()) if results.paths is not None else None
        if paths is None or not mine["split"].isin([SKILLS, GOALS]).any():
            continue
        sizes = sizes_of(results, str(names[4]))
        row: dict[str, Any] = dict(zip(keys, names, strict=True))
        is_skill = (mine["split"] == SKILLS).to_numpy()
        walked = [path_of(one) for one in paths.coordinates]
        of_skills = [path for path, yes in zip(walked, is_skill, strict=True) if yes and len(path)]
        row |= {"skills": int(is_skill.sum())}
        if is_skill.any():
            row |= {"return_mean": mine["return"][is_skill].mean(), "return_max": mine["return"][is_skill].max()}
        if of_skills:
            row["state_coverage"] = coverage(of_skills, sizes["cell_size"])
            row["end_distance"] = np.mean([np.linalg.norm(path[-1] - path[0]) for path in of_skills])
        is_goal = (mine["split"] == GOALS).to_numpy()
        row |= {"goals": int(is_goal.sum())}
        if is_goal.any():
            away = [
                np.linalg.norm(path[1:] - goal[: path.shape[1]], axis=1)
                for path, goal, yes in zip(walked, paths.goals, is_goal, strict=True)
                if yes
            ]
            row["staying_time"] = np.mean([(one < sizes["goal_radius"]).mean() for one in away])
            row["success_rate"] = np.mean([(one < sizes["goal_radius"]).any() for one in away])
            row["final_distance"] = np.mean([one[-1] for one in away])
        rows.append(row)
    columns = [*keys, "skills", "state_coverage", "end_distance", "return_mean", "return_max"]
    columns += ["goals", "staying_time", "success_rate", "final_distance"]
    return pd.DataFrame(rows, columns=columns)
