"""Fills in the tables of a page from results that are kept, so that none of them is copied by hand.

A comment stands above each, such as ``<!-- table: scores cpu Pendulum -->``: what to show, of which suite, of which
environment (for ``claims`` of which split, for ``shares`` and ``bounds`` of which algorithm). Lines below it that begin
with ``|`` are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rllib_sami.algorithms.sami.contrast import BOUNDS_OF_BOTH
from rllib_sami.core.text import did_you_mean
from rllib_sami.evaluation import statistics
from rllib_sami.evaluation.results import split_order
from rllib_sami_cli.errors import UserError

from .contexts import CHANGED, LEARNED, context_table
from .tables import aggregates, comparisons, markdown, mean_difference, share_of_gain, span, spans

ORDER = ("SaCCM", "SaTESAC", "CCM", "TESAC", "SAC", "oracle")  # other algorithms come after them
# Column of the claims -> the two algorithms. Of some, the difference is told, of others how often one beats the other.
CLAIMS = {
    "SaCCM less SAC": ("SaCCM", "SAC"),
    "CCM less SAC": ("CCM", "SAC"),
    "P(SaCCM > CCM)": ("SaCCM", "CCM"),
    "P(SaCCM > TESAC)": ("SaCCM", "TESAC"),
    "P(SaTESAC > TESAC)": ("SaTESAC", "TESAC"),
}
LAST_ITERATIONS = 10  # whose bounds are averaged
CHANCE = 0.05  # of at least one false claim among all that are bold
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
            raise UserError(
                f"{page}: {mark}: write KIND SUITE WHICH, with a kind of {', '.join(TABLES)} and an environment, split "
                "or algorithm."
            )
        kind, suite, which = words
        try:
            return f"{mark}\n\n{markdown(TABLES[kind](results / suite, which))}\n\n"
        except UserError as error:
            raise UserError(f"{page}: {mark}: {error}") from error

    text, number = _MARK.subn(table, page.read_text("utf-8"))
    if number == 0:
        raise UserError(f"{page} asks for no table: there is no <!-- table: KIND SUITE WHICH --> in it.")
    page.write_text(text.rstrip("\n") + "\n", "utf-8")
    return number


def scores(folder: Path, environment: str) -> pd.DataFrame:
    """Interquartile means of returns with intervals, and median CPU seconds of training: a row per algorithm."""
    table = _by_split(_of(environment, folder / "results.parquet"), "return")
    spent = _of(environment, folder / "curves.parquet").groupby(["algorithm", "job"])["cpu_s"].max()
    return table.assign(**{"CPU s": [f"{spent[name].median():,.0f}" for name in table[""]]})


def per_thousand(folder: Path, environment: str) -> pd.DataFrame:
    """Mean returns of episodes without an end of their own, times 1,000 by their length: a row per algorithm."""
    episodes = _of(environment, folder / "results.parquet")
    if (episodes["length"] < episodes["length"].max()).any():
        raise UserError("its episodes have different lengths.")
    scaled = episodes.assign(**{"return": episodes["return"] * 1000 / episodes["length"]})
    return _by_split(scaled, "return", "mean")


def successes(folder: Path, environment: str) -> pd.DataFrame:
    """Mean success rates: a row per algorithm."""
    return _by_split(_of(environment, folder / "results.parquet"), "success", "mean")


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

    Bold by p-values that are adjusted for all claims on all environments and the splits that these share.
    """
    episodes = _read(folder / "results.parquet")
    if split not in (shared := _shared_splits(episodes)):
        raise UserError(f"no split '{split}' of all environments. {did_you_mean(split, shared)}")
    p_values = adjusted_p_values(episodes)
    rows = []
    for environment, mine in episodes[episodes["split"] == split].groupby("environment", sort=False):
        chances = comparisons(mine).set_index("comparison")
        cells = {}
        for name, (x, y) in CLAIMS.items():
            if not {x, y} <= set(mine["algorithm"]):
                cells[name] = "–"
                continue
            of_chance = name in chances.index
            numbers = chances.loc[name, ["estimate", "low", "high"]] if of_chance else mean_difference(mine, x, y)[:3]
            cells[name] = claim(*numbers, p_values.get((environment, split, name), np.nan))
        rows.append({split: environment} | cells)
    return pd.DataFrame(rows)


def adjusted_p_values(episodes: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Returns Holm's p-values of all claims by environment, split and name, on the splits that environments share."""
    found = {
        (environment, split, name): mean_difference(mine, x, y)[3]
        for (environment, split), mine in episodes.groupby(["environment", "split"], sort=False)
        if split in _shared_splits(episodes)
        for name, (x, y) in CLAIMS.items()
        if {x, y} <= set(mine["algorithm"])
    }
    found = {key: value for key, value in found.items() if not np.isnan(value)}
    return dict(zip(found, statistics.holm([*found.values()]), strict=True))


def _shared_splits(episodes: pd.DataFrame) -> set[str]:
    return set.intersection(*episodes.groupby("environment")["split"].agg(set))


def shares(folder: Path, algorithm: str) -> pd.DataFrame:
    """What share of the oracle's gain over SAC an algorithm has: a row per environment, where the oracle has a gain."""
    episodes = _read(folder / "results.parquet")
    if algorithm not in set(episodes["algorithm"]):
        raise UserError(f"no algorithm '{algorithm}'. {did_you_mean(algorithm, episodes['algorithm'].unique())}")
    splits = _splits(episodes["split"])
    rows = []
    for environment, mine in episodes.groupby("environment", sort=False):
        found = {split: share_of_gain(here, algorithm) for split, here in mine.groupby("split")}
        if any(found.values()):
            said = {split: span(*found[split]) if found.get(split) else "–" for split in splits}
            rows.append({algorithm: environment} | said)
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "–").any()]


def bounds(folder: Path, algorithm: str) -> pd.DataFrame:
    """What the contrasts of an algorithm reach in the last ten iterations: a row per environment."""
    curves = _read(folder / "curves.parquet")
    mine = curves[curves["algorithm"] == algorithm].dropna(subset="sance_bound")
    if mine.empty:
        raise UserError(f"no bounds of an algorithm '{algorithm}'. {did_you_mean(algorithm, set(curves['algorithm']))}")
    last = mine.sort_values("env_steps").groupby(["environment", "seed"], sort=False).tail(LAST_ITERATIONS)
    names = [name for name in BOUNDS_OF_BOTH if last[name].notna().any()] or ["sance_bound"]
    seeds = last.groupby(["environment", "seed"])[names].mean()
    said = {
        name: [span(of.mean(), of.min(), of.max()) for _, of in seeds[name].groupby("environment")] for name in names
    }
    return pd.DataFrame({algorithm: sorted(last["environment"].unique())} | said)


TABLES: dict[str, Callable[[Path, str], pd.DataFrame]] = {
    "scores": scores,
    "success": successes,
    "per_thousand": per_thousand,
    "compared": compared,
    "contexts": contexts,
    "claims": claims,
    "shares": shares,
    "bounds": bounds,
}


def claim(estimate: float, low: float, high: float, p: float) -> str:
    """Returns an estimate with its interval and adjusted p-value, bold if that is below ``CHANCE``."""
    said = span(estimate, low, high, is_bold=p < CHANCE)
    if np.isnan(p):
        return said
    return f"{said}, p < 0.001" if p < 0.001 else f"{said}, p = {p:.{2 if p >= 0.0995 else 3}f}"


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


def _by_split(episodes: pd.DataFrame, value: str, statistic: str = "IQM") -> pd.DataFrame:
    if episodes[value].isna().all():
        raise UserError(f"its episodes have no {value}.")
    found = aggregates(episodes, value, statistic)
    rows = [
        {"": name, **{split: span(*found[split, name][:3]) for split in _splits(episodes["split"])}}
        for name in _ordered(episodes["algorithm"])
    ]
    return pd.DataFrame(rows)


def _splits(names: pd.Series | pd.Index) -> list[str]:
    return sorted(names.unique(), key=split_order)


def _ordered(names: pd.Series | pd.Index) -> list[str]:
    return sorted(names.unique(), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
