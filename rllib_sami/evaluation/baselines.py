"""What scores are read by: agents that learn nothing, and one that is told the task, as ``baselines.csv`` has them.

``benchmarks/baselines.py`` fills the file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from .names import ORACLE
from .task_words import class_of

FILE = Path(__file__).with_suffix(".csv")
NAMES = {"random": "random actions", "zero": "zero action", ORACLE: "oracle (SAC that is told the task)"}
_COLUMNS = {"return": "return_mean", "success": "success_rate"}


def levels(environments: list[str], provenance: list[dict[str, Any]], value: str = "return") -> pd.DataFrame:
    """Returns the means of each baseline that is known for an environment as it was played.

    Args:
        environments: Their ids.
        provenance: Of each part of the results: baselines are for episodes of the usual length and no other settings.
        value: ``"return"`` or ``"success"``; there are none of others.

    Returns:
        Columns ``environment, split, baseline, mean``.
    """
    columns = ["environment", "split", "baseline", "mean"]
    usual = [name for name in environments if _as_usual(name, provenance)]
    if value not in _COLUMNS or not usual:
        return pd.DataFrame(columns=columns)
    table = _read()
    found = [
        table[table["env_id"] == name.rpartition(":")[2]].assign(
            environment=name, mean=lambda rows: rows[_COLUMNS[value]]
        )
        for name in usual
    ]
    rows = pd.concat(found, ignore_index=True).dropna(subset="mean")
    return rows.assign(baseline=rows["policy"].map(NAMES))[columns]


def _as_usual(environment: str, provenance: list[dict[str, Any]]) -> bool:
    usual = getattr(class_of(environment), "default_max_steps", None)
    caps = {part["max_steps"][environment] for part in provenance if environment in (part.get("max_steps") or {})}
    changed = any((part.get("env_settings") or {}).get(environment) for part in provenance)
    return caps == {usual} and not changed


@cache
def _read() -> pd.DataFrame:
    return pd.read_csv(FILE)
