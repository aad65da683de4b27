"""What algorithms needed until their training return was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami.core.text import did_you_mean
from rllib_sami.evaluation.results import PROVENANCE_FILE
from rllib_sami_cli.errors import UserError

from .folders import EPISODES, read_json
from .reporting import curves, finished
from .tables import span

SMOOTHED_OVER = 5  # iterations
REFERENCE = "reference"


def time_to_return_table(
    folder: Path, environment: str, goal: float, per_step: bool = False, reference: Path | None = None
) -> pd.DataFrame:
    """Returns what each algorithm needed until its training return was there.

    Args:
        folder: Of the benchmark.
        environment: Name in the suite.
        goal: The return, a mean over ``SMOOTHED_OVER`` iterations.
        per_step: Whether the goal is a mean reward per step: a return divided by the cap on an episode's length.
        reference: Curve of another implementation, a CSV with columns ``env_steps, cpu_s, return_last100`` (a mean over
            episodes already), and with ``per_step`` their mean length ``length_last100``.

    Returns:
        A row per algorithm: seeds that got there, and the median (range) of environment steps and CPU seconds of those.

    Raises:
        UserError: There are no finished jobs on that environment, or a curve lacks what it takes.
    """
    jobs = finished(folder)
    every = curves(jobs)
    table = every[every["environment"] == environment]
    if table.empty:
        raise UserError(f"--env {environment}: no job of it is done. {did_you_mean(environment, every['environment'])}")
    if per_step:
        caps = {job["id"]: _cap(job) for job in jobs if job["settings"]["environment"] == environment}
        table = table.assign(return_mean=table["return_mean"] / table["job"].map(caps))
    rows = []
    for algorithm, mine in table.groupby("algorithm", sort=False):
        smooth = mine.groupby("job")["return_mean"].transform(lambda curve: curve.rolling(SMOOTHED_OVER).mean())
        there = mine[smooth >= goal].groupby("job").first()
        rows.append(
            {
                "algorithm": algorithm,
                "seeds there": f"{len(there)} of {mine['job'].nunique()}",
                "env steps": _range(there["env_steps"]),
                "CPU s": _range(there["cpu_s"]),
            }
        )
    if reference is not None:
        rows.append(_of_reference(reference, goal, per_step))
    return pd.DataFrame(rows)


def _of_reference(path: Path, goal: float, per_step: bool) -> dict[str, str]:
    """Returns the row of a single run of another implementation; of one that never got there, its best."""
    curve = pd.read_csv(path)
    needed = ["env_steps", "cpu_s", "return_last100", *["length_last100"] * per_step]
    if missing := [name for name in needed if name not in curve]:
        raise UserError(f"--reference {path}: no column {', '.join(missing)}. Expected: {', '.join(needed)}.")
    curve = curve.dropna(subset=needed)
    if curve.empty:
        raise UserError(f"--reference {path}: no row in it has a return.")
    score = curve["return_last100"] / (curve["length_last100"] if per_step else 1)
    is_there = bool((score >= goal).any())
    row = curve.loc[(score >= goal).idxmax() if is_there else score.idxmax()]
    steps, cpu = f"{row['env_steps']:,.0f}", f"{row['cpu_s']:,.0f}"
    if not is_there:
        steps, cpu = f"– (best {span(score.max(), np.nan, np.nan)} at {steps} steps, {cpu} CPU s)", "–"
    return {"algorithm": REFERENCE, "seeds there": f"{is_there:d} of 1", "env steps": steps, "CPU s": cpu}


def _cap(job: dict[str, Any]) -> int:
    """Returns the cap on the length of a job's training episodes: its own, else the environment's.

    Raises:
        UserError: The environment tells of none.
    """
    settings = job["settings"]
    cap = settings["config"].get("env_config", {}).get("max_steps")
    if cap is None and "max_steps" not in settings["evaluation_env_config"]:  # so the evaluation had the same
        evaluation = read_json(job["folder"] / EPISODES / PROVENANCE_FILE) or {}
        cap = evaluation.get("max_steps", {}).get(settings["environment"])
    if cap is None:
        raise UserError(f"--per-step: {job['id']} does not tell how many steps its training episodes may have.")
    return cap


def _range(values: pd.Series) -> str:
    return f"{values.median():,.0f} ({values.min():,.0f} to {values.max():,.0f})" if len(values) else "–"
