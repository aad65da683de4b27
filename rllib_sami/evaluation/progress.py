"""Learning curves: what Tune recorded during training."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from rllib_sami.core.text import one_line

PROGRESS_FILE = "progress.csv"
EVALUATED = "evaluation/env_steps"  # environment steps at the evaluation
_COLUMNS = {
    "num_env_steps_sampled_lifetime": "env_steps",
    "time_total_s": "seconds",
    "cpu_time_total_s": "cpu_seconds",
    "env_runners/episode_return_mean": "return_mean",
    "learners/default_policy/sance_bound": "sance_bound",
    "learners/default_policy/log_k": "log_k",
}
OF_SPLITS = ("return_mean", "success_rate", "state_coverage", "staying_time", "end_distance")
_REQUIRED = ("env_steps", "seconds")  # a run without a finished episode has no return


def read_progress(path: str | Path, agent: str, run: str) -> pd.DataFrame:
    """Reads the ``progress.csv`` of a Tune trial.

    Args:
        path: The file, or the trial's folder.
        agent: Name of the algorithm.
        run: Label of the run, as in ``Results``.

    Returns:
        Columns ``agent, run, env_steps, seconds`` (of training, without pauses), ``cpu_seconds``, ``return_mean`` (of
        recent training episodes; NaN until one is finished), ``sance_bound`` and ``log_k`` (nats; NaN without a
        contrastive loss) and
        ``return_mean_<split>``, ``success_rate_<split>`` and so on (``OF_SPLITS``) of each split that was evaluated
        during training, NaN between two evaluations.

    Raises:
        ValueError: There is no such file, or Tune did not write it.
    """
    path = Path(path).expanduser()
    file = path / PROGRESS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{file}: no such file. Give the folder of a Tune trial, with {PROGRESS_FILE} in it.")
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read: {one_line(error)}") from error
    table = table.rename(columns={**_COLUMNS, **{name: _of_split(name) for name in table if _of_split(name)}})
    if missing := [name for name, ours in _COLUMNS.items() if ours in _REQUIRED and ours not in table]:
        raise ValueError(f"{file}: no column {', '.join(missing)}. Expected the {PROGRESS_FILE} of an RLlib algorithm.")
    of_splits = [name for name in table if name.startswith(tuple(f"{what}_" for what in OF_SPLITS))]
    wanted = [*_COLUMNS.values(), *of_splits]
    # A restored run repeats some iterations; the later ones count.
    table = table.drop_duplicates("env_steps", keep="last").sort_values("env_steps", ignore_index=True)
    if EVALUATED in table:
        table.loc[table[EVALUATED].duplicated(), of_splits] = math.nan  # repeated until the next evaluation
    return table.reindex(columns=wanted).assign(agent=agent, run=run)[["agent", "run", *wanted]]


def _of_split(name: str) -> str | None:
    """Returns our name of a column such as ``evaluation/train/return_mean``."""
    parts = name.split("/")
    is_one = len(parts) == 3 and parts[0] == "evaluation" and parts[1] != "env_runners" and parts[2] in OF_SPLITS
    return f"{parts[2]}_{parts[1]}" if is_one else None
