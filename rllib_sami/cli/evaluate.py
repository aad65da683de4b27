"""`rllib evaluate`: episodes of trained agents on every task of an environment's splits."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rllib_sami.cli.errors import UserError, one_line

if TYPE_CHECKING:
    import pandas as pd

    from rllib_sami.evaluation import Results

_MOST_FACTORS = 3  # that fit into a table
_NUMBERS = ("seed", "task_id", "episodes", "return", "std", "length", "success", "tasks", "runs")


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT…")
@click.option("--split", "splits", metavar="SPLIT", multiple=True, help="Split of meta-tasks; may be given again.  "
              "[default: train, moderate, extreme, super_extreme, as far as the environment has them]")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1), default=5, show_default=True, help="Episodes per meta-task "
              "(or in all, where the environment chooses them or has none).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the episodes.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that play; 0 plays in "
              "this one. Results do not depend on it.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write the results there, for `rllib report`.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the results of another command in FOLDER.")
@click.option("--video", is_flag=True, help="Film the best, median and worst episode of each task, into "
              "FOLDER/videos.")  # fmt: skip
@click.option("--stochastic/--deterministic", "--explore/--no-explore", "explore", default=False,
              help="Act as in training, with noise, or without.  [default: deterministic]")  # fmt: skip
@click.option("--context", default="learned", show_default=True, metavar="KIND", help="What the actor sees of the "
              "context: learned, zero, shuffled (of another episode) or frozen-after=N (that of step N).")  # fmt: skip
@click.option("--env", "-e", metavar="ID", help="Another environment than the checkpoints'.")
@click.option("-v", "--log-info", "verbosity", count=True, help="Show warnings.")
@click.pass_obj
def evaluate(
    command: list[str] | None,
    checkpoints: tuple[str, ...],
    splits: tuple[str, ...],
    episodes: int,
    seed: int,
    workers: int,
    out: Path | None,
    overwrite: bool,
    video: bool,
    explore: bool,
    context: str,
    env: str | None,
    verbosity: int,
) -> None:
    """Play every task with trained agents and print their returns.

    CHECKPOINT is a checkpoint's folder, a trial's (its newest checkpoint) or an experiment's (the newest of each
    trial). Agents act deterministically and learn nothing; all of them play the same episodes.
    """
    from rllib_sami.cli import catalog

    if video and out is None:
        raise UserError("--video: where to? Give a folder as well: --out FOLDER")
    words = [word for word in command or ["rllib", "evaluate", *checkpoints] if word != "--overwrite"]
    if out is not None:
        _check_folder(out.expanduser(), None if overwrite else words)
    catalog.prepare(verbosity)
    if env is not None:
        catalog.check_environment(env, "--env")
    from rllib_sami.evaluation.play import evaluate as play
    from rllib_sami.evaluation.processes import WorkersLostError

    try:
        results = play(
            checkpoints,
            splits=splits or None,
            episodes=episodes,
            seed=seed,
            workers=workers,
            explore=explore,
            context=context,
            video=out / "videos" if video and out is not None else None,
            env=env,
        )
    except (ValueError, WorkersLostError) as error:
        raise UserError(f"evaluate: {one_line(error)}") from error
    results.provenance["command"] = shlex.join(words)
    _say(results)
    if out is not None:
        try:
            results.save(out)
        except ValueError as error:
            raise UserError(f"--out: {one_line(error)}") from error
        click.echo(f"Written: {out}")
        click.echo(f"Next:\n  {(command or ['rllib'])[0]} report {shlex.quote(str(out))}")


def summarise(episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per split and meta-task, and one per split of several: ``task_id`` "all", each weighs the same.

    Columns ``split, task_id``, the values played of each factor that differs (if there are not too many), ``episodes,
    return, std`` (of the returns of a task; of the tasks' means), ``length`` and ``success``, missing where a task has
    none.
    """
    import pandas as pd

    factors = [name for name in episodes if name.startswith("task_") and name != "task_id"]
    factors = [name for name in factors if episodes[name].nunique() > 1]
    factors = factors if len(factors) <= _MOST_FACTORS else []
    rows = []
    for split, of_split in episodes.groupby("split", sort=False):
        tasks = []
        for task_id, mine in of_split.groupby("task_id"):
            success = mine["success"].dropna()
            tasks.append(
                {
                    "split": split,
                    "task_id": task_id,
                    **{name.removeprefix("task_"): _values(mine[name]) for name in factors},
                    "episodes": len(mine),
                    "return": mine["return"].mean(),
                    "std": mine["return"].std(ddof=0) if len(mine) > 1 else float("nan"),
                    "length": mine["length"].mean(),
                    "success": float(success.mean()) if len(success) else float("nan"),
                }
            )
        rows += tasks
        if len(tasks) > 1:
            table = pd.DataFrame(tasks)
            means = table[["return", "length", "success"]].mean(skipna=False)
            spread = table["return"].std(ddof=0)
            rows.append({"split": split, "task_id": "all", "episodes": len(of_split), "std": spread, **means})
    return pd.DataFrame(rows)


def _values(played: pd.Series) -> str:
    return ", ".join(f"{value:g}" for value in sorted(played.dropna().unique()))


def _say(results: Results) -> None:
    """Prints a table for each run, and one of the splits where there are several runs."""
    episodes, provenance = results.episodes, results.provenance
    for checkpoint in provenance["checkpoints"]:
        mine = episodes[episodes["run"] == checkpoint["run"]]
        environment = mine["environment"].iloc[0]
        names = provenance["task_names"].get(environment)
        click.echo(f"{checkpoint['algorithm']} on {environment}, {checkpoint['path']}")
        table = summarise(mine)
        table["task_id"] = [_task(task_id, names) for task_id in table["task_id"]]
        _print(table)
    if len(provenance["checkpoints"]) > 1:
        click.echo("\nPer split, over runs")
        summary = results.summary().drop(columns=["context", "explore"])
        _print(summary.drop(columns="environment") if summary["environment"].nunique() == 1 else summary)
    speed = provenance["throughput"]
    click.echo(
        f"{len(episodes)} episodes in {speed['seconds']:,.1f} s: {speed['episodes_per_second']:,.1f} episodes/s, "
        f"{speed['env_steps_per_second']:,.0f} steps/s"
    )


def _task(task_id: int | str, names: list[str] | None) -> str:
    if task_id == "all":
        return "all"
    return "-" if task_id == -1 else names[int(task_id)] if names else str(task_id)


def _print(frame: pd.DataFrame) -> None:
    from rich.console import Console
    from rich.table import Table

    if frame["success"].isna().all():
        frame = frame.drop(columns="success")
    formats = {"return": "{:,.2f}", "std": "{:,.2f}", "length": "{:,.0f}", "success": "{:.2f}"}
    headings = {"std": "± std"}
    table = Table(box=None, pad_edge=False)
    for name in frame:
        is_number = name in _NUMBERS
        table.add_column(
            headings.get(name, name), justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for row in frame.to_dict("records"):
        cells = ["-" if value != value else formats.get(name, "{}").format(value) for name, value in row.items()]
        table.add_row(*cells)
    is_terminal = sys.stdout.isatty()
    Console(highlight=False, width=None if is_terminal else 120).print(table)


def _check_folder(folder: Path, words: list[str] | None) -> None:
    """Refuses, before anything is played, a folder that cannot be written to or holds another command's results.

    Args:
        folder: The folder.
        words: The command, whose results may be replaced; None: anybody's may.
    """
    from rllib_sami.evaluation.results import EPISODES_FILE, PROVENANCE_FILE

    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()  # what else can be believed, of folders of all kinds?
    except OSError as error:
        raise UserError(
            f"--out {folder}: {there} cannot be written to: {error.strerror}. Give another folder."
        ) from error
    if words is None or not (folder / EPISODES_FILE).exists():
        return
    command = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        command = json.loads((folder / PROVENANCE_FILE).read_text("utf-8")).get("command")
    if command is None or shlex.split(command)[1:] != words[1:]:
        raise UserError(
            f"--out {folder}: it holds the results of another command ({command or 'not known which'}). Give another "
            "folder, or --overwrite to replace them."
        )
