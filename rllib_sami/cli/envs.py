"""`rllib envs`: which environments there are, and the meta-tasks of one."""

from __future__ import annotations

from typing import Any

import click

from rllib_sami.cli.errors import UserError, did_you_mean


@click.command()
@click.argument("env_id", required=False)
@click.option("--split", metavar="SPLIT", help="Only this split.")
def envs(env_id: str | None, split: str | None) -> None:
    """List the environments, or the meta-tasks of ENV_ID."""
    from rllib_sami.cli.catalog import our_environments

    known = our_environments()
    if env_id is None:
        if split is not None:
            raise UserError("--split: of which environment? rllib envs ENV_ID --split SPLIT")
        _print_all(known)
        return
    name = env_id.rpartition(":")[2]
    name = name if name in known else f"SaMI/{name.removesuffix('-v0')}-v0"
    if name not in known:
        raise UserError(f"unknown environment '{env_id}'. {did_you_mean(name, known, 30)}")
    splits = known[name].splits
    if split is not None and split not in splits:
        raise UserError(f"{name} has no split '{split}'. {did_you_mean(split, splits)}")
    _print_one(name, known[name], [split] if split else list(splits))


def _print_all(known: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("environment", "what differs", "meta-tasks per split", "steps"):
        table.add_column(column)
    for env_id, cls in known.items():
        counts = ", ".join(f"{split} {len(tasks)}" for split, tasks in cls.splits.items())
        table.add_row(env_id, ", ".join(factor.name for factor in cls.factors), counts, str(cls.default_max_steps))
    _console().print(table)
    click.echo("\nMeta-tasks of one:  rllib envs SaMI/Ant-v0")


def _print_one(env_id: str, cls: type, splits: list[str]) -> None:
    from rich.table import Table

    console = _console()
    summary = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    console.print(f"{env_id}: {summary}\n", markup=False)
    for split in splits:
        env = cls(split=split)
        table = Table(title=f"split {split}", title_justify="left", box=None, pad_edge=False)
        table.add_column("task_id", justify="right")
        names = [factor.name for factor in env.factors]
        for name in names:
            table.add_column(name)
        for index, task in enumerate(env.tasks):
            table.add_row(str(index), *(_values(task[name]) for name in names))
        console.print(table)
        console.print()


def _values(values: tuple[Any, ...]) -> str:
    """Returns the allowed values of a factor; a set of dead parts is one value."""
    return ", ".join("none" if value == () else str(value) for value in values)


def _console() -> Any:
    import shutil

    from rich.console import Console

    # A pipe has no width: give the table room instead of cutting it at 80 columns.
    console = Console(highlight=False)
    return (
        console if console.is_terminal else Console(highlight=False, width=max(200, shutil.get_terminal_size().columns))
    )
