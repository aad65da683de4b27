"""What a search has found: a table of its trials, which took over another's networks, the best one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rllib_sami_cli.search import Search
from rllib_sami_cli.spaces import chosen, searched
from rllib_sami_cli.stop import STEPS, lookup

_MOST_ROWS = 50


def ranking(results: list[dict[str, Any] | None], search: Search) -> list[int]:
    """Returns the positions of the (last) results that have a number to compare by, best first."""
    sign = -1 if search.mode == "max" else 1
    scores = [lookup(result or {}, search.metric) for result in results]
    known = [(sign * score, position) for position, score in enumerate(scores) if score is not None]
    return [position for _, position in sorted(known)]


def print_table(trials: list[Any], search: Search, config: dict[str, Any]) -> None:
    """Prints the trials of a search, best first, with the settings in which they differ.

    Args:
        trials: Tune's trials, best first; those without a number to compare by come last.
        search: The number by which they are compared.
        config: The experiment's settings, with search spaces.
    """
    keys = searched(config)
    rows = [["", "trial", search.metric.rpartition("evaluation/")[2], "env steps", "iter", *keys]]
    for number, trial in enumerate(trials[:_MOST_ROWS], 1):
        result = trial.last_result or {}
        score, *counts = (lookup(result, name) for name in (search.metric, STEPS, "training_iteration"))
        rows.append(
            [
                "-" if score is None else str(number),
                trial.trial_id,
                "-" if score is None else f"{score:,.5g}",
                *("-" if count is None else f"{count:,.0f}" for count in counts),
                *(_short(chosen(trial.config, key)) for key in keys),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if len(trials) > _MOST_ROWS:
        click.echo(f"... and {len(trials) - _MOST_ROWS} more")


def searched_settings(trial: Any, config: dict[str, Any]) -> str:
    """Returns a trial's values of the settings that are searched, as text."""
    return ", ".join(f"{key}={_short(chosen(trial.config, key))}" for key in searched(config)) or "same settings"


def takeovers(folder: Path, config: dict[str, Any]) -> list[str]:
    """Returns a line for each time that population-based training gave a trial another's networks.

    Args:
        folder: The run's, where Tune notes them.
        config: The experiment's settings, with search spaces.
    """
    file = folder / "pbt_global.txt"
    lines = []
    for note in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            target, source, _, iteration, before, after = json.loads(note)
        except ValueError:  # cut off by a kill
            continue
        changed = [
            f"{key} {_short(before.get(key))} -> {_short(after[key])}"
            for key in searched(config)
            if before.get(key) != after.get(key)
        ]
        lines.append(
            f"trial {target.partition('_')[0]} went on from trial {source.partition('_')[0]} at its iteration "
            f"{iteration}: {', '.join(changed) or 'same settings'}"
        )
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
