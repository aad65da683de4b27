"""Figures of sub-tasks: when each was done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

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
    for axis, (title, rows) in zip(axes, found, strict=True):
        axis.hlines(range(len(rows)), 0, 1.05 * last, color=page.faint, lw=0.8)
        for index, name in enumerate(rows):
            at = rows[name].to_numpy()
            axis.plot(at, np.where(np.isfinite(at), np.arange(len(rows)), np.nan), "o", color=f"C{index}", label=name)
        axis.set(title=title, xlabel="step", xlim=(0.0, 1.05 * last), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=len(names))
    return figure
