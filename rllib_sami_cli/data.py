"""`rllib data`: data sets of trajectories, from which skills are learned."""

from __future__ import annotations

import io
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from rllib_sami_cli.errors import UserError, one_line, stoppable
from rllib_sami_cli.steps import doing, loading, quiet_option

_OUT = click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
                    help="Folder to write; it must be new.")  # fmt: skip
_NOTHING = "nothing was written."


@click.group()
def data() -> None:
    """Make, convert or look at data sets of trajectories."""


@data.group()
def make() -> None:
    """Make a data set."""


@make.command()
@click.option("--env", default="Maze/Large-v0", show_default=True, metavar="ID", help="The maze.")
@click.option("--trajectories", type=click.IntRange(1), default=600, show_default=True, help="How many to make.")
@click.option("--min-steps", type=click.IntRange(1), default=1, show_default=True, help="Leave out shorter ones.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything.")
@_OUT
@quiet_option
@stoppable(_NOTHING)
def maze(env: str, trajectories: int, min_steps: int, seed: int, out: Path) -> None:
    """Walks of a planner through a maze, from random places to others."""
    loading()
    from rllib_sami.datasets import recipes

    _make(recipes.make_maze, out, env=env, trajectories=trajectories, min_steps=min_steps, seed=seed)


@make.command()
@click.option("--trajectories", type=click.IntRange(1), default=500, show_default=True, help="How many to make.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Of each of them.")
@click.option(
    "--noise", type=click.FloatRange(0.0), default=0.1, show_default=True, help="Scale of the noise of plans."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything.")
@_OUT
@quiet_option
@stoppable(_NOTHING)
def scene(trajectories: int, steps: int, noise: float, seed: int, out: Path) -> None:
    """Play of scripted oracles in Manipulation/Scene-v0: one thing after the other, in a random order."""
    loading()
    from rllib_sami.datasets import recipes

    _make(recipes.make_scene, out, trajectories=trajectories, steps=steps, noise=noise, seed=seed)


@make.command()
@click.option("--env", default="Kitchen/Mixed-v0", show_default=True, metavar="ID", help="The kitchen.")
@click.option("--trajectories", type=click.IntRange(1), default=300, show_default=True, help="How many to make.")
@click.option("--action-noise", type=click.FloatRange(0, 1), default=0.1, show_default=True,
              help="Standard deviation of the noise of the arm's actions.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything.")
@_OUT
@quiet_option
@stoppable(_NOTHING)
def kitchen(env: str, trajectories: int, action_noise: float, seed: int, out: Path) -> None:
    """Scripts that do four sub-tasks of a kitchen in a random order."""
    loading()
    from rllib_sami.datasets import recipes

    _make(recipes.make_kitchen, out, env=env, trajectories=trajectories, action_noise=action_noise, seed=seed)


@data.command()
@click.argument("source", metavar="SOURCE")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--format", "kind", required=True, metavar="FORMAT",
              type=click.Choice(["spirl", "d4rl", "calvin", "minari", "rllib", "pickle"]),
              help="spirl (HDF5), d4rl (HDF5 or npz), calvin, minari (a local data set), rllib (Parquet), "
              "pickle (of SkiMo).")  # fmt: skip
@click.option("--observed", type=click.IntRange(1), metavar="N", help="Keep only the first N numbers of observations.")
@click.option("--env", metavar="ID", help="The environment that the data are of.")
@click.option("--action-bounds", metavar="BOUNDS", help="Clip actions to these, and scale them to ±1: LOW,HIGH, or env "
              "for the action space of --env.  [default: of d4rl with an --env that is known here, env; of minari, the "
              "data set's own]")  # fmt: skip
@click.option("--allow-pickle", is_flag=True, help="Allow to read pickles, which can run any code of whoever made "
              "them.")  # fmt: skip
@quiet_option
@stoppable(_NOTHING)
def convert(
    source: str,
    folder: Path,
    kind: str,
    observed: int | None,
    env: str | None,
    action_bounds: str | None,
    allow_pickle: bool,
) -> None:
    """Write the trajectories of SOURCE, which are of another format, to the data set DIR."""
    loading()
    from rllib_sami.datasets.convert import convert as convert_data

    bounds = _bounds(action_bounds, env, kind)
    more: Any = {"observed": observed, "env": env, "action_bounds": bounds, "allow_pickle": allow_pickle}
    _say_written(_reported(convert_data, source, folder, kind, **more))


@data.command()
@click.argument("folder", metavar="DIR")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Picture to draw.  "
              "[default: DIR/paths.png]")  # fmt: skip
@click.option("--dims", default="0,1", show_default=True, metavar="I,J", help="Numbers of the observation to draw.")
@click.option("--skills", metavar="CHECKPOINT", help="Also tell, and draw, how far what these skills (of "
              "SkiMoPretrain) are imagined to lead to is from what happened. Take data that they were not learned "
              "from, such as those of another seed.")  # fmt: skip
@quiet_option
@stoppable(_NOTHING)
def show(folder: str, out: Path | None, dims: str, skills: str | None) -> None:
    """Show what the data set DIR has: trajectories, lengths, returns, and a picture of the paths."""
    loading()
    import numpy as np

    from rllib_sami.datasets import Dataset

    dataset: Any = _reported(Dataset, folder)
    returns = np.array([one.rewards.sum() for one in dataset])
    rows = {
        "environment": dataset.about.get("env", "unknown"),
        "made by": dataset.about.get("made_by", "unknown"),
        "trajectories": f"{len(dataset):,}",
        "steps": f"{dataset.num_steps:,}",
        "observation, action": f"{dataset.observation_dim}, {dataset.action_dim}",
        "observation deviations": _spread(dataset.observation_stds()),
        "steps of a trajectory": _spread(dataset.lengths),
        "returns": _spread(returns),
        "ended in a terminal state": f"{dataset.terminated.mean():.0%}",
    }
    if "subtasks" in dataset.about:
        rows["sub-tasks done"] = _subtasks(dataset.about["subtasks"])
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:<{width}}  {value}")
    try:
        first, second = (int(part) for part in dims.split(","))
    except ValueError as error:
        raise UserError(f"--dims {dims}: expected two numbers such as 0,1.") from error
    if not all(0 <= one < dataset.observation_dim for one in (first, second)):
        raise UserError(f"--dims {dims}: observations have the numbers 0 to {dataset.observation_dim - 1}.")
    imagined = None if skills is None else _imagined(skills, dataset)
    try:
        from rllib_sami.evaluation.data_figures import draw_paths
    except ImportError:
        click.echo("A picture of the paths needs matplotlib: pip install 'rllib-sami[report]'")
        return
    picture = out or Path(folder) / "paths.png"
    _reported(draw_paths, dataset, picture, (first, second), imagined)
    click.echo(f"Drawn: {picture}")


def _make(recipe: Any, out: Path, **more: Any) -> None:
    """Makes a data set with a progress bar."""
    with _bar(sys.stdout) as move:
        dataset = _reported(recipe, out, progress=move, **more)
    _say_written(dataset)


def make_missing(recipe: Mapping[str, Any]) -> None:
    """Makes the data set of a recipe if it is missing, with a progress bar.

    Raises:
        UserError: The recipe is wrong.
    """
    from rllib_sami.datasets import recipes

    if _reported(recipes.cached, recipe).exists():
        return
    doing("Making data")
    with _bar(sys.stderr) as move:
        _reported(recipes.made, recipe, move)


@contextmanager
def _bar(file: TextIO) -> Iterator[Callable[[int, int], None]]:
    """Yields what moves a progress bar; where there is no terminal, click would print its label."""
    shown = file if file.isatty() else io.StringIO()
    with click.progressbar(length=1, label="Trajectories", show_eta=True, file=shown) as bar:

        def move(_: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        yield move


def _bounds(given: str | None, env: str | None, kind: str) -> Any:
    """Returns what `--action-bounds` stands for; None leaves it to the format."""
    from rllib_sami import compat
    from rllib_sami.datasets.convert import FORMATS

    if given is None and FORMATS[kind].is_raw and env is not None and compat.may_be_made(env):
        given = "env"
    if given == "env":
        return _bounds_of_env(env)
    if given is None:
        return None
    try:
        low, high = (float(part) for part in given.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise UserError(f"--action-bounds {given}: expected env, or two numbers such as -2,2.")
    return low, high


def _bounds_of_env(env: str | None) -> Any:
    """Makes an environment and returns the bounds of its actions."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    from rllib_sami import compat
    from rllib_sami.core.faults import ENVIRONMENT_ERRORS, closing
    from rllib_sami.datasets.convert import bounds_of
    from rllib_sami_cli.catalog import prepare_imports

    if env is None:
        raise UserError("--action-bounds env: of which environment? Give --env ID, too.")
    prepare_imports()
    try:
        with closing(compat.env_creator(AlgorithmConfig().environment(env), 0, 0)(), env) as made:
            low, high = bounds_of(made.action_space)
    except ENVIRONMENT_ERRORS as error:  # whatever the user's code raises
        told = one_line(error).rstrip(".")
        raise UserError(f"--env {env}: {told}. Or give the bounds of its actions: --action-bounds LOW,HIGH.") from error
    if (low != -1).any() or (high != 1).any():
        click.echo(f"Actions are scaled to ±1 from those of {env}, {low.tolist()} to {high.tolist()}.")
    return low, high


def _imagined(skills: str, dataset: Any) -> Any:
    """Returns real and imagined trajectories, and tells how far these are from those."""
    from rllib_sami.evaluation.open_loop import maze_of_data, open_loop

    found = _reported(open_loop, skills, dataset)
    maze = maze_of_data(dataset)
    errors, staying = found.errors(maze and maze.places)
    last = len(errors) - 1
    counts = sorted({min(count, last) for count in (1, 5, 10, 20, 50)})
    unit = "observation" if maze is None else "cells"
    click.echo(f"skills of {len(found.real):,} trajectories imagined in a row: distance from what happened ({unit})")
    for count in counts:
        click.echo(f"  after {count:>2}: {errors[count]:.3g}, of staying there {staying[count]:.3g}")
    return found


def _reported(function: Any, *arguments: Any, **more: Any) -> Any:
    """Calls a function, whose mistakes are told in one line."""
    try:
        return function(*arguments, **more)
    except (ValueError, OSError) as error:
        raise UserError(f"data: {one_line(error)}") from error


def _spread(values: Any) -> str:
    return f"{values.min():,.4g} to {values.max():,.4g}, mean {values.mean():,.4g}"


def _subtasks(counts: dict[str, dict[str, int]]) -> str:
    """Returns how often sub-tasks were done, all together and each of them."""
    tried, done = (sum(one[key] for one in counts.values()) for key in ("tried", "done"))
    each = ", ".join(f"{name} {one['done']} of {one['tried']}" for name, one in counts.items())
    return f"{done / max(tried, 1):.1%} ({each})"


def _say_written(dataset: Any) -> None:
    number = f"{len(dataset):,} {'trajectory' if len(dataset) == 1 else 'trajectories'}"
    click.echo(f"Written: {dataset.folder} ({number}, {dataset.num_steps:,} steps)")
    if "subtasks" in dataset.about:
        click.echo(f"Sub-tasks done: {_subtasks(dataset.about['subtasks'])}")
    data = f"STAGE.data={dataset.folder}"
    click.echo(f"Next: rllib train file FILE --set {shlex.quote(data)} (the STAGE of FILE that runs SkiMoPretrain)")
