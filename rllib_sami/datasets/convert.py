"""Reads trajectories in the formats of other packages."""

import gzip
import logging
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_sami.core.settings import is_integer
from rllib_sami.core.text import did_you_mean
from rllib_sami.datasets.dataset import LARGEST_ACTION, Dataset, Trajectory
from rllib_sami.datasets.writing import DatasetWriter

logger = logging.getLogger(__name__)

Trajectories = Iterator[Trajectory]
Bounds = tuple[Any, Any]  # the least and the greatest action, each a number or [A]
CALVIN_OBSERVED = 21  # numbers of robot and scene that SkiMo reads: 15 of the robot, 6 of the furniture


def read_spirl(source: Path) -> Trajectories:
    """Reads SPiRL's HDF5 files, one trajectory in each: ``traj0/{states,actions,pad_mask}``.

    The last action of a file leads nowhere, and is left out.
    """
    files = sorted(source.rglob("*.h5")) if source.is_dir() else [source]
    h5py = _imported("h5py")
    for file in files:
        if not h5py.is_hdf5(file):
            raise ValueError(f"{file} is no HDF5 file")
        with h5py.File(file, "r") as content:
            names = sorted(key for key in content if re.fullmatch(r"traj\d+", key))
            if not names:
                raise ValueError(f"{file} has no group 'traj0', but {sorted(content)}")
            for name in names:
                group = content[name]
                if missing := {"states", "actions"} - set(group):
                    raise ValueError(f"{name} of {file} has no {sorted(missing)}, but {sorted(group)}")
                states, actions = np.asarray(group["states"]), np.asarray(group["actions"])
                length = int(np.asarray(group["pad_mask"]).sum()) if "pad_mask" in group else len(states)
                if length > 1:
                    yield Trajectory(_float(states[:length]), _float(actions[: length - 1]))


def read_d4rl(source: Path) -> Trajectories:
    """Reads D4RL's flat arrays, ``.hdf5`` or ``.npz``, which end episodes with ``terminals`` and ``timeouts``.

    Without ``next_observations``, the last action of an episode leads nowhere, and is left out.
    """
    arrays = _flat_arrays(source, ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations"))
    if missing := {"observations", "actions", "terminals"} - set(arrays):
        raise ValueError(f"it has no array {sorted(missing)}")
    obs, actions = _float(arrays["observations"]), _float(arrays["actions"])
    terminals = np.asarray(arrays["terminals"]).reshape(-1).astype(bool)
    timeouts = np.asarray(arrays.get("timeouts", np.zeros(len(obs)))).reshape(-1).astype(bool)
    rewards = _float(arrays.get("rewards", np.zeros(len(obs)))).reshape(-1)
    following = arrays.get("next_observations")
    for name, values in (arrays | {"rewards": rewards}).items():
        if len(values) != len(obs):
            raise ValueError(f"`{name}` has {len(values)} steps, but `observations` {len(obs)}")
    ends = np.flatnonzero(terminals | timeouts) + 1
    ends = ends if len(ends) and ends[-1] == len(obs) else np.append(ends, len(obs))
    if "timeouts" not in arrays:
        logger.warning("%s: no `timeouts`: episodes that were cut off are joined with the next ones.", source)
    if following is None:
        logger.warning(
            "%s: no `next_observations`: all episodes (%d) lose their last step, with its reward and terminal flag.",
            *(source, len(ends)),
        )
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
    for start, end in np.load(source / "ep_start_end_ids.npy", allow_pickle=False).tolist():
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
    """Reads a local data set of Minari: its id, or the folder of the data set."""
    for episode in _minari(source).iterate_episodes():
        observations = episode.observations
        if isinstance(observations, Mapping):
            if "observation" not in observations:
                raise ValueError(f"its observations are dicts with {sorted(observations)}, without 'observation'")
            observations = observations["observation"]
        actions = _float(episode.actions).reshape(len(episode.actions), -1)
        yield Trajectory(_float(observations), actions, _float(episode.rewards), bool(episode.terminations[-1]))


def bounds_of_minari(source: Path) -> Bounds:
    """Returns the bounds of the actions of a local data set of Minari."""
    return bounds_of(_minari(source).action_space)


def _minari(source: Path) -> Any:
    # Minari takes a relative path for one in its own folder.
    return _imported("minari").load_dataset(str(source.absolute() if (source / "data").is_dir() else source))


def read_rllib(source: Path) -> Trajectories:
    """Reads Parquet files of RLlib's columns, one row for each step, such as those of ``write_episodes``."""
    import pyarrow.dataset as parquet

    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not files:
        return
    table = parquet.dataset([str(file) for file in files], format="parquet")
    needed = ("eps_id", "obs", "actions", "new_obs")
    if missing := set(needed) - set(table.schema.names):
        raise ValueError(f"it has no column {sorted(missing)}")
    optional = [name for name in ("rewards", "terminateds") if name in table.schema.names]
    rows = table.to_table(columns=[*needed, *optional]).to_pandas()
    if len(rows) and isinstance(rows["obs"].iloc[0], str | bytes):
        raise ValueError("its observations are compressed, as RLlib's are by default")
    for episode, steps in rows.groupby("eps_id", sort=False, dropna=False):
        obs = np.stack([*steps["obs"], steps["new_obs"].iloc[-1]])
        if not np.allclose(obs[1:], np.stack([*steps["new_obs"]]), rtol=1e-4, equal_nan=True):
            raise ValueError(f"the rows of episode {episode!r} are not in the order of its steps")
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


@dataclass(frozen=True)
class Format:
    """How data of another package are read.

    Attributes:
        read: Reads the trajectories of a file or folder.
        layout: What is read, for messages.
        is_raw: Whether actions are stored as the environment takes them, without their bounds.
        bounds: Reads the bounds of the actions, if the data have them.
    """

    read: Callable[[Path], Trajectories]
    layout: str
    is_raw: bool = False
    bounds: Callable[[Path], Bounds] | None = None


FORMATS = {
    "spirl": Format(read_spirl, "an .h5 file, or a folder of them, with `traj0/{states,actions,pad_mask}` in each"),
    "d4rl": Format(read_d4rl, ".hdf5 or .npz with the arrays `observations`, `actions` and `terminals`", is_raw=True),
    "calvin": Format(
        read_calvin,
        "a folder with `ep_start_end_ids.npy` and `episode_0000000.npz`, … of `robot_obs`, `scene_obs`, `rel_actions`",
    ),
    "minari": Format(
        read_minari, "the id or folder of a local data set, with actions of a bounded Box", bounds=bounds_of_minari
    ),
    "rllib": Format(
        read_rllib,
        "Parquet with a row for each step and the columns `eps_id`, `obs`, `actions`, `new_obs`, as written by "
        "`offline_data(output=DIR, output_write_episodes=False, output_compress_columns=[])` of RLlib or by "
        "`write_episodes` of this package",
    ),
    "pickle": Format(read_pickle, "a pickled list of `{obs, actions}`, with the ending .gz if it is compressed"),
}


def convert(
    source: str | Path,
    folder: str | Path,
    kind: str,
    *,
    observed: int | None = None,
    env: str | None = None,
    action_bounds: Bounds | None = None,
    allow_pickle: bool = False,
) -> Dataset:
    """Writes data of another format as a data set.

    Args:
        source: File or folder; of Minari also an id.
        folder: Where to write the data set.
        kind: One of ``FORMATS``.
        observed: How many of the first numbers of observations to keep; None: all.
        env: The environment that the data are of, for ``dataset.json``.
        action_bounds: The least and the greatest action, each a number or ``[A]``. Actions are clipped to them and
            scaled to ±1. None: those that Minari's data have; actions of other formats must be within ±1.
        allow_pickle: Whether ``pickle`` may be read, which can run any code of whoever made the file.

    Raises:
        ValueError: The source is not in this format, or cannot be learned from.
    """
    if kind not in FORMATS:
        raise ValueError(f"kind={kind!r}: no such format. {did_you_mean(kind, FORMATS)}")
    if observed is not None and not (is_integer(observed) and observed >= 1):
        raise ValueError(f"observed={observed!r}: expected an integer >= 1, or None for all.")
    path, form = Path(source).expanduser(), FORMATS[kind]
    if kind != "minari" and not path.exists():
        raise ValueError(f"{source}: no such file or folder.")
    if kind == "pickle" and not allow_pickle:
        raise ValueError(
            f"{source}: reading a pickle can run any code of whoever made it. If you trust it, allow it with "
            "--allow-pickle."
        )
    about: dict[str, Any] = {"made_by": f"converted from {kind}"} | ({"env": env} if env else {})
    bounds, clipped = action_bounds, 0
    if bounds is None and form.bounds is not None:
        with _readable(path, kind):
            bounds = form.bounds(path)
    with DatasetWriter(folder, **about) as writer:
        for one in _read(path, kind):
            scaled = one.actions if bounds is None else _scaled(one.actions, *bounds)
            beyond = (np.abs(scaled) > LARGEST_ACTION).any(axis=-1)
            if bounds is None and beyond.any():
                raise ValueError(
                    f"{source}: actions go to {np.abs(scaled).max():.3g}, but must be within ±1. Give the bounds that "
                    "they are scaled from: `--action-bounds LOW,HIGH`, or `--action-bounds env` with --env. Normalised "
                    "ones beyond ±1, such as those that RLlib records of PPO, are clipped with `--action-bounds -1,1`."
                )
            clipped += int(beyond.sum())
            observations = one.observations if observed is None else one.observations[:, :observed]
            writer.add(replace(one, observations=observations, actions=scaled.clip(-1.0, 1.0)))
    dataset = Dataset(folder)
    if clipped:
        logger.warning("%s: %d of %d actions are beyond their bounds, and clipped.", source, clipped, dataset.num_steps)
    return dataset


def bounds_of(space: gym.Space) -> Bounds:
    """Returns the bounds of an action space, each ``[A]``.

    Raises:
        ValueError: It is no bounded Box.
    """
    if not isinstance(space, gym.spaces.Box) or not space.is_bounded():
        raise ValueError(f"actions are of {space}, which is no bounded Box")
    return space.low.ravel(), space.high.ravel()


def _read(source: Path, kind: str) -> Trajectories:
    with _readable(source, kind):
        found = False
        for one in FORMATS[kind].read(source):
            found = True
            yield one
        if not found:
            raise ValueError("it has no trajectory")


@contextmanager
def _readable(source: Path, kind: str) -> Iterator[None]:
    """Tells what was expected where a reader fails: files of others, and pickles above all, may raise anything."""
    try:
        yield
    except Exception as error:
        what = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        expected = FORMATS[kind].layout
        raise ValueError(f"{source} cannot be read as {kind}: {what.rstrip('.')}. Expected {expected}.") from error


def _scaled(actions: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Scales actions ``[T, A]`` from their bounds to ±1; a number without a range becomes 0."""
    low, high = _float(low), _float(high)
    if low.ndim and low.shape != actions.shape[1:]:
        raise ValueError(
            f"actions have shape {list(actions.shape)}, but their bounds have {low.size} numbers: they are those of "
            "another environment."
        )
    half = high / 2 - low / 2  # the difference of large bounds may overflow
    return (actions - (low + half)) / np.where(half > 0, half, 1.0).astype(np.float32)


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
        raise ValueError(f"it needs {name}: pip install 'rllib-sami[data]'") from error


def _float(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)
