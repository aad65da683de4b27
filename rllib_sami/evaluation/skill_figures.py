"""Figures of skills: paths with one colour per skill, goals as a map, features of states, coverage in training.

All of them have the keyword ``style``: ``"light"``, ``"dark"`` or a ``Style``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rllib_sami.evaluation import figures
from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.style import LINES, Style, styled

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Walks:
    """The paths of one run's skills, or to its goals.

    Attributes:
        title: Whose.
        paths: ``[T + 1, k]`` each.
        skills: ``[n, d]``; NaN for goals.
        goals: ``[n, k]``; NaN for skills.
        radius: Distance at which a goal counts as reached.
    """

    title: str
    paths: list[np.ndarray]
    skills: np.ndarray
    goals: np.ndarray
    radius: float


@styled
def skill_paths(runs: Sequence[Walks], style: str | Style = "light") -> Figure:
    """Draws the path of each skill, one panel per run on the same axes: y over x, or x over time."""
    flat = runs[0].paths[0].shape[1] == 1
    figure, axes = _panels(runs, style)
    for axis, run in zip(axes, runs, strict=True):
        for path, colour in zip(run.paths, colours(run.skills), strict=True):
            x = np.arange(len(path)) if flat else path[:, 0]
            y = path[:, 0] if flat else path[:, 1]
            axis.plot(x, y, color=colour, lw=1.0, alpha=0.85)
            axis.plot(x[-1], y[-1], "o", color=colour, ms=3)
        _label(axis, run.title, "step" if flat else AXES[0], AXES[0] if flat else AXES[1])
    _same_limits(axes, runs, equal=not flat)
    return figure


@styled
def goal_map(runs: Sequence[Walks], style: str | Style = "light") -> Figure:
    """Draws goals, filled if they were reached, and the paths that led there; one panel per run on the same axes."""
    flat, page = runs[0].paths[0].shape[1] == 1, styles.of(style)
    figure, axes = _panels(runs, style)
    good, bad = page.algorithms["CCM"], page.algorithms["SaTESAC"]
    for axis, run in zip(axes, runs, strict=True):
        for path, goal in zip(run.paths, run.goals, strict=True):
            reached = bool((np.linalg.norm(path[1:] - goal[: path.shape[1]], axis=1) < run.radius).any())
            colour, steps = good if reached else bad, np.arange(len(path))
            x, y = (steps, path[:, 0]) if flat else (path[:, 0], path[:, 1])
            axis.plot(x, y, color=colour, lw=0.7, alpha=0.5)
            at = (steps[-1], goal[0]) if flat else (goal[0], goal[1])
            axis.plot(*at, "o" if reached else "x", color=colour, ms=5)
        _label(axis, run.title, "step" if flat else AXES[0], AXES[0] if flat else AXES[1])
    _same_limits(axes, runs, equal=not flat)
    return figure


@styled
def feature_scatter(
    points: np.ndarray, positions: np.ndarray, axes_are: str, title: str, style: str | Style = "light"
) -> Figure:
    """Draws features of states in a plane, coloured by position.

    Args:
        points: ``[n, 2]``.
        positions: ``[n, k]``; one panel for each of the first two coordinates.
        axes_are: What the axes are.
        title: Whose features.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    number = min(2, positions.shape[1])
    figure, axes = styles.panels(number, number, 4.4, 3.6)
    for axis, values, name in zip(axes, positions.T, AXES, strict=False):
        dots = axis.scatter(*points.T, c=values, s=6, cmap="viridis", linewidths=0, rasterized=True)
        figure.colorbar(dots, ax=axis, label=f"position {name}")
        axis.set(title=title, xlabel=f"first {axes_are}", ylabel=f"second {axes_are}")
    return figure


@styled
def coverage_curves(progress: pd.DataFrame, x: str, y: str, label: str, style: str | Style = "light") -> Figure:
    """Draws the mean over each agent's runs, and the range from its lowest to its highest run.

    Args:
        progress: As of ``read_progress``, of several runs.
        x: ``"env_steps"``, or ``"cpu_seconds"`` (drawn in seconds, minutes or hours).
        y: Its column.
        label: Label of the axis.
        style: ``"light"``, ``"dark"`` or a ``Style``.
    """
    figure, (axis,) = styles.panels(1, 1, 6.0, 3.6)
    rows = progress.dropna(subset=[x, y])
    unit, scale = figures.time_unit(rows[x].max()) if x == "cpu_seconds" else ("", 1.0)
    for agent, (colour, variant) in styles.looks(rows["agent"], style).items():
        runs = [run.sort_values(x) for _, run in rows[rows["agent"] == agent].groupby("run")]
        start, end = max(run[x].iloc[0] for run in runs), min(run[x].iloc[-1] for run in runs)
        grid = np.linspace(start, max(start, end), 200)
        values = np.stack([np.interp(grid, run[x], run[y]) for run in runs])
        line = {"color": colour, "ls": LINES[variant % len(LINES)], "lw": 2}
        axis.plot(grid / scale, values.mean(axis=0), **line, label=f"{agent} ({len(runs)})")
        if len(runs) > 1:
            axis.fill_between(grid / scale, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, lw=0)
    figures.label_steps(axis, unit)
    if unit:
        axis.set_xlabel(f"CPU time of training ({unit})")
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure


def colours(skills: np.ndarray) -> list[Any]:
    """Returns a colour for each skill ``[n, d]``: by its angle in the plane (of its first two principal components)."""
    known = ~np.isnan(skills).all(axis=0)
    skills = skills[:, known]
    if is_one_hot(skills):
        turn = skills.argmax(axis=1) / skills.shape[1]
    elif skills.shape[1] == 1:
        turn = 0.25 + 0.5 * (skills[:, 0] > 0)
    elif len(skills) < 3 and skills.shape[1] > 2:  # no plane of their own
        turn = np.arange(len(skills)) / len(skills)
    else:
        plane = skills
        if skills.shape[1] > 2:
            centred = skills - skills.mean(axis=0)
            plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
        turn = np.arctan2(plane[:, 1], plane[:, 0]) / (2 * np.pi) % 1.0
    return [matplotlib.colormaps["hsv"](float(value)) for value in turn]


def is_one_hot(skills: np.ndarray) -> bool:
    """Whether skills ``[n, d]`` are unit vectors of the axes."""
    return skills.shape[1] > 1 and bool(((skills == 0) | (skills == 1)).all() and (skills.sum(axis=1) == 1).all())


def _panels(runs: Sequence[Walks], style: str | Style) -> tuple[Figure, list[Any]]:
    return styles.panels(len(runs), styles.columns_on_page(3.5), 3.5, 3.5)


def _label(axis: Any, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set(xlabel=x, ylabel=y)


def _same_limits(axes: Sequence[Any], runs: Sequence[Walks], equal: bool) -> None:
    """Gives all panels the same limits, so that what looks alike is alike."""
    points = np.concatenate([path[:, :2] for run in runs for path in run.paths])
    of_goals = [run.goals[:, : points.shape[1]] for run in runs if run.goals.shape[1] >= points.shape[1]]
    points = np.concatenate([points, *(goals[~np.isnan(goals).any(axis=1)] for goals in of_goals)])
    most = 1.05 * max(float(np.abs(points).max()), 1e-6)
    for axis in axes:
        axis.set_ylim(-most, most)
        if equal:
            axis.set_xlim(-most, most)
            axis.set_aspect("equal")
