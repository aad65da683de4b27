"""`rllib evaluate`: episodes of a trained agent, return per meta-task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rllib_sami.cli.errors import UserError


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--episodes", type=click.IntRange(1), default=10, show_default=True, help="Episodes per meta-task "
              "(or in all, where the environment chooses them or has none).")  # fmt: skip
@click.option("--split", metavar="SPLIT", help="Split of meta-tasks.  [default: the checkpoint's]")
@click.option("--env", "-e", metavar="ID", help="Another environment than the checkpoint's.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write all episodes to this JSON file.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the episodes.")
@click.option("--explore", is_flag=True, help="Act as in training, with noise.")
@click.option("-v", "--log-info", "verbosity", count=True, help="Show warnings.")
def evaluate(
    checkpoint: str,
    episodes: int,
    split: str | None,
    env: str | None,
    out: Path | None,
    seed: int,
    explore: bool,
    verbosity: int,
) -> None:
    """Run a trained agent and print its return per meta-task.

    CHECKPOINT is a checkpoint's folder; of an experiment's folder the newest checkpoint is taken. The agent acts
    deterministically and learns nothing.
    """
    from rllib_sami.cli import catalog, checkpoints

    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}.")
    catalog.prepare(verbosity)
    from rllib_sami.cli.rollout import run_episodes

    loaded = checkpoints.load(checkpoint, "evaluate")
    config = loaded.config.copy(copy_frozen=False)
    if env is not None:
        catalog.check_environment(env, "--env")
        config.environment(env)
        config.env_config = {}
    elif isinstance(config.env, str) and not catalog.may_be_made(config.env):
        raise UserError(
            f"{loaded.path}: its environment '{config.env}' was registered by the script that trained it and is not "
            "known here. Give its class: --env my_module.MyEnv"
        )
    if split is not None:
        config.env_config = {**config.env_config, "split": split}
    catalog.try_environment(config.env, dict(config.env_config), "--split" if split else "evaluate")
    results = run_episodes(loaded, config, episodes, seed, explore)
    table = summarise(results)
    click.echo(f"{loaded.algorithm.__name__} on {config.env}, {loaded.path}")
    _print(table)
    if out is not None:
        content = {
            "checkpoint": str(loaded.path),
            "algorithm": loaded.algorithm.__name__,
            "env": str(config.env),
            "env_config": dict(config.env_config),
            "seed": seed,
            "explore": explore,
            "summary": table,
            "episodes": results,
        }
        out.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
        click.echo(f"Written: {out}")


def summarise(episodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns one row per meta-task, and one for all (the mean over meta-tasks, so that each weighs the same)."""
    import numpy as np

    from rllib_sami.cli.rollout import task_order

    rows: list[dict[str, Any]] = []
    for task_id in sorted({episode["task_id"] for episode in episodes}, key=task_order):
        mine = [episode for episode in episodes if episode["task_id"] == task_id]
        returns = [episode["return"] for episode in mine]
        row = {
            "task_id": task_id,
            "episodes": len(mine),
            "return_mean": float(np.mean(returns)),
            "return_std": float(np.std(returns)),
            "length_mean": float(np.mean([episode["length"] for episode in mine])),
        }
        successes = [episode["success"] for episode in mine if episode["success"] is not None]
        row["success_rate"] = float(np.mean(successes)) if successes else None
        rows.append(row)
    if len(rows) > 1:
        means = {
            key: float(np.mean([row[key] for row in rows])) if all(row[key] is not None for row in rows) else None
            for key in ("return_mean", "length_mean", "success_rate")
        }
        spread = float(np.std([row["return_mean"] for row in rows]))
        rows.append({"task_id": "all", "episodes": len(episodes), "return_std": spread, **means})
    return rows


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    with_success = any(row["success_rate"] is not None for row in rows)
    for name in ("task_id", "episodes", "return", "± std", "length", *(["success"] if with_success else [])):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [
            "-" if row["task_id"] is None else str(row["task_id"]),
            str(row["episodes"]),
            f"{row['return_mean']:,.2f}",
            f"{row['return_std']:,.2f}",
            f"{row['length_mean']:,.0f}",
        ]
        if with_success:
            cells.append("-" if row["success_rate"] is None else f"{row['success_rate']:.2f}")
        table.add_row(*cells, end_section=False)
    Console(highlight=False).print(table)
