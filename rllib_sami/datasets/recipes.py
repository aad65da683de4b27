"""Data that can be made here, and where it is kept: a recipe names what makes it, and how much."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rllib_sami.core.settings import is_integer, is_number
from rllib_sami.core.text import did_you_mean
from rllib_sami.datasets.dataset import Dataset, Trajectory
from rllib_sami.datasets.writing import DatasetWriter
from rllib_sami.envs import ENVIRONMENTS, make
from rllib_sami.envs.kitchen import Kitchen
from rllib_sami.envs.kitchen.demonstration import demonstrate
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


def make_kitchen(
    folder: str | Path,
    env: str = "Kitchen/Mixed-v0",
    trajectories: int = 300,
    action_noise: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Makes a data set of scripts that do four sub-tasks of a kitchen in a random order.

    ``subtasks`` of ``dataset.json`` has how often each sub-task was tried and done.

    Args:
        folder: Where to write it.
        env: The kitchen; its own sub-tasks do not matter.
        trajectories: How many to make.
        action_noise: Standard deviation of the noise of the arm's actions.
        seed: Of everything.
        progress: Called with the trajectories so far, and how many there will be.

    Raises:
        ValueError: An argument is wrong, the folder has files, or gymnasium-robotics is missing.
    """
    if not (env in ENVIRONMENTS and issubclass(ENVIRONMENTS[env], Kitchen)):
        kitchens = [name for name, cls in ENVIRONMENTS.items() if issubclass(cls, Kitchen)]
        raise ValueError(f"env={env!r} is no kitchen with sub-tasks. {did_you_mean(env, kitchens)}")
    _check_integers(trajectories=trajectories, seed=seed)
    if not (is_number(action_noise) and 0.0 <= action_noise <= 1.0):
        raise ValueError(f"action_noise={action_noise!r}: expected a number in 0 to 1.")
    about: dict[str, Any] = {"env": env, "seed": seed, "made_by": "kitchen scripts", "action_noise": action_noise}
    kitchen: Any = make(env)
    tried, done = Counter[str](), Counter[str]()
    with DatasetWriter(folder, **about) as writer:
        for index in range(trajectories):
            one = demonstrate(kitchen, np.random.default_rng([seed, index]), action_noise=action_noise)
            writer.add(Trajectory(one.observations, one.actions))
            tried.update(one.tried)
            done.update(one.done)
            if progress is not None:
                progress(index + 1, trajectories)
        writer.about["subtasks"] = {name: {"tried": tried[name], "done": done[name]} for name in sorted(tried)}
    return Dataset(folder)


def _check_integers(**values: Any) -> None:
    for name, value in values.items():
        least = 0 if name == "seed" else 1
        if not (is_integer(value) and value >= least):
            raise ValueError(f"{name}={value!r}: expected an integer >= {least}.")


RECIPES: dict[str, Callable[..., Dataset]] = {"maze": make_maze, "kitchen": make_kitchen}


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


def made(recipe: Mapping[str, Any]) -> Dataset:
    """Returns the data set of a recipe, which is made if it is missing.

    Raises:
        ValueError: The recipe is unknown or has wrong arguments.
    """
    folder = cached(recipe)
    if not folder.exists():
        arguments = {key: value for key, value in recipe.items() if key != "make"}
        try:
            RECIPES[recipe["make"]](folder, **arguments)
        except TypeError as error:
            raise ValueError(f"{dict(recipe)}: {error}") from error
        except OSError:
            if not folder.exists():  # another process may have made it meanwhile
                raise
    return Dataset(folder)
