"""Building blocks of a report: sections with text, plots, tables and videos."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "–"
VIDEOS_SHOWN = 12  # at once, until more are requested


@dataclass(frozen=True)
class Plot:
    """A figure."""

    name: str  # of its files; what files should not be called becomes an underscore
    caption: str  # what is shown, with units, sample sizes and intervals
    draw: Callable[..., Figure]  # its keyword `style` is a name or a `style.Style`

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", re.sub(r"[^\w.-]+", "_", self.name))


@dataclass(frozen=True)
class Table:
    """A table."""

    caption: str
    frame: pd.DataFrame  # cells and column names as the reader sees them
    folded: bool = False  # shown on demand only

    @property
    def columns(self) -> list[str]:
        """Headings."""
        return [str(name) for name in self.frame.columns]

    @property
    def rows(self) -> list[list[str]]:
        """Cells, as text."""
        return [[text(cell) for cell in row] for row in self.frame.itertuples(index=False)]

    @cached_property
    def text_columns(self) -> list[bool]:
        """Whether each column holds words (aligned left) rather than numbers."""
        columns = (self.frame.iloc[:, column].dropna() for column in range(self.frame.shape[1]))
        return [
            any(isinstance(cell, str) and cell[:1] not in "-0123456789" + NOTHING for cell in cells)
            for cells in columns
        ]


@dataclass(frozen=True)
class Video:
    """A recorded episode."""

    title: str  # who plays what
    caption: str  # return, run and episode
    labels: dict[str, str]  # what the gallery is filtered by, such as the algorithm or the split
    source: str  # a data URI or a path beside the page
    poster: str = ""  # data URI of the picture shown before it plays; may be empty
    file: str = ""  # path beside the page; empty if the video is inlined


@dataclass
class Section:
    """A part of the report."""

    key: str  # its anchor
    title: str
    text: Sequence[str] = ()  # paragraphs before everything else
    missing: str = ""  # says why there is nothing to show; or a warning
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)  # shown as a gallery
    notes: Sequence[str] = ()  # paragraphs after everything else

    @property
    def empty(self) -> bool:
        """Returns whether there is nothing to show, so that the page leaves it out."""
        return not (self.plots or self.tables or self.videos) and (bool(self.missing) or not self.text)

    @property
    def filters(self) -> list[tuple[str, str, list[str]]]:
        """Name, label and values of each property in which this section's videos differ."""
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
