"""Figures: one function each, from a table to a matplotlib Figure. Those over two factors are in ``heat_maps``.

All of them have the keyword ``style``: ``"light"``, ``"dark"`` or a ``Style``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation import tables
from rllib_sami.evaluation.baselines import NAMES
from rllib_sami.evaluation.layout import text
from rllib_sami.evaluation.names import is_oracle
from rllib_sami.evaluation.results import split_order
from rllib_sami.evaluation.style import HATCHES, LINES, MARKERS, Style, styled

_MAX_IN_LEGEND = 12
_CURVE_POINTS = 200
_FEW_POINTS = 12
_LEVELS = {NAMES["random"]: "--", NAMES["zero"]: ":"}  # an oracle: "-."
_MAX_RATIO = 5.0  # between the heights of two curves on a linear scale


@styled
def iqm_bars(
    table: pd.DataFrame,
    statistic: str = "IQM",
    levels: pd.DataFrame | None = None,
    style: str | Style = "light",
) -> Figure:
    """Draws an aggregate per split and agent, with its number and interval; one panel per environment.

    An oracle beside other agents is a line across its split, as are the levels.

    Args:
        table: As of ``tables.per_split``.
        statistic: Which of its statistics.
        levels: Means of baselines, as of ``baselines.levels``; None for none.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    table = table[table["statistic"] == statistic]
    unit, environments = table["normalised_by"].iloc[0], list(table["environment"].unique())
    table, lines = _bars_and_lines(table, levels)
    looks, page = styles.looks(table["agent"], style), styles.of(style)
    most = table.groupby("environment")["split"].nunique().max()
    panel_width = max(4.2, 0.36 * most * len(looks) + 1.6)
    figure, axes = styles.panels(len(environments), styles.columns_on_page(panel_width), panel_width, 3.4)
    width = 0.8 / len(looks)
    handles: dict[str, Any] = {}
    for axis, environment in zip(axes, environments, strict=True):
        here = table[table["environment"] == environment]
        place_of = {split: place for place, split in enumerate(sorted(here["split"].unique(), key=split_order))}
        for index, (agent, (colour, variant)) in enumerate(looks.items()):
            mine = here[here["agent"] == agent]
            if mine.empty:
                continue
            x = mine["split"].map(place_of).to_numpy() + (index - (len(looks) - 1) / 2) * width
            look: dict[str, Any] = {
                "color": colour,
                "hatch": HATCHES[variant % len(HATCHES)],
                "label": f"{agent} ({_runs(mine['runs'])})",
            }
            handles.setdefault(agent, axis.bar(x, mine["estimate"], 0.92 * width, **look))
            error = [mine["estimate"] - mine["low"], mine["high"] - mine["estimate"]]
            axis.errorbar(x, mine["estimate"], error, fmt="none", ecolor=page.ink, capsize=2.5, lw=1.2)
            for place, row in zip(x, mine.itertuples(), strict=True):
                _write_number(axis, place, row.estimate, row.low, row.high)
        levels_here = lines[(lines["environment"] == environment) & lines["split"].isin(place_of)]
        for name, mine in levels_here.groupby("baseline", sort=False):
            x = mine["split"].map(place_of).to_numpy()
            level: dict[str, Any] = {
                "colors": page.ink,
                "linestyles": _LEVELS.get(str(name), "-."),
                "lw": 1.3,
                "zorder": 3,
            }
            handles.setdefault(str(name), axis.hlines(mine["mean"], x - 0.46, x + 0.46, **level, label=name))
        if not tables.is_raw(unit):
            axis.axhline(1, color=page.ink, lw=0.8, ls=":")
        axis.margins(y=0.14)  # for the numbers
        axis.set_xticks(range(len(place_of)), [split.replace("_", " ") for split in place_of])
        axis.set(
            title=_title(environment),
            xlim=(-0.5, most - 0.5),
            ylabel=f"{statistic} of {_value(table, unit)}".replace(" ÷", "\n÷"),
        )
        axis.grid(axis="x", visible=False)
    _legend(figure, list(handles.values()))
    return figure


@styled
def performance_profiles(table: pd.DataFrame, style: str | Style = "light") -> Figure:
    """Draws ``tables.profiles``, the fraction of runs above each score; one panel per environment and split."""
    looks = styles.looks(table["agent"], style)
    groups = list(table.groupby(["environment", "split"], sort=False))
    figure, axes = styles.panels(len(groups), 3, 3.5, 3.0)
    for axis, ((environment, split), here) in zip(axes, groups, strict=True):
        for agent, (colour, variant) in looks.items():
            mine = here[here["agent"] == agent]
            axis.plot(mine["threshold"], mine["fraction"], color=colour, ls=LINES[variant % len(LINES)], label=agent)
            axis.fill_between(mine["threshold"], mine["low"], mine["high"], color=colour, alpha=0.18, lw=0)
        where = f"{_title(environment)}, " if table["environment"].nunique() > 1 else ""
        axis.set(title=where + split.replace("_", " "), ylim=(0, 1.02))
        axis.xaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel(f"score τ: {_value(table, table['normalised_by'].iloc[0])}", size="medium")
    figure.supylabel("fraction of runs\nwith score > τ", size="medium")
    _legend(figure, axes[0].get_legend_handles_labels()[0], "outside upper left")  # below is the label of all panels
    return figure


@styled
def learning_curves(
    progress: pd.DataFrame,
    x: str = "env_steps",
    y: str = "return_mean",
    levels: pd.DataFrame | None = None,
    style: str | Style = "light",
) -> Figure:
    """Draws each run thinly and the mean of each agent's runs, over the steps that all of them have reached.

    Args:
        progress: As of ``read_progress``, of several runs.
        x: ``"env_steps"`` or ``"seconds"`` (drawn in seconds, minutes or hours).
        y: ``"return_mean"``, or the column of a split such as ``"return_mean_extreme"``.
        levels: Means of baselines, as of ``baselines.levels``, on the same environment and split.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    figure, (axis,) = styles.panels(1, 1, 6.0, 3.6)
    rows = progress.dropna(subset=[x, y])
    unit, scale = time_unit(rows[x].max()) if x == "seconds" else ("", 1.0)
    _curves(axis, rows.assign(**{x: rows[x] / scale}), x, y, style)
    for level in () if levels is None else levels.itertuples():
        line_style = _LEVELS.get(level.baseline, "-.")
        axis.axhline(level.mean, color=styles.of(style).ink, ls=line_style, lw=1, label=level.baseline)
    label_steps(axis, unit)
    what, _, split = y.partition("_mean") if y.startswith("return") else y.partition("_rate")
    label = styles.value_label(what).replace("return", "mean return", 1)
    axis.set_ylabel(f"{label}\n{split[1:]} split" if split else f"{label}\ntraining episodes")
    axis.legend()
    return figure


@styled
def bound_in_training(progress: pd.DataFrame, style: str | Style = "light") -> Figure:
    """Draws the SaNCE bound during training beside log K, which it cannot exceed.

    ``progress`` is as of ``read_progress``, of several runs; those without a contrastive loss are left out.
    """
    rows = progress.dropna(subset=["sance_bound", "log_k"])
    figure, (axis,) = styles.panels(1, 1, 6.0, 3.6)
    _curves(axis, rows, "env_steps", "sance_bound", style)
    for level in np.unique(rows["log_k"].round(3)):
        axis.axhline(level, color=styles.of(style).ink, ls="--", lw=1)
        axis.annotate(f"log K, K = {np.exp(level):.0f}", (1, level), xycoords=("axes fraction", "data"), ha="right",
                      va="bottom", xytext=(0, 2), textcoords="offset points", fontsize=9)  # fmt: skip
    axis.margins(y=0.12)
    label_steps(axis)
    axis.set_ylabel("SaNCE objective (nats)")
    axis.legend()
    return figure


@styled
def bound_versus_keys(sweep: pd.DataFrame, style: str | Style = "light") -> Figure:
    """Draws ``mutual_information.gaussian_sweep``, the bound on Gaussians of known information, over log K."""
    figure, (axis,) = styles.panels(1, 1, 6.0, 4.0)
    page = styles.of(style)
    colours = [*page.algorithms.values(), *page.others]
    limits = np.array([0.0, sweep["log_k"].max()])
    axis.plot(limits, limits, color=page.ink, ls="--", lw=1, label="log K")
    for index, (information, mine) in enumerate(sweep.groupby("information")):
        colour = colours[index % len(colours)]
        error = 1.96 * mine["standard_error"]
        label = f"bound, true information {information:g}"
        axis.errorbar(mine["log_k"], mine["bound"], error, color=colour, marker=MARKERS[index % 8], ms=4, label=label)
        axis.axhline(information, color=colour, ls=":", lw=1.2)
    axis.set(xlabel="log K (nats), K keys of which one is positive", ylabel="mutual information (nats)")
    top = axis.secondary_xaxis("top")
    keys = np.unique(sweep["num_keys"])
    top.set_xticks(np.log(keys), [f"{number:g}" for number in keys])
    top.set_xlabel("K")
    axis.legend(loc="upper left")
    return figure


@styled
def context_scatter(
    points: np.ndarray, colours: Sequence[pd.Series], axes_are: str, title: str = "", style: str | Style = "light"
) -> Figure:
    """Draws contexts on a plane, once per colouring.

    Args:
        points: ``[N, 2]``.
        colours: Named values that colour the points, each ``[N]``: numbers have a scale, categories (splits, skills) a
            shade each.
        axes_are: Meaning of the axes, such as ``"PCA, 70% and 20% of the variance"``.
        title: Title of the figure.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    figure, axes = styles.panels(len(colours), styles.columns_on_page(3.6), 3.6, 2.7)
    for axis, colour in zip(axes, colours, strict=True):
        axis.set_title(f"by {str(colour.name).partition(' (')[0]}")
        look = {"s": 20, "edgecolors": "gray", "linewidths": 0.3}
        if pd.api.types.is_numeric_dtype(colour) and not pd.api.types.is_bool_dtype(colour):
            numbers = colour.to_numpy("float64", na_value=np.nan)
            scale: Any = "twilight" if colour.attrs.get("cyclic") else "viridis"
            dots = axis.scatter(*points.T, c=numbers, cmap=scale, **look)
            figure.colorbar(dots, ax=axis, label=textwrap.fill(str(colour.name), 30))
            continue
        names = colour.astype("string").fillna("none")
        categories = sorted(names.unique(), key=split_order)
        shades = np.linspace(*styles.of(style).shades, len(categories))
        scale = ListedColormap(matplotlib.colormaps["plasma"](shades))
        codes, ends = names.map(categories.index).to_numpy(), (-0.5, len(categories) - 0.5)
        dots = axis.scatter(*points.T, c=codes, cmap=scale, vmin=ends[0], vmax=ends[1], **look)
        few = len(categories) <= _MAX_IN_LEGEND
        legend = figure.colorbar(dots, ax=axis, label=str(colour.name), drawedges=few)
        labels = [name.replace("_", " ") for name in categories] if few else []
        legend.set_ticks(range(len(labels)), labels=labels, minor=False)
    figure.suptitle(title, size="medium", weight="bold")
    figure.supxlabel(f"first axis ({axes_are})", size="medium")
    figure.supylabel("second axis", size="medium")
    return figure


@styled
def context_settling(table: pd.DataFrame, style: str | Style = "light") -> Figure:
    """Draws how the context approaches its final value within an episode, and how well it identifies the task.

    ``table`` has the columns ``agent, step, distance, standard_error, accuracy``; rows of several runs are averaged.
    """
    figure, (left, right) = styles.panels(2, 2, 4.2, 3.2)
    for agent, (colour, variant) in styles.looks(table["agent"], style).items():
        mine = table[table["agent"] == agent].groupby("step")[["distance", "standard_error", "accuracy"]].mean()
        line = {"color": colour, "ls": LINES[variant % len(LINES)], "marker": "o", "ms": 3, "label": agent}
        left.plot(mine["distance"], **line)
        margin = 1.96 * mine["standard_error"]
        low, high = mine["distance"] - margin, mine["distance"] + margin
        left.fill_between(mine.index, low, high, color=colour, alpha=0.18, lw=0)
        right.plot(mine["accuracy"], **line)
    for axis in (left, right):
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlabel("step within the episode")
        axis.xaxis.set_major_formatter(EngFormatter())
    highest = table.groupby(["agent", "step"])["distance"].mean().groupby("agent").max()
    if highest.max() > _MAX_RATIO * highest.min() > 0:
        left.set_yscale("log")
        left.set_ylim(bottom=0.5 * table.loc[table["distance"] > 0, "distance"].min())
    else:
        left.set_ylim(bottom=0)
    left.set_ylabel("distance to the final context\n(unit: mean between episodes)")
    right.set(ylim=(0, 1.02), ylabel="accuracy of telling the task")
    _legend(figure, left.get_legend_handles_labels()[0])
    return figure


def _curves(axis: Any, rows: pd.DataFrame, x: str, y: str, style: str | Style) -> None:
    for agent, (colour, variant) in styles.looks(rows["agent"], style).items():
        runs = [run.sort_values(x) for _, run in rows[rows["agent"] == agent].groupby("run")]
        line = {"color": colour, "ls": LINES[variant % len(LINES)]}
        for run in runs if len(runs) > 1 else []:
            axis.plot(run[x], run[y], **line, **_marked(len(run)), lw=0.8, alpha=0.45)
        start, end = max(run[x].iloc[0] for run in runs), min(run[x].iloc[-1] for run in runs)
        # A single run is drawn as it is; several are averaged where all of them have values.
        grid = runs[0][x].to_numpy() if len(runs) == 1 else np.linspace(start, end, _CURVE_POINTS if start < end else 1)
        grid = grid if start <= end else grid[:0]
        mean = np.mean([np.interp(grid, run[x], run[y]) for run in runs], axis=0)
        axis.plot(grid, mean, **line, **_marked(len(grid)), lw=2, label=f"{agent} ({_runs(pd.Series([len(runs)]))})")


def _marked(points: int) -> dict[str, Any]:
    """Returns a marker for lines of few points: a single point would be invisible."""
    return {"marker": "o", "ms": 4} if points <= _FEW_POINTS else {}


def time_unit(seconds: float) -> tuple[str, float]:
    """Returns a legible unit for a time, and its number of seconds."""
    return ("seconds", 1.0) if seconds < 180 else ("minutes", 60.0) if seconds < 10800 else ("hours", 3600.0)


def label_steps(axis: Any, unit: str = "") -> None:
    """Labels the axis of environment steps, or of time in a unit."""
    axis.set_xlabel(f"time of training ({unit})" if unit else "environment steps")
    axis.xaxis.set_major_locator(MaxNLocator(6))
    if not unit:
        axis.xaxis.set_major_formatter(EngFormatter())


def _legend(figure: Figure, handles: list[Any], where: Any = "outside lower left") -> None:
    """Puts a legend below or above, on the left: a phone shows that part of a wide figure first."""
    columns = max(1, int(figure.get_figwidth() / 2.2))
    figure.legend(handles=handles, loc=where, ncols=min(len(handles), columns))


def _bars_and_lines(table: pd.DataFrame, levels: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns a table without oracles, and the levels with them; oracles alone are drawn as bars."""
    columns = ["environment", "split", "baseline", "mean"]
    lines = pd.DataFrame(columns=columns) if levels is None else levels
    oracles = table["agent"].map(is_oracle)
    if oracles.any() and not oracles.all():
        own = table[oracles].rename(columns={"agent": "baseline", "estimate": "mean"})
        lines, table = pd.concat([own[columns], *([lines] if len(lines) else [])]), table[~oracles]
    return table, lines


def _write_number(axis: Any, x: float, estimate: float, low: float, high: float) -> None:
    """Writes a bar's number beyond the bar and its interval."""
    up = estimate >= 0
    tip = np.nanmax([estimate, high]) if up else np.nanmin([estimate, low])
    place = {"xytext": (0, 3 if up else -3), "textcoords": "offset points"}
    axis.annotate(text(float(estimate)), (x, tip), **place, ha="center", va="bottom" if up else "top", fontsize=7)


def _runs(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return "1 run" if high == 1 else f"{low} runs" if low == high else f"{low} to {high} runs"


def _title(environment: str) -> str:
    # Of an environment with skills as actions, the one that they act in is on a line of its own.
    return "all environments" if environment == "all" else environment.replace(" (", "\n(")


def _value(table: pd.DataFrame, unit: str) -> str:
    return styles.value_label(styles.only(table, "value"), unit)
