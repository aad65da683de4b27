"""The section on sub-tasks: which were done, and when."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami.evaluation import subtask_figures, tables
from rllib_sami.evaluation.layout import Plot, Section, Table
from rllib_sami.evaluation.results import SUBTASK, Results, subtask_columns
from rllib_sami.evaluation.sections.common import counted, inner, short, without_only_environment

MOST_EPISODES = 20  # that are drawn of an agent


def timelines(results: Results) -> Section:
    """How many episodes got how far, and when; a figure per environment in which bodies move."""
    section = Section("subtasks", "Sub-tasks")
    columns = subtask_columns(results.episodes)
    episodes = results.episodes.assign(agent=tables.agents(results.episodes))
    rows: list[dict[str, Any]] = []
    for name, mine in episodes.groupby(episodes["environment"].map(inner), sort=False):
        found: list[tuple[str, pd.DataFrame]] = []
        is_cut = False
        for (agent, environment), of_agent in mine.groupby(["agent", "environment"], sort=False):
            own = [column for column in columns if of_agent[column].notna().any()]  # they may be a setting
            if not own:
                continue
            steps = of_agent[own].rename(columns=lambda column: column.removeprefix(SUBTASK))
            done = np.isfinite(steps)
            title = f"{agent}: {done.sum(axis=1).mean():.2f} of {len(own)}"
            found.append((title, steps.head(MOST_EPISODES)))
            is_cut |= len(steps) > MOST_EPISODES
            rows += [
                {
                    **{"agent": agent, "environment": environment, "sub-task": one, "episodes": len(steps)},
                    **{"done": done[one].mean(), "median step": steps[one][done[one]].median()},
                }
                for one in steps
            ]
        if found:
            caption = f"{short(str(name))}: a line is an episode, a mark where a sub-task was done."
            if is_cut:
                caption += f" The first {counted(MOST_EPISODES, 'episode')} of each agent."
            draw = partial(subtask_figures.timelines, found)
            section.plots.append(Plot(f"subtasks_{short(str(name))}".lower(), caption, draw))
    if section.plots:
        section.text = ["A sub-task counts once all before it are done. Above each panel: how many count on average."]
        table = without_only_environment(pd.DataFrame(rows))
        section.tables.append(Table("Share of episodes in which each sub-task was done, and when", table))
    return section
