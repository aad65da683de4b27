"""How figures look: colours fixed per algorithm, light and dark, without pyplot's global state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

P = ParamSpec("P")


@dataclass(frozen=True)
class Style:
    """Colours of the page and of what is drawn on it.

    Attributes:
        page: Background.
        ink: Text and axes.
        faint: Grid and reference lines.
        algorithms: One colour per well-known algorithm.
        others: For all further names and for categories; all told apart in the common colour blindnesses.
    """

    page: str
    ink: str
    faint: str
    algorithms: dict[str, str]
    others: tuple[str, ...]


# After Okabe and Ito, https://jfly.uni-koeln.de/color/, lighter on a dark page.
STYLES = {
    "light": Style(
        page="#ffffff",
        ink="#1f2328",
        faint="#c9ced6",
        algorithms={"SaCCM": "#0072b2", "SaTESAC": "#d55e00", "CCM": "#009e73", "TESAC": "#7a828e"},
        others=("#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#b3a800", "#8c564b", "#000000"),
    ),
    "dark": Style(
        page="#14171c",
        ink="#e6e8eb",
        faint="#434a54",
        algorithms={"SaCCM": "#5ab4f0", "SaTESAC": "#ff8f4d", "CCM": "#33c99b", "TESAC": "#a9b1bd"},
        others=("#e79fc6", "#f5bd41", "#9ad4f7", "#b99be0", "#dcd24a", "#c4978c", "#ffffff"),
    ),
}
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx")


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Makes a figure function draw in the style of its keyword ``style``: ``"light"`` (default) or ``"dark"``."""

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        style = of(str(kwargs.get("style", "light")))
        with matplotlib.rc_context(_settings(style)):
            return function(*args, **kwargs)

    return draw


def of(name: str) -> Style:
    """Returns a style by its name."""
    if name not in STYLES:
        raise ValueError(f"style={name!r}: expected one of {', '.join(STYLES)}.")
    return STYLES[name]


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """Returns a figure with ``count`` axes in rows of at most ``columns``, each ``width`` by ``height`` inches."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    return figure, list(axes[:count])


def order(agents: Iterable[str]) -> list[str]:
    """Returns agents' names in the order of legends: well-known algorithms from the method's own down, then others."""
    known = list(STYLES["light"].algorithms)

    def rank(agent: str) -> tuple[int, str]:
        algorithm = agent.partition(",")[0]
        return (known.index(algorithm) if algorithm in known else len(known)), agent

    return sorted(set(agents), key=rank)


def looks(agents: Iterable[str], style: str) -> dict[str, tuple[str, int]]:
    """Returns each agent's colour, that of its algorithm, and its number among the agents of that algorithm."""
    agents, page = order(agents), of(style)
    names = list(dict.fromkeys(agent.partition(",")[0] for agent in agents))
    unknown = [name for name in names if name not in page.algorithms]
    colours = {**page.algorithms, **{name: page.others[i % len(page.others)] for i, name in enumerate(unknown)}}
    counts = dict.fromkeys(names, 0)
    found = {}
    for agent in agents:
        name = agent.partition(",")[0]
        found[agent] = (colours[name], counts[name])
        counts[name] += 1
    return found


def value_label(value: str, normalised_by: str = "nothing") -> str:
    """Returns the axis title of a score, with its unit."""
    names = {"return": "return (sum of rewards)", "success": "success rate", "length": "length (steps)"}
    if normalised_by.startswith("nothing"):
        return names.get(value, value)
    return f"{value} ÷ {normalised_by}"


def factor_label(column: str, environment: str) -> str:
    """Returns the axis title of a task column: ``cube mass (kg)``."""
    from .task_words import class_of

    key = column.removeprefix("task_")
    factors = getattr(class_of(environment), "factors", ())
    unit = next((factor.unit for factor in factors if key in (factor.name, *factor.keys)), "")
    unit = unit.partition(",")[0].partition(";")[0].replace("a multiple of the", "× the")
    return key.replace("_", " ") + (f" ({unit})" if unit else "")


def only(table: pd.DataFrame, column: str) -> str:
    """Returns the one value of a column; figures of one environment refuse tables of several."""
    values = list(table[column].unique())
    if len(values) != 1:
        raise ValueError(f"{column}: {', '.join(map(str, values)) or 'nothing'} in one figure. Expected exactly one.")
    return str(values[0])


def _settings(style: Style) -> Any:  # a dict; matplotlib types its keys one by one
    pale = ("axes.labelcolor", "axes.edgecolor", "text.color", "xtick.color", "ytick.color", "legend.labelcolor")
    return {
        **dict.fromkeys(pale, style.ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), style.page),
        "grid.color": style.faint,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "hatch.color": style.page,
    }
