"""Figures over two factors: one panel per agent, one colour scale, the training tasks outlined.

A full grid is drawn as cells, a sparse one as dots at their values. ``x`` and ``y`` are the task columns along the
axes, ``style`` is ``"light"``, ``"dark"`` or a ``Style``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.style import Style, styled
from rllib_sami.evaluation.task_words import factor_label

_MAX_NUMBERS = 80  # largest number of cells of a panel that are labelled
_FULL = 0.4  # share of cells with a value from which on a large grid is drawn as cells


@styled
def heat_maps(cells: pd.DataFrame, x: str, y: str, value: str = "return", style: str | Style = "light") -> Figure:
    """Draws ``tables.cells`` of one environment, the mean of ``value`` over two factors; one panel per agent."""
    norm = Normalize(0, 1) if value == "success" else Normalize(cells["mean"].min(), cells["mean"].max())
    panels = [(agent, cells[cells["agent"] == agent]) for agent in order(cells["agent"])]
    return _draw(panels, x, y, "mean", {"norm": norm, "cmap": "viridis"}, styles.value_label(value))


@styled
def heat_map_differences(
    cells: pd.DataFrame, x: str, y: str, baseline: str, value: str = "return", style: str | Style = "light"
) -> Figure:
    """Draws by how much each other agent's mean exceeds the baseline's, over two factors.

    ``cells`` is as of ``tables.cells``, of one environment.

    Raises:
        ValueError: The baseline is not among the agents, or is the only one.
    """
    agents = order(cells["agent"])
    others = [agent for agent in agents if agent != baseline]
    if baseline not in agents or not others:
        raise ValueError(f"baseline={baseline!r}: expected one of several agents, but there are: {', '.join(agents)}.")
    ground = cells[cells["agent"] == baseline].set_index([x, y])["mean"].rename("ground")
    panels = []
    for agent in others:
        mine = cells[cells["agent"] == agent].join(ground, on=[x, y])
        panels.append((f"{agent} − {baseline}", mine.assign(gain=mine["mean"] - mine["ground"])))
    largest = max(np.nanmax(np.abs(mine["gain"])) for _, mine in panels) or 1.0
    look = {"norm": TwoSlopeNorm(0, -largest, largest), "cmap": "PuOr"}
    return _draw(panels, x, y, "gain", look, f"difference in {styles.value_label(value)}")


@styled
def panda_skills(rates: pd.DataFrame, x: str, y: str, style: str | Style = "light") -> Figure:
    """Draws the ``tables.skill_rates`` of one environment over two factors: agents in rows, skills in columns."""
    skills = list(dict.fromkeys(rates["skill"]))
    panels = [
        (f"{agent}: {skill.replace('_', ' ')}", rates[(rates["agent"] == agent) & (rates["skill"] == skill)])
        for agent in order(rates["agent"])
        for skill in skills
    ]
    look = {"norm": Normalize(0, 1), "cmap": "viridis"}
    return _draw(panels, x, y, "rate", look, "share of the cell's episodes", columns=len(skills))


def _draw(
    panels: Sequence[tuple[str, pd.DataFrame]],
    x: str,
    y: str,
    column: str,
    look: dict[str, Any],
    title: str,
    columns: int | None = None,
) -> Figure:
    """Draws a column of each panel's rows over x and y.

    Args:
        panels: Title and rows of each panel.
        x: Task column along the horizontal axis.
        y: Task column along the vertical axis.
        column: What is drawn.
        look: ``norm`` and ``cmap`` of all panels.
        title: Title of the colour scale.
        columns: Number of panels side by side; None: as many as fit on the page.
    """
    every = pd.concat([mine for _, mine in panels])
    environment = styles.only(every, "environment")
    xs, ys = np.sort(every[x].unique()), np.sort(every[y].unique())
    share = len(every[[x, y]].drop_duplicates()) / (len(xs) * len(ys))
    numeric = all(pd.api.types.is_numeric_dtype(every[name]) for name in (x, y))
    sparse = numeric and len(xs) * len(ys) > _MAX_NUMBERS and share < _FULL
    width, height = (3.6, 3.4) if sparse else (max(2.6, 0.5 * len(xs) + 1.0), max(2.4, 0.4 * len(ys) + 1.1))
    columns = columns or styles.columns_on_page(width)
    figure, axes = styles.panels(len(panels), columns, width, height)
    for axis, (label, mine) in zip(axes, panels, strict=True):
        axis.set_title(label)
        if sparse:
            image = _draw_dots(axis, mine, x, y, column, look)
        else:
            values, trained = (
                mine.pivot(index=y, columns=x, values=name).reindex(index=ys, columns=xs)
                for name in (column, "trained")
            )
            image = _draw_cells(axis, values, trained.eq(True).to_numpy(), look)
    figure.supxlabel(textwrap.fill(factor_label(x, environment), 36), size="medium")
    figure.supylabel(textwrap.fill(factor_label(y, environment), 36), size="medium")
    lines = -(-len(panels) // columns)
    figure.colorbar(image, ax=axes, label=title.replace(" (", "\n("), aspect=18 * lines, fraction=0.05)
    return figure


def _draw_dots(axis: Any, mine: pd.DataFrame, x: str, y: str, column: str, look: dict[str, Any]) -> ScalarMappable:
    """Draws a dot per pair of values; those of training have a border."""
    trained = mine[mine["trained"]]
    for colour, size in (("black", 120), ("white", 84)):  # both, to be visible on every colour of both scales
        axis.scatter(trained[x], trained[y], s=size, color=colour)
    axis.margins(0.1)
    return axis.scatter(mine[x], mine[y], c=mine[column], s=60, edgecolors="gray", linewidths=0.5, **look)


def _draw_cells(axis: Any, values: pd.DataFrame, trained: np.ndarray, look: dict[str, Any]) -> ScalarMappable:
    """Draws a cell per pair of values and the border of the training cells, ``[rows, columns]``."""
    numbers = values.to_numpy(float)
    image = axis.imshow(numbers, origin="lower", aspect="auto", **look)
    segments = list(_outline(trained))
    for colour, width in (("white", 4.2), ("black", 2.0)):  # both, as above
        axis.add_collection(
            LineCollection(segments, colors=colour, linewidths=width, capstyle="round", clip_on=False, zorder=3)
        )
    if numbers.size <= _MAX_NUMBERS:
        _write_numbers(axis, numbers, image)
    for set_ticks, ticks in ((axis.set_xticks, values.columns), (axis.set_yticks, values.index)):
        set_ticks(range(len(ticks)), [tick if isinstance(tick, str) else f"{tick:g}" for tick in ticks])
    if len(values.columns) > 8:
        axis.tick_params(axis="x", labelrotation=90)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return image


def _outline(inside: np.ndarray) -> np.ndarray:
    """Returns the border of a set of cells as line segments.

    Args:
        inside: ``[rows, columns]``, cell (i, j) being the unit square around (x = j, y = i).

    Returns:
        ``[N, 2, 2]``: N segments from (x, y) to (x, y).
    """
    padded = np.pad(inside, 1)
    corners = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])[:, ::-1] - 0.5
    upright = np.stack([corners, corners + np.array([0, 1])], axis=1)
    corners = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])[:, ::-1] - 0.5
    level = np.stack([corners, corners + np.array([1, 0])], axis=1)
    return np.concatenate([upright, level])


def _write_numbers(axis: Any, numbers: np.ndarray, image: ScalarMappable) -> None:
    digits = 2 if np.nanmax(np.abs(numbers), initial=0) < 10 else 0
    for (row, column), number in np.ndenumerate(numbers):
        if np.isfinite(number):
            red, green, blue, _ = image.to_rgba(number)
            ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            text = f"{round(number, digits) + 0.0:,.{digits}f}"
            axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5)
