"""Sections on runs and their training, on the estimator, and on where everything comes from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_sami.evaluation import baselines, figures, tables
from rllib_sami.evaluation.layout import Plot, Section, Table
from rllib_sami.evaluation.mutual_information import gaussian_sweep
from rllib_sami.evaluation.progress import PROGRESS_FILE, read_progress
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, is_paper, parts, short, without_only_environment

MOST_ROWS = 12  # of a table that is not folded


def runs(results: Results) -> Section:
    """Who is compared, and how long each was trained."""
    section = Section("runs", "Runs")
    if is_paper(results):
        section.text = [
            "Five training seeds per algorithm and environment; the length of each training was not published."
        ]
        return section
    columns = ["agent", "environment", "run", "seed", "env_steps"]
    table = results.episodes.assign(agent=tables.agents(results.episodes))[columns].drop_duplicates()
    lengths = table[table["env_steps"] >= 0].groupby(["environment", "agent"])["env_steps"].agg(["min", "max"])
    for environment, mine in lengths.groupby("environment", sort=False):
        if mine["min"].min() < mine["max"].max():
            each = ", ".join(f"{agent} {_span(low, high)}" for (_, agent), low, high in mine.itertuples())
            section.missing += (
                f"{' ' if section.missing else ''}Runs on {environment} were not trained equally long (environment "
                f"steps: {each}): differences between agents may come from that alone."
            )
    table = table.sort_values(["environment", "agent"], key=tables.sort_key, kind="stable")
    names = {"seed": "training seed", "env_steps": "trained for (environment steps)"}
    shown = without_only_environment(table).rename(columns=names)
    shown[list(names.values())] = shown[list(names.values())].astype(object).replace(-1, "unknown")
    section.tables.append(
        Table(f"{counted(str(len(table)), 'run')}, with fixed weights", shown, folded=len(table) > MOST_ROWS)
    )
    return section


def learning_curves(results: Results) -> Section:
    """Returns during training, over steps and over wall clock."""
    section = Section("learning", "Learning curves")
    progress, without = _progress(results)
    environments = dict(zip(results.episodes["run"], results.episodes["environment"], strict=True))
    for environment, mine in progress.groupby(progress["run"].map(environments), sort=False):
        curves = []
        if mine["return_mean"].notna().any():
            curves.append(
                ("env_steps", "return_mean", "Mean return of recent training episodes over environment steps")
            )
            curves.append(("seconds", "return_mean", "The same over time of training, pauses left out,"))
        for column in mine.columns[mine.notna().any()]:
            for start, what in (("return_mean_", "Mean return"), ("success_rate_", "Success rate")):
                if column.startswith(start):
                    split = column.removeprefix(start).replace("_", " ")
                    curves.append(("env_steps", column, f"{what} on the {split} tasks, evaluated during training,"))
        for x, y, caption in curves:
            name = f"learning_{short(str(environment))}_{y}_{x}".lower()
            drawn = mine.dropna(subset=[x, y])
            number, agents = drawn["run"].nunique(), drawn["agent"].nunique()
            of = f"on {environment} ({counted(str(number), 'run')})"
            of += ": thin lines are runs, thick ones an agent's mean" if number > agents else ""
            levels = _levels(results, str(environment), y)
            draw = partial(figures.learning_curves, mine, x, y, levels)
            section.plots.append(Plot(name, f"{caption} {of}.", draw))
    silent = progress.groupby("run")["return_mean"].count()
    without |= dict.fromkeys(silent.index[silent == 0], "no training episode was finished")
    reasons = [f"{reason} ({_some(runs)})" for reason, runs in _by_reason(without).items()]
    if section.plots:
        section.notes = [f"Left out: {reason}." for reason in reasons]
    else:
        section.missing = (
            f"There is {'; '.join(reasons)}. Results of checkpoints inside a folder of `rllib train`, with its "
            f"{PROGRESS_FILE}, after at least one finished episode, would give it."
        )
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
    progress, without = _progress(results)
    if not progress["sance_bound"].notna().any():
        reasons = (
            [f"no bound in the {PROGRESS_FILE} of {_some(list(progress['run'].unique()))}"] if len(progress) else []
        )
        section.missing = (
            f"There is {'; '.join([*_by_reason(without), *reasons])}. Runs of SaCCM, SaTESAC or CCM inside a folder of "
            "`rllib train`, trained for at least one update, would give it."
        )
        return section
    section.plots.append(
        Plot("bound_in_training", "SaNCE bound (nats) during training over environment steps, beside log K: thin "
             "lines are runs, thick ones an agent's mean.", partial(figures.bound_in_training, progress))
    )  # fmt: skip
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
    every = parts(results)
    lists = dict.fromkeys(key for part in every for key, value in part.items() if _is_table(value) and key != "videos")
    plain = pd.DataFrame(
        [
            dict(row for key, value in part.items() if key not in (*lists, "videos") for row in _flat(key, value))
            for part in every
        ]
    )
    same = [name for name in plain if plain[name].nunique(dropna=False) == 1]
    if same:
        rows = pd.DataFrame({"what": same, "value": plain[same].iloc[0].to_list()})
        section.tables.append(Table("Where the results come from", rows))
    if len(same) < plain.shape[1]:
        caption = f"What differs between the {len(every)} evaluations"
        section.tables.append(Table(caption, plain.drop(columns=same), folded=True))
    for key in lists:
        rows = pd.concat([pd.DataFrame(part[key]) for part in every if _is_table(part.get(key))], ignore_index=True)
        section.tables.append(
            Table(_words(key).capitalize(), rows.rename(columns=_words), folded=len(rows) > MOST_ROWS)
        )
    if not section.tables:
        section.missing = (
            "The results say nothing of where they come from. Those that `rllib evaluate --out` writes do."
        )
    return section


def _levels(results: Results, environment: str, column: str) -> pd.DataFrame:
    """Returns what the curve of a split's column is read by."""
    what, _, split = column.partition("_mean_") if column.startswith("return") else column.partition("_rate_")
    episodes = results.episodes[results.episodes["environment"] == environment]
    return baselines.levels(episodes[episodes["split"] == split], parts(results), what)


def _progress(results: Results) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reads the learning curves of all runs; returns them, and the runs without one with the reason."""
    found, without = [], dict.fromkeys(results.episodes["run"], f"no {PROGRESS_FILE} beside the checkpoint")
    for part in parts(results):
        for checkpoint in part.get("checkpoints", []):
            if not {"path", "algorithm", "run"} <= set(checkpoint):
                continue
            run, file = str(checkpoint["run"]), Path(checkpoint["path"]).parent / PROGRESS_FILE
            if not file.is_file():
                continue
            try:
                table = read_progress(file, str(checkpoint["algorithm"]), run)
            except ValueError as error:
                without[run] = str(error).rstrip(".")
                continue
            if len(table):
                found.append(table)
                without.pop(run, None)
            else:
                without[run] = f"an empty {PROGRESS_FILE}"
    nothing = pd.DataFrame(columns=["run", "return_mean", "sance_bound"])
    return (pd.concat(found, ignore_index=True) if found else nothing), without


def _by_reason(without: dict[str, str]) -> dict[str, list[str]]:
    return {reason: [run for run in without if without[run] == reason] for reason in without.values()}


def _some(names: list[str]) -> str:
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _flat(key: str, value: Any) -> list[tuple[str, str]]:
    """Returns a nested value as rows of two texts; what is empty says nothing."""
    if isinstance(value, dict):
        return [row for name, inner in value.items() for row in _flat(f"{key}: {name}", inner)]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return [(_words(key), str(value))] if value not in ("", None) else []
