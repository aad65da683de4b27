"""The section on mazes: where agents walk."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.envs.maze import Maze
from rllib_sami.evaluation import paths, tables
from rllib_sami.evaluation.data_figures import Walk, maze_paths
from rllib_sami.evaluation.layout import Plot, Section
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, inner, short

_TEXT = (
    "The path of each episode from the start (square) to where it ended; the circle is the goal, which agents are "
    "not told. Paths that reached it are green, others orange. Where an agent's actions are skills, a path has a point "
    "for each skill. Colours of points are the agent's values of the states there, if it has any."
)
MAX_AGENTS = 9  # that are drawn on a maze


def maze_of(environment: str) -> type[Maze] | None:
    """Returns the maze that an environment's name in results stands for; None for other environments.

    Args:
        environment: Such as ``"Maze/Large-v0"`` or ``"Skills/Control-v0 (Maze/Large)"``.
    """
    found = ENVIRONMENTS.get(f"{inner(environment)}-v0")
    return found if found is not None and issubclass(found, Maze) else None


def walks(results: Results) -> Section:
    """The paths of all episodes, one figure per maze."""
    section = Section("mazes", "Paths in mazes")
    if results.paths is None:
        return section
    episodes = results.episodes.reset_index(drop=True)
    episodes = episodes.assign(agent=tables.agents(episodes))
    titled = episodes.assign(maze=episodes["environment"].map(maze_of)).dropna(subset="maze")
    for maze, mine in titled.groupby("maze", sort=False):
        # With skills as actions or without: an agent's name and its environment tell them apart.
        found = [_walk(results, key, rows) for key, rows in mine.groupby(["agent", "environment"], sort=False)]
        name = str(next(env_id for env_id, cls in ENVIRONMENTS.items() if cls is maze))
        more = f" The first {MAX_AGENTS} of {len(found)} agents." if len(found) > MAX_AGENTS else ""
        caption = f"{short(name)}: {counted(len(mine), 'episode')}.{more}"
        draw = partial(maze_paths, maze, found[:MAX_AGENTS])
        section.text = [_TEXT]
        section.plots.append(Plot(f"paths_{short(name)}".lower(), caption, draw))
    return section


def _walk(results: Results, key: tuple[str, str], rows: pd.DataFrame) -> Walk:
    mine = results.paths.take(rows.index.to_numpy())  # type: ignore[union-attr]
    reached = rows["success"].fillna(False).astype(bool).to_numpy()
    title = f"{key[0]}: {np.mean(reached):.0%} of {len(rows)}"
    values = [one[~np.isnan(one)] for one in mine.values]  # type: ignore[union-attr]
    return Walk(title, [paths.path_of(one) for one in mine.coordinates], reached, values)
