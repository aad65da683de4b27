"""Pictures of paths, of data sets and in mazes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rllib_sami.datasets import Dataset
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.envs.maze import Maze
from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.open_loop import OpenLoop, maze_of_data
from rllib_sami.evaluation.style import Style, styled

MOST_PATHS, MOST_IMAGINED = 300, 5
REACHED, MISSED = "#2a7f62", "#c0603a"


@dataclass(frozen=True)
class Walk:
    """Paths of one agent in a maze.

    Attributes:
        title: Whose.
        paths: Each ``[T + 1, 2]``, x and y in cells.
        reached: Whether each ended at the goal, ``[n]``.
        values: The agent's values of the states of each but the last, ``[T]`` or of no length.
    """

    title: str
    paths: Sequence[np.ndarray]
    reached: np.ndarray
    values: Sequence[np.ndarray]


@styled
def maze_paths(maze: type[Maze], found: Sequence[Walk], style: str | Style = "light") -> Figure:
    """Draws paths in a maze, a panel per agent; with the agent's values where it has some."""
    page = styles.of(style)
    rows, columns = maze.layout().shape
    figure, axes = styles.panels(len(found), styles.columns_on_page(3.4), 3.4, 0.5 + 3.2 * rows / columns)
    for axis, walk in zip(axes, found, strict=True):
        draw_walls(axis, maze, page.faint)
        for path, reached in zip(walk.paths, walk.reached, strict=True):
            if len(path):
                axis.plot(*path.T, color=REACHED if reached else MISSED, lw=0.9, alpha=0.6)
        if any(map(len, walk.values)):
            places = np.concatenate([path[:-1] for path in walk.paths])
            values = np.concatenate([*walk.values])
            dots = axis.scatter(*places.T, c=values, s=6, cmap="viridis", zorder=3, lw=0)
            figure.colorbar(dots, ax=axis, label="value", fraction=0.04, pad=0.02)
        axis.plot(*maze.start[::-1], "s", color=page.ink, ms=5)
        axis.plot(*maze.goal[::-1], "o", color=page.ink, ms=7, mfc="none")
        axis.set(title=walk.title, xticks=[], yticks=[])
    return figure


def draw_walls(axis: Axes, maze: type[Maze], colour: str) -> None:
    """Draws the walls of a maze, and nothing beyond them."""
    rows, columns = maze.layout().shape
    for row, column in np.argwhere(maze.layout()).tolist():
        axis.fill(
            [column - 0.5, column + 0.5, column + 0.5, column - 0.5],
            [row - 0.5, row - 0.5, row + 0.5, row + 0.5],
            color=colour,
            lw=0,
        )
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")


def draw_paths(
    dataset: Dataset, picture: str | Path, dims: tuple[int, int] = (0, 1), imagined: OpenLoop | None = None
) -> None:
    """Draws the paths of a data set's trajectories, of mazes with their walls.

    Args:
        dataset: The data; of many trajectories, some are drawn.
        picture: The file, whose ending chooses its format.
        dims: Which numbers of the observation are drawn.
        imagined: Beside them, some trajectories (thick) and what a model imagines of them (dashed).
    """
    panels = 1 if imagined is None else 2
    figure = Figure(figsize=(5.0 * panels, 4.4), dpi=150, layout="constrained")
    axes, *more = np.atleast_1d(figure.subplots(1, panels))
    maze = maze_of_data(dataset) if dims == (0, 1) else None
    env = ENVIRONMENTS.get(str(dataset.about.get("env")))
    names = getattr(env, "observation_names", [f"observation {index}" for index in range(dataset.observation_dim)])
    chosen = np.linspace(0, len(dataset) - 1, min(MOST_PATHS, len(dataset))).astype(int)
    for index in chosen.tolist():
        path = np.asarray(dataset[index].observations[:, list(dims)])
        axes.plot(*(path if maze is None else maze.places(path)).T, lw=0.6, alpha=0.5)
    if imagined is not None:
        for number in range(min(MOST_IMAGINED, len(imagined.real))):
            for one, line in ((imagined.real, {"alpha": 0.4, "lw": 3.0}), (imagined.imagined, {"lw": 1.2, "ls": "--"})):
                path = one[number][:, list(dims)]
                more[0].plot(*(path if maze is None else maze.places(path)).T, color=f"C{number}", **line)
        more[0].set_title(f"{imagined.real.shape[1] - 1} skills, real and imagined (dashed)", fontsize="medium")
    for one in (axes, *more):
        if maze is None:
            one.set(xlabel=names[dims[0]], ylabel=names[dims[1]])
        else:
            draw_walls(one, maze, "0.7")
            one.set(xlabel="column", ylabel="row")
    axes.set_title(f"{len(chosen)} of {len(dataset):,} trajectories", fontsize="medium")
    figure.savefig(picture)
