"""Style of figures: fixed colours per algorithm, light and dark, without pyplot's global state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from rllib_sami.evaluation.names import algorithm_of, order
from rllib_sami.evaluation.tables import is_raw

P = ParamSpec("P")


@dataclass(frozen=True)
class Style:
    """Colours of the page and of the figures on it."""

    page: str  # background
    ink: str  # text and axes
    faint: str  # grid and reference lines
    algorithms: dict[str, str]  # one colour per well-known algorithm
    others: tuple[str, ...]  # for all further algorithms
    shades: tuple[float, float]  # range of the colour map `plasma` that is legible on the page, for categories
    agents: tuple[str, ...] = ()  # of a report: each keeps its colour in figures that show only some of them


# The first three are those of Okabe and Ito, https://jfly.uni-koeln.de/color/; all others differ from those before them
# in the common kinds of colour blindness. All have a contrast of 3 or more to the page.
STYLES = {
    "light": Style(
        page="#ffffff",
        ink="#1f2328",
        faint="#c9ced6",
        algorithms={
            **{"SaCCM": "#0072b2", "SaTESAC": "#d55e00", "CCM": "#009e73", "TESAC": "#7a828e", "SaPPO": "#7014cc"},
            **{"SaMI": "#cc14ad", "RecurrentSAC": "#593109", "PlainSAC": "#1f2328", "PPO": "#800d6c"},
            **{"SAC": "#806839", "oracle": "#3a5944"},
        },
        others=("#eb3beb", "#1717eb", "#80460d", "#590d80", "#593a4f"),
        shades=(0.0, 0.8),
    ),
    "dark": Style(
        page="#14171c",
        ink="#e6e8eb",
        faint="#434a54",
        algorithms={
            **{"SaCCM": "#5ab4f0", "SaTESAC": "#ff8f4d", "CCM": "#33c99b", "TESAC": "#a9b1bd", "SaPPO": "#933beb"},
            **{"SaMI": "#cc5c94", "RecurrentSAC": "#ebc717", "PlainSAC": "#ffffff", "PPO": "#a64b97"},
            **{"SAC": "#806c0d", "oracle": "#a6eb98"},
        },
        others=("#cc334d", "#5c6fcc", "#0d8059", "#ebeb6a", "#85a8cc"),
        shades=(0.3, 1.0),
    ),
}
PAGE_WIDTH = 10.8  # inches; a wider figure is shown smaller
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx")


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorates a figure function: its keyword ``style`` is ``"light"`` (default), ``"dark"``, or a ``Style``."""

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        style: Any = kwargs.get("style", "light")
        with matplotlib.rc_context(_settings(of(style))):
            return function(*args, **kwargs)

    return draw


def of(name: str | Style) -> Style:
    """Returns the style of a name; a ``Style`` is returned as it is."""
    if isinstance(name, Style):
        return name
    if name not in STYLES:
        raise ValueError(f"style={name!r}: expected one of {', '.join(STYLES)}.")
    return STYLES[name]


def columns_on_page(width: float) -> int:
    """Returns how many panels of a width fit side by side on the page with legible text."""
    return max(1, int(PAGE_WIDTH / width))


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """Returns a figure with ``count`` axes in rows of at most ``columns``, each ``width`` by ``height`` inches."""
    rows = -(-count // max(1, min(columns, count)))
    columns = -(-count // rows)  # as many in each row as possible: four are two and two, not three and one
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    return figure, list(axes[:count])


def looks(agents: Iterable[str], style: str | Style) -> dict[str, tuple[str, int]]:
    """Returns each agent's colour, that of its algorithm, and its number among the agents of that colour.

    They depend only on the algorithm if it is well known, else on the style's ``agents`` and those given.
    """
    page, shown = of(style), set(agents)
    everyone = order({*page.agents, *shown})
    further = [name for name in dict.fromkeys(map(algorithm_of, everyone)) if name not in page.algorithms]
    colours = page.algorithms | {name: page.others[i % len(page.others)] for i, name in enumerate(further)}
    counts = dict.fromkeys(colours.values(), 0)
    found = {}
    for agent in everyone:
        colour = colours[algorithm_of(agent)]
        found[agent] = (colour, counts[colour])
        counts[colour] += 1
    return {agent: look for agent, look in found.items() if agent in shown}


def with_agents(agents: Iterable[str]) -> dict[str, Style]:
    """Returns the styles of a report with these agents."""
    return {name: replace(style, agents=tuple(order(agents))) for name, style in STYLES.items()}


def value_label(value: str, normalised_by: str = "nothing") -> str:
    """Returns the axis label of a score, with its unit."""
    names = {"return": "return (sum of rewards)", "success": "success rate", "length": "length (steps)"}
    return names.get(value, value) if is_raw(normalised_by) else f"{value} ÷ {normalised_by}"


def only(table: pd.DataFrame, column: str) -> str:
    """Returns the one value of a column, such as the environment of a figure.

    Raises:
        ValueError: There are several, or none.
    """
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
