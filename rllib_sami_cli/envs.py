"""`rllib envs`: the environments, and the meta-tasks of one."""

from __future__ import annotations

import shutil
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from rllib_sami_cli.errors import UserError


@click.command()
@click.argument("env_id", required=False)
@click.option("--split", metavar="SPLIT", help="Only this split.")
def envs(env_id: str | None, split: str | None) -> None:
    """List the environments, or the meta-tasks of ENV_ID."""
    from rllib_sami.core.text import did_you_mean
    from rllib_sami.envs import ENVIRONMENTS

    if env_id is None:
        if split is not None:
            raise UserError("--split: of which environment? rllib envs ENV_ID --split SPLIT")
        _print_all(ENVIRONMENTS)
        return
    name = env_id.rpartition(":")[2]
    if name not in ENVIRONMENTS:
        ending = f"/{name.removesuffix('-v0')}-v0"
        name = next((known for known in ENVIRONMENTS if known.endswith(ending)), f"SaMI{ending}")
    if name not in ENVIRONMENTS:
        raise UserError(f"unknown environment '{env_id}'. {did_you_mean(name, ENVIRONMENTS, 30)}")
    splits = ENVIRONMENTS[name].splits
    if split is not None and split not in splits:
        raise UserError(f"{name} has no split '{split}'. {did_you_mean(split, splits)}")
    _print_one(name, ENVIRONMENTS[name], [split] if split else list(splits))


def _print_all(environments: dict[str, Any]) -> None:
    table = _table("environment", "what differs", "meta-tasks per split", "steps")
    for env_id, cls in environments.items():
        counts = ", ".join(f"{split}={len(tasks)}" for split, tasks in cls.splits.items())
        factors = ", ".join(factor.name for factor in cls.factors) or "-"
        table.add_row(env_id, factors, counts, str(cls.default_max_steps))
    _console().print(table)
    click.echo("\nMeta-tasks of one:  rllib envs SaMI/Ant-v0")


def _print_one(env_id: str, cls: Any, splits: list[str]) -> None:
    """Prints an environment's meta-tasks from its class alone: what it needs to be built may not be installed."""
    from rllib_sami.envs.skills import SkillEnv
    from rllib_sami.envs.tasks import parse_meta_tasks
    from rllib_sami.envs.text import describe, describe_meta_tasks

    console = _console()
    summary = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    console.print(f"{env_id}: {summary}\n")
    if issubclass(cls, SkillEnv):
        _print_numbers(cls, console)
        return
    factors = _table("factor", "unit", "neutral")
    for factor in cls.factors:
        factors.add_row(factor.name, factor.unit, describe(factor, factor.neutral_value))
    console.print(factors)
    for split in splits:
        titles, rows = describe_meta_tasks(parse_meta_tasks(cls.factors, cls.splits[split]))
        table = _table("task_id", *titles)
        for index, row in enumerate(rows):
            table.add_row(str(index), *row)
        console.print(f"\nsplit {split}", style="bold")
        console.print(table)
    console.print("\nA factor without a column is neutral.")


def _print_numbers(cls: Any, console: Console) -> None:
    """Prints what there is instead of tasks: the numbers by which skills are evaluated."""
    table = _table("steps", "cell size", "goal range", "goal radius")
    goals = f"±{cls.goal_range:g}" if hasattr(cls, "goal_range") else "see its page"
    table.add_row(f"{cls.default_max_steps}", f"{cls.cell_size:g}", goals, f"{cls.goal_radius:g}")
    console.print(table)
    console.print("\nNothing differs between episodes but the initial state and the goals of the task, if it has any.")


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    return table


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A pipe has no width: give the table room instead of cutting it at 80 columns.
        console.width = max(200, shutil.get_terminal_size().columns)
    return console
