"""Fills in the tables of a page from results that are kept, so that no number is copied by hand.

A comment stands above each table, such as ``<!-- scores cpu Pendulum -->``: what to show, of which folder, of which
environment (for ``claims`` of which split). Lines below it that begin with ``|`` are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rllib_sami.cli.errors import UserError, did_you_mean

from .contexts import CHANGED, LEARNED, context_table
from .tables import comparisons, iqms, markdown, span

SPLITS = ("train", "moderate", "extreme")
ALGORITHMS = ("SaCCM", "SaTESAC", "CCM", "TESAC", "SAC", "oracle")  # in this order, others after them
# Column of the claims -> comparison in the tables, and what it is where neither is better.
CLAIMS = {
    "SaCCM less SAC": ("return of SaCCM less that of SAC", 0.0),
    "CCM less SAC": ("return of CCM less that of SAC", 0.0),
    "P(SaCCM > CCM)": ("P(SaCCM > CCM)", 0.5),
    "P(SaCCM > TESAC)": ("P(SaCCM > TESAC)", 0.5),
    "P(SaTESAC > TESAC)": ("P(SaTESAC > TESAC)", 0.5),
}
_MARK = re.compile(r"(<!-- (\w+) (\w+) (\w+) -->\n\n)(?:\|.*\n)*")


def fill_page(page: Path, results: Path) -> int:
    """Replaces the tables of a page.

    Args:
        page: The Markdown file, changed in place.
        results: A folder with a folder for each suite, in it ``results.parquet``, ``curves.parquet`` and, for
            ``contexts``, ``contexts.parquet``.

    Returns:
        How many tables were filled in.

    Raises:
        UserError: The page asks for what there is not.
    """

    def table(match: re.Match) -> str:
        head, kind, suite, which = match.groups()
        if kind not in TABLES:
            raise UserError(f"{page}: no table '{kind}'. {did_you_mean(kind, TABLES)}")
        return head + markdown(TABLES[kind](results / suite, which)) + "\n"

    text, number = _MARK.subn(table, page.read_text("utf-8"))
    page.write_text(text, "utf-8")
    return number


def scores(folder: Path, environment: str) -> pd.DataFrame:
    """Interquartile means of returns with intervals, and median CPU seconds of training: a row per algorithm."""
    episodes = _of(environment, folder / "results.parquet")
    last = _of(environment, folder / "curves.parquet").groupby(["algorithm", "job"])["cpu_s"].max()
    table = _by_split(episodes, "return")
    return table.assign(**{"CPU s": [f"{last[name].median():,.0f}" for name in table[""]]})


def successes(folder: Path, environment: str) -> pd.DataFrame:
    """Interquartile means of success rates: a row per algorithm."""
    return _by_split(_of(environment, folder / "results.parquet"), "success")


def compared(folder: Path, environment: str) -> pd.DataFrame:
    """Probabilities of improvement and differences: a row per pair of algorithms."""
    table = comparisons(_of(environment, folder / "results.parquet"))
    wide = table.pivot(index="comparison", columns="split", values="estimate")
    return wide.loc[table["comparison"].unique(), _splits(wide.columns)].rename_axis(columns=None).reset_index(names="")


def contexts(folder: Path, environment: str) -> pd.DataFrame:
    """Returns with the learned context, with zeros and with another episode's: a row per algorithm."""
    table = context_table(_of(environment, folder / "contexts.parquet")).set_index(["algorithm", "split"])
    said = table[[LEARNED, *CHANGED]].map(lambda cell: cell.split(" (")[0]).agg(" / ".join, axis=1).unstack()
    said = said.loc[_ordered(said.index), _splits(said.columns)]
    return said.rename_axis(columns=None).reset_index(names=" / ".join((LEARNED, *CHANGED)))


def claims(folder: Path, split: str) -> pd.DataFrame:
    """What the context and the skills are worth on one split: a row per environment.

    Bold where the interval excludes that neither is better.
    """
    if split not in SPLITS:
        raise UserError(f"claims: no split '{split}'. {did_you_mean(split, SPLITS)}")
    rows = []
    for environment, episodes in _read(folder / "results.parquet").groupby("environment", sort=False):
        table = comparisons(episodes[episodes["split"] == split]).set_index("comparison")["estimate"]
        rows.append({split: environment} | {name: _marked(table[key], null) for name, (key, null) in CLAIMS.items()})
    return pd.DataFrame(rows)


TABLES: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "scores": scores,
    "success": successes,
    "compared": compared,
    "contexts": contexts,
    "claims": claims,
}


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is not there, and the page has a table of it.")
    return pd.read_parquet(path)


def _of(environment: str, path: Path) -> pd.DataFrame:
    rows = _read(path)
    known = rows["environment"].unique()
    if environment not in known:
        raise UserError(f"{path}: no environment '{environment}'. {did_you_mean(environment, known)}")
    return rows[rows["environment"] == environment]


def _by_split(episodes: pd.DataFrame, value: str) -> pd.DataFrame:
    found = iqms(episodes, value)
    rows = [
        {"": name, **{split: span(*found[split, name][:3]) for split in _splits(episodes["split"])}}
        for name in _ordered(episodes["algorithm"])
    ]
    return pd.DataFrame(rows)


def _splits(names: pd.Series | pd.Index) -> list[str]:
    return [split for split in SPLITS if split in set(names)]


def _ordered(names: pd.Series | pd.Index) -> list[str]:
    return sorted(names.unique(), key=lambda name: ALGORITHMS.index(name) if name in ALGORITHMS else len(ALGORITHMS))


def _marked(said: str, null: float) -> str:
    estimate, low, high = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", said).groups()
    decided = float(low.replace(",", "")) > null or float(high.replace(",", "")) < null
    return f"**{estimate}** ({low} to {high})" if decided else said
