"""What a report is made of: sections with text, plots, tables and videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "–"
VIDEOS_SHOWN = 12  # at once, until more are asked for


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        name: Of its files.
        caption: What is shown, in which units, of how many, with which intervals.
        draw: Makes it; its keyword ``style`` is ``"light"`` or ``"dark"``.
    """

    name: str
    caption: str
    draw: Callable[..., Figure]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: What is shown.
        frame: Its cells; column names are what the reader sees.
        folded: Shown on demand only.
    """

    caption: str
    frame: pd.DataFrame
    folded: bool = False

    @property
    def columns(self) -> list[str]:
        """Headings."""
        return [str(name) for name in self.frame.columns]

    @property
    def rows(self) -> list[list[str]]:
        """Cells, as text."""
        return [[text(cell) for cell in row] for row in self.frame.itertuples(index=False)]

    def is_text(self, column: int) -> bool:
        """Returns whether a column holds words (aligned left) rather than numbers."""
        return self._texts[column]

    @cached_property
    def _texts(self) -> list[bool]:
        columns = (self.frame.iloc[:, column].dropna() for column in range(self.frame.shape[1]))
        return [
            any(isinstance(cell, str) and cell[:1] not in "-0123456789" + NOTHING for cell in cells)
            for cells in columns
        ]


@dataclass(frozen=True)
class Video:
    """A recorded episode.

    Attributes:
        title: Who plays what.
        caption: How it went.
        labels: What the gallery is filtered by: ``algorithm``, ``environment``, ``split``, ``task``, ``skill``,
            ``success``.
        source: Of the page's player: a data URI or a path beside the page.
        poster: Likewise, of the picture shown before it plays; empty without one.
        file: Path beside the page; empty if it is inlined.
    """

    title: str
    caption: str
    labels: dict[str, str]
    source: str
    poster: str = ""
    file: str = ""


@dataclass
class Section:
    """A part of the report.

    Attributes:
        key: Its anchor.
        title: Its heading.
        text: Paragraphs before everything else.
        missing: Sentence that stands in for what could not be made, or a warning, or empty.
        plots: Figures.
        tables: Tables.
        videos: Recorded episodes, shown as a gallery.
        notes: Paragraphs after everything else.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    missing: str = ""
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)
    notes: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Returns whether there is nothing to show, so that the page leaves it out."""
        return not (self.plots or self.tables or self.videos) and (bool(self.missing) or not self.text)

    @property
    def filters(self) -> list[tuple[str, str, list[str]]]:
        """Name, label and values of each thing that tells this section's videos apart."""
        names = list(dict.fromkeys(name for video in self.videos for name in video.labels))
        values = {name: sorted({video.labels.get(name, NOTHING) for video in self.videos}) for name in names}
        return [(name, name.capitalize(), values[name]) for name in names if len(values[name]) > 1]


def text(value: Any) -> str:
    """Returns a cell's text; numbers with about three digits."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value != value:
        return NOTHING
    if isinstance(value, float):
        size = abs(value)
        digits = 0 if size >= 100 or not math.isfinite(value) else 1 if size >= 10 else 2 if size >= 0.1 else 4
        return "0" if value == 0 else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def with_interval(estimate: float, low: float, high: float) -> str:
    """Returns ``"1.62 [1.55, 1.69]"``."""
    if estimate != estimate:
        return NOTHING
    return text(estimate) if low != low else f"{text(estimate)} [{text(low)}, {text(high)}]"
