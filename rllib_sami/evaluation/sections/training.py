"""Sections on runs and their training, on the estimator, and on provenance."""

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
from rllib_sami.evaluation.sections.common import counted, is_paper, short, without_only_environment

MAX_ROWS = 12  # of a table that is not folded
_COLUMNS = {"seed": "training seed", "env_steps": "trained for (environment steps)"}


def runs(results: Results) -> Section:
    """Who is compared, and how long each was trained."""
    section = Section("runs", "Runs")
    if is_paper(results):
        section.text = [
            "Five training seeds per algorithm and environment; the length of each training was not published."
        ]
        return section
    table = results.episodes.assign(agent=tables.agents(results.episodes))
    table = table[["agent", "environment", "run", *_COLUMNS]].drop_duplicates()
    lengths = table[table["env_steps"] >= 0].groupby(["environment", "agent"])["env_steps"].agg(["min", "max"])
    warnings = []
    for environment, mine in lengths.groupby("environment", sort=False):
        if mine["min"].min() < mine["max"].max():
            each = ", ".join(
                f"{agent} {low:,}" + (f" to {high:,}" if high > low else "")
                for (_, agent), low, high in mine.itertuples()
            )
            warnings.append(
                f"Runs on {environment} were not trained equally long (environment steps: {each}): differences between "
                "agents may come from that alone."
            )
    section.missing = " ".join(warnings)
    shown = without_only_environment(table.sort_values(["environment", "agent"], key=tables.sort_key, kind="stable"))
    shown = shown.astype(dict.fromkeys(_COLUMNS, object)).replace({name: {-1: "unknown"} for name in _COLUMNS})
    shown["env_steps"] = shown["env_steps"].replace({0: "none"})  # learned from data alone
    caption = f"{counted(len(table), 'run')}, with fixed weights"
    section.tables.append(Table(caption, shown.rename(columns=_COLUMNS), folded=len(table) > MAX_ROWS))
    return section


def learning_curves(results: Results) -> Section:
    """Returns during training, over steps and over wall-clock time."""
    section = Section("learning", "Learning curves")
    progress, without = progress_of(results)
    environments = dict(zip(results.episodes["run"], results.episodes["environment"], strict=True))
    for environment, mine in progress.groupby(progress["run"].map(environments), sort=False):
        curves = []
        if mine["return_mean"].notna().any():
            of_training = "Mean return of recent training episodes over environment steps"
            curves.append(("env_steps", "return_mean", of_training))
            curves.append(("seconds", "return_mean", "The same over time of training, pauses left out,"))
        for column in mine.columns[mine.notna().any()]:
            for start, what in (("return_mean_", "Mean return"), ("success_rate_", "Success rate")):
                if column.startswith(start):
                    split = column.removeprefix(start).replace("_", " ")
                    curves.append(("env_steps", column, f"{what} on the {split} tasks, evaluated during training,"))
        for x, y, caption in curves:
            drawn = mine.dropna(subset=[x, y])
            number, agents = drawn["run"].nunique(), drawn["agent"].nunique()
            of = f"on {environment} ({counted(number, 'run')})"
            of += ": thin lines are runs, thick ones an agent's mean" if number > agents else ""
            draw = partial(figures.learning_curves, mine, x, y, _levels(results, str(environment), y))
            section.plots.append(Plot(f"learning_{short(str(environment))}_{y}_{x}".lower(), f"{caption} {of}.", draw))
    silent = progress.groupby("run")["return_mean"].count()
    without |= dict.fromkeys(silent.index[silent == 0], "no training episode was finished")
    reasons = [f"{reason} ({_some(runs)})" for reason, runs in _by_reason(without).items()]
    if section.plots:
        section.notes = [f"Left out: {reason}." for reason in reasons]
    else:
        section.missing = (
            f"There is {'; '.join(reasons)}. This needs checkpoints inside a folder of `rllib train`, with its "
            f"{PROGRESS_FILE}, after at least one finished episode."
        )
    return section


def information(results: Results) -> Section:
    """The bound during training beside log K, and where the truth is known."""
    section = Section(
        "information",
        "Mutual information",
        ["The contrastive objective says how well one key among K is told apart, in nats above chance; it can never "
         "exceed log K. It is a lower bound of a mutual information if the other keys may be of the query's own task. "
         "In training they are of other tasks or skills, so that it may be above that information: two tasks have at "
         "most log 2, but can be told apart perfectly."],
    )  # fmt: skip
    progress, without = progress_of(results)
    if not progress["sance_bound"].notna().any():
        reasons = list(_by_reason(without))
        if len(progress):
            reasons.append(f"no bound in the {PROGRESS_FILE} of {_some(list(progress['run'].unique()))}")
        section.missing = (
            f"There is {'; '.join(reasons)}. This needs runs of SaCCM, SaTESAC or CCM inside a folder of "
            "`rllib train`, trained for at least one update."
        )
        return section
    section.plots = [
        Plot("bound_in_training", "SaNCE objective (nats) during training over environment steps, beside log K: thin "
             "lines are runs, thick ones an agent's mean.", partial(figures.bound_in_training, progress)),
        Plot("bound_versus_keys", "The same estimator, with independent keys, on pairs of 8-dimensional Gaussians "
             "whose mutual information is known (horizontal lines, nats), with the best possible scores, for K = 2 to "
             "512 (bars: 95 % intervals over batches). It approaches the truth where log K is well above it; a "
             "contrast with less information to find, such as one within a task, needs fewer keys.",
             partial(figures.bound_versus_keys, gaussian_sweep())),
    ]  # fmt: skip
    return section


def provenance(results: Results) -> Section:
    """Where the results come from."""
    section = Section("provenance", "Provenance")
    parts = [{key: value for key, value in part.items() if key != "videos"} for part in results.parts]
    lists = dict.fromkeys(key for part in parts for key, value in part.items() if _is_table(value))
    plain = pd.DataFrame(
        [dict(row for key, value in part.items() if key not in lists for row in _flat(key, value)) for part in parts]
    )
    same = [name for name in plain if plain[name].nunique(dropna=False) == 1]
    if same:
        rows = pd.DataFrame({"what": same, "value": plain[same].iloc[0].to_list()})
        section.tables.append(Table("Where the results come from", rows))
    if len(same) < plain.shape[1]:
        caption = f"What differs between the {len(parts)} evaluations"
        section.tables.append(Table(caption, plain.drop(columns=same), folded=True))
    for key in lists:
        rows = pd.concat([pd.DataFrame(part[key]) for part in parts if _is_table(part.get(key))], ignore_index=True)
        caption = _words(key).capitalize()
        section.tables.append(Table(caption, rows.rename(columns=_words), folded=len(rows) > MAX_ROWS))
    if not section.tables:
        section.missing = "The results do not say where they come from. Those that `rllib evaluate --out` writes do."
    return section


def _levels(results: Results, environment: str, column: str) -> pd.DataFrame:
    """Returns the levels of the baselines beside the curve of a split's column."""
    what, _, split = column.partition("_mean_") if column.startswith("return") else column.partition("_rate_")
    episodes = results.episodes[results.episodes["environment"] == environment]
    return baselines.levels(episodes[episodes["split"] == split], results.parts, what)


def progress_of(results: Results) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the learning curves of all runs, and why some runs have none."""
    found = [pd.DataFrame(columns=["run", "return_mean", "sance_bound"])]
    without = dict.fromkeys(results.episodes["run"], f"no {PROGRESS_FILE} beside the checkpoint")
    checkpoints = [checkpoint for part in results.parts for checkpoint in part.get("checkpoints", [])]
    for checkpoint in checkpoints:
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
    return pd.concat(found[1:] or found, ignore_index=True), without


def _by_reason(without: dict[str, str]) -> dict[str, list[str]]:
    return {reason: [run for run in without if without[run] == reason] for reason in without.values()}


def _some(names: list[str]) -> str:
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _flat(key: str, value: Any) -> list[tuple[str, str]]:
    """Returns a nested value as rows of two texts; empty values are left out."""
    if isinstance(value, dict):
        return [row for name, inner in value.items() for row in _flat(f"{key}: {name}", inner)]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return [(_words(key), str(value))] if value not in ("", None) else []
