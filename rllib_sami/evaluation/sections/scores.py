"""Sections on how well agents do: per split and per task."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rllib_sami.evaluation import baselines, figures, tables
from rllib_sami.evaluation.layout import NOTHING, Plot, Section, Table, text, with_interval
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.paper import paper_results
from rllib_sami.evaluation.results import TASK, Results
from rllib_sami.evaluation.sections.common import (
    counted,
    is_paper,
    measures,
    parts,
    span,
    unit_in_words,
    without_only_environment,
)
from rllib_sami.evaluation.task_words import class_of, task_values

BOOTSTRAP = " with 95 % stratified bootstrap intervals over runs"


def splits(results: Results) -> Section:
    """IQM bars per split, and every aggregate, comparison and test behind them."""
    several = results.episodes["split"].nunique() > 1
    section = Section(
        "splits",
        "Generalisation by split" if several else "Scores",
        ["The interquartile mean (IQM) leaves out the best and the worst quarter of all runs and tasks: it is as "
         "robust as a median and wastes less."
         + several * " The step from the training tasks outwards is the generalisation gap."],
    )  # fmt: skip
    for value in measures(results):
        table = tables.per_split(results.episodes, value)
        unit = table["normalised_by"].iloc[0]
        raw = unit.startswith("nothing")  # baselines are not known per task, so not in units of a reference
        levels = baselines.levels(results.episodes if raw else results.episodes.iloc[:0], parts(results), value)
        intervals = BOOTSTRAP if table["low"].notna().any() else ""
        runs, tasks = (span(table[name]) for name in ("runs", "tasks"))
        where = " of all environments together" if tables.ALL_ENVIRONMENTS in set(table["environment"]) else ""
        section.plots.append(
            Plot(
                f"iqm_{value}",
                f"IQM of the {value} per split{intervals} (n = {counted(runs, 'run')} per agent on "
                f"{counted(tasks, 'task')} per split{where}). {unit_in_words(unit)}"
                + bool(len(levels))
                * f" Lines: the means of {_listed(levels['baseline'])}, measured beforehand.",
                partial(figures.iqm_bars, table, levels=levels),
            )
        )
        section.tables.append(Table(f"{value.capitalize()}: aggregates{intervals}", _aggregates(table, levels)))
        section.missing = _single_runs(table)
        improvements = tables.improvements(results.episodes, value)
        if len(improvements):
            section.tables.append(
                Table(f"{value.capitalize()}: probability that a run of one agent beats one of another, on a task of "
                      "the split (a tie counts one half)", _improvements(improvements), folded=True)
            )  # fmt: skip
        tests = tables.t_tests(results.episodes, value)
        if tests["p"].notna().any():
            section.tables.append(
                Table(f"{value.capitalize()}: t-tests on the runs' means over tasks (two-sided, not corrected for the "
                      f"{len(tests)} comparisons)", _t_tests(tests), folded=True)
            )  # fmt: skip
        if unit.startswith("TESAC"):
            section.notes = ["The uncertainty of the reference (TESAC) is in no interval."]
    return section


def profiles(results: Results) -> Section:
    """Performance profiles."""
    section = Section(
        "profiles",
        "Performance profiles",
        ["How many runs reach a score, for every score: a curve above another at all scores is better without "
         "qualification; curves that cross say that one agent is better on some tasks only."],
    )  # fmt: skip
    if tables.agents(results.episodes).nunique() == 1:
        section.missing = "There is one agent only, and nothing to compare it with. Results of others would give them."
        return section
    for value in measures(results):
        table = tables.profiles(results.episodes, value)
        section.plots.append(
            Plot(
                f"profile_{value}",
                f"Fraction of runs and tasks whose mean {value} exceeds the score on the horizontal axis. "
                f"{unit_in_words(table['normalised_by'].iloc[0])} Bands: pointwise 95 % stratified bootstrap intervals "
                "over runs, where an agent has several.",
                partial(figures.performance_profiles, table),
            )
        )
    return section


def tasks(results: Results) -> Section:
    """Means per task, and beside the paper's per split."""
    section = Section("tasks", "Task by task")
    if results.episodes.drop_duplicates(TASK)["environment"].is_unique and not is_paper(results):
        section.missing = "There is one task only. Its mean is among the scores."
        return section
    values = task_values(results.episodes)
    for value in measures(results):
        table = tables.per_task(results.episodes, value)
        over = ", ".join(sorted(table["interval_over"].unique()))
        cell = [with_interval(*row) for row in table[["mean", "low", "high"]].itertuples(index=False)]
        wide = table.assign(cell=cell).pivot(index=["environment", "split", "task_id"], columns="agent", values="cell")
        wide = wide.reindex(pd.MultiIndex.from_frame(table[wide.index.names].drop_duplicates())).fillna(NOTHING)
        wide = wide[order(wide.columns)]
        front = wide.index.to_frame(index=False)
        front.insert(3, "values", [values.get(tuple(key), "") for key in front.itertuples(index=False)])
        if not front["values"].any():
            front = front.drop(columns="values")
        if is_paper(results):  # published are means over a split's tasks
            front = front.drop(columns="task_id")
        front = without_only_environment(front.rename(columns={"task_id": "task"}))
        shown = pd.concat([front, wide.reset_index(drop=True)], axis=1)
        of = "split" if is_paper(results) else "task"
        n = f"n = {counted(span(table['runs']), 'run')}" + (
            "" if is_paper(results) else f", {counted(span(table['episodes']), 'episode')} per agent and task"
        )
        section.tables.append(Table(f"Mean {value} per {of} with 95 % interval (Student's, over {over}; {n})", shown))
    if is_paper(results):
        section.notes = [COMPARABILITY]
        return section
    shortened = _shortened(results)
    beside = _beside_paper(results.episodes[~results.episodes["environment"].isin(list(shortened))])
    if len(beside):
        section.tables.append(Table("Mean return per split, beside the paper's (mean ± standard deviation of five "
                                    "seeds)", beside))  # fmt: skip
        section.notes = [COMPARABILITY]
    elif not shortened:
        section.notes = ["The paper has no returns for these environments and algorithms to put beside these."]
    section.notes = [*section.notes, *shortened.values()]
    return section


COMPARABILITY = (
    "The paper's numbers are for orientation and no target: its ± is a standard deviation over five training seeds, "
    "ours an interval of the mean; its task sets are not known in full for every environment; its simulation scales "
    "masses without inertias and has no contact costs; its training lasts 0.5 to 5 million steps for each task group; "
    "and a few of its published numbers occur twice where that is unlikely (HalfCheetah, seed 103; "
    "CrippledHalfCheetah, seed 104). The ± of its Panda table is a spread over cells and seeds, and about 7.5 % of its "
    "Panda episodes begin with the cube at the goal."
)


def _shortened(results: Results) -> dict[str, str]:
    """Returns the environments whose episodes had another cap than their own, with a sentence on each."""
    found = {}
    for part in parts(results):
        for environment, cap in (part.get("max_steps") or {}).items():
            usual = getattr(class_of(environment), "default_max_steps", None)
            if None not in (cap, usual) and cap != usual:
                found[environment] = (
                    f"The paper's returns are left out for {environment}: episodes end after {cap:,} steps here and "
                    f"after {usual:,} in the environment as it is, so their sums of rewards do not compare."
                )
    return found


def _beside_paper(episodes: pd.DataFrame) -> pd.DataFrame:
    if episodes.empty:
        return episodes
    published = paper_results().episodes.groupby(["environment", "split", "algorithm"])["return"].agg(["mean", "std"])
    ours = tables.per_split(episodes, "return", reference=None)
    rows = []
    for row in ours[ours["statistic"] == "mean"].itertuples(index=False):
        key = (row.environment, row.split, row.agent)
        if key in published.index:
            mean, std = published.loc[key]
            rows.append((row.environment, row.split, row.agent, with_interval(row.estimate, row.low, row.high),
                         f"{text(float(mean))} ± {text(float(std))}"))  # fmt: skip
    table = pd.DataFrame(rows, columns=["environment", "split", "agent", "here [95 % interval]", "paper"])
    return without_only_environment(table)


def _single_runs(table: pd.DataFrame) -> str:
    """Returns a warning of the agents that have one run only, or nothing."""
    single = list(dict.fromkeys(table.loc[table["runs"] == 1, "agent"]))
    if not single:
        return ""
    return (
        f"One training run only: {', '.join(single)}. That says nothing about another seed, so intervals over runs and "
        "t-tests are left out, and a difference between agents may be chance. Three or more seeds of each would give "
        "them."
    )


def _aggregates(table: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per agent and split, and after them one for each level there."""
    cells = [with_interval(*row) for row in table[["estimate", "low", "high"]].itertuples(index=False)]
    keys = ["environment", "split", "agent"]
    wide = table.assign(cell=cells).pivot(index=keys, columns="statistic", values="cell")
    wide = wide.reindex(pd.MultiIndex.from_frame(table[keys].drop_duplicates()))[
        table["statistic"].unique()
    ].reset_index()
    below = levels.rename(columns={"baseline": "agent"}).merge(wide[keys[:2]].drop_duplicates())
    wide = pd.concat([wide, below.assign(mean=below["mean"].map(text))], ignore_index=True).fillna(NOTHING)
    return without_only_environment(wide.sort_values(keys[:2], key=tables.sort_key, kind="stable"))


def _listed(names: pd.Series) -> str:
    return ", ".join(dict.fromkeys(names))


def _improvements(table: pd.DataFrame) -> pd.DataFrame:
    cells = [with_interval(*row) for row in table[["probability", "low", "high"]].itertuples(index=False)]
    shown = table[["environment", "split", "x", "y"]].assign(probability=cells)
    return without_only_environment(shown).rename(columns={"x": "agent", "y": "beats"})


def _t_tests(table: pd.DataFrame) -> pd.DataFrame:
    names = {"x": "agent", "y": "other", "mean_x": "mean", "mean_y": "other's mean", "t": "Welch's t",
             "student_t": "Student's t", "student_df": "its df", "student_p": "its p"}  # fmt: skip
    return without_only_environment(table).rename(columns=names)
