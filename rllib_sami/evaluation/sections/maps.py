"""Sections over two factors of the tasks: how well agents do, and which skill they show."""

from __future__ import annotations

import itertools
from functools import partial
from typing import NamedTuple

import pandas as pd

from rllib_sami.evaluation import heat_maps, tables
from rllib_sami.evaluation.layout import Plot, Section
from rllib_sami.evaluation.names import is_oracle, order
from rllib_sami.evaluation.paper import paper_cells, paper_skill_rates
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import counted, is_paper, short
from rllib_sami.evaluation.task_words import factor_label, neutral, with_parts

PANDA = "SaMI/PandaPush-v0"
FRICTION, MASS = "task_table_friction", "task_cube_mass"


def maps(results: Results) -> Section:
    """Heat maps over two factors."""
    section = Section(
        "maps",
        "Over two factors",
        ["One scale for all agents. Tasks of the split train are outlined. Tasks that differ in a third factor are not "
         "drawn: they would look like training tasks."],
    )  # fmt: skip
    for environment, x, y, cells, value, restricted in _two_factors(results):
        where = f"{environment}, over {factor_label(x, environment)} and {factor_label(y, environment)}"
        name = f"map_{short(environment)}_{value}".lower()
        of = f"{counted(cells['episodes'], 'episode')} per cell, of all runs" if "episodes" in cells else "as published"
        caption = f"Mean {value} on {where} ({of}){restricted}; outlined: the split train."
        section.plots.append(Plot(name, caption, partial(heat_maps.heat_maps, cells, x, y, value)))
        agents = order(cells["agent"])
        if len(agents) > 1:
            others = [agent for agent in agents if not is_oracle(agent)] or agents
            baseline = "TESAC" if "TESAC" in others else others[-1]
            caption = f"By how much each agent's mean {value} exceeds that of {baseline}, on {where}{restricted}."
            draw = partial(heat_maps.heat_map_differences, cells, x, y, baseline, value)
            section.plots.append(Plot(f"{name}_gain", caption, draw))
    if not section.plots:
        section.missing = (
            "No environment here has tasks that differ in exactly two factors, with two or more values each. "
            "Examples are SaMI/HalfCheetah-v0 and SaMI/PandaPush-v0 (`rllib evaluate`, all splits)."
        )
    return section


def skill_rates(results: Results) -> Section:
    """Panda: which skill was shown for which task."""
    section = Section("panda", "Skills over friction and mass")
    shown = []
    if is_paper(results):
        shown.append((PANDA, "skill", paper_skill_rates(), "as published, five training seeds, the authors' label"))
    for environment, mine in results.episodes.groupby("environment", sort=False):
        if {FRICTION, MASS} <= set(mine.dropna(axis="columns", how="all")):
            for label, whose in (("skill", "our label"), ("reference_skill", "the authors' label")):
                rates = tables.skill_rates(mine, FRICTION, MASS, label)
                shown.append((str(environment), label, rates, f"episodes of all runs, {whose}"))
    for environment, label, rates, of in shown:
        if len(rates):
            section.plots.append(
                Plot(f"{label}_{short(environment)}".lower(),
                     f"Share of a cell's episodes in which each skill was shown, on {environment} ({of}); outlined: "
                     "the split train.", partial(heat_maps.panda_skills, rates, FRICTION, MASS))
            )  # fmt: skip
    if section.plots:  # other environments do without the section
        section.text = [
            "Which skill the cube was moved with, failures included: a heavy cube cannot be lifted, one on a rough "
            "table can hardly be pushed."
        ]
    return section


class _Map(NamedTuple):
    """What a map is drawn of; ``restricted`` says which episodes, if not all of them."""

    environment: str
    x: str
    y: str
    cells: pd.DataFrame
    value: str
    restricted: str = ""


def _two_factors(results: Results) -> list[_Map]:
    """Returns what the maps are drawn of."""
    found = [_Map(PANDA, FRICTION, MASS, paper_cells(), "success")] if is_paper(results) else []
    for name, mine in results.episodes.groupby("environment", sort=False):
        environment = str(name)
        mine, usual = with_parts(mine, environment), neutral(environment)
        factors, pairs = tables.factors(mine), []
        for x, y in itertools.combinations(factors, 2):
            rows = mine
            for other in set(factors) - {x, y}:  # no episodes if the neutral value is unknown
                rows = rows[rows[other] == usual[other]] if other in usual else rows.iloc[:0]
            if min(rows[x].nunique(), rows[y].nunique()) > 1:
                pairs.append((rows, x, y))
        if not pairs:
            continue
        rows, x, y = max(pairs, key=lambda pair: len(pair[0]))
        if {x, y} == {FRICTION, MASS}:
            x, y = FRICTION, MASS
        value = "success" if rows["success"].notna().any() else "return"
        others = [other for other in factors if other not in (x, y)]
        fixed = ", ".join(f"{factor_label(other, environment)} at {usual[other]}" for other in others)
        left = f"; only the {len(rows):,} of {len(mine):,} episodes with {fixed}" if others else ""
        found.append(_Map(environment, x, y, tables.cells(rows, x, y, value), value, left))
    return found
