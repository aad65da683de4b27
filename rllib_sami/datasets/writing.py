"""Writes data sets."""

import glob
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rllib_sami.core.faults import is_alive
from rllib_sami.datasets.dataset import Dataset, Trajectory
from rllib_sami.datasets.files import ARRAYS, FORMAT, INDEX, array_path

STEPS_PER_SHARD = 500_000
OF_INDEX = ("format", "observation_dim", "action_dim", "shards")  # of dataset.json, beside what is known of the source


class DatasetWriter:
    """Writes trajectories into a new folder, which appears there when all are written.

    .. code-block:: python

        with DatasetWriter("data/maze", env="Maze/Large-v0") as writer:
            writer.add(Trajectory(observations, actions))

    Args:
        folder: The folder; it must not exist, or be empty.
        about: What is known of the source, for ``dataset.json``.
        steps_per_shard: Steps after which another shard begins; trajectories are not split.

    Attributes:
        about: Likewise; more may be added until all is written.

    Raises:
        ValueError: The folder has files, or ``about`` has what the data set itself says, or no JSON.
    """

    def __init__(self, folder: str | Path, steps_per_shard: int = STEPS_PER_SHARD, **about: Any):
        self.folder = Path(folder).expanduser().resolve()  # of a link, the target is replaced
        if self.folder.is_mount():
            raise ValueError(f"{folder}: another disk begins there, which cannot be replaced. Give a folder inside it.")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ValueError(f"{folder} exists already. Give another folder, or remove it.")
        for name in about:
            if name in OF_INDEX:
                raise ValueError(f"{name}={about[name]!r}: {INDEX} has a {name!r} of its own. Take another name.")
        _json(about)
        begins = f".{self.folder.name}.{platform.node()}-"  # other machines may write to the same disk
        self._aside = self.folder.with_name(f"{begins}{os.getpid()}.incomplete")
        for left in self.folder.parent.glob(f"{glob.escape(begins)}*.incomplete"):
            process = left.name.removeprefix(begins).removesuffix(".incomplete")
            if left == self._aside or (process.isdigit() and not is_alive(int(process))):  # one that was killed
                shutil.rmtree(left, ignore_errors=True)
        self._aside.mkdir(parents=True)
        self.about, self._steps_per_shard = about, steps_per_shard
        self._shards: list[Mapping[str, Any]] = []
        self._open: list[Trajectory] = []
        self._steps = 0
        self._widths: tuple[int, int] | None = None

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:  # nothing is left where the disk is full
            shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, trajectory: Trajectory) -> None:
        """Adds a trajectory.

        Raises:
            ValueError: It is empty, has other widths than those before, or numbers that are not finite.
        """
        number = sum(shard["trajectories"] for shard in self._shards) + len(self._open)
        trajectory.check(f"trajectory {number}", self._widths)
        self._widths = trajectory.observations.shape[1], trajectory.actions.shape[1]
        # A copy: the arrays may be written to again before the shard is full.
        given = (trajectory.observations, trajectory.actions, trajectory.rewards)
        obs, actions, rewards = (np.array(one, np.float32) for one in given)
        self._open.append(Trajectory(obs, actions, rewards, trajectory.terminated))
        self._steps += len(trajectory)
        if self._steps >= self._steps_per_shard:
            self._write_shard()

    def _write_shard(self) -> None:
        name, parts = f"{len(self._shards):05d}", self._open
        arrays = {
            "observations": np.concatenate([one.observations for one in parts]),
            "actions": np.concatenate([one.actions for one in parts]),
            "rewards": np.concatenate([one.rewards for one in parts]),
            "lengths": np.array([len(one) for one in parts]),
            "terminated": np.array([one.terminated for one in parts]),
        }
        for key, array in arrays.items():
            np.save(array_path(self._aside, name, key), array.astype(ARRAYS[key]), allow_pickle=False)
        self._shards.append({"name": name, "steps": self._steps, "trajectories": len(parts)})
        self._open, self._steps = [], 0

    def close(self) -> Dataset:
        """Writes what is left, and moves the data set to its folder.

        Raises:
            ValueError: No trajectory was added.
        """
        if self._open:
            self._write_shard()
        if not self._shards or self._widths is None:
            shutil.rmtree(self._aside, ignore_errors=True)
            raise ValueError(f"{self.folder}: there is no trajectory to write.")
        observation_dim, action_dim = self._widths
        of_index = (FORMAT, observation_dim, action_dim, self._shards)
        index = dict(zip(OF_INDEX, of_index, strict=True)) | self.about
        (self._aside / INDEX).write_text(_json(index) + "\n", "utf-8")
        try:
            if self.folder.exists():
                self.folder.rmdir()  # an empty one
            self._aside.rename(self.folder)
        finally:  # another process may have been faster
            shutil.rmtree(self._aside, ignore_errors=True)
        return Dataset(self.folder)


def _json(about: Mapping[str, Any]) -> str:
    """Returns JSON.

    Raises:
        ValueError: A value is none.
    """
    for name, value in about.items():
        try:
            json.dumps(value, default=_number)
        except TypeError as error:
            raise ValueError(
                f"{name}={value!r}: {INDEX} cannot keep it. Give numbers, text, lists or dicts."
            ) from error
    return json.dumps(about, indent=1, default=_number)


def _number(value: Any) -> Any:
    """Returns a number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value)} is no JSON.")
