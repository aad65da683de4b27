"""Baselines to compare scores with: agents that do not learn, and one that observes the task.

``benchmarks/baselines.py`` writes ``baselines.csv``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_sami.evaluation.names import ORACLE, is_oracle
from rllib_sami.evaluation.task_words import class_of

FILE = Path(__file__).with_suffix(".csv")
NAMES = {"random": "random actions", "zero": "zero action", ORACLE: "oracle (SAC told the task)"}
_COLUMNS = {"return": "return_mean", "success": "success_rate"}


def levels(episodes: pd.DataFrame, provenance: Sequence[Mapping[str, Any]], value: str = "return") -> pd.DataFrame:
    """Returns the mean of each baseline that is known for the environments as they were played.

    Args:
        episodes: As in ``Results``. An oracle among their agents replaces the recorded one.
        provenance: Provenance of each part of the results: baselines are for episodes of the default length and default
            settings.
        value: ``"return"`` or ``"success"``; there are none of other values.

    Returns:
        Columns ``environment, split, baseline, mean``.
    """
    found = [pd.DataFrame(columns=["environment", "split", "baseline", "mean"])]
    for environment, mine in episodes.groupby("environment", sort=False):
        if value not in _COLUMNS or not _is_default(str(environment), provenance):
            continue
        rows = _read().dropna(subset=_COLUMNS[value])
        rows = rows[(rows["env_id"] == str(environment).rpartition(":")[2]) & rows["split"].isin(mine["split"])]
        if mine["algorithm"].map(is_oracle).any():
            rows = rows[rows["policy"] != ORACLE]
        names = {"environment": environment, "baseline": rows["policy"].map(NAMES), "mean": rows[_COLUMNS[value]]}
        found.append(rows.assign(**names)[[*found[0]]])
    return pd.concat([table for table in found if len(table)] or found, ignore_index=True)


def _is_default(environment: str, provenance: Sequence[Mapping[str, Any]]) -> bool:
    default = getattr(class_of(environment), "default_max_steps", None)
    limits = {part["max_steps"][environment] for part in provenance if environment in (part.get("max_steps") or {})}
    changed = any((part.get("env_settings") or {}).get(environment) for part in provenance)
    return limits == {default} and not changed


@cache
def _read() -> pd.DataFrame:
    return pd.read_csv(FILE)
