"""Words and tables that several sections share."""

from __future__ import annotations

import re

import pandas as pd

from rllib_sami.evaluation.paper import SOURCE
from rllib_sami.evaluation.results import Results


def is_paper(results: Results) -> bool:
    """Returns whether the results are the paper's published numbers."""
    return any(part.get("source") == SOURCE for part in results.parts)


def measures(results: Results) -> list[str]:
    """Returns what can be compared: ``"success"`` if it is known of any episode, and ``"return"``."""
    return [*(["success"] if results.episodes["success"].notna().any() else []), "return"]


def short(environment: str) -> str:
    """Returns an environment's name without namespace and version."""
    name, bracket, body = environment.partition(" (")
    return name.rpartition("/")[2].removesuffix("-v0") + bracket + body


def inner(environment: str) -> str:
    """Returns the name, without version, of the environment in which skills act, or of this one if it is no such."""
    return re.sub(r"^.* \((.*)\)$", r"\1", environment).removesuffix("-v0")


def counted(numbers: int | pd.Series, noun: str) -> str:
    """Returns ``"1 run"``, ``"3 runs"`` or ``"1 to 3 runs"``."""
    numbers = pd.Series(numbers)
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low if low == high else f'{low} to {high}'} {noun}{'' if high == 1 else 's'}"


def unit_in_words(normalised_by: str) -> str:
    """Returns a sentence on what scores were divided by, as of ``tables.normalise``."""
    reason = normalised_by.removeprefix("nothing").strip(" ()")
    if reason != normalised_by:
        return "Scores are as played, not divided by a reference" + (f": {reason}." if reason else ".")
    return f"Scores are divided by {normalised_by}."


def without_only_environment(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with short names in its column ``environment``, or without it if there is only one."""
    if table["environment"].nunique() == 1:
        return table.drop(columns="environment")
    return table.assign(environment=table["environment"].map(short))
