"""Figures of tracks: trajectories, strides, inferred families and latents.

All of them have the keyword ``style``: ``"light"``, ``"dark"`` or a ``Style``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rllib_sami.envs.reuse.families import SUCCESS_ERROR
from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.style import LINES, Style, styled
from rllib_sami.evaluation.track_tables import NOTHING, Segment

QUANTITIES = {
    "goal": "place (m)",
    "velocity": "velocity (m/s)",
    "stand": "pitch (rad)",
    "jump": "vertical speed (m/s)",
}
_COLOURS = ("SaCCM", "SaTESAC", "CCM", "SaPPO", "SaMI", "SAC", "RecurrentSAC")  # those that no shade makes grey
_PALEST = 0.35  # share of its colour that the smallest wanted value has


@dataclass(frozen=True)
class Latents:
    """Latents of one agent in one environment.

    Attributes:
        title: Whose.
        points: ``[n, 2]``.
        families: Of their tasks, ``[n]``.
        wanted: What the tasks ask for, ``[n]``.
        clusters: Numbers of the latents' clusters, ``[n]``, NaN where there are none.
    """

    title: str
    points: np.ndarray
    families: np.ndarray
    wanted: np.ndarray
    clusters: np.ndarray


@styled
def error_boxes(tasks: pd.DataFrame, style: str | Style = "light") -> Figure:
    """Draws the late errors of ``track_tables.by_task`` on one environment: a panel per quantity, a box per agent."""
    agents, quantities = order(tasks["agent"]), sorted(tasks["quantity"].unique())
    page, looks = styles.of(style), styles.looks(agents, style)
    figure, axes = styles.panels(len(quantities), styles.columns_on_page(4.2), 4.2, 1.2 + 0.45 * len(agents))
    for axis, quantity in zip(axes, quantities, strict=True):
        mine = tasks[tasks["quantity"] == quantity]
        errors = [mine["error"][mine["agent"] == agent].to_numpy() for agent in agents]
        boxes = axis.boxplot(
            errors,
            orientation="horizontal",
            tick_labels=agents,
            patch_artist=True,
            widths=0.6,
            medianprops={"color": page.ink},
        )
        for box, agent in zip(boxes["boxes"], agents, strict=True):
            box.set(facecolor=looks[agent][0], edgecolor=page.ink)
        for line in (*boxes["whiskers"], *boxes["caps"]):
            line.set_color(page.ink)
        for points in boxes["fliers"]:
            points.set(marker=".", markeredgecolor=page.ink)
        axis.axvline(SUCCESS_ERROR, color=page.ink, lw=1.0, ls=":")
        axis.invert_yaxis()  # the first agent at the top, as in tables
        axis.set_title(quantity, fontsize=10)
        axis.set(xlabel="relative error", xlim=(0.0, None))
    return figure


@styled
def trajectories(found: Sequence[Segment], title: str, steps_are: str, style: str | Style = "light") -> Figure:
    """Draws values over time, with a dashed line at what is wanted: one panel per quantity, one colour per task."""
    quantities = sorted({segment.quantity for segment in found})
    figure, axes = styles.panels(len(quantities), styles.columns_on_page(5.2), 5.2, 3.4)
    for axis, quantity in zip(axes, quantities, strict=True):
        mine = sorted((one for one in found if one.quantity == quantity), key=lambda one: one.wanted)
        for segment, share in zip(mine, np.linspace(*styles.of(style).shades, len(mine)), strict=True):
            colour = matplotlib.colormaps["plasma"](share)
            axis.plot(segment.steps, segment.values, color=colour, lw=1.6)
            axis.axhline(segment.wanted, color=colour, lw=1.1, ls="--")
        axis.set(xlabel=steps_are, ylabel=QUANTITIES.get(quantity, quantity))
        axis.margins(x=0.01)
    figure.suptitle(title, size="medium", weight="bold")
    return figure


@styled
def stride_histogram(strides: Mapping[str, np.ndarray], style: str | Style = "light") -> Figure:
    """Draws how long strides were, as shares of all; one panel per agent on the same axes."""
    figure, axes = styles.panels(len(strides), styles.columns_on_page(3.6), 3.6, 2.8)
    longest = max(int(lengths.max()) for lengths in strides.values())
    for axis, (title, lengths) in zip(axes, strides.items(), strict=True):
        shares = np.bincount(lengths, minlength=longest + 1)[1:] / len(lengths)
        axis.bar(np.arange(1, longest + 1), shares, color=styles.of(style).algorithms["SaCCM"], width=0.85)
        axis.axvline(lengths.mean(), color=styles.of(style).ink, lw=1.2, ls="--")
        axis.set_title(f"{title}\nmean {lengths.mean():.1f}", fontsize=10)
        axis.set(xlabel="steps of a stride", ylabel="share of strides", xlim=(0.3, longest + 0.7))
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


@styled
def confusion_matrices(shares: Mapping[str, pd.DataFrame], style: str | Style = "light") -> Figure:
    """Draws ``track_tables.confusion``, one panel per agent; rows are the true families."""
    width = max(2.6, 1.4 + 0.55 * max(table.shape[1] for table in shares.values()))
    figure, axes = styles.panels(len(shares), styles.columns_on_page(width), width, width)
    for axis, (title, table) in zip(axes, shares.items(), strict=True):
        axis.imshow(table, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
        for (row, column), share in np.ndenumerate(table.to_numpy()):
            axis.text(column, row, f"{share:.2f}", ha="center", va="center", color="w" if share < 0.6 else "k", size=8)
        axis.set_xticks(range(table.shape[1]), table.columns, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(table.shape[0]), table.index)
        axis.grid(visible=False)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="inferred", ylabel="true")
    return figure


@styled
def latent_planes(groups: Sequence[Latents], axes_are: str, style: str | Style = "light") -> Figure:
    """Draws latents on the same plane, one panel per environment: a colour per family, stronger for larger values."""
    page = styles.of(style)
    families = np.concatenate([group.families for group in groups])
    magnitudes = np.abs(np.concatenate([group.wanted for group in groups]))
    colours = family_colours(sorted(set(families)), page)
    ends = {name: (magnitudes[families == name].min(), magnitudes[families == name].max()) for name in colours}
    shades: list[list[Any]] = []
    for group in groups:
        shades.append([])
        for family, wanted in zip(group.families, group.wanted, strict=True):
            low, high = ends[family]
            share = _PALEST + (1.0 - _PALEST) * (abs(wanted) - low) / max(high - low, 1e-9)
            shades[-1].append(share * np.array(to_rgb(colours[family])) + (1.0 - share) * np.array(to_rgb(page.page)))
    return _planes(groups, shades, colours, axes_are)


@styled
def cluster_planes(groups: Sequence[Latents], axes_are: str, style: str | Style = "light") -> Figure:
    """Draws latents as :func:`latent_planes` does, with a colour per cluster."""
    numbers = sorted({int(number) for group in groups for number in group.clusters[~np.isnan(group.clusters)]})
    wheel = matplotlib.colormaps["tab20"]
    colours = {number: to_rgb(wheel(place % wheel.N)) for place, number in enumerate(numbers)}
    faint = to_rgb(styles.of(style).faint)
    shades = [[colours.get(number, faint) for number in group.clusters] for group in groups]
    return _planes(groups, shades, {f"cluster {number + 1}": colour for number, colour in colours.items()}, axes_are)


def _planes(
    groups: Sequence[Latents], shades: Sequence[Sequence[Any]], legend: Mapping[str, Any], axes_are: str
) -> Figure:
    """Draws a panel of points in ``shades`` for each group, all with the same limits, and a legend of colours."""
    figure, axes = styles.panels(len(groups), styles.columns_on_page(3.6), 3.6, 3.4)
    limits = [np.concatenate([group.points[:, axis] for group in groups]) for axis in (0, 1)]
    for axis, group, colours in zip(axes, groups, shades, strict=True):
        axis.scatter(*group.points.T, c=colours, s=14, linewidths=0.2, edgecolors="gray", rasterized=True)
        axis.set_title(group.title, fontsize=10)
        for set_limits, values in zip((axis.set_xlim, axis.set_ylim), limits, strict=True):
            margin = 0.04 * (np.ptp(values) or 1.0)
            set_limits(values.min() - margin, values.max() + margin)
    handles = [Line2D([], [], marker="o", ls="", color=colour, label=name) for name, colour in legend.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(2 * len(groups), 4))
    figure.supxlabel(f"first axis ({axes_are})", size="medium")
    figure.supylabel("second axis", size="medium")
    return figure


@styled
def after_changes(tables: Mapping[str, pd.DataFrame], steps_are: str, style: str | Style = "light") -> Figure:
    """Draws ``track_tables.since_change`` of each agent: the median error and, where known, how often it is right."""
    has_right = any(table["right"].notna().any() for table in tables.values())
    figure, axes = styles.panels(1 + has_right, 2, 5.2, 3.2)
    columns = {"error": "median relative error", "right": "share with the right family"}
    for axis, (column, label) in zip(axes, columns.items(), strict=False):
        for agent, (colour, variant) in styles.looks(tables, style).items():
            known = tables[agent].dropna(subset=[column])
            axis.plot(known["steps"], known[column], color=colour, ls=LINES[variant % len(LINES)], lw=2, label=agent)
        axis.set(
            xlabel=f"{steps_are} since the task began", ylabel=label, ylim=(0.0, 1.03 if column == "right" else None)
        )
    axes[0].axhline(SUCCESS_ERROR, color=styles.of(style).ink, lw=1.0, ls=":")
    if len(tables) > 1:
        axes[0].legend()
    return figure


@styled
def changing_episode(found: Sequence[Segment], title: str, steps_are: str, style: str | Style = "light") -> Figure:
    """Draws an episode whose task changes: latents and inferred families, and values with what is wanted."""
    page = styles.of(style)
    latents = np.concatenate([segment.latents for segment in found])
    has_latents = not np.isnan(latents).all()
    figure = Figure(figsize=(8.0, 5.2 if has_latents else 3.0), layout="constrained")
    axes: list[Any] = list(np.ravel(figure.subplots(1 + has_latents, 1, sharex=True, squeeze=False)))
    if has_latents:
        steps = np.concatenate([segment.begins + segment.steps for segment in found])
        shades = matplotlib.colormaps["plasma"](np.linspace(*page.shades, latents.shape[1]))
        for number, (values, colour) in enumerate(zip(latents.T, shades, strict=True), 1):
            axes[0].plot(steps, values, color=colour, lw=1.4, label=f"{number}")
        axes[0].set_ylabel("latent")
        axes[0].legend(title="number", loc="center left", bbox_to_anchor=(1.0, 0.5))
    inferred = {family for segment in found for family in segment.inferred} - {NOTHING}
    colours = family_colours(sorted({segment.family for segment in found} | inferred), page)
    for segment in found:
        steps, colour = segment.begins + segment.steps, colours[segment.family]
        axes[-1].plot(steps, segment.values, color=colour, lw=1.8)
        axes[-1].hlines(segment.wanted, steps[0], steps[-1], color=colour, lw=1.2, ls="--")
        for axis in axes:
            axis.axvline(segment.begins, color=page.faint, lw=1.2)
        for start, end, family in _stretches(segment):
            axes[0].axvspan(start, end, 0.0, 0.05, color=colours[family], lw=0)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    axes[-1].legend(handles=handles, title="family", loc="center left", bbox_to_anchor=(1.0, 0.5))
    quantities = sorted({QUANTITIES.get(segment.quantity, segment.quantity) for segment in found})
    axes[-1].set(xlabel=steps_are, ylabel=" or\n".join(quantities))
    axes[0].set_title(title)
    axes[0].margins(x=0.0)
    return figure


def family_colours(names: Sequence[str], page: Style) -> dict[str, str]:
    """Returns a colour for each family."""
    colours = [page.algorithms[name] for name in _COLOURS]
    return {str(name): colours[number % len(colours)] for number, name in enumerate(names)}


def _stretches(segment: Segment) -> list[tuple[int, int, str]]:
    """Returns from where to where each family was inferred, in steps of the body."""
    starts = np.flatnonzero(np.append(True, segment.inferred[1:] != segment.inferred[:-1]))
    ends = np.append(starts[1:], len(segment.steps) - 1)
    steps = segment.begins + segment.steps
    return [
        (steps[start], steps[end], segment.inferred[start])
        for start, end in zip(starts, ends, strict=True)
        if segment.inferred[start] != NOTHING
    ]
