"""Sections on training, on the estimator, and on where everything comes from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from .. import figures
from ..layout import Plot, Section, Table
from ..mutual_information import gaussian_sweep
from ..progress import PROGRESS_FILE, read_progress
from ..results import Results
from .common import parts, short


def learning_curves(results: Results) -> Section:
    """Returns during training, over steps and over wall clock."""
    section = Section("learning", "Learning curves")
    progress = _progress(results)
    if progress.empty:
        section.missing = (
            f"Left out: no {PROGRESS_FILE} beside the checkpoints. Results of checkpoints inside a folder of "
            "`rllib train`, with that file still there, would give it."
        )
        return section
    environments = dict(zip(results.episodes["run"], results.episodes["environment"], strict=True))
    for environment, mine in progress.groupby(progress["run"].map(environments), sort=False):
        of = f"on {environment} ({mine['run'].nunique()} runs): thin lines are runs, thick ones an agent's mean"
        curves = [
            ("env_steps", "return_mean", "Mean return of recent training episodes over environment steps"),
            ("seconds", "return_mean", "The same over hours of training, pauses left out,"),
        ]
        for column in mine.columns[mine.notna().any()]:
            what, _, split = column.rpartition("_")
            if what in ("return_mean", "success_rate"):
                name = {"return_mean": "Mean return", "success_rate": "Success rate"}[what]
                curves.append(("env_steps", column, f"{name} on the {split} tasks, evaluated during training,"))
        for x, y, caption in curves:
            name = f"learning_{short(str(environment))}_{y}_{x}".lower()
            section.plots.append(Plot(name, f"{caption} {of}.", partial(figures.learning_curves, mine, x, y)))
    without = sorted(set(environments) - set(progress["run"]))
    if without:
        section.notes = [f"Left out: {', '.join(without)}, without {PROGRESS_FILE} beside the checkpoint."]
    return section


def information(results: Results) -> Section:
    """The bound during training beside log K, and where the truth is known."""
    section = Section(
        "information",
        "Mutual information",
        ["The contrastive objective is a lower bound of a mutual information that can never exceed log K, K being the "
         "number of keys each query is compared with. A bound that lies at log K says that K is too small, not how "
         "much information there is."],
    )  # fmt: skip
    progress = _progress(results)
    if not progress.empty and progress["sance_bound"].notna().any():
        section.plots.append(
            Plot("bound_in_training", "SaNCE bound (nats) during training over environment steps, beside log K: thin "
                 "lines are runs, thick ones an agent's mean.", partial(figures.bound_in_training, progress))
        )  # fmt: skip
    else:
        section.missing = (
            f"The bound during training is left out: no {PROGRESS_FILE} of a run with a contrastive objective beside "
            "the checkpoints. Results of SaCCM, SaTESAC or CCM inside a folder of `rllib train` would give it."
        )
    sweep = gaussian_sweep()
    section.plots.append(
        Plot("bound_versus_keys", "The same estimator on pairs of 8-dimensional Gaussians whose mutual information is "
             "known (horizontal lines, nats), with the best possible scores, for K = 2 to 512 (bars: 95 % intervals "
             "over batches). It approaches the truth where log K is well above it; a contrast that has less to find, "
             "such as one within a task, is served by fewer keys.", partial(figures.bound_versus_keys, sweep))
    )  # fmt: skip
    return section


def provenance(results: Results) -> Section:
    """Where everything comes from."""
    section = Section("provenance", "Provenance")
    for number, part in enumerate(parts(results)):
        rows = [row for key, value in part.items() if key != "videos" for row in _flat(key, value)]
        if rows:
            title = "Where the results come from" + (f", part {number + 1}" if len(parts(results)) > 1 else "")
            section.tables.append(Table(title, pd.DataFrame(rows, columns=["what", "value"])))
    if not section.tables:
        section.missing = (
            "Left out: the results say nothing of where they come from. Those that `rllib evaluate --out` writes do."
        )
    return section


def _progress(results: Results) -> pd.DataFrame:
    """Reads the learning curves of all runs that have some."""
    found = []
    for part in parts(results):
        for checkpoint in part.get("checkpoints", []):
            try:
                folder = Path(checkpoint["path"]).parent
                found.append(read_progress(folder, str(checkpoint["algorithm"]), str(checkpoint["run"])))
            except (ValueError, KeyError, TypeError):
                continue
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _flat(key: str, value: Any) -> list[tuple[str, str]]:
    """Returns a nested value as rows of two texts."""
    if isinstance(value, dict):
        return [row for name, inner in value.items() for row in _flat(f"{key}.{name}", inner)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [row for number, item in enumerate(value) for row in _flat(f"{key}[{number}]", item)]
    if isinstance(value, list | tuple):
        return [(key, ", ".join(map(str, value)))]
    return [(key, str(value))]
