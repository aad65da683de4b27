"""What the context is worth to the agents that have one: they play again with another in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_sami.evaluation import statistics
from rllib_sami.evaluation.results import join
from rllib_sami.registration import ALGORITHMS
from rllib_sami_cli.errors import UserError

from .folders import CONTEXTS, EPISODES
from .job import play, save
from .reporting import finished, load_results
from .suite import Job, matching
from .tables import TOO_NARROW, drawn_iqms, interval, markdown, matrices, provenance, span

LEARNED, ZERO, CHANGED = "learned", "zero", ("zero", "shuffled")
_LEGEND = f"""\
The same agents play the same episodes with the context that their encoder makes, with zeros in its place, and with the
context of another episode. Return: interquartile mean over runs (training seeds) and tasks, with its 95 % bootstrap
interval over seeds. The difference is drawn in pairs: both sides of it are of the same seeds.

{TOO_NARROW}"""


def with_context(folder: Path) -> list[dict[str, Any]]:
    """Returns the ``done.json`` of each finished job whose agent has a context.

    Raises:
        UserError: There is none.
    """
    jobs = [job for job in finished(folder) if _context_dim(job["settings"])]
    if not jobs:
        raise UserError(f"{folder}: no finished job in it whose agent has a context.")
    return jobs


def _context_dim(settings: dict[str, Any]) -> int:
    """Returns the width of a job's context: its own, else its algorithm's default."""
    default = getattr(ALGORITHMS[settings["run"]].get_default_config(), "context_dim", 0)
    return settings["config"].get("context_dim", default)


def play_contexts(folder: Path, only: Iterable[str] = ()) -> Iterator[str]:
    """Plays finished jobs with changed contexts, as often as they were evaluated; yields the id of each that it played.

    Args:
        folder: Of the benchmark.
        only: Patterns such as ``SaCCM-*``, of the ids of jobs; none: all.

    Raises:
        UserError: No job fits.
    """
    jobs = {job["id"]: job for job in with_context(folder)}
    for name in matching(list(jobs), only, "finished jobs"):
        job, place = Job(**jobs[name]["settings"]), jobs[name]["folder"]
        if (place / CONTEXTS).exists():
            continue
        results = join([play(job, place, context) for context in CHANGED])
        results.contexts = None  # what the encoder made of episodes in which nobody listened to it
        save(results, place / CONTEXTS)
        yield name


def write_contexts(folder: Path) -> list[Path]:
    """Writes ``contexts.parquet`` and ``contexts.md`` of all jobs that have been played so far.

    Returns:
        What was written.

    Raises:
        UserError: Jobs differ in their episodes, so that no table may compare them.
    """
    jobs = [job for job in with_context(folder) if (job["folder"] / CONTEXTS).exists()]
    results = load_results(jobs, (EPISODES, CONTEXTS))
    text = ["# Learned contexts, and others in their place", provenance(jobs), _LEGEND]
    for environment, mine in results.episodes.groupby("environment", sort=False):
        text += [f"## {environment}", markdown(context_table(mine))]
    table, page = folder / "contexts.parquet", folder / "contexts.md"
    results.episodes.to_parquet(table, index=False)
    page.write_text("\n\n".join(text) + "\n", "utf-8")
    return [table, page]


def context_table(episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per split and algorithm of one environment.

    Args:
        episodes: Of the environment, each run with learned, zero and shuffled contexts.
    """
    rows = []
    for split, of_split in episodes.groupby("split", sort=False):
        for algorithm, mine in of_split.groupby("algorithm", sort=False):
            found, drawn = {}, {}
            row = {"split": split, "algorithm": algorithm, "seeds": mine["run"].nunique()}
            for context in (LEARNED, *CHANGED):
                (scores,) = matrices(mine[mine["context"] == context]).values()
                found[context] = float(statistics.iqm(scores))
                drawn[context] = drawn_iqms(scores, seed=0)  # of one seed: the same runs are drawn of each
                row[context] = span(found[context], *interval(drawn[context], scores))
            gap = found[LEARNED] - found[ZERO]
            row[f"{LEARNED} less {ZERO}"] = span(gap, *interval(drawn[LEARNED] - drawn[ZERO], scores))
            rows.append(row)
    return pd.DataFrame(rows)
