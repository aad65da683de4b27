"""Sections on contexts: where they lie, how fast they settle, which tasks have similar ones."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rllib_sami.evaluation import contexts, figures, tables
from rllib_sami.evaluation.layout import Plot, Section, Table
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, short
from rllib_sami.evaluation.task_words import factor_values

NO_CONTEXTS = (
    "The results hold no contexts. `rllib evaluate` saves those of SaCCM, SaTESAC, CCM and TESAC (embeddings.npz "
    "beside results.parquet)."
)
MAX_FACTORS = 3  # that contexts are coloured by
MAX_TSNE = 8  # agents whose contexts are drawn by t-SNE, too: it is slow, and each figure makes the page larger
_COLUMNS = {
    "neighbour_accuracy": "task from neighbours",
    "chance": "by chance",
    "silhouette_skill": "silhouette by skill",
    "silhouette": "silhouette by task",
    "episodes": "n",
}


def embeddings(results: Results) -> Section:
    """Projections, and numbers that do not depend on them."""
    section = Section(
        "contexts",
        "Contexts",
        ["The last context of each episode. A plane shows only part of them, so there are numbers: silhouette (1: "
         "contexts of a task lie apart from all others; 0: they overlap), how often the nearest other episodes tell "
         "the task, and R² of a linear probe to the true factors on tasks held out from it (1: perfect; 0 or less: "
         "nothing; far below 0: it is misleading on tasks unlike those it was fitted to). Contexts of different runs "
         "cannot be compared, so one run per agent is drawn."],
        _missing(results),
    )  # fmt: skip
    if section.missing:
        return section
    drawn = _first_runs(results)
    for algorithm, run in drawn:
        episodes, values = contexts.of_run(results, run)
        final = contexts.final_contexts(values)
        if len(final) < 3:
            continue
        colours = _colours(episodes)
        for method in ("pca", "tsne")[: 2 if len(drawn) <= MAX_TSNE else 1]:
            points, axes_are = contexts.project(final, method)
            section.plots.append(
                Plot(f"contexts_{algorithm.lower().replace(', ', '_')}_{method}",
                     f"{algorithm} (run {run}): last context of each of {len(final)} episodes, {axes_are}; coloured by "
                     f"{', '.join(str(colour.name) for colour in colours)}."
                     + (" Distances between groups mean nothing in t-SNE." if method == "tsne" else ""),
                     partial(figures.context_scatter, points, colours, axes_are, algorithm))
            )  # fmt: skip
    table = contexts.describe(results).sort_values("algorithm", key=tables.sort_key, kind="stable")
    if (table["episodes"] < contexts.PROBE_EPISODES * table["dimensions"]).any():
        section.notes = [
            f"R² is left out for runs with fewer than {contexts.PROBE_EPISODES} episodes per context dimension: a "
            "probe fitted to so few says more about chance than about the context."
        ]
    columns = _COLUMNS | {name: f"R² {name.removeprefix('r2_')}" for name in table if name.startswith("r2_")}
    section.tables.append(Table("Contexts in numbers", table.rename(columns=columns).dropna(axis="columns", how="all")))
    return section


def settling(results: Results) -> Section:
    """How fast the context settles within an episode."""
    section = Section(
        "settling",
        "How fast the context settles",
        ["Left: mean distance to the episode's last context, in units of the mean distance between two episodes. "
         "The scale is logarithmic if the distances of one agent would flatten those of another. Right: how often the "
         "nearest other episodes tell the task from the context of that step."],
        _missing(results),
    )  # fmt: skip
    if section.missing:
        return section
    played = results.episodes.drop_duplicates("run").set_index("run")[["algorithm", "environment"]]
    for environment, mine in played.loc[contexts.runs_with_contexts(results)].groupby("environment", sort=False):
        found = [contexts.settling(results, run).assign(agent=agent) for run, agent in mine["algorithm"].items()]
        table, number = pd.concat(found), counted(len(mine), "run")
        number += ", mean per agent" if len(mine) > mine["algorithm"].nunique() else ""
        section.plots.append(
            Plot(f"settling_{short(str(environment)).lower()}",
                 f"Settling of the context over environment steps on {environment}, {number} "
                 f"({counted(table['episodes'], 'episode')} each at a step); bands: 95 % intervals over episodes.",
                 partial(figures.context_settling, table))
        )  # fmt: skip
    return section


def skills(results: Results) -> Section:
    """Clusters of contexts: which tasks have similar ones."""
    section = Section(
        "skills",
        "Tasks with similar contexts",
        ["Contexts grouped by k-means, with the number of groups that has the highest silhouette. The groups say which "
         "tasks look alike to the agent; whether it does the same on them can be seen in the returns, the skills and "
         "the videos. The typical episode is the one nearest to the group's centre. Videos can be filtered by group, "
         "and to one that is typical of each."],
        _missing(results),
    )  # fmt: skip
    for algorithm, run in [] if section.missing else _first_runs(results):
        episodes, score = contexts.clusters_of(results, run)
        rows = [_cluster(number, mine) for number, mine in episodes.groupby("cluster")]
        quality = f"silhouette {score:.2f}" if score == score else "no structure that would tell two groups apart"
        caption = f"{algorithm} (run {run}): {counted(len(rows), 'group')} of {counted(len(episodes), 'episode')}"
        section.tables.append(Table(f"{caption}, {quality}", pd.DataFrame(rows).dropna(axis="columns", how="all")))
    return section


def _missing(results: Results) -> str:
    """Returns why contexts would show nothing here, or an empty string."""
    runs = contexts.runs_with_contexts(results)
    if not runs:
        return NO_CONTEXTS
    mine = results.episodes[results.episodes["run"].isin(runs)].groupby("run")
    if mine.size().min() < 3:
        return "There are too few episodes: this needs at least three of each run."
    if mine[["split", "task_id"]].apply(lambda tasks: len(tasks.drop_duplicates())).max() < 2:
        return "There is only one task, so contexts cannot be compared between tasks."
    return ""


def _colours(episodes: pd.DataFrame) -> list[pd.Series]:
    """Returns what the contexts of one environment's episodes may depend on."""
    found = [episodes["split"]] if episodes["split"].nunique() > 1 else []
    found += factor_values(episodes, episodes["environment"].iloc[0])[:MAX_FACTORS]
    if episodes["skill"].notna().any():
        found.append(episodes["skill"])
    return [*found, episodes["return"]]


def _cluster(number: int, mine: pd.DataFrame) -> dict[str, object]:
    counts = contexts.task_labels(mine).value_counts(sort=False)
    skills = mine["skill"].value_counts(normalize=True)
    central = mine.loc[mine["distance"].idxmin()]
    return {
        "group": number + 1,
        "episodes": len(mine),
        "tasks (episodes)": ", ".join(f"{task} ({count})" for task, count in counts.items()),
        "commonest skill": f"{skills.index[0]} ({skills.iloc[0]:.0%})" if len(skills) else None,
        "mean return": mine["return"].mean(),
        "success": mine["success"].astype("float64").mean(),
        "typical episode": f"{central['split']}, task {central['task_id']}, episode {central['episode']}",
    }


def _first_runs(results: Results) -> list[tuple[str, str]]:
    """Returns each algorithm with the first of its runs that has contexts, per environment."""
    rows = results.episodes[results.episodes["run"].isin(contexts.runs_with_contexts(results))]
    first = rows.drop_duplicates(["algorithm", "environment"])
    first = first.sort_values(["environment", "algorithm"], key=tables.sort_key)
    several = first["environment"].nunique() > 1
    names = [f"{row.algorithm}, {short(row.environment)}" if several else row.algorithm for row in first.itertuples()]
    return list(zip(names, first["run"], strict=True))
