"""Reads data sets: trajectories in memory-mapped files, so that a data set may be larger than memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rllib_sami.core.env_values import are_different
from rllib_sami.datasets.files import ARRAYS, FORMAT, INDEX, array_path, shapes

LARGEST_ACTION = 1.0 + 1e-4  # of normalised ones, with rounding errors


@dataclass(frozen=True)
class Trajectory:
    """One episode, or a piece of one, of ``T`` steps.

    Attributes:
        observations: ``[T + 1, O]``.
        actions: ``[T, A]``, normalised to ±1.
        rewards: ``[T]``; zeros if they are not given.
        terminated: Whether it ended in a terminal state.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    terminated: bool = False

    def __post_init__(self) -> None:
        for name in ("observations", "actions", "rewards"):
            object.__setattr__(self, name, np.asanyarray(getattr(self, name)))
        if len(self.rewards) == 0:
            object.__setattr__(self, "rewards", np.zeros(len(self.actions), np.float32))

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, name: str, widths: tuple[int, int] | None = None) -> None:
        """Checks shapes and numbers.

        Args:
            name: What to call it in messages.
            widths: Those of observations and actions; None: any.

        Raises:
            ValueError: It cannot be learned from.
        """
        steps = len(self.actions)
        if self.observations.ndim != 2 or self.actions.ndim != 2:
            raise ValueError(
                f"{name}: observations have shape {list(self.observations.shape)} and actions "
                f"{list(self.actions.shape)}; expected [T + 1, O] and [T, A]."
            )
        if not isinstance(self.terminated, bool | np.bool_):
            raise ValueError(f"{name}: terminated={self.terminated!r}; expected True or False.")
        if self.rewards.ndim != 1:
            raise ValueError(f"{name}: rewards have shape {list(self.rewards.shape)}; expected [T].")
        if steps == 0 or len(self.observations) != steps + 1 or len(self.rewards) != steps:
            raise ValueError(
                f"{name} has {len(self.observations)} observations, {steps} actions and {len(self.rewards)} rewards. "
                "A trajectory of T steps, 1 or more, has T + 1 observations, T actions and T rewards."
            )
        found = self.observations.shape[1], self.actions.shape[1]
        if widths is not None and found != widths:
            raise ValueError(
                f"{name} has observations of {found[0]} numbers and actions of {found[1]}; those before it have "
                f"{widths[0]} and {widths[1]}."
            )
        for key in ("observations", "actions", "rewards"):
            values = getattr(self, key)
            if values.dtype.kind not in "biuf":
                raise ValueError(f"{name}: {key} are of type {values.dtype}; expected real numbers.")
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                values = values.astype(np.float32, copy=False)
            if not np.isfinite(values).all():
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ValueError(f"{name}: {key} has a number that is not finite in step {step}. Leave it out.")
        if np.abs(self.actions).max() > LARGEST_ACTION:
            raise ValueError(
                f"{name}: actions go to {np.abs(self.actions).max():.3g}, but must be normalised to ±1: "
                "2 * (action - low) / (high - low) - 1, with the bounds of the action space."
            )


class Dataset:
    """A data set on disk; nothing is read until it is needed.

    Args:
        folder: Folder with ``dataset.json``.

    Attributes:
        folder: Likewise.
        about: Everything in ``dataset.json``.
        observation_dim: Width ``O``.
        action_dim: Width ``A``.
        lengths: Steps of each trajectory, ``[n]``.
        terminated: Whether each ended in a terminal state, ``[n]``.

    Raises:
        ValueError: There is none, or a file of it is missing, truncated or of another format.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser().absolute()
        self.about = _index_of(self.folder, folder)
        self.observation_dim, self.action_dim = int(self.about["observation_dim"]), int(self.about["action_dim"])
        shards = self.about["shards"]
        self._arrays = [self._open(shard) for shard in shards]
        self.lengths: np.ndarray = np.concatenate([arrays["lengths"] for arrays in self._arrays])
        self.terminated: np.ndarray = np.concatenate([arrays["terminated"] for arrays in self._arrays])
        of_shard = [len(arrays["lengths"]) for arrays in self._arrays]
        self.shard: np.ndarray = np.repeat(np.arange(len(shards)), of_shard)  # of each trajectory
        # Where each trajectory begins within its shard: steps, and observations, of which each has one more.
        starts = [np.cumsum(arrays["lengths"]) - arrays["lengths"] for arrays in self._arrays]
        self.first_step: np.ndarray = np.concatenate(starts)
        self.first_obs: np.ndarray = self.first_step + np.concatenate([np.arange(number) for number in of_shard])

    def _open(self, shard: dict[str, Any]) -> dict[str, np.ndarray]:
        expected = shapes(shard["steps"], shard["trajectories"], self.observation_dim, self.action_dim)
        arrays = {}
        for name, dtype in ARRAYS.items():
            path = array_path(self.folder, shard["name"], name)
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:
                raise ValueError(f"{path}: missing. Copy the whole data set again, or make it again.") from None
            except (ValueError, EOFError, OSError) as error:
                raise ValueError(f"{path}: cannot be read ({error}). Copy it again, or make it again.") from error
            if array.shape != expected[name] or array.dtype != dtype:
                raise ValueError(
                    f"{path} has shape {list(array.shape)} of {array.dtype}, but {INDEX} says {list(expected[name])} "
                    f"of {np.dtype(dtype)}. It is truncated or of another data set: copy it again."
                )
            arrays[name] = array
        if (arrays["lengths"] < 1).any() or arrays["lengths"].sum() != shard["steps"]:
            raise ValueError(f"{array_path(self.folder, shard['name'], 'lengths')}: its sum is not the shard's steps.")
        return arrays

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> Trajectory:
        """A trajectory; its arrays are views of the files."""
        arrays, length = self._arrays[self.shard[index]], int(self.lengths[index])
        step, obs = int(self.first_step[index]), int(self.first_obs[index])
        return Trajectory(
            arrays["observations"][obs : obs + length + 1],
            arrays["actions"][step : step + length],
            arrays["rewards"][step : step + length],
            bool(self.terminated[index]),
        )

    def __iter__(self) -> Iterator[Trajectory]:
        return (self[index] for index in range(len(self)))

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return int(self.lengths.sum())

    def observation_stds(self, most: int = 100) -> np.ndarray:
        """Returns the standard deviation of each number of observations, ``[O]``, over ``most`` trajectories."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(np.int64))
        return np.concatenate([self[int(index)].observations for index in chosen]).std(axis=0)

    def is_of_another(self, env: Any) -> bool:
        """Whether the data are known to be of another environment than ``env``, an id, a path or a class."""
        return are_different(self.about.get("env"), env)

    def check_finite(self) -> None:
        """Reads everything once.

        Raises:
            ValueError: A number is not finite; the message names the trajectory.
        """
        for index in range(len(self)):
            self[index].check(f"{self.folder}: trajectory {index}", (self.observation_dim, self.action_dim))

    def windows(
        self, trajectories: np.ndarray, starts: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gathers windows of neighbouring steps.

        Args:
            trajectories: ``[n]``.
            starts: First step of each window, ``[n]``.
            length: Steps of a window, ``L``.

        Returns:
            Observations ``[n, L + 1, O]``, actions ``[n, L, A]``, and whether steps ended in a terminal state,
            ``[n, L]``.
        """
        obs = np.empty((len(trajectories), length + 1, self.observation_dim), np.float32)
        actions = np.empty((len(trajectories), length, self.action_dim), np.float32)
        shards = self.shard[trajectories]
        for shard in np.unique(shards):
            mine = shards == shard
            of_mine = trajectories[mine]
            first_obs = (self.first_obs[of_mine] + starts[mine])[:, None]
            first_step = (self.first_step[of_mine] + starts[mine])[:, None]
            arrays = self._arrays[shard]
            obs[mine] = arrays["observations"][first_obs + np.arange(length + 1)]
            actions[mine] = arrays["actions"][first_step + np.arange(length)]
        is_last = (starts[:, None] + np.arange(length)) == self.lengths[trajectories, None] - 1
        return obs, actions, is_last & self.terminated[trajectories, None]


def _index_of(folder: Path, given: str | Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        what = "no such folder" if not folder.exists() else f"it has no {INDEX}"
        raise ValueError(
            f"{given} is no data set: {what}. `rllib data make` makes one, `rllib data convert` reads other formats."
        )
    try:
        index = json.loads(path.read_text("utf-8"))
        known = index["format"], index["observation_dim"], index["action_dim"], index["shards"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the index of a data set ({error!r}). Make or copy it again.") from error
    if known[0] != FORMAT:
        raise ValueError(f"{path} has format {known[0]!r}; this version reads format {FORMAT}.")
    if not known[3]:
        raise ValueError(f"{path} lists no shards: the data set is empty.")
    return index
