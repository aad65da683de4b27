"""Figures of sub-tasks: when each was done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rllib_sami.evaluation import style as styles
from rllib_sami.evaluation.style import Style, styled


@styled
def timelines(found: Sequence[tuple[str, pd.DataFrame]], style: str | Style = "light") -> Figure:
    """Draws a line for each episode with a mark where a sub-task was done; a panel per agent, on one axis of steps.

    Args:
        found: Titles of panels, and for each a row for each episode and a column for each sub-task: the step at which
            it was done, infinity if it was not.
        style: The looks.
    """
    page = styles.of(style)
    most = max(len(rows) for _, rows in found)
    figure, axes = styles.panels(len(found), styles.columns_on_page(5.0), 5.0, 1.0 + 0.16 * most)
    done = np.concatenate([rows.to_numpy().ravel() for _, rows in found])
    last = done[np.isfinite(done)].max(initial=1.0)
    names = list(dict.fromkeys(name for _, rows in found for name in rows))
    marks: dict[str, Line2D] = {}
    for axis, (title, rows) in zip(axes, found, strict=True):
        axis.hlines(range(len(rows)), 0, 1.05 * last, color=page.faint, lw=0.8)
        for name in rows:
            at = rows[name].to_numpy()
            places = np.where(np.isfinite(at), np.arange(len(rows)), np.nan)
            [marks[name]] = axis.plot(at, places, "o", color=f"C{names.index(name)}", label=name)
        axis.set(title=title, xlabel="step", xlim=(0.0, 1.05 * last), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    figure.legend(handles=[*marks.values()], fontsize=8, loc="outside lower center", ncols=len(marks))
    return figure
