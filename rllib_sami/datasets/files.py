"""The format of a data set: a folder with ``dataset.json`` and shards of plain ``.npy`` files.

A trajectory of ``T`` steps has ``T + 1`` observations. A shard ``00000`` holds some trajectories, one after the other:

=====================  ===================  ==========  ==========================================================
file                   shape                type        meaning
=====================  ===================  ==========  ==========================================================
00000.observations     ``[steps + n, O]``   float32     flat observations, the final one of each trajectory included
00000.actions          ``[steps, A]``       float32     actions, normalised to ±1 as RLlib stores them
00000.rewards          ``[steps]``          float32     rewards; 0 where the data have none
00000.lengths          ``[n]``              int64       steps of each trajectory
00000.terminated       ``[n]``              bool        whether it ended in a terminal state
=====================  ===================  ==========  ==========================================================

``dataset.json`` has ``format`` (1), ``observation_dim``, ``action_dim``, ``shards`` (``name``, ``steps`` and
``trajectories`` of each), and what is known of the source: ``env``, ``env_config``, ``seed``, ``made_by``.
"""

from pathlib import Path

import numpy as np

INDEX = "dataset.json"
FORMAT = 1
ARRAYS = {"observations": np.float32, "actions": np.float32, "rewards": np.float32, "lengths": np.int64,
          "terminated": np.bool_}  # fmt: skip


def array_path(folder: Path, shard: str, name: str) -> Path:
    """Returns the file of a shard's array."""
    return folder / f"{shard}.{name}.npy"


def shapes(steps: int, trajectories: int, observation_dim: int, action_dim: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a shard's arrays."""
    return {
        "observations": (steps + trajectories, observation_dim),
        "actions": (steps, action_dim),
        "rewards": (steps,),
        "lengths": (trajectories,),
        "terminated": (trajectories,),
    }
