"""Sections on tasks that belong to families: how they are met, and what is inferred of them."""

from __future__ import annotations

from functools import partial

import numpy as np

from rllib_sami.evaluation import contexts, track_tables, tracking_figures
from rllib_sami.evaluation.layout import Plot, Section, Table
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, short, without_only_environment
from rllib_sami.evaluation.track_tables import Segment
from rllib_sami.evaluation.tracking_figures import Latents

MAX_LATENTS = 800  # that are drawn of an agent
LATENTS_PER_TASK = 4
_COLUMNS = {
    "success": "within 25 %",
    "error": "median error",
    "return": "mean return",
    "right": "right family",
}


def tracking(results: Results) -> Section:
    """How near bodies come to what tasks ask for."""
    section = Section("tracking", "Tracking", [
        "A task asks for a value of a quantity. Errors are relative to this value, and averaged over the last quarter "
        "of the steps with the task; where a step of the agent is a stride of the body, at the ends of strides. "
        "`within 25 %` is the share of tasks with a smaller error, `right family` the share of all steps at which the "
        "family of the task was inferred rightly."
    ])  # fmt: skip
    tasks = track_tables.by_task(results)
    table = track_tables.per_quantity(tasks)
    if table["right"].isna().all():
        table = table.drop(columns="right")
    caption = "Errors and returns by quantity"
    section.tables.append(Table(caption, without_only_environment(table.rename(columns=_COLUMNS))))
    for environment, mine in tasks.groupby("environment", sort=False):
        caption = f"Errors on {short(str(environment))}, of {counted(len(mine), 'task')}. Dotted: 25 %."
        draw = partial(tracking_figures.error_boxes, mine)
        section.plots.append(Plot(f"errors_{short(str(environment))}".lower(), caption, draw))
    lengths: dict[str, np.ndarray] = {}
    for agent, environment, run, found in track_tables.by_agent(results):
        name, whose = _file_name(agent, environment), f"{agent} on {short(environment)}"
        strides = track_tables.strides(found)
        if strides.max() > 1:
            lengths[whose] = strides
        if all(segment.begins == 0 for segment in found):
            split, shown = track_tables.shown_split(results, found), track_tables.chosen(results, found)
            caption = (
                f"{whose} (run {run}): the first episode of {counted(len(shown), 'task')} of the split {split}. "
                "Dashed: what the task asks for."
            )
            draw = partial(tracking_figures.trajectories, shown, whose, _steps_are(found))
            section.plots.append(Plot(f"trajectories_{name}", caption, draw))
        else:
            section.plots.append(_changing_episode(whose, name, run, found))
    section.plots += _after_changes(results)
    if lengths:
        caption = "How many steps of the body strides have, first run of each agent. Dashed: the mean."
        section.plots.append(Plot("strides", caption, partial(tracking_figures.stride_histogram, lengths)))
    return section


def inference(results: Results) -> Section:
    """What is inferred of tasks: families and latents."""
    section = Section("inferred_tasks", "Inferred tasks")
    found = {
        f"{agent} on {short(environment)}": (run, mine)
        for agent, environment, run, mine in track_tables.by_agent(results)
    }
    shares = {whose: track_tables.confusion(mine) for whose, (_, mine) in found.items()}
    shares = {whose: table for whose, table in shares.items() if len(table)}
    if shares:
        caption = (
            "Shares of steps at which each family was inferred, in the second half of the steps with a task; rows are "
            "the true families. First run of each agent."
        )
        section.plots.append(Plot("families", caption, partial(tracking_figures.confusion_matrices, shares)))
    sources = _sources(results)
    for number, source in enumerate(dict.fromkeys(sources.get(run, run) for run, _ in found.values())):
        mine = {whose: one for whose, (run, one) in found.items() if sources.get(run, run) == source}
        section.plots += _latent_planes(mine, number)
    if not section.plots:
        section.missing = "Nobody infers the families of tasks, or latents of them, in these episodes."
    return section


def _changing_episode(whose: str, name: str, run: str, found: list[Segment]) -> Plot:
    """Returns the figure of the episode whose tasks are of the most families."""
    episodes = list(dict.fromkeys(segment.episode for segment in found))
    by_episode = {episode: [one for one in found if one.episode == episode] for episode in episodes}
    best = max(episodes, key=lambda episode: len({one.family for one in by_episode[episode]}))
    caption = f"{whose} (run {run}): an episode whose task changes at the vertical lines. Dashed: what tasks ask for."
    if any(len(one.is_right()) for one in by_episode[best]):
        caption += " Along the lower edge of the first panel: the family that was inferred."
    return Plot(
        f"changes_{name}",
        caption,
        partial(tracking_figures.changing_episode, by_episode[best], whose, _steps_are(found)),
    )


def _after_changes(results: Results) -> list[Plot]:
    """Returns a figure for each environment."""
    by_environment: dict[str, dict[str, list[Segment]]] = {}
    for agent, environment, _, found in track_tables.by_agent(results):
        by_environment.setdefault(environment, {})[agent] = found
    plots = []
    for environment, agents in by_environment.items():
        lines = {agent: track_tables.since_change(found) for agent, found in agents.items()}
        caption = (
            f"How fast tasks are met on {short(environment)}: median over "
            f"{counted(max(map(len, agents.values())), 'task')} played by the first run of each agent. Dotted: 25 %."
        )
        steps_are = _steps_are([one for found in agents.values() for one in found])
        draw = partial(tracking_figures.after_changes, lines, steps_are)
        plots.append(Plot(f"since_change_{short(environment)}".lower(), caption, draw))
    return plots


def _latent_planes(found: dict[str, list[Segment]], number: int) -> list[Plot]:
    """Returns latents of one agent that infers, wherever it does, in two projections that all panels share."""
    kept: dict[str, tuple[np.ndarray, ...]] = {}
    for whose, mine in found.items():
        rows = [(one, at) for one in mine for at in _rows_with_latents(one)]
        if len(rows) > MAX_LATENTS:
            rows = [rows[at] for at in np.linspace(0, len(rows) - 1, MAX_LATENTS).astype(int)]
        if rows:
            latents = np.stack([one.latents[at] for one, at in rows])
            latents = latents[:, ~np.isnan(latents).any(axis=0)]
            told = [(one.family, one.wanted, one.clusters[at]) for one, at in rows]
            kept[whose] = (latents, *map(np.array, zip(*told, strict=True)))
    every = np.concatenate([latents for latents, *_ in kept.values()]) if kept else np.zeros((0, 1))
    if len(every) < 3 or not np.ptp(every, axis=0).any():
        return []
    plots = []
    for method in ("pca", "tsne"):
        points, axes_are = contexts.project(every, method)
        parts = np.split(points, np.cumsum([len(latents) for latents, *_ in kept.values()])[:-1])
        planes = [Latents(whose, part, *told) for (whose, (_, *told)), part in zip(kept.items(), parts, strict=True)]
        caption = (
            f"Latents in the second half of the steps with a task, {axes_are}: {counted(len(every), 'latent')} of one "
            "encoder. Colours are the true families; the larger the wanted value, the stronger the colour."
            + (" Distances between groups mean nothing in t-SNE." if method == "tsne" else "")
        )
        further = f"_{number + 1}" if number else ""
        draw = partial(tracking_figures.latent_planes, planes, axes_are)
        plots.append(Plot(f"latents_{method}{further}", caption, draw))
        if method == "pca" and (purities := _purities(found)):
            caption = f"The same latents, by cluster of the mixture that is their prior. {purities}"
            draw = partial(tracking_figures.cluster_planes, planes, axes_are)
            plots.append(Plot(f"clusters{further}", caption, draw))
    return plots


def _rows_with_latents(segment: Segment) -> list[int]:
    """Returns some rows of the second half that have latents, at equal distances."""
    rows = np.flatnonzero(segment.second_half() & ~np.isnan(segment.latents).all(axis=1))
    return [int(rows[at]) for at in np.unique(np.linspace(0, len(rows) - 1, LATENTS_PER_TASK).astype(int)) if len(rows)]


def _purities(found: dict[str, list[Segment]]) -> str:
    """Returns a sentence on the clusters of each agent's latents; empty if there are none."""
    told = {whose: track_tables.clusters(mine) for whose, mine in found.items()}
    words = [
        f"{whose}: {counted(number, 'cluster')}, in which {purity:.1%} are of their cluster's most frequent family."
        for whose, (number, purity) in told.items()
        if number
    ]
    return " ".join(words)


def _sources(results: Results) -> dict[str, str]:
    """Returns by run the path of the agent whose latents were kept."""
    checkpoints = [one for part in results.parts for one in part.get("checkpoints", [])]
    return {one["run"]: one.get("toy", one["path"]) for one in checkpoints}


def _steps_are(found: list[Segment]) -> str:
    return "steps of the body" if track_tables.strides(found).max() > 1 else "steps"


def _file_name(agent: str, environment: str) -> str:
    return f"{agent}_{short(environment)}".lower().replace(", ", "_")
