"""Data that can be made here, and where it is kept: a recipe names what makes it, and how much."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rllib_sami.core.settings import is_integer
from rllib_sami.core.text import did_you_mean
from rllib_sami.datasets.dataset import Dataset, Trajectory
from rllib_sami.datasets.writing import DatasetWriter
from rllib_sami.envs import ENVIRONMENTS, make
from rllib_sami.envs.checks import check_weight
from rllib_sami.envs.manipulation.play import play
from rllib_sami.envs.maze import Maze
from rllib_sami.envs.maze.planner import plan

CACHE = "RLLIB_SAMI_DATA"  # environment variable with the folder of made data sets
Progress = Callable[[int, int], None]


def make_maze(
    folder: str | Path,
    env: str = "Maze/Large-v0",
    trajectories: int = 600,
    min_steps: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Makes a data set of a planner that walks through a maze, from random places to others.

    Args:
        folder: Where to write it.
        env: The maze.
        trajectories: How many to make.
        min_steps: Shorter ones are left out.
        seed: Of everything.
        progress: Called with the trajectories so far, and how many there will be.

    Raises:
        ValueError: An argument is wrong, or the folder has files.
    """
    if not (env in ENVIRONMENTS and issubclass(ENVIRONMENTS[env], Maze)):
        mazes = [name for name, cls in ENVIRONMENTS.items() if issubclass(cls, Maze)]
        raise ValueError(f"env={env!r} is no maze. {did_you_mean(env, mazes)}")
    _check_integers(trajectories=trajectories, min_steps=min_steps, seed=seed)
    about: dict[str, Any] = {"env": env, "seed": seed, "made_by": "maze planner", "min_steps": min_steps}
    maze: Any = make(env)
    with DatasetWriter(folder, **about) as writer:
        for index in range(trajectories):
            rng = np.random.default_rng([seed, index])
            observations, actions = plan(maze, rng)
            while len(actions) < min_steps:
                observations, actions = plan(maze, rng)
            writer.add(Trajectory(observations, actions))
            if progress is not None:
                progress(index + 1, trajectories)
    return Dataset(folder)


def make_scene(
    folder: str | Path,
    trajectories: int = 500,
    steps: int = 1000,
    noise: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Makes a data set of scripted oracles that play in ``Manipulation/Scene-v0``.

    Args:
        folder: Where to write it.
        trajectories: How many to make.
        steps: Of each of them.
        noise: Scale of the noise of the oracles' plans, 0 or more.
        seed: Of everything.
        progress: Called with the trajectories so far, and how many there will be.

    Raises:
        ValueError: An argument is wrong, OGBench is missing, or the folder has files.
    """
    _check_integers(trajectories=trajectories, steps=steps, seed=seed)
    check_weight("noise", noise)
    env = "Manipulation/Scene-v0"
    about: dict[str, Any] = {"env": env, "seed": seed, "made_by": "OGBench's oracles", "noise": noise}
    scene: Any = make(env)
    with DatasetWriter(folder, **about) as writer:
        for index in range(trajectories):
            writer.add(Trajectory(*play(scene, np.random.default_rng([seed, index]), steps, noise)))
            if progress is not None:
                progress(index + 1, trajectories)
    return Dataset(folder)


def _check_integers(**values: Any) -> None:
    for name, value in values.items():
        least = 0 if name == "seed" else 1
        if not (is_integer(value) and value >= least):
            raise ValueError(f"{name}={value!r}: expected an integer >= {least}.")


RECIPES: dict[str, Callable[..., Dataset]] = {"maze": make_maze, "scene": make_scene}


def cached(recipe: Mapping[str, Any]) -> Path:
    """Returns the folder of the data set of a recipe, whether or not it has been made.

    Args:
        recipe: ``make`` names one of ``RECIPES``; the rest are its arguments.

    Raises:
        ValueError: The recipe is unknown.
    """
    kind = recipe.get("make")
    if kind not in RECIPES:
        raise ValueError(f"make={kind!r}: no such recipe. {did_you_mean(kind, RECIPES)}")
    given = [f"{key}={value}" for key, value in sorted(recipe.items()) if key != "make"]
    name = "-".join([str(kind), *given]).replace("/", "_")
    root = os.environ.get(CACHE) or Path.home() / ".cache" / "rllib_sami" / "datasets"
    return Path(root).expanduser() / name


def _tell(so_far: int, total: int) -> None:
    """Prints every tenth of the way."""
    if so_far % max(1, total // 10) == 0 or so_far == total:
        print(f"Making data: {so_far} of {total} trajectories", file=sys.stderr, flush=True)


def made(recipe: Mapping[str, Any], progress: Progress = _tell) -> Dataset:
    """Returns the data set of a recipe, which is made if it is missing.

    Args:
        recipe: As for ``cached``.
        progress: Called with the trajectories so far, and how many there will be; by default they are printed.

    Raises:
        ValueError: The recipe is unknown or has wrong arguments.
    """
    folder = cached(recipe)
    if not folder.exists():
        arguments = {key: value for key, value in recipe.items() if key != "make"}
        try:
            RECIPES[recipe["make"]](folder, progress=progress, **arguments)
        except TypeError as error:
            raise ValueError(f"{dict(recipe)}: {error}") from error
        except OSError:
            if not folder.exists():  # another process may have made it meanwhile
                raise
    return Dataset(folder)
