"""Sections on how well agents do: per split and per task."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rllib_sami.evaluation import baselines, figures, tables
from rllib_sami.evaluation.layout import NOTHING, Plot, Section, Table, text, with_interval
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.paper import paper_results
from rllib_sami.evaluation.results import TASK, Results
from rllib_sami.evaluation.sections.common import counted, is_paper, measures, unit_in_words, without_only_environment
from rllib_sami.evaluation.task_words import class_of, task_values

BOOTSTRAP = " with 95 % stratified bootstrap intervals over runs"
_T_TEST_COLUMNS = {
    **{"x": "agent", "y": "other", "mean_x": "mean", "mean_y": "other's mean", "t": "Welch's t"},
    **{"student_t": "Student's t", "student_df": "its df", "student_p": "its p"},
}


def splits(results: Results) -> Section:
    """IQM bars per split, and all aggregates, comparisons and tests behind them."""
    episodes = results.episodes
    several = episodes["split"].nunique() > 1
    section = Section(
        "splits",
        "Generalisation by split" if several else "Scores",
        ["The interquartile mean (IQM) leaves out the best and the worst quarter of all runs and tasks: it is as "
         "robust as a median and wastes less data."
         + several * " The step from the training tasks outwards is the generalisation gap."],
    )  # fmt: skip
    for value in measures(results):
        table, title = tables.per_split(episodes, value), value.capitalize()
        unit = table["normalised_by"].iloc[0]
        # Baselines are not known per task, so not in units of a reference.
        levels = baselines.levels(episodes if tables.is_raw(unit) else episodes.iloc[:0], results.parts, value)
        lines = f" Lines: the means of {', '.join(dict.fromkeys(levels['baseline']))}, measured beforehand."
        intervals = BOOTSTRAP if table["low"].notna().any() else ""
        where = " of all environments together" if tables.ALL_ENVIRONMENTS in set(table["environment"]) else ""
        caption = (
            f"IQM of the {value} per split{intervals} (n = {counted(table['runs'], 'run')} per agent on "
            f"{counted(table['tasks'], 'task')} per split{where}). {unit_in_words(unit)}{lines if len(levels) else ''}"
        )
        section.plots.append(Plot(f"iqm_{value}", caption, partial(figures.iqm_bars, table, levels=levels)))
        section.tables.append(Table(f"{title}: aggregates{intervals}", _aggregates(table, levels)))
        section.missing = _single_runs(table)
        improvements = tables.improvements(episodes, value)
        if len(improvements):
            caption = (
                f"{title}: probability that a run of one agent beats one of another, on a task of the split (a tie "
                "counts one half)"
            )
            shown = improvements.assign(probability=_cells(improvements, "probability")).drop(columns=["low", "high"])
            shown = without_only_environment(shown).rename(columns={"x": "agent", "y": "beats"})
            section.tables.append(Table(caption, shown, folded=True))
        tests = tables.t_tests(episodes, value)
        if tests["p"].notna().any():
            caption = (
                f"{title}: t-tests on the runs' means over tasks (two-sided, not corrected for the {len(tests)} "
                "comparisons)"
            )
            shown = without_only_environment(tests).rename(columns=_T_TEST_COLUMNS)
            section.tables.append(Table(caption, shown, folded=True))
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
        section.missing = "There is only one agent, and no other to compare it with."
        return section
    for value in measures(results):
        table = tables.profiles(results.episodes, value)
        caption = (
            f"Fraction of runs and tasks whose mean {value} exceeds the score on the horizontal axis. "
            f"{unit_in_words(table['normalised_by'].iloc[0])} Bands: pointwise 95 % stratified bootstrap intervals "
            "over runs, where an agent has several."
        )
        section.plots.append(Plot(f"profile_{value}", caption, partial(figures.performance_profiles, table)))
    return section


def tasks(results: Results) -> Section:
    """Means per task, and per split beside the paper's."""
    section, paper = Section("tasks", "Task by task"), is_paper(results)
    if results.episodes.drop_duplicates(TASK)["environment"].is_unique and not paper:
        section.missing = "There is only one task; its mean is among the scores."
        return section
    values = task_values(results.episodes)
    for value in measures(results):
        table = tables.per_task(results.episodes, value)
        wide = _one_column_each(table.assign(cell=_cells(table, "mean")), TASK, "agent")
        wide = wide[order(wide.columns)]
        front = wide.index.to_frame(index=False)
        front["values"] = [values.get(tuple(key), "") for key in front.itertuples(index=False)]
        if not front["values"].any():
            front = front.drop(columns="values")
        if paper:  # published are means over a split's tasks
            front = front.drop(columns="task_id")
        front = without_only_environment(front.rename(columns={"task_id": "task"}))
        n = counted(table["runs"], "run")
        n += "" if paper else f", {counted(table['episodes'], 'episode')} per agent and task"
        over = ", ".join(sorted(table["interval_over"].unique()))
        per = "split" if paper else "task"
        caption = f"Mean {value} per {per} with 95 % interval (Student's, over {over}; n = {n})"
        section.tables.append(Table(caption, pd.concat([front, wide.reset_index(drop=True)], axis=1)))
    if paper:
        section.notes = [COMPARABILITY]
        return section
    shortened = _shortened(results)
    beside = _beside_paper(results.episodes[~results.episodes["environment"].isin(list(shortened))])
    if len(beside):
        caption = "Mean return per split, beside the paper's (mean ± standard deviation of five seeds)"
        section.tables.append(Table(caption, beside))
        section.notes = [COMPARABILITY]
    elif not shortened:
        section.notes = ["The paper has no returns for these environments and algorithms to put beside these."]
    section.notes = [*section.notes, *shortened.values()]
    return section


COMPARABILITY = (
    "The paper's numbers are for orientation and not a target: its ± is a standard deviation over five training seeds, "
    "ours an interval of the mean; its task sets are not known in full for every environment; its simulation scales "
    "masses without inertias and has no contact costs; its training lasts 0.5 to 5 million steps for each task group; "
    "and a few of its published numbers occur twice where that is unlikely (HalfCheetah, seed 103; "
    "CrippledHalfCheetah, seed 104). The ± of its Panda table is a spread over cells and seeds, and about 7.5 % of its "
    "Panda episodes begin with the cube at the goal."
)


def _shortened(results: Results) -> dict[str, str]:
    """Returns the environments whose episodes had another limit than their own, with a sentence on each."""
    found = {}
    for part in results.parts:
        for environment, limit in (part.get("max_steps") or {}).items():
            usual = getattr(class_of(environment), "default_max_steps", None)
            if None not in (limit, usual) and limit != usual:
                found[environment] = (
                    f"The paper's returns are left out for {environment}: episodes end after {limit:,} steps here and "
                    f"after {usual:,} in the environment as it is, so their sums of rewards cannot be compared."
                )
    return found


def _beside_paper(episodes: pd.DataFrame) -> pd.DataFrame:
    if episodes.empty:
        return episodes
    keys = ["environment", "split", "agent"]
    published = paper_results().episodes.rename(columns={"algorithm": "agent"})
    published = published.groupby(keys)["return"].agg(["mean", "std"]).reset_index()
    ours = tables.per_split(episodes, "return", reference=None).query("statistic == 'mean'")
    both = ours.merge(published, on=keys)
    here = _cells(both, "estimate")
    paper = [f"{text(mean)} ± {text(std)}" for mean, std in zip(both["mean"], both["std"], strict=True)]
    return without_only_environment(both[keys].assign(**{"here [95 % interval]": here, "paper": paper}))


def _single_runs(table: pd.DataFrame) -> str:
    """Returns a warning about agents that have a single run, or an empty string."""
    single = list(dict.fromkeys(table.loc[table["runs"] == 1, "agent"]))
    if not single:
        return ""
    return (
        f"Only one training run of each: {', '.join(single)}. It says nothing about other seeds, so intervals over "
        "runs and t-tests are left out, and a difference between agents may be chance. Train three or more seeds of "
        "each."
    )


def _aggregates(table: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per agent and split, and below them one for each level there."""
    keys = ["environment", "split", "agent"]
    wide = _one_column_each(table.assign(cell=_cells(table, "estimate")), keys, "statistic")
    wide = wide[table["statistic"].unique()].reset_index()
    below = levels.rename(columns={"baseline": "agent"}).merge(wide[keys[:2]].drop_duplicates())
    wide = pd.concat([wide, below.assign(mean=below["mean"].map(text))], ignore_index=True).fillna(NOTHING)
    return without_only_environment(wide.sort_values(keys[:2], key=tables.sort_key, kind="stable"))


def _cells(table: pd.DataFrame, column: str) -> list[str]:
    """Returns an estimate and its interval per row, as text."""
    return [with_interval(*row) for row in table[[column, "low", "high"]].itertuples(index=False)]


def _one_column_each(table: pd.DataFrame, keys: list[str], column: str) -> pd.DataFrame:
    """Returns the texts in ``cell`` with a row per combination of keys, in their order, and a column per value."""
    wide = table.pivot(index=keys, columns=column, values="cell")
    return wide.reindex(pd.MultiIndex.from_frame(table[keys].drop_duplicates())).fillna(NOTHING)
