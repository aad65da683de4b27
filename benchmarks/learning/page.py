"""Fills in the tables of a page from results that are kept, so that none of them is copied by hand.

A comment stands above each, such as ``<!-- table: scores cpu Pendulum -->``: what to show, of which suite, of which
environment (for ``claims`` of which split). Lines below it that begin with ``|`` are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rllib_sami.core.text import did_you_mean
from rllib_sami.evaluation.results import split_order
from rllib_sami_cli.errors import UserError

from .contexts import CHANGED, LEARNED, context_table
from .tables import comparisons, difference, iqms, markdown, span, spans

ORDER = ("SaCCM", "SaTESAC", "CCM", "TESAC", "SAC", "oracle")  # other algorithms come after them
# Column of the claims -> comparison, and what it is where neither is better.
CLAIMS = {
    "SaCCM less SAC": (difference("SaCCM", "SAC"), 0.0),
    "CCM less SAC": (difference("CCM", "SAC"), 0.0),
    "P(SaCCM > CCM)": ("P(SaCCM > CCM)", 0.5),
    "P(SaCCM > TESAC)": ("P(SaCCM > TESAC)", 0.5),
    "P(SaTESAC > TESAC)": ("P(SaTESAC > TESAC)", 0.5),
}
_MARK = re.compile(r"^<!-- table:(.*?)-->\s*\n*(?:\|.*(?:\n|\Z))*\n*", re.MULTILINE)


def fill_page(page: Path, results: Path) -> int:
    """Replaces the tables of a page.

    Args:
        page: The Markdown file, changed in place.
        results: A folder with a folder for each suite, in it ``results.parquet``, ``curves.parquet`` and, for
            ``contexts``, ``contexts.parquet``.

    Returns:
        How many tables were filled in.

    Raises:
        UserError: The page asks for no table, or for what there is not; it is left as it was.
    """

    def table(match: re.Match) -> str:
        mark = f"<!-- table: {' '.join(words := match[1].split())} -->"
        if len(words) != 3 or words[0] not in TABLES:
            raise UserError(f"{page}: {mark}: write KIND SUITE ENVIRONMENT, with a kind of {', '.join(TABLES)}.")
        kind, suite, which = words
        try:
            return f"{mark}\n\n{markdown(TABLES[kind](results / suite, which))}\n\n"
        except UserError as error:
            raise UserError(f"{page}: {mark}: {error}") from error

    text, number = _MARK.subn(table, page.read_text("utf-8"))
    if number == 0:
        raise UserError(f"{page} asks for no table: there is no <!-- table: KIND SUITE ENVIRONMENT --> in it.")
    page.write_text(text.rstrip("\n") + "\n", "utf-8")
    return number


def scores(folder: Path, environment: str) -> pd.DataFrame:
    """Interquartile means of returns with intervals, and median CPU seconds of training: a row per algorithm."""
    table = _by_split(_of(environment, folder / "results.parquet"), "return")
    spent = _of(environment, folder / "curves.parquet").groupby(["algorithm", "job"])["cpu_s"].max()
    return table.assign(**{"CPU s": [f"{spent[name].median():,.0f}" for name in table[""]]})


def successes(folder: Path, environment: str) -> pd.DataFrame:
    """Interquartile means of success rates: a row per algorithm."""
    return _by_split(_of(environment, folder / "results.parquet"), "success")


def compared(folder: Path, environment: str) -> pd.DataFrame:
    """Probabilities of improvement and differences: a row per pair of algorithms."""
    table = spans(comparisons(_of(environment, folder / "results.parquet")))
    if table.empty:
        raise UserError("none of the pairs of algorithms that are compared is there.")
    wide = table.pivot(index="comparison", columns="split", values="estimate")
    return wide.loc[table["comparison"].unique(), _splits(wide.columns)].rename_axis(columns=None).reset_index(names="")


def contexts(folder: Path, environment: str) -> pd.DataFrame:
    """Returns with the learned context, with zeros and with another episode's: a row per algorithm."""
    table = context_table(_of(environment, folder / "contexts.parquet")).set_index(["algorithm", "split"])
    estimates = table[[LEARNED, *CHANGED]].map(lambda said: said.split(" (")[0])
    wide = estimates.agg(" / ".join, axis=1).unstack()
    wide = wide.loc[_ordered(wide.index), _splits(wide.columns)]
    return wide.rename_axis(columns=None).reset_index(names=" / ".join((LEARNED, *CHANGED)))


def claims(folder: Path, split: str) -> pd.DataFrame:
    """What the context and the skills are worth on one split: a row per environment.

    Bold where the interval excludes that neither is better.
    """
    episodes = _read(folder / "results.parquet")
    if split not in set(episodes["split"]):
        raise UserError(f"no split '{split}'. {did_you_mean(split, episodes['split'].unique())}")
    rows = []
    for environment, mine in episodes[episodes["split"] == split].groupby("environment", sort=False):
        found = comparisons(mine).set_index("comparison")
        cells = {
            name: claim(*found.loc[key, ["estimate", "low", "high"]], null) if key in found.index else "–"
            for name, (key, null) in CLAIMS.items()
        }
        rows.append({split: environment} | cells)
    return pd.DataFrame(rows)


TABLES: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "scores": scores,
    "success": successes,
    "compared": compared,
    "contexts": contexts,
    "claims": claims,
}


def claim(estimate: float, low: float, high: float, null: float) -> str:
    """Returns an estimate with its interval, bold if that excludes ``null``."""
    said = span(estimate, low, high)
    value, *rest = said.split(" (")
    return " (".join([f"**{value}**", *rest]) if low > null or high < null else said


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is not there.")
    return pd.read_parquet(path)


def _of(environment: str, path: Path) -> pd.DataFrame:
    rows = _read(path)
    known = rows["environment"].unique()
    if environment not in known:
        raise UserError(f"{path}: no environment '{environment}'. {did_you_mean(environment, known)}")
    return rows[rows["environment"] == environment]


def _by_split(episodes: pd.DataFrame, value: str) -> pd.DataFrame:
    if episodes[value].isna().all():
        raise UserError(f"its episodes have no {value}.")
    found = iqms(episodes, value)
    rows = [
        {"": name, **{split: span(*found[split, name][:3]) for split in _splits(episodes["split"])}}
        for name in _ordered(episodes["algorithm"])
    ]
    return pd.DataFrame(rows)


def _splits(names: pd.Series | pd.Index) -> list[str]:
    return sorted(names.unique(), key=split_order)


def _ordered(names: pd.Series | pd.Index) -> list[str]:
    return sorted(names.unique(), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
