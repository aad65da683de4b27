"""Learning curves: what Tune wrote down while an agent was trained."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

PROGRESS_FILE = "progress.csv"
EVALUATED = "evaluation/env_steps"  # what the agent was trained for when it was evaluated
_COLUMNS = {
    "num_env_steps_sampled_lifetime": "env_steps",
    "time_total_s": "seconds",
    "env_runners/episode_return_mean": "return_mean",
    "learners/default_policy/sance_bound": "sance_bound",
    "learners/default_policy/log_k": "log_k",
}
_NEEDED = ("env_steps", "seconds")  # a run in which no episode was finished has no return


def read_progress(path: str | Path, agent: str, run: str) -> pd.DataFrame:
    """Reads the ``progress.csv`` of a Tune trial.

    Args:
        path: The file, or the trial's folder.
        agent: Whose curve it is: the algorithm.
        run: Label of the run, as in ``Results``.

    Returns:
        Columns ``agent, run, env_steps, seconds`` (of training, time in pauses left out), ``return_mean`` (of recent
        training episodes; missing until one was finished), ``sance_bound`` and ``log_k`` (nats; missing where there is
        no contrastive objective) and ``return_mean_<split>`` and ``success_rate_<split>`` of each split that was
        evaluated during training, missing between two evaluations.

    Raises:
        ValueError: There is no such file, or it is not one of Tune's.
    """
    path = Path(path).expanduser()
    file = path / PROGRESS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{file}: no such file. Give the folder of a Tune trial, with {PROGRESS_FILE} in it.")
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    table = table.rename(columns={**_COLUMNS, **{name: _of_split(name) for name in table if _of_split(name)}})
    if missing := [name for name, ours in _COLUMNS.items() if ours in _NEEDED and ours not in table]:
        raise ValueError(f"{file}: no column {', '.join(missing)}. Expected the {PROGRESS_FILE} of an RLlib algorithm.")
    of_splits = [name for name in table if name.startswith(("return_mean_", "success_rate_"))]
    wanted = [*_COLUMNS.values(), *of_splits]
    # A run that was restored repeats some iterations: those after it stand.
    table = table.drop_duplicates("env_steps", keep="last").sort_values("env_steps", ignore_index=True)
    if EVALUATED in table:
        table.loc[table[EVALUATED].duplicated(), of_splits] = math.nan  # an evaluation's numbers stand until the next
    return table.reindex(columns=wanted).assign(agent=agent, run=run)[["agent", "run", *wanted]]


def _of_split(name: str) -> str | None:
    """Returns our name of a column such as ``evaluation/train/return_mean``."""
    parts = name.split("/")
    is_one = len(parts) == 3 and parts[0] == "evaluation" and parts[2] in ("return_mean", "success_rate")
    return f"{parts[2]}_{parts[1]}" if is_one else None
