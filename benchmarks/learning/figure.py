"""The figure of a benchmark: returns of all algorithms on all splits, a panel per environment."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation import tables
from rllib_sami.evaluation.results import split_order
from rllib_sami.evaluation.style import MARKERS, styled

from .reporting import finished, load_results
from .tables import ORACLE, PLAIN

_WIDTH, _HEIGHT, _COLUMNS = 8.33, 2.3, 3  # inches; the width is 800 pixels of a browser
_SPLITS_IN_A_ROW = 3
_REFERENCES = {PLAIN: "#1f2328", ORACLE: "#9aa1ab"}  # greys: they have no context, and are what the others are read by
_DASHES = (0, (3, 1.5))


def write_figure(folder: Path, path: Path) -> Path:
    """Draws all finished jobs of a benchmark, the same file from the same results.

    Args:
        folder: Of the benchmark.
        path: The file; its suffix says which kind.

    Raises:
        UserError: There is nothing to draw, or results that no figure may compare.
    """
    figure = draw(tables.per_split(load_results(finished(folder)).episodes, reference=None))
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "rllib-sami"}):
        figure.savefig(path, dpi=150, metadata={"Date": None, "Creator": None} if path.suffix == ".svg" else None)
    return path


@styled
def draw(table: pd.DataFrame) -> Figure:
    """Draws the interquartile mean per split and algorithm with its interval.

    Args:
        table: As of ``tables.per_split``.
    """
    table = table[table["statistic"] == "IQM"]
    environments, page = list(table["environment"].unique()), styles.of("light")
    looks = {agent: colour for agent, (colour, _) in styles.looks(table["agent"], "light").items()}
    columns = min(_COLUMNS, len(environments))
    figure, axes = styles.panels(len(environments), columns, _WIDTH / columns, _HEIGHT)
    apart = 0.8 / len(looks)
    entries = {}
    for axis, environment in zip(axes, environments, strict=True):
        here = table[table["environment"] == environment]
        splits = sorted(here["split"].unique(), key=split_order)
        for index, (agent, colour) in enumerate(looks.items()):
            mine = here[here["agent"] == agent]
            at = [splits.index(split) + (index - (len(looks) - 1) / 2) * apart for split in mine["split"]]
            error = [mine["estimate"] - mine["low"], mine["high"] - mine["estimate"]]
            is_reference = agent in _REFERENCES
            entries[agent] = axis.errorbar(
                *(at, mine["estimate"], error),
                fmt=MARKERS[index % len(MARKERS)],
                color=_REFERENCES.get(agent, colour),
                mfc=page.page if is_reference else None,
                **{"ms": 5, "lw": 1.6, "capsize": 0, "zorder": 3, "label": agent},
            )
            if is_reference:  # a level across the split, for the others' points to be seen above or below
                places = [splits.index(split) for split in mine["split"]]
                left, right = ([place + side for place in places] for side in (-0.46, 0.46))
                axis.hlines(mine["estimate"], left, right, color=_REFERENCES[agent], ls=_DASHES, lw=0.8, zorder=1.5)
                for bar in entries[agent].lines[2]:
                    bar.set_linestyle(_DASHES)
        for border in range(1, len(splits)):
            axis.axvline(border - 0.5, color=page.faint, lw=0.6)
        lower = "\n" * (len(splits) > _SPLITS_IN_A_ROW)  # every second name is set lower, where they would overlap
        names = [lower * (place % 2) + split.replace("_", " ") for place, split in enumerate(splits)]
        axis.set_xticks(range(len(splits)), names)
        axis.set(title=environment, xlim=(-0.5, len(splits) - 0.5))
        axis.tick_params(axis="x", length=0)
        axis.grid(axis="x", visible=False)
        axis.yaxis.set_major_locator(MaxNLocator(5))
    for axis in axes[::columns]:
        axis.set_ylabel("return")
    figure.get_layout_engine().set(hspace=0.06)
    figure.legend(
        *(entries.values(), entries),
        title="Interquartile mean over training seeds and tasks, with its 95 % interval over seeds",
        **{"loc": "outside lower center", "ncols": min(len(entries), 6), "title_fontsize": 9},
    )
    return figure
