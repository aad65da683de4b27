"""Sections over two factors of the tasks: how well agents do, and which skill they show."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import pandas as pd

from rllib_sami.evaluation import heat_maps, tables
from rllib_sami.evaluation.layout import Plot, Section
from rllib_sami.evaluation.names import is_oracle, order
from rllib_sami.evaluation.paper import paper_cells, paper_skill_rates
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import is_paper, short, span
from rllib_sami.evaluation.task_words import factor_label, neutral, with_parts

PANDA = "SaMI/PandaPush-v0"
FRICTION, MASS = "task_table_friction", "task_cube_mass"


def maps(results: Results) -> Section:
    """Heat maps over two factors."""
    section = Section(
        "maps",
        "Over two factors",
        ["One scale for all agents. Tasks of the split train are outlined. Tasks that differ in a third factor are not "
         "drawn: they would be taken for tasks of training."],
    )  # fmt: skip
    for grid in _grids(results):
        environment, x, y, cells, value = grid.environment, grid.x, grid.y, grid.cells, grid.value
        where = f"{environment}, over {factor_label(x, environment)} and {factor_label(y, environment)}"
        name = f"{short(environment)}_{value}".lower()
        of = f"episodes of all runs, {span(cells['episodes'])} per cell" if "episodes" in cells else "as published"
        caption = f"Mean {value} on {where} ({of}){grid.restricted}; outlined: the split train."
        section.plots.append(Plot(f"map_{name}", caption, partial(heat_maps.heat_maps, cells, x, y, value)))
        agents = order(cells["agent"])
        if len(agents) > 1:
            others = [agent for agent in agents if not is_oracle(agent)] or agents
            baseline = "TESAC" if "TESAC" in others else others[-1]
            caption = f"By how much each agent's mean {value} exceeds that of {baseline}, on {where}{grid.restricted}."
            draw = partial(heat_maps.heat_map_differences, cells, x, y, baseline, value)
            section.plots.append(Plot(f"map_{name}_gain", caption, draw))
    if not section.plots:
        section.missing = (
            "No environment here has tasks that differ in two factors with two or more values each and in "
            "no other. Results of such a one (`rllib evaluate` on SaMI/HalfCheetah-v0 or SaMI/PandaPush-v0, all "
            "splits) would give it."
        )
    return section


def skill_rates(results: Results) -> Section:
    """Panda: which skill was shown where."""
    section = Section(
        "panda",
        "Skills over friction and mass",
        ["Which skill the cube was moved with, failures included: a heavy cube cannot be lifted, one on a rough table "
         "can hardly be pushed."],
    )  # fmt: skip
    wanted = []
    if is_paper(results):
        wanted.append((PANDA, "skill", paper_skill_rates(), "as published, five training seeds, the authors' label"))
    for environment, mine in results.episodes.groupby("environment", sort=False):
        if not {FRICTION, MASS} <= set(mine.dropna(axis="columns", how="all")):
            continue
        for label, whose in (("skill", "our label"), ("reference_skill", "the authors' label")):
            rates = tables.skill_rates(mine, FRICTION, MASS, label)
            if len(rates):
                wanted.append((str(environment), label, rates, f"episodes of all runs, {whose}"))
    for environment, label, rates, of_what in wanted:
        section.plots.append(
            Plot(f"{label}_{short(environment)}".lower(),
                 f"Share of a cell's episodes in which each skill was shown, on {environment} ({of_what}); outlined: "
                 "the split train.", partial(heat_maps.panda_skills, rates, FRICTION, MASS))
        )  # fmt: skip
    if not section.plots:
        section.text = []  # it is of no use for other environments
    return section


@dataclass(frozen=True)
class _Grid:
    """What a map is drawn of; ``restricted`` says which episodes, if not all of them."""

    environment: str
    x: str
    y: str
    cells: pd.DataFrame
    value: str
    restricted: str = ""


def _grids(results: Results) -> list[_Grid]:
    """Returns what every map there can be is drawn of."""
    found = [_Grid(PANDA, FRICTION, MASS, paper_cells(), "success")] if is_paper(results) else []
    for name, mine in results.episodes.groupby("environment", sort=False):
        environment = str(name)
        mine = with_parts(mine, environment)
        drawn = [_restrict(mine, environment, x, y) for x, y in itertools.combinations(tables.factors(mine), 2)]
        possible = [(rows, x, y) for rows, x, y in drawn if min(rows[x].nunique(), rows[y].nunique()) > 1]
        if not possible:
            continue
        rows, x, y = max(possible, key=lambda one: len(one[0]))
        if {x, y} == {FRICTION, MASS}:
            x, y = FRICTION, MASS
        value = "success" if rows["success"].notna().any() else "return"
        usual = neutral(environment)
        others = [other for other in tables.factors(mine) if other not in (x, y)]
        fixed = ", ".join(f"{factor_label(other, environment)} at {usual[other]}" for other in others)
        left = f"; only the {len(rows):,} of {len(mine):,} episodes with {fixed}" if others else ""
        found.append(_Grid(environment, x, y, tables.cells(rows, x, y, value), value, left))
    return found


def _restrict(episodes: pd.DataFrame, environment: str, x: str, y: str) -> tuple[pd.DataFrame, str, str]:
    """Returns the episodes in which every factor but x and y is neutral; none where that is not known."""
    usual = neutral(environment)
    for other in tables.factors(episodes):
        if other not in (x, y):
            episodes = episodes[episodes[other] == usual[other]] if other in usual else episodes.iloc[:0]
    return episodes, x, y
