"""Joins what the jobs left: results, curves, tables and a page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from rllib_sami.evaluation.reporting import report
from rllib_sami.evaluation.results import Results
from rllib_sami_cli.errors import UserError

from .folders import CHECKPOINT, CURVE, DONE, EPISODES, read_json
from .tables import commits_of, write_tables


def finished(folder: Path) -> list[dict[str, Any]]:
    """Returns the ``done.json`` of each finished job, with its ``folder``.

    Raises:
        UserError: There is none.
    """
    found = [
        {**content, "folder": file.parent}
        for file in sorted((folder / "jobs").glob(f"*/{DONE}"))
        if (content := read_json(file)) is not None
    ]
    if not found:
        raise UserError(f"{folder}: no finished job in it. `python -m benchmarks.learning run SUITE --out {folder}`.")
    return found


def curves(jobs: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns the curves of finished jobs: columns ``job, algorithm, environment, seed`` and those of ``curve.csv``."""
    return pd.concat(
        [
            pd.read_csv(job["folder"] / CURVE).assign(
                job=job["id"], **{key: job["settings"][key] for key in ("algorithm", "environment", "seed")}
            )
            for job in jobs
        ],
        ignore_index=True,
    )


def write_report(folder: Path, out: Path) -> list[Path]:
    """Writes ``results.parquet`` (and what goes with it), ``curves.parquet``, ``tables.md`` and ``report/``.

    Args:
        folder: Of the benchmark.
        out: Where to.

    Returns:
        What was written.

    Raises:
        UserError: There is nothing to report on, or results that no table may compare.
    """
    jobs = finished(folder)
    results = load_results(jobs)
    results.provenance = _one_provenance(results.provenance, jobs)
    results.save(out)
    table = curves(jobs)
    table.to_parquet(out / "curves.parquet", index=False)
    tables = write_tables(results.episodes, jobs, out / "tables.md")
    whole, partial = as_complete(jobs)
    title = f"Learning benchmark: {folder.name}"
    if partial:
        title += f" (without {', '.join(partial)}: other algorithms or seeds)"
        click.echo(f"Not on the page, as they have other algorithms or seeds: {', '.join(partial)}", err=True)
        results = load_results(whole)
        results.provenance = _one_provenance(results.provenance, whole)
    page = report(results, out / "report", title=title)
    return [out / "results.parquet", out / "curves.parquet", tables, page]


def as_complete(jobs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the jobs of environments with the usual algorithms and seeds, and the other environments' names.

    Scores are pooled over environments on the page, so that all must have all agents.
    """
    runs: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for job in jobs:
        runs[job["settings"]["environment"]].add((job["settings"]["algorithm"], job["settings"]["seed"]))
    frequency = Counter(frozenset(some) for some in runs.values())
    usual = max(frequency, key=lambda some: (frequency[some], len(some)))
    partial = [environment for environment, some in runs.items() if some != usual]
    return [job for job in jobs if job["settings"]["environment"] not in partial], partial


def load_results(jobs: list[dict[str, Any]], parts: Sequence[str] = (EPISODES,)) -> Results:
    """Returns what the evaluations of jobs found.

    Args:
        jobs: The ``done.json`` of each.
        parts: Folders of each job.

    Raises:
        UserError: They differ such that nothing may compare them.
    """
    try:
        return Results.load([job["folder"] / part for job in jobs for part in parts])
    except ValueError as error:
        raise UserError(str(error)) from error


def _one_provenance(provenance: dict[str, Any], jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the provenance of many jobs as one: what all share once, and each checkpoint where it lies now."""
    parts = provenance.get("parts", [provenance])

    def values(key: str, of: list[dict[str, Any]]) -> str:
        return "; ".join(sorted({str(one[key]) for one in of}))

    return {
        "date": f"{min(job['date'] for job in jobs)} to {max(job['date'] for job in jobs)}",
        "commit": "; ".join(commits_of(jobs)),
        **{key: values(key, jobs) for key in ("versions", "hardware")},
        **{key: values(key, parts) for key in ("seed", "episodes_per_task")},
        **{
            key: {name: value for part in parts for name, value in part[key].items()}
            for key in ("max_steps", "task_names")
        },
        "checkpoints": [
            {**part["checkpoints"][0], "path": str(job["folder"].absolute() / CHECKPOINT)}
            for part, job in zip(parts, jobs, strict=True)
        ],
    }
