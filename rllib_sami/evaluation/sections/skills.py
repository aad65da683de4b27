"""Sections on skills that were found without a reward: where they lead, which goals they reach."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from rllib_sami.algorithms.skill_discovery.evaluation import GOALS, SKILLS
from rllib_sami.evaluation import contexts, paths, skill_figures, skill_tables, tables
from rllib_sami.evaluation.layout import Plot, Section, Table
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, short, without_only_environment
from rllib_sami.evaluation.sections.training import progress_of
from rllib_sami.evaluation.skill_figures import Walks

MAX_RUNS = 9  # that are drawn: each figure makes the page larger
_COLUMNS = {
    "seed": "training seed",
    "context": "skill",
    "explore": "explores",
    "state_coverage": "cells covered",
    "end_distance": "start to end",
    "return_mean": "mean return",
    "return_max": "highest return",
    "success_rate": "reached",
    "staying_time": "time near goals",
    "final_distance": "away at the end",
}
_CURVES = {
    "state_coverage_skills": "cells covered",
    "end_distance_skills": "distance from start to end",
    "staying_time_goals": "share of time near goals",
}


def split_off(results: Results) -> tuple[Results | None, Results | None]:
    """Returns the episodes of agents with skills, and all others; None where there are none."""
    if results.paths is None:
        return None, results
    is_one = results.episodes["split"].isin([SKILLS, GOALS]).to_numpy()
    parts = [results.take(np.flatnonzero(rows)) if rows.any() else None for rows in (is_one, ~is_one)]
    return parts[0], parts[1]


def coverage(results: Results) -> Section:
    """Where skills lead, one figure per environment, and the numbers of all runs."""
    section = Section("discovered_skills", "Skills", [
        "Each line is the path of one skill, played with the most likely actions; its colour is the skill. Panels have "
        "the same axes. Skills that differ spread, and neighbouring colours lead to neighbouring places. Cells covered "
        "counts the cells of space that all skills of a run together visit."
    ])  # fmt: skip
    table = skill_tables.per_run(results)
    for environment, runs, walks in _walks_by_environment(results, table, SKILLS):
        axes = "x over time" if walks[0].paths[0].shape[1] == 1 else "the plane of x and y"
        more = f" The first {MAX_RUNS} of {runs} runs." if runs > MAX_RUNS else ""
        caption = f"Paths of the skills on {environment}, in {axes}; dots are their ends.{more}"
        name = f"skills_{short(environment).lower()}"
        section.plots.append(Plot(name, caption, partial(skill_figures.skill_paths, walks)))
    usual = [key for key, value in (("context", "learned"), ("explore", False)) if (table[key] == value).all()]
    rewards = table[["return_mean", "return_max"]].any(axis=None)
    shown = table.assign(agent=table["algorithm"]).drop(
        columns=usual + ([] if rewards else ["return_mean", "return_max"])
    )
    shown = shown.sort_values(["environment", "agent", "seed"], key=tables.sort_key).dropna(axis="columns", how="all")
    shown = shown.rename(columns=_COLUMNS)
    columns = ["environment", "agent", *(name for name in _COLUMNS.values() if name in shown)]
    caption = f"{counted(len(table), 'run')}: {counted(table['skills'], 'skill')} and {counted(table['goals'], 'goal')}"
    section.tables.append(Table(caption, without_only_environment(shown[columns])))
    return section


def goals(results: Results) -> Section:
    """Goals that were not trained for, as a map."""
    section = Section("goals", "Goals, zero-shot", [
        "Goals are states at random places. At each step the agent plays the skill that leads from where it is to the "
        "goal, by its features of states; nothing was trained for these goals. Circles were reached (at any time), "
        "crosses were not."
    ])  # fmt: skip
    table = skill_tables.per_run(results)
    for environment, _, walks in _walks_by_environment(results, table[table["goals"] > 0], GOALS):
        caption = f"Goals on {environment}, within {walks[0].radius:g} of which they count as reached."
        name = f"goals_{short(environment).lower()}"
        section.plots.append(Plot(name, caption, partial(skill_figures.goal_map, walks)))
    if not section.plots:
        section.missing = "No goals were played: the method finds no skill for a goal, or the environment has none."
    return section


def features(results: Results) -> Section:
    """The learned features of states, coloured by position."""
    section = Section("features", "Features of states", [
        "What the representation makes of states along all paths, coloured by where the body was. Where features "
        "stand for places, colours change evenly across the figure."
    ])  # fmt: skip
    if results.contexts is None:
        section.missing = "There are no features of states."
        return section
    table = skill_tables.per_run(results)
    for row in _drawn(table.drop_duplicates(["algorithm", "environment"])):
        found = _features_of(results, row)
        if found is None:
            continue
        values, positions = found
        plane, axes_are = (values, "feature") if values.shape[1] == 2 else contexts.project(values, "pca")
        name = f"features_{row['algorithm']}_{short(str(row['environment']))}".lower()
        caption = f"{row['algorithm']} (run {row['run']}) on {row['environment']}: features of {len(values)} states"
        caption += "." if values.shape[1] == 2 else f", {axes_are} of {values.shape[1]}."
        draw = partial(skill_figures.feature_scatter, plane, positions, axes_are, str(row["algorithm"]))
        section.plots.append(Plot(name, caption, draw))
    if not section.plots:
        section.missing = "There are no features of states."
    return section


def training(results: Results) -> Section:
    """Coverage and goals during training, over environment steps and over CPU time."""
    section = Section("skill_learning", "Learning curves of skills")
    progress, _ = progress_of(results)
    environments = dict(zip(results.episodes["run"], results.episodes["environment"], strict=True))
    for environment, mine in progress.groupby(progress["run"].map(environments), sort=False):
        for column, label in _CURVES.items():
            for x, over in (("env_steps", "environment steps"), ("cpu_seconds", "CPU time of training")):
                if column not in mine or not mine.dropna(subset=[column]).get(x, pd.Series(dtype=float)).notna().any():
                    continue
                name = f"{column}_{short(str(environment))}_{x}".lower()
                caption = (
                    f"{label.capitalize()} over {over} on {environment}: mean over runs (their number in the legend), "
                    "and the range from the lowest to the highest run."
                )
                draw = partial(skill_figures.coverage_curves, mine, x, column, label)
                section.plots.append(Plot(name, caption, draw))
    if not section.plots:
        section.missing = "No run's folder has evaluations during training (`evaluation_interval`)."
    return section


def picture(results: Results) -> bytes | None:
    """Returns a figure of the skills of one run, PNG; None if nobody knows where they lead."""
    (row,) = _drawn(skill_tables.per_run(results))
    walks = walks_of(results, row, SKILLS)
    if not walks.paths:
        return None
    with io.BytesIO() as file:
        skill_figures.skill_paths([walks]).savefig(file, format="png", dpi=110)
        return file.getvalue()


def walks_of(results: Results, row: pd.Series, part: str) -> Walks:
    """Returns the paths of one run's skills, or to its goals."""
    rows = _rows_of(results, row, part)
    of_run = results.paths.take(rows)  # type: ignore[union-attr]
    found = [paths.path_of(one) for one in of_run.coordinates]
    known = np.array([len(path) > 0 for path in found], bool)
    number = f"{row['state_coverage']:,.0f} cells" if part == SKILLS else f"{row['success_rate']:.0%} reached"
    seed = f", seed {row['seed']}" if row["seed"] >= 0 else ""
    radius = skill_tables.sizes_of(results, str(row["environment"]))["goal_radius"]
    how = "" if row["context"] == "learned" else f", {row['context']} skill"
    how += ", exploring" if row["explore"] else ""
    title = f"{row['algorithm']}{seed}{how}: {number}"
    return Walks(title, [path for path in found if len(path)], of_run.skills[known], of_run.goals[known], radius)


def _walks_by_environment(results: Results, table: pd.DataFrame, part: str) -> Iterator[tuple[str, int, list[Walks]]]:
    """Yields each environment whose paths are known, its number of runs, and the paths of those that are drawn."""
    for environment, runs in table.groupby("environment", sort=False):
        walks = [one for one in (walks_of(results, row, part) for row in _drawn(runs)) if one.paths]
        if walks:
            yield str(environment), len(runs), walks


def _features_of(results: Results, row: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns features ``[n, d]`` and positions ``[n, k]`` of states along a run's paths; None without features."""
    rows = np.concatenate([_rows_of(results, row, part) for part in (SKILLS, GOALS)])
    assert results.contexts is not None
    values, steps = results.contexts.values[rows], results.contexts.steps
    coordinates = results.paths.take(rows).coordinates  # type: ignore[union-attr]
    wide = ~np.isnan(values).all(axis=(0, 1))
    if not wide.any() or not coordinates.size:
        return None
    positions = coordinates[:, np.minimum(steps, coordinates.shape[1] - 1)]
    values, positions = values[..., wide].reshape(-1, wide.sum()), positions.reshape(-1, positions.shape[-1])
    positions = positions[:, ~np.isnan(positions).all(axis=0)]
    known = ~(np.isnan(values).any(axis=1) | np.isnan(positions).any(axis=1))
    return (values[known], positions[known]) if values.shape[1] > 1 and known.sum() > 2 else None


def _rows_of(results: Results, row: pd.Series, part: str) -> np.ndarray:
    episodes = results.episodes
    mine = episodes["split"] == part
    for key in ("run", "environment", "context", "explore"):
        mine &= episodes[key] == row[key]
    return np.flatnonzero(mine)


def _drawn(table: pd.DataFrame) -> list[pd.Series]:
    """Returns the runs that are drawn."""
    ordered = table.sort_values(["algorithm", "seed"], key=tables.sort_key, kind="stable")
    return [row for _, row in ordered.head(MAX_RUNS).iterrows()]
