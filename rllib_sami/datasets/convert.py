"""Reads trajectories in the formats of other packages."""

import gzip
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import gymnasium as gym
import numpy as np

from rllib_sami.datasets.dataset import Dataset, Trajectory
from rllib_sami.datasets.writing import DatasetWriter

Trajectories = Iterator[Trajectory]
# What readers raise if files are damaged or of another format.
_OF_FILES = (OSError, EOFError, BadZipFile, pickle.UnpicklingError)
_UNREADABLE = (*_OF_FILES, LookupError, TypeError, AttributeError, ImportError)
_HOW_TO_RECORD = (
    "Record transitions as they are: `offline_data(output=DIR, output_write_episodes=False, "
    "output_compress_columns=[])` of RLlib"
)
CALVIN_OBSERVED = 21  # numbers of robot and scene that SkiMo reads: 15 of the robot, 6 of the furniture


def read_spirl(source: Path) -> Trajectories:
    """Reads SPiRL's HDF5 files, one trajectory in each: ``traj0/{states,actions,pad_mask}``.

    The last action of a file leads nowhere, and is left out.
    """
    files = sorted(source.rglob("*.h5")) if source.is_dir() else [source]
    if not files:
        raise ValueError(f"{source}: there are no .h5 files in it.")
    h5py = _imported("h5py")
    for file in files:
        with h5py.File(file, "r") as content:
            for name in sorted(key for key in content if key.startswith("traj")):
                group = content[name]
                states, actions = np.asarray(group["states"]), np.asarray(group["actions"])
                length = int(np.asarray(group["pad_mask"]).sum()) if "pad_mask" in group else len(states)
                if length > 1:
                    yield Trajectory(_float(states[:length]), _float(actions[: length - 1]))


def read_d4rl(source: Path) -> Trajectories:
    """Reads D4RL's flat arrays, ``.hdf5`` or ``.npz``, which end episodes with ``terminals`` and ``timeouts``.

    Without ``next_observations``, the last action of an episode leads nowhere, and is left out.
    """
    arrays = _flat_arrays(source, ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations"))
    for key in ("observations", "actions", "terminals"):
        if key not in arrays:
            raise ValueError(f"{source}: it has no array {key!r}, so it is not in D4RL's format.")
    obs, actions = _float(arrays["observations"]), _float(arrays["actions"])
    terminals = np.asarray(arrays["terminals"]).reshape(-1).astype(bool)
    timeouts = np.asarray(arrays.get("timeouts", np.zeros(len(obs)))).reshape(-1).astype(bool)
    rewards = _float(arrays.get("rewards", np.zeros(len(obs)))).reshape(-1)
    following = arrays.get("next_observations")
    ends = np.flatnonzero(terminals | timeouts) + 1
    ends = ends if len(ends) and ends[-1] == len(obs) else np.append(ends, len(obs))
    start = 0
    for end in ends.tolist():
        part, start = slice(start, end), end
        if following is not None:
            observations = np.concatenate([obs[part], _float(following[end - 1 : end])])
            yield Trajectory(observations, actions[part], rewards[part], bool(terminals[end - 1]))
        elif part.stop - part.start > 1:
            yield Trajectory(obs[part], actions[part][:-1], rewards[part][:-1])


def read_calvin(source: Path) -> Trajectories:
    """Reads CALVIN's folders, with a file for each step and ``ep_start_end_ids.npy``.

    Observations are the robot's and the furniture's state; the gripper's action is rounded to ±1.
    """
    index = source / "ep_start_end_ids.npy"
    if not index.is_file():
        raise ValueError(f"{source}: it has no ep_start_end_ids.npy, so it is not a split of CALVIN.")
    for start, end in np.load(index, allow_pickle=False).tolist():
        observations, actions = [], []
        for step in range(start, end + 1):
            with np.load(source / f"episode_{step:07d}.npz", allow_pickle=False) as content:
                state = np.concatenate([content["robot_obs"], content["scene_obs"]])
                action = np.array(content["rel_actions"])
            action[-1] = 1.0 if action[-1] >= 0 else -1.0
            observations.append(state[:CALVIN_OBSERVED])
            actions.append(action)
        if len(observations) > 1:
            yield Trajectory(_float(observations), _float(actions[:-1]))


def read_minari(source: Path) -> Trajectories:
    """Reads a local data set of Minari: its id, or the folder of the data set. Actions are normalised by its bounds."""
    minari = _imported("minari")
    try:
        # Minari takes a relative path for one in its own folder.
        dataset = minari.load_dataset(str(source.absolute() if (source / "data").is_dir() else source))
    except FileNotFoundError as error:
        raise ValueError(f"{source}: Minari has no such data set here ({error}).") from error
    space = dataset.action_space
    if not isinstance(space, gym.spaces.Box) or not space.is_bounded():
        raise ValueError(f"{source}: its actions are of {space}. Skills are learned from actions of a bounded Box.")
    half = (space.high.ravel() - space.low.ravel()) / 2
    middle, half = space.low.ravel() + half, np.where(half > 0, half, 1.0)
    for episode in dataset.iterate_episodes():
        observations = episode.observations
        if isinstance(observations, Mapping):
            observations = observations["observation"]
        yield Trajectory(
            _float(observations),
            (_float(episode.actions).reshape(-1, len(half)) - middle) / half,
            _float(episode.rewards),
            bool(episode.terminations[-1]),
        )


def read_rllib(source: Path) -> Trajectories:
    """Reads Parquet files of RLlib's columns, one row for each step, such as those of ``write_episodes``."""
    import pyarrow.dataset as parquet

    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not files:
        raise ValueError(f"{source}: there are no .parquet files in it.")
    table = parquet.dataset([str(file) for file in files], format="parquet")
    needed = ("eps_id", "obs", "actions", "new_obs")
    if missing := [name for name in needed if name not in table.schema.names]:
        raise ValueError(
            f"{source}: its Parquet files have no column {missing[0]!r}. "
            f"{_HOW_TO_RECORD}, or `write_episodes` of this package."
        )
    optional = [name for name in ("rewards", "terminateds") if name in table.schema.names]
    rows = table.to_table(columns=[*needed, *optional]).to_pandas()
    if len(rows) and isinstance(rows["obs"].iloc[0], str | bytes):
        raise ValueError(f"{source}: its observations are compressed, as RLlib's are by default. {_HOW_TO_RECORD}.")
    for _, steps in rows.groupby("eps_id", sort=False):
        obs = np.stack([*steps["obs"], steps["new_obs"].iloc[-1]])
        rewards = _float(steps["rewards"]) if "rewards" in steps else np.zeros(0, np.float32)
        ended = bool(steps["terminateds"].iloc[-1]) if "terminateds" in steps else False
        yield Trajectory(_float(obs), _float(np.stack(steps["actions"])).reshape(len(steps), -1), rewards, ended)


def read_pickle(source: Path) -> Trajectories:
    """Reads SkiMo's pickled lists of ``{obs, actions, dones}``. Reading a pickle can run any code."""
    opened = gzip.open if source.suffix in (".gz", ".gzip") else open
    with opened(source, "rb") as file:
        content = pickle.load(file)
    for one in content:
        obs, actions = np.asarray(one["obs"]), np.asarray(one["actions"])
        if len(obs) > 1:
            yield Trajectory(_float(obs), _float(actions[: len(obs) - 1]))


FORMATS: dict[str, Callable[[Path], Trajectories]] = {
    "spirl": read_spirl,
    "d4rl": read_d4rl,
    "calvin": read_calvin,
    "minari": read_minari,
    "rllib": read_rllib,
    "pickle": read_pickle,
}


def convert(
    source: str | Path,
    folder: str | Path,
    kind: str,
    *,
    observed: int | None = None,
    env: str | None = None,
    allow_pickle: bool = False,
) -> Dataset:
    """Writes data of another format as a data set.

    Args:
        source: File or folder; of Minari also an id.
        folder: Where to write the data set.
        kind: One of ``FORMATS``.
        observed: How many of the first numbers of observations to keep; None: all.
        env: The environment that the data are of, for ``dataset.json``.
        allow_pickle: Whether ``pickle`` may be read, which can run any code of whoever made the file.

    Raises:
        ValueError: The source is not in this format, or cannot be learned from.
    """
    path = Path(source).expanduser()
    if kind != "minari" and not path.exists():
        raise ValueError(f"{source}: no such file or folder.")
    if kind == "pickle" and not allow_pickle:
        raise ValueError(
            f"{source}: reading a pickle can run any code of whoever made it. If you trust it, allow it with "
            "--allow-pickle."
        )
    about: dict[str, Any] = {"made_by": f"converted from {kind}"} | ({"env": env} if env else {})
    with DatasetWriter(folder, **about) as writer:
        try:
            for one in FORMATS[kind](path):
                kept = one if observed is None else _with_observed(one, observed)
                writer.add(kept)
        except _UNREADABLE as error:
            raise ValueError(f"{source} cannot be read as {kind}: {type(error).__name__}: {error}") from error
    return Dataset(folder)


def _with_observed(one: Trajectory, observed: int) -> Trajectory:
    return Trajectory(one.observations[:, :observed], one.actions, one.rewards, one.terminated)


def _flat_arrays(source: Path, names: tuple[str, ...]) -> dict[str, Any]:
    if source.suffix == ".npz":
        with np.load(source, allow_pickle=False) as content:
            return {name: content[name] for name in names if name in content}
    h5py = _imported("h5py")
    with h5py.File(source, "r") as content:
        return {name: np.asarray(content[name]) for name in names if name in content}


def _imported(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise ValueError(f"This format needs {name}: pip install 'rllib-sami[data]'") from error


def _float(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)
