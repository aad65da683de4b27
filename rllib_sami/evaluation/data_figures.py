"""Pictures of data sets."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rllib_sami.datasets import Dataset
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.envs.maze import Maze

MOST_PATHS = 300


def draw_paths(dataset: Dataset, picture: str | Path, dims: tuple[int, int] = (0, 1)) -> None:
    """Draws the paths of trajectories, of mazes with their walls.

    Args:
        dataset: The data; of many trajectories, some are drawn.
        picture: The file, whose ending chooses its format.
        dims: Which numbers of the observation are drawn.
    """
    figure = Figure(figsize=(5.0, 5.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    maze = ENVIRONMENTS.get(str(dataset.about.get("env")))
    in_maze = maze is not None and issubclass(maze, Maze) and dims == (0, 1)
    chosen = np.linspace(0, len(dataset) - 1, min(MOST_PATHS, len(dataset))).astype(int)
    for index in chosen.tolist():
        path = np.asarray(dataset[index].observations[:, list(dims)])
        if in_maze:
            path = maze.places(path)
        axes.plot(*path.T, lw=0.6, alpha=0.5)
    if in_maze:
        walls = maze.layout()
        axes.imshow(walls, cmap="Greys", vmax=2.0, zorder=0)
        axes.set(xlabel="column", ylabel="row")
    else:
        axes.set(xlabel=f"observation {dims[0]}", ylabel=f"observation {dims[1]}")
    axes.set_title(f"{len(chosen)} of {len(dataset):,} trajectories", fontsize="medium")
    figure.savefig(picture)
