"""`rllib evaluate`: episodes of trained agents on every task of an environment's splits."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rllib_sami_cli.errors import UserError, one_line, stoppable
from rllib_sami_cli.steps import doing, loading, quiet_option

if TYPE_CHECKING:
    import pandas as pd

    from rllib_sami.evaluation import Results

_MOST_FACTORS = 3  # that fit into a table
_NUMBERS = ("seed", "task_id", "episodes", "return", "std", "length", "success", "tasks", "runs")
_FORMATS = {"return": "{:,.2f}", "std": "{:,.2f}", "length": "{:,.0f}", "success": "{:.2f}"}
_HEADINGS = {"task_id": "task_id", "std": "± std", "length": "steps"}  # a task may have a length, too


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT…")
@click.option("--split", "splits", metavar="SPLIT", multiple=True, help="Split of meta-tasks. Repeatable.  "
              "[default: those of train, moderate, extreme and super_extreme that the environment has]")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1), help="Episodes per meta-task (or in total, if the environment "
              "chooses its tasks or has none). Of agents with skills: number of skills, and of goals.  [default: 5; 48 "
              "skills and 50 goals]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the episodes.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that play; 0 plays in "
              "this one. The results are the same.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Folder for the results, for `rllib report`.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the results of another command in FOLDER.")
@click.option("--video", is_flag=True, help="Record the best, median and worst episode of each task in "
              "FOLDER/videos.")  # fmt: skip
@click.option("--stochastic/--deterministic", "--explore/--no-explore", "explore", default=False,
              help="Act with noise, as in training, or without.  [default: deterministic]")  # fmt: skip
@click.option("--context", default="learned", show_default=True, metavar="KIND", help="Context that the actor sees: "
              "learned, zero, shuffled (from another episode) or frozen-after=N (the one of step N).")  # fmt: skip
@click.option("--env", "-e", metavar="ID", help="Environment, instead of the checkpoints'.")
@click.option("--env-config", metavar="JSON", help="Settings of the environment, in addition to the checkpoints'.")
@click.option("--name", metavar="NAME", help="What the agents are called in tables and figures, instead of their "
              "algorithm. Agents of one name are seeds of one agent.")  # fmt: skip
@click.option("--sample-timeout-s", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Warn "
              "if no episode ends for so long. What hangs or never ends is stopped later.  [default: the checkpoint's "
              "evaluation_sample_timeout_s]")  # fmt: skip
@click.option("--compare-zero/--no-compare-zero", "compare", default=True, help="Play the first split again with zeros "
              "instead of contexts, to see whether they help.  [default: yes]")  # fmt: skip
@click.option("-v", "--log-info", "verbosity", count=True, help="Show warnings; -vv tracebacks too.")
@quiet_option
@click.pass_obj
@stoppable("no results were written.")
def evaluate(
    command: list[str] | None,
    checkpoints: tuple[str, ...],
    splits: tuple[str, ...],
    episodes: int | None,
    seed: int,
    workers: int,
    out: Path | None,
    overwrite: bool,
    video: bool,
    explore: bool,
    context: str,
    env: str | None,
    env_config: str | None,
    name: str | None,
    sample_timeout_s: float | None,
    compare: bool,
    verbosity: int,
) -> None:
    """Play every task with trained agents and print their returns.

    CHECKPOINT is the folder of a checkpoint, a trial (its newest checkpoint) or an experiment (the newest one of each
    trial); plain files are skipped. Agents act deterministically and learn nothing; all of them play the same
    episodes. In the table, ± std is over the episodes of a row, and steps are their mean.
    """
    loading()
    from rllib_sami_cli import catalog
    from rllib_sami_cli.experiment import parse_json

    if video and out is None:
        raise UserError("--video: where to? Give a folder as well: --out FOLDER")
    checkpoints = _without_files(checkpoints)
    words = [word for word in command or ["rllib", "evaluate", *checkpoints] if word != "--overwrite"]
    if out is not None:
        _check_folder(out.expanduser(), None if overwrite else words)
    catalog.prepare(verbosity)
    if env is not None:
        env = catalog.as_class_path(env)
        catalog.check_environment(env, "--env")
    from rllib_sami.core.faults import EnvironmentFaultError
    from rllib_sami.evaluation.play import evaluate as play
    from rllib_sami.evaluation.processes import WorkersLostError

    def tell(results: Results) -> None:
        _say(results)
        if compare and context == "learned":
            _say_gains(results, again)

    again = functools.partial(
        play,
        episodes=episodes,
        seed=seed,
        workers=workers,
        explore=explore,
        env=env,
        env_config=parse_json(env_config, "--env-config", '{"max_steps": 100}') if env_config else None,
        sample_timeout_s=sample_timeout_s,
        name=name,
        say=doing,
    )
    try:
        results = again(
            checkpoints,
            splits=splits or None,
            context=context,
            video=out / "videos" if video and out is not None else None,
            on_results=tell,
        )
    except (ValueError, EnvironmentFaultError, WorkersLostError) as error:
        raise UserError(f"evaluate: {one_line(error)}") from error
    results.provenance["command"] = shlex.join(words)
    if out is not None:
        try:
            results.save(out)
        except ValueError as error:
            raise UserError(f"--out: {one_line(error)}") from error
        click.echo(f"Written: {out}")
        click.echo(f"Next:\n  {(command or ['rllib'])[0]} report {shlex.quote(str(out))}")


def _without_files(given: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the given paths without plain files, unless all are files: `models/*` matches its README.md, too."""
    files = [one for one in given if Path(one).expanduser().is_file()]
    if 0 < len(files) < len(given):
        click.echo(f"Skipped, not a folder: {', '.join(files)}", err=True)
        return tuple(one for one in given if one not in files)
    return given


def summarise(episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per split and meta-task, and one per split with several, in which each task has the same weight.

    Columns ``split, task_id, episodes, return, std`` (of the returns of the row's episodes), ``length`` and
    ``success``, missing where a task has none. ``task_id`` is "all" in the rows of splits.
    """
    import pandas as pd

    rows = []
    for split, of_split in episodes.groupby("split", sort=False):
        tasks = [_summary(split, task_id, of_task) for task_id, of_task in of_split.groupby("task_id")]
        rows += tasks
        if len(tasks) > 1:
            means = pd.DataFrame(tasks)[["return", "length", "success"]].mean(skipna=False)
            rows.append({**_summary(split, "all", of_split), **means})
    return pd.DataFrame(rows)


def _summary(split: Any, task_id: Any, episodes: pd.DataFrame) -> dict[str, Any]:
    success = episodes["success"].dropna()
    return {
        "split": split,
        "task_id": task_id,
        "episodes": len(episodes),
        "return": episodes["return"].mean(),
        "std": episodes["return"].std(ddof=0) if len(episodes) > 1 else math.nan,
        "length": episodes["length"].mean(),
        "success": float(success.mean()) if len(success) else math.nan,
    }


def _with_factors(table: pd.DataFrame, episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of ``summarise`` with columns ``task_<factor>`` that describe the tasks, if they are few enough.

    For this package's splits they have all values that may be drawn, as `rllib envs` shows them; else those drawn.
    """
    from rllib_sami.evaluation.task_words import meta_tasks_of

    names, cells = meta_tasks_of(episodes) or _drawn(episodes)
    if len(names) <= _MOST_FACTORS:
        for place, name in enumerate(names):
            column = [
                cells[key][place] if key in cells else "-" for key in zip(table["split"], table["task_id"], strict=True)
            ]
            table.insert(table.columns.get_loc("episodes"), f"task_{name}", column)
    return table


def _drawn(episodes: pd.DataFrame) -> tuple[list[str], dict[tuple[str, int], list[str]]]:
    """Returns the factors that differ and, by split and ``task_id``, the values of each that were played."""
    columns = [name for name in episodes if name.startswith("task_") and name != "task_id"]
    columns = [name for name in columns if episodes[name].nunique() > 1]
    cells = {
        key: [", ".join(f"{value:g}" for value in sorted(mine[name].dropna().unique())) for name in columns]
        for key, mine in episodes.groupby(["split", "task_id"])
    }
    return [name.removeprefix("task_") for name in columns], cells


def _say(results: Results) -> None:
    """Prints a table for each run, and one of the splits if there are several runs."""
    from rllib_sami.evaluation.skill_tables import per_run

    episodes, provenance, skills = results.episodes, results.provenance, per_run(results)
    for checkpoint in provenance["checkpoints"]:
        mine = episodes[episodes["run"] == checkpoint["run"]]
        environment = mine["environment"].iloc[0]
        names = provenance["task_names"].get(environment)
        click.echo(f"{checkpoint['algorithm']} on {environment}, {checkpoint['path']}")
        if results.paths is not None and checkpoint["run"] in set(skills["run"]):
            _print_skills(skills[skills["run"] == checkpoint["run"]])
            continue
        table = _with_factors(summarise(mine), mine)
        if (mine["task_id"] == -1).all():
            table = table.drop(columns="task_id")
        else:
            table["task_id"] = [_task(task_id, names) for task_id in table["task_id"]]
        _print(table)
    if len(provenance["checkpoints"]) > 1 and skills.empty:
        click.echo("\nPer split, over runs")
        summary = results.summary().drop(columns=["context", "explore"])
        _print(summary.drop(columns="environment") if summary["environment"].nunique() == 1 else summary)
    speed = provenance["throughput"]
    click.echo(
        f"{len(episodes)} episodes in {speed['seconds']:,.1f} s: {speed['episodes_per_second']:,.1f} episodes/s, "
        f"{speed['env_steps_per_second']:,.0f} steps/s"
    )


def _print_skills(table: pd.DataFrame) -> None:
    """Prints what the skills of one run cover, and the goals that they reach."""
    (row,) = table.to_dict("records")
    words = {
        "state_coverage": "{:,.0f} cells covered",
        "end_distance": "{:,.2f} from start to end",
        "return_mean": "return {:,.2f}",
        "return_max": "at most {:,.2f}",
        "staying_time": "{:.0%} of the time near them",
        "success_rate": "{:.0%} reached",
        "final_distance": "{:,.2f} away at the end",
    }
    for what, keys in (("skills", [*words][:4]), ("goals", [*words][4:])):
        if row[what]:
            known = [words[key].format(row[key]) for key in keys if row[key] == row[key]]
            click.echo(f"  {row[what]} {what}: {', '.join(known)}")


def _say_gains(results: Results, play: Callable[..., Results]) -> None:
    """Plays the first split of each run with contexts again, with zeros instead, and prints the difference.

    Args:
        results: With the learned contexts.
        play: Plays a checkpoint the same way.
    """
    if results.contexts is None or results.paths is not None:  # what skills are worth is told by their paths
        return
    import numpy as np

    from rllib_sami.algorithms.base.health import are_of_use, gain_of_contexts

    has_context = ~np.isnan(results.contexts.values).all(axis=(1, 2))
    with_context = set(results.episodes["run"][has_context])
    for checkpoint in results.provenance["checkpoints"]:
        if checkpoint["run"] not in with_context or "toy" in checkpoint:  # latents of another agent
            continue
        mine = results.episodes[results.episodes["run"] == checkpoint["run"]]
        split = str(mine["split"].iloc[0])
        zeroed = play(checkpoint["path"], splits=[split], context="zero").episodes["return"]
        learned = mine[mine["split"] == split]["return"]
        gain, error = gain_of_contexts(learned, zeroed)
        if not math.isfinite(error):
            continue  # of a single episode
        text = (
            f"{checkpoint['algorithm']}, {split}, mean over episodes: return {learned.mean():,.2f} with its contexts, "
            f"{zeroed.mean():,.2f} with zeros in their place ({gain:+,.2f} ± {error:,.2f})"
        )
        if are_of_use(learned, zeroed):
            click.echo(text)
        elif gain > 0:
            click.echo(f"{text}: no clear difference. More `--episodes` may show one.")
        else:
            click.echo(
                f"Warning: {text}. The contexts are of no use: the encoder has not learned to tell tasks apart, or the "
                "actor ignores it. Look at `health/` and the contrastive bounds in the results, or train longer.",
                err=True,
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
    table = Table(box=None, pad_edge=False)
    for name in frame:
        is_number = name in _NUMBERS
        table.add_column(
            _HEADINGS.get(name, name.removeprefix("task_")),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    for row in frame.to_dict("records"):
        cells = ["-" if value != value else _FORMATS.get(name, "{}").format(value) for name, value in row.items()]
        table.add_row(*cells)
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _check_folder(folder: Path, words: list[str] | None) -> None:
    """Raises a UserError for a folder that cannot be written to or has the results of another command.

    Args:
        folder: The folder.
        words: The command, whose own results may be replaced; None if any may.
    """
    from rllib_sami.evaluation.results import EPISODES_FILE, PROVENANCE_FILE
    from rllib_sami_cli.folders import check_writable

    check_writable(folder, "--out")
    if words is None or not (folder / EPISODES_FILE).exists():
        return
    command = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        command = json.loads((folder / PROVENANCE_FILE).read_text("utf-8")).get("command")
    if command is None or shlex.split(command)[1:] != words[1:]:
        raise UserError(
            f"--out {folder}: it has the results of another command ({command or 'unknown'}). Give another "
            "folder, or --overwrite to replace them."
        )
