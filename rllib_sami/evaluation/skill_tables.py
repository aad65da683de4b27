"""What paths say of an agent's skills: how much of space they cover, and the goals that they reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami.algorithms.skill_discovery.evaluation import GOALS, SKILLS, coverage
from rllib_sami.evaluation.paths import path_of
from rllib_sami.evaluation.results import Results


def sizes_of(results: Results, environment: str) -> Mapping[str, float]:
    """The cell size and goal radius of an environment."""
    for part in results.parts:
        if environment in part.get("skill_sizes", {}):
            return part["skill_sizes"][environment]
    return {"cell_size": 1.0, "goal_radius": 3.0}


def per_run(results: Results) -> pd.DataFrame:
    """Returns one row per run with skills, and per way of playing it: what they cover, and the goals that they reach.

    Columns ``algorithm, run, seed, env_steps, context, explore, environment``; ``skills`` (played),
    ``state_coverage`` (cells), ``end_distance``, ``return_mean``, ``return_max``; ``goals`` (tried), ``staying_time``,
    ``success_rate``, ``final_distance``. What was not played is NaN.
    """
    rows = []
    keys = ["algorithm", "run", "seed", "env_steps", "context", "explore", "environment"]
    for names, mine in results.episodes.groupby(keys, sort=False):
        paths = results.paths.take(mine.index.to_numpy()) if results.paths is not None else None
        if paths is None or not mine["split"].isin([SKILLS, GOALS]).any():
            continue
        sizes = sizes_of(results, str(names[-1]))
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
        away = [
            np.linalg.norm(path[1:] - goal[: path.shape[1]], axis=1)
            for path, goal, yes in zip(walked, paths.goals, is_goal, strict=True)
            if yes and len(path)
        ]
        if away:
            row["staying_time"] = np.mean([(one < sizes["goal_radius"]).mean() for one in away])
            row["success_rate"] = np.mean([(one < sizes["goal_radius"]).any() for one in away])
            row["final_distance"] = np.mean([one[-1] for one in away])
        rows.append(row)
    columns = [*keys, "skills", "state_coverage", "end_distance", "return_mean", "return_max"]
    columns += ["goals", "staying_time", "success_rate", "final_distance"]
    return pd.DataFrame(rows, columns=columns)
