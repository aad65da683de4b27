"""Writes the replay buffer as Parquet files, which RLlib's offline algorithms can read."""

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ray.rllib.core.columns import Columns

from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

TASK_ID = "task_id"
TIME_STEP = "time_step"


def write_episodes(buffer: TaskEpisodeReplayBuffer, folder: str | Path, *, steps_per_file: int = 100_000) -> list[Path]:
    """Writes the finished episodes of a replay buffer as Parquet, one row for each step.

    The columns are those of RLlib: ``eps_id``, ``obs`` ``[O]``, ``actions`` ``[A]`` (normalised to [-1, 1]),
    ``rewards``, ``new_obs`` ``[O]`` (the final observation at the last step), ``terminateds`` and ``truncateds``; and
    also ``task_id`` and ``time_step`` (0 at the first step). Read them with ``config.offline_data(input_=[folder])``,
    or with pandas.

    Args:
        buffer: ``algo.replay_buffer``, which may be restored from a checkpoint.
        folder: The folder to write to; created if it is missing.
        steps_per_file: Number of steps after which a new file begins; episodes are not split.

    Returns:
        The files.

    Raises:
        ValueError: There is no finished episode, observations are images, or the folder already has Parquet files.
    """
    folder, store = Path(folder), buffer.store
    if len(store.finished) == 0:
        raise ValueError("The replay buffer holds no finished episode, so there is nothing to write. Train first.")
    if store.images is not None:
        raise ValueError("Observations are images, which the columns of these files have no room for.")
    if any(folder.glob("*.parquet")):
        raise ValueError(f"{folder} already has Parquet files, which would be mixed with these. Give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    export = uuid.uuid4().hex[:12]  # distinguishes episodes of several exports
    files: list[Path] = []
    file_of = (np.cumsum(store.finished["length"]) - 1) // max(1, steps_per_file)
    for number in np.unique(file_of):
        chosen = np.flatnonzero(file_of == number)
        files.append(folder / f"episodes-{len(files):05d}.parquet")
        pq.write_table(_table(store.rows, store.finished, chosen, store.obs_dim, export), files[-1])
    return files


def _table(rows: np.ndarray, episodes: np.ndarray, chosen: np.ndarray, obs_dim: int, export: str) -> pa.Table:
    """Makes a table of the steps of the chosen episodes; ``rows`` ``[n, F]`` are those of the store."""
    lines = episodes[chosen]
    lengths = lines["length"]
    of_episode = np.repeat(np.arange(len(lines)), lengths)
    time_step = np.arange(len(of_episode)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    before = rows[lines["start"][of_episode] + time_step]
    after = rows[lines["start"][of_episode] + time_step + 1]
    last = time_step == lengths[of_episode] - 1
    terminated = lines["terminated"][of_episode]
    ids = np.array([f"{export}-{number}" for number in chosen])
    return pa.table(
        {
            Columns.EPS_ID: ids[of_episode],
            Columns.OBS: _vectors(before[:, :obs_dim]),
            Columns.ACTIONS: _vectors(after[:, obs_dim:-1]),
            Columns.REWARDS: after[:, -1],
            Columns.NEXT_OBS: _vectors(after[:, :obs_dim]),
            Columns.TERMINATEDS: last & terminated,
            Columns.TRUNCATEDS: last & ~terminated,
            TASK_ID: lines["task_id"][of_episode],
            TIME_STEP: time_step,
        }
    )


def _vectors(array: np.ndarray) -> pa.Array:
    """Converts ``[n, D]`` to a column of ``n`` vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), array.shape[1])
