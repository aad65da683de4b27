"""What a search has found: a table of its trials, who took over whose networks, the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rllib_sami_cli import spaces
from rllib_sami_cli.search import Search
from rllib_sami_cli.stop import STEPS, lookup

_MOST_ROWS = 50


def ranking(trials: list[Any], search: Search) -> list[Any]:
    """Returns the trials that have a number to be compared by, best first: that of each trial's last result."""
    sign = -1 if search.mode == "max" else 1
    scored = [(lookup(trial.last_result or {}, search.metric), trial) for trial in trials]
    known = [(score, trial) for score, trial in scored if score is not None]
    return [trial for _, trial in sorted(known, key=lambda pair: (sign * pair[0], pair[1].trial_id))]


def print_table(trials: list[Any], search: Search, config: dict[str, Any]) -> None:
    """Prints the trials of a search, best first, with the settings in which they differ.

    Args:
        trials: Tune's trials.
        search: By which number they are compared.
        config: The experiment's settings, with search spaces.
    """
    searched = [key for key, value in config.items() if spaces.is_searched(value)]
    ranked = ranking(trials, search)
    rows = [["", "trial", search.metric.rpartition("evaluation/")[2], "env steps", "iter", *searched]]
    for number, trial in enumerate([*ranked, *(trial for trial in trials if trial not in ranked)], 1):
        score, *counts = (
            lookup(trial.last_result or {}, name) for name in (search.metric, STEPS, "training_iteration")
        )
        rows.append(
            [
                str(number) if score is not None else "-",
                trial.trial_id,
                "-" if score is None else f"{score:,.5g}",
                *("-" if count is None else f"{count:,.0f}" for count in counts),
                *(_short(trial.config.get(key)) for key in searched),
            ]
        )
    rows, left_out = rows[: _MOST_ROWS + 1], len(rows) - 1 - _MOST_ROWS
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if left_out > 0:
        click.echo(f"... and {left_out} more")


def settings_of(trial: Any, config: dict[str, Any]) -> str:
    """Returns the settings in which a trial differs from others, as text."""
    searched = [key for key, value in config.items() if spaces.is_searched(value)]
    return ", ".join(f"{key}={_short(trial.config.get(key))}" for key in searched) or "same settings"


def takeovers(folder: Path, config: dict[str, Any]) -> list[str]:
    """Returns a line for each time that population-based training gave a trial another's networks.

    Args:
        folder: Of the run, where Tune notes them.
        config: The experiment's settings, with search spaces.
    """
    file = folder / "pbt_global.txt"
    if not file.is_file():
        return []
    lines = []
    for note in file.read_text(encoding="utf-8").splitlines():
        try:
            target, source, _, iteration, before, after = json.loads(note)
        except ValueError:  # cut off by a kill
            continue
        changed = [
            f"{key} {_short(before.get(key))} -> {_short(after[key])}"
            for key, value in config.items()
            if spaces.is_searched(value) and before.get(key) != after.get(key)
        ]
        number = [tag.partition("_")[0] for tag in (target, source)]
        lines.append(
            f"trial {number[0]} went on from trial {number[1]} at its iteration {iteration}: "
            f"{', '.join(changed) or 'same settings'}"
        )
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
