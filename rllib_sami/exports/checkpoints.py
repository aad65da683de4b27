"""Finds checkpoints and reads their algorithm, config and RLModule. Nothing here starts Ray."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_sami.checkpoints.files import check_files, is_complete
from rllib_sami.compat import MODULE_IN_CHECKPOINT, NUM_ENV_STEPS_SAMPLED_LIFETIME, component_state, original_class
from rllib_sami.core.text import did_you_mean, one_line
from rllib_sami.exports.agents import ExportedAgent, is_exported, load_exported

_MARK = "rllib_checkpoint.json"


@dataclass
class Checkpoint:
    """An algorithm's checkpoint on disk."""

    path: Path  # folder with rllib_checkpoint.json
    algorithm: type  # Algorithm class that wrote it
    config: Any  # its AlgorithmConfig

    def module(self) -> Any:
        """Returns the RLModule, ready to act."""
        from ray.rllib.core.rl_module.rl_module import RLModule

        folder = self.path / MODULE_IN_CHECKPOINT
        if not folder.is_dir():
            raise ValueError(f"{self.path}: no single agent's RLModule in it (looked for {MODULE_IN_CHECKPOINT}).")
        try:
            return RLModule.from_checkpoint(folder)
        except Exception as error:
            raise ValueError(f"{folder}: the RLModule cannot be loaded: {one_line(error)}") from error

    def env_steps(self) -> int:
        """Returns the number of environment steps that the agent was trained for; -1 if unknown."""
        try:
            return int(component_state(self.path / "env_runner")[NUM_ENV_STEPS_SAMPLED_LIFETIME])
        except Exception:  # of another version, or without it; the agent can play nevertheless
            return -1


def find_all(given: str | Path) -> list[Path]:
    """Returns ``given`` if it is a checkpoint's folder, or else the newest checkpoint of each trial in it.

    Raises:
        ValueError: There is none.
    """
    newest, path = find(given), _absolute(given)
    trials = sorted({folder.parent for folder in _inside(path, "*/*")})
    return [find(trial) for trial in trials] if newest != path and trials else [newest]


def find(given: str | Path) -> Path:
    """Returns ``given`` if it is a checkpoint's folder, or else the newest checkpoint of a trial or experiment.

    Raises:
        ValueError: There is none.
    """
    path = _absolute(given)
    if not path.exists():
        raise ValueError(f"{given}: no such folder. {_did_you_mean(path)}".strip())
    if (path / _MARK).is_file() or is_exported(path):
        return path
    inside = [folder for pattern in ("*", "*/*") for folder in _inside(path, pattern) if is_complete(folder)]
    if inside:
        trials = {folder.parent for folder in inside}
        newest = [_newest([folder for folder in inside if folder.parent == trial]) for trial in trials]
        return max(newest, key=_modified)
    raise ValueError(
        f"{given} is no checkpoint of an RLlib algorithm (it has no {_MARK}), nor an exported agent. "
        "Give a folder such as ~/ray_results/EXPERIMENT/TRIAL/checkpoint_000010, or the experiment's folder; a run "
        "that ended before its first checkpoint has none."
    )


def _absolute(given: str | Path) -> Path:
    return Path(given).expanduser().absolute()


def _inside(path: Path, pattern: str) -> list[Path]:
    """Returns the checkpoints in a folder, without hidden ones such as those that are being written."""
    folders = [mark.parent for mark in path.glob(f"{pattern}/{_MARK}")]
    return [folder for folder in folders if not any(part[0] == "." for part in folder.relative_to(path).parts)]


def _did_you_mean(missing: Path) -> str:
    """Returns the half-sentence that names a folder similar to the first missing part of a path."""
    parent = next(parent for parent in missing.parents if parent.exists())
    beside = [folder.name for folder in parent.iterdir() if folder.is_dir()] if parent.is_dir() else []
    return did_you_mean(missing.relative_to(parent).parts[0], beside, list_up_to=0, cutoff=0.75)


def _newest(of_trial: list[Path]) -> Path:
    """Returns the newest of a trial's checkpoints: by number, since copies may have any time; else by time."""
    numbered = all(re.fullmatch(r"checkpoint_\d+", folder.name) for folder in of_trial)
    return max(of_trial, key=(lambda folder: int(folder.name.split("_")[1])) if numbered else _modified)


def _modified(folder: Path) -> tuple[float, str]:
    return (folder / _MARK).stat().st_mtime, str(folder)


def load(given: str | Path) -> Checkpoint | ExportedAgent:
    """Reads algorithm and config of a checkpoint, or an exported agent.

    Raises:
        ValueError: It cannot be read, or is not of an RLlib algorithm.
    """
    from ray.rllib.algorithms.algorithm import Algorithm

    path = find(given)
    if is_exported(path):
        return load_exported(path)
    check_files(path)
    try:
        with open(path / "class_and_ctor_args.pkl", "rb") as file:
            content = pickle.load(file)
        algorithm, (args, kwargs) = content["class"], content["ctor_args_and_kwargs"]
        config = args[0] if args else kwargs["config"]
        if isinstance(config, dict):
            config = config["class"].from_state(dict(config))
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path} is of an algorithm whose code is not here: {one_line(error)}. Install or import it."
        ) from error
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {one_line(error)}") from error
    if not (isinstance(algorithm, type) and issubclass(algorithm, Algorithm)):
        raise ValueError(f"{path} is of {algorithm}, which is no RLlib algorithm.")
    return Checkpoint(path, original_class(algorithm), config)


def check_restore(given: str, algorithm: type) -> str:
    """Returns the path of a checkpoint that training is to continue from.

    Raises:
        ValueError: It is a checkpoint of another algorithm.
    """
    checkpoint = load(given)
    if isinstance(checkpoint, ExportedAgent):
        raise ValueError(
            f"{checkpoint.path} is an exported agent, with which training cannot go on: it has no critics, optimisers "
            "and episodes. Give the checkpoint that it was exported from."
        )
    # By name, because a class that cannot be imported is pickled by value.
    if _full_name(checkpoint.algorithm) != _full_name(algorithm):
        theirs = checkpoint.algorithm.__name__
        raise ValueError(
            f"{checkpoint.path} is a checkpoint of {theirs}, but {algorithm.__name__} is to be trained. "
            f"Use --algo {theirs} or another checkpoint."
        )
    return str(checkpoint.path)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"
