"""Figures over two factors: one panel per agent, one scale, the tasks of training outlined.

A full grid is drawn as cells, a sparse one as dots where their values lie.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.style import Style, styled
from rllib_sami.evaluation.task_words import factor_label

_MOST_NUMBERS = 80  # cells of a panel that are written out
_FULL = 0.4  # share of cells with a value from which on a large grid is drawn as cells


@styled
def heat_maps(cells: pd.DataFrame, x: str, y: str, value: str = "return", style: str | Style = "light") -> Figure:
    """Draws the mean over two factors, one panel per agent.

    Args:
        cells: As of ``tables.cells``, of one environment.
        x: Task column along the horizontal axis.
        y: Task column along the vertical axis.
        value: What the mean is of.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    agents = order(cells["agent"])
    norm = Normalize(0, 1) if value == "success" else Normalize(cells["mean"].min(), cells["mean"].max())
    labels = [(agent, cells[cells["agent"] == agent]) for agent in agents]
    return _maps(labels, x, y, "mean", norm, "viridis", styles.value_label(value))


@styled
def heat_map_differences(
    cells: pd.DataFrame, x: str, y: str, baseline: str, value: str = "return", style: str | Style = "light"
) -> Figure:
    """Draws by how much each other agent's mean exceeds the baseline's, over two factors.

    Args:
        cells: As of ``tables.cells``, of one environment.
        x: Task column along the horizontal axis.
        y: Task column along the vertical axis.
        baseline: The agent to subtract.
        value: What the mean is of.
        style: ``"light"``, ``"dark"`` or a ``Style``.

    Raises:
        ValueError: The baseline is not among the agents, or is the only one.
    """
    agents = order(cells["agent"])
    others = [agent for agent in agents if agent != baseline]
    if baseline not in agents or not others:
        raise ValueError(f"baseline={baseline!r}: expected one of several agents, but there are: {', '.join(agents)}.")
    ground = cells[cells["agent"] == baseline].set_index([x, y])["mean"]
    labels = []
    for agent in others:
        mine = cells[cells["agent"] == agent]
        gain = mine["mean"].to_numpy() - ground.reindex(pd.MultiIndex.from_frame(mine[[x, y]])).to_numpy()
        labels.append((f"{agent} − {baseline}", mine.assign(gain=gain)))
    most = max(np.nanmax(np.abs(mine["gain"])) for _, mine in labels) or 1.0
    title = f"difference in {styles.value_label(value)}"
    return _maps(labels, x, y, "gain", TwoSlopeNorm(0, -most, most), "PuOr", title)


@styled
def panda_skills(rates: pd.DataFrame, x: str, y: str, style: str | Style = "light") -> Figure:
    """Draws how often each skill was shown over two factors: agents in rows, skills in columns.

    Args:
        rates: As of ``tables.skill_rates``, of one environment.
        x: Task column along the horizontal axis.
        y: Task column along the vertical axis.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    skills = list(dict.fromkeys(rates["skill"]))
    labels = [
        (f"{agent}: {skill.replace('_', ' ')}", rates[(rates["agent"] == agent) & (rates["skill"] == skill)])
        for agent in order(rates["agent"])
        for skill in skills
    ]
    title = "share of the cell's episodes"
    return _maps(labels, x, y, "rate", Normalize(0, 1), "viridis", title, columns=len(skills))


def _maps(
    labels: Sequence[tuple[str, pd.DataFrame]],
    x: str,
    y: str,
    column: str,
    norm: Normalize,
    colour_map: str,
    title: str,
    columns: int | None = None,
) -> Figure:
    every = pd.concat([mine for _, mine in labels])
    environment = styles.only(every, "environment")
    xs, ys = np.sort(every[x].unique()), np.sort(every[y].unique())
    share = len(every[[x, y]].drop_duplicates()) / (len(xs) * len(ys))
    numeric = all(pd.api.types.is_numeric_dtype(every[name]) for name in (x, y))
    if numeric and len(xs) * len(ys) > _MOST_NUMBERS and share < _FULL:
        columns = columns or styles.fitting(3.6)
        figure, axes = styles.panels(len(labels), columns, 3.6, 3.4)
        for axis, (label, mine) in zip(axes, labels, strict=True):
            image = _dots(axis, mine, x, y, column, norm, colour_map)
            axis.set_title(label)
    else:
        width, height = max(2.6, 0.5 * len(xs) + 1.0), max(2.4, 0.4 * len(ys) + 1.1)
        columns = columns or styles.fitting(width)
        figure, axes = styles.panels(len(labels), columns, width, height)
        for axis, (label, mine) in zip(axes, labels, strict=True):
            image = _cells(axis, mine, x, y, xs, ys, column, norm, colour_map)
            axis.set_title(label)
    figure.supxlabel(textwrap.fill(factor_label(x, environment), 36), size="medium")
    figure.supylabel(textwrap.fill(factor_label(y, environment), 36), size="medium")
    rows = -(-len(labels) // columns)
    figure.colorbar(image, ax=axes, label=title.replace(" (", "\n("), aspect=18 * rows, fraction=0.05)
    return figure


def _dots(
    axis: Any, mine: pd.DataFrame, x: str, y: str, column: str, norm: Normalize, colour_map: str
) -> ScalarMappable:
    """Draws a dot per pair of values; those of training have a border."""
    trained = mine[mine["trained"]]
    for colour, size in (("black", 120), ("white", 84)):  # both: seen on every colour of both scales
        axis.scatter(trained[x], trained[y], s=size, color=colour)
    axis.margins(0.1)
    return axis.scatter(
        mine[x], mine[y], c=mine[column], norm=norm, cmap=colour_map, s=60, edgecolors="gray", linewidths=0.5
    )


def _cells(
    axis: Any,
    mine: pd.DataFrame,
    x: str,
    y: str,
    xs: np.ndarray,
    ys: np.ndarray,
    column: str,
    norm: Normalize,
    colour_map: str,
) -> ScalarMappable:
    """Draws a cell per pair of values of ``xs`` and ``ys``; the border of those of training is outlined."""
    wide = mine.pivot(index=y, columns=x, values=column).reindex(index=ys, columns=xs).to_numpy(float)
    image = axis.imshow(wide, origin="lower", aspect="auto", norm=norm, cmap=colour_map)
    trained = mine[mine["trained"]].pivot(index=y, columns=x, values="trained").reindex(index=ys, columns=xs)
    segments = list(_outline(trained.notna().to_numpy()))
    for colour, width in (("white", 4.2), ("black", 2.0)):  # both: as above
        axis.add_collection(
            LineCollection(segments, colors=colour, linewidths=width, capstyle="round", clip_on=False, zorder=3)
        )
    if wide.size <= _MOST_NUMBERS:
        _write_numbers(axis, wide, norm, image.cmap)
    axis.set_xticks(range(len(xs)), [_tick(value) for value in xs], rotation=90 if len(xs) > 8 else 0)
    axis.set_yticks(range(len(ys)), [_tick(value) for value in ys])
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return image


def _tick(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _outline(inside: np.ndarray) -> np.ndarray:
    """Returns the border of a set of cells as line segments.

    Args:
        inside: ``[rows, columns]``, cell (i, j) being the unit square around (x = j, y = i).

    Returns:
        ``[N, 2, 2]``: N segments from (x, y) to (x, y).
    """
    padded = np.pad(inside, 1)
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = [[(c - 0.5, r - 0.5), (c - 0.5, r + 0.5)] for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    level = [[(c - 0.5, r - 0.5), (c + 0.5, r - 0.5)] for r, c in zip(rows, columns, strict=True)]
    return np.array(upright + level).reshape(-1, 2, 2)


def _write_numbers(axis: Any, wide: np.ndarray, norm: Normalize, colours: Colormap) -> None:
    small = np.nanmax(np.abs(wide), initial=0) < 10
    for (row, column), number in np.ndenumerate(wide):
        if np.isfinite(number):
            red, green, blue, _ = colours(norm(number))
            ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            text = f"{round(number, 2) + 0.0:.2f}" if small else f"{number:,.0f}"
            axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5)
