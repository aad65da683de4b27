"""Data that can be made here, and where it is kept: a recipe names what makes it, and how much."""

import inspect
import logging
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
from rllib_sami.envs.manipulation.play import play
from rllib_sami.envs.maze import Maze
from rllib_sami.envs.maze.planner import plan

logger = logging.getLogger(__name__)

CACHE = "RLLIB_SAMI_DATA"  # environment variable with the folder of made data sets
MOST_WALKS = 1_000  # in a row that may be too short
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
        ValueError: An argument is wrong, walks are never as long as ``min_steps``, or the folder has files.
    """
    _check_env(env, Maze, "maze")
    _check_integers(trajectories=trajectories, min_steps=min_steps, seed=seed)
    maze: Any = make(env)

    def walk(rng: np.random.Generator) -> Trajectory:
        longest = 0
        for _ in range(MOST_WALKS):
            observations, actions = plan(maze, rng)
            if len(actions) >= min_steps:
                return Trajectory(observations, actions)
            longest = max(longest, len(actions))
        raise ValueError(
            f"min_steps={min_steps}: the longest of {MOST_WALKS:,} walks through {env} had {longest} steps. Lower it."
        )

    with DatasetWriter(folder, env=env, seed=seed, made_by="maze planner", min_steps=min_steps) as writer:
        _write(writer, walk, trajectories, seed, progress)
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
        noise: Scale of the noise of the oracles' plans, 0 to 1.
        seed: Of everything.
        progress: Called with the trajectories so far, and how many there will be.

    Raises:
        ValueError: An argument is wrong, OGBench is missing, or the folder has files.
    """
    _check_integers(trajectories=trajectories, steps=steps, seed=seed)
    _check_share(noise=noise)
    env = "Manipulation/Scene-v0"
    scene: Any = make(env)
    with DatasetWriter(folder, env=env, seed=seed, made_by="OGBench's oracles", noise=noise) as writer:
        _write(writer, lambda rng: Trajectory(*play(scene, rng, steps, noise)), trajectories, seed, progress)
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
        action_noise: Standard deviation of the noise of the arm's actions, 0 to 1.
        seed: Of everything.
        progress: Called with the trajectories so far, and how many there will be.

    Raises:
        ValueError: An argument is wrong, the folder has files, or gymnasium-robotics is missing.
    """
    _check_env(env, Kitchen, "kitchen with sub-tasks")
    _check_integers(trajectories=trajectories, seed=seed)
    _check_share(action_noise=action_noise)
    kitchen: Any = make(env)
    tried, done = Counter[str](), Counter[str]()

    def cook(rng: np.random.Generator) -> Trajectory:
        one = demonstrate(kitchen, rng, action_noise=action_noise)
        tried.update(one.tried)
        done.update(one.done)
        return Trajectory(one.observations, one.actions)

    with DatasetWriter(folder, env=env, seed=seed, made_by="kitchen scripts", action_noise=action_noise) as writer:
        _write(writer, cook, trajectories, seed, progress)
        writer.about["subtasks"] = {name: {"tried": tried[name], "done": done[name]} for name in sorted(tried)}
    return Dataset(folder)


def _write(
    writer: DatasetWriter,
    one: Callable[[np.random.Generator], Trajectory],
    trajectories: int,
    seed: int,
    progress: Progress | None,
) -> None:
    """Writes trajectories, each with random numbers of its own: it is the same however many follow."""
    for index in range(trajectories):
        writer.add(one(np.random.default_rng([seed, index])))
        if progress is not None:
            progress(index + 1, trajectories)


def _check_env(env: Any, kind: type, words: str) -> None:
    known = [name for name, cls in ENVIRONMENTS.items() if issubclass(cls, kind)]
    if env not in known:
        raise ValueError(f"env={env!r} is no {words}. {did_you_mean(env, known)}")


def _check_integers(**values: Any) -> None:
    for name, value in values.items():
        least = 0 if name == "seed" else 1
        if not (is_integer(value) and value >= least):
            raise ValueError(f"{name}={value!r}: expected an integer >= {least}.")


def _check_share(**values: Any) -> None:
    for name, value in values.items():
        if not (is_number(value) and 0.0 <= value <= 1.0):
            raise ValueError(f"{name}={value!r}: expected a number from 0 to 1.")


RECIPES: dict[str, Callable[..., Dataset]] = {"maze": make_maze, "scene": make_scene, "kitchen": make_kitchen}


def cached(recipe: Mapping[str, Any]) -> Path:
    """Returns the folder of the data set of a recipe, whether or not it has been made.

    Args:
        recipe: ``make`` names one of ``RECIPES``; the rest are its arguments.

    Raises:
        ValueError: The recipe is unknown, or it has an argument that is.
    """
    kind = recipe.get("make")
    if not isinstance(kind, str) or kind not in RECIPES:
        raise ValueError(f"make={kind!r}: no such recipe. {did_you_mean(kind, RECIPES)}")
    known = [name for name in inspect.signature(RECIPES[kind]).parameters if name not in ("folder", "progress")]
    for key in recipe:
        if key not in ("make", *known):
            raise ValueError(f"{dict(recipe)}: {kind!r} has no argument {key!r}. {did_you_mean(key, known)}")
    given = [f"{key}={value}" for key, value in sorted(recipe.items()) if key != "make"]
    name = "-".join([str(kind), *given]).replace("/", "_")
    root = os.environ.get(CACHE) or Path.home() / ".cache" / "rllib_sami" / "datasets"
    return Path(root).expanduser() / name


def _tell(so_far: int, total: int) -> None:
    """Logs every tenth of the way."""
    if so_far % max(1, total // 10) == 0 or so_far == total:
        logger.info("Making data: %d of %d trajectories", so_far, total)


def made(recipe: Mapping[str, Any], progress: Progress = _tell) -> Dataset:
    """Returns the data set of a recipe, which is made if it is missing.

    Args:
        recipe: As for ``cached``.
        progress: Called with the trajectories so far, and how many there will be; by default they are logged.

    Raises:
        ValueError: The recipe is unknown, or has an argument that is or whose value is wrong.
    """
    folder = cached(recipe)
    if not folder.exists():
        arguments = {key: value for key, value in recipe.items() if key != "make"}
        try:
            RECIPES[recipe["make"]](folder, progress=progress, **arguments)
        except (OSError, ValueError):  # as from a folder that is not empty
            if not folder.exists():  # another process may have made it meanwhile
                raise
    return Dataset(folder)
