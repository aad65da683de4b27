"""What a checkpoint is of: its algorithm, its config, its RLModule. Nothing here starts Ray."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_sami.checkpoints.files import check_files, is_complete
from rllib_sami.compat import MODULE_IN_CHECKPOINT, NUM_ENV_STEPS_SAMPLED_LIFETIME, component_state
from rllib_sami.core.text import did_you_mean
from rllib_sami.exports.agents import ExportedAgent, is_exported, load_exported

_MARK = "rllib_checkpoint.json"


@dataclass
class Checkpoint:
    """An algorithm's checkpoint on disk.

    Attributes:
        path: The folder with `rllib_checkpoint.json`.
        algorithm: The Algorithm class that wrote it.
        config: Its AlgorithmConfig.
    """

    path: Path
    algorithm: type
    config: Any

    def module(self) -> Any:
        """Returns the RLModule, ready to act."""
        from ray.rllib.core.rl_module.rl_module import RLModule

        folder = self.path / MODULE_IN_CHECKPOINT
        if not folder.is_dir():
            raise ValueError(f"{self.path}: no single agent's RLModule in it (looked for {MODULE_IN_CHECKPOINT}).")
        try:
            return RLModule.from_checkpoint(folder)
        except Exception as error:
            raise ValueError(f"{folder}: the RLModule cannot be loaded: {_one_line(error)}") from error

    def env_steps(self) -> int:
        """Returns for how many environment steps the agent was trained, -1 if the checkpoint does not tell."""
        try:
            return int(component_state(self.path / "env_runner")[NUM_ENV_STEPS_SAMPLED_LIFETIME])
        except Exception:  # of another version, or without it: no reason not to play
            return -1


def find_all(given: str | Path) -> list[Path]:
    """Returns the checkpoint folder that ``given`` is, or the newest one of each trial in it.

    Raises:
        ValueError: There is none.
    """
    newest = find(given)
    path = Path(given).expanduser().absolute()
    trials = sorted({mark.parent.parent for mark in path.glob(f"*/*/{_MARK}") if not _is_hidden(mark.parent, path)})
    return [find(trial) for trial in trials] if newest != path and trials else [newest]


def _is_hidden(folder: Path, within: Path) -> bool:
    """Returns whether it is one that is being written, or another that nobody is meant to see."""
    return any(part.startswith(".") for part in folder.relative_to(within).parts)


def find(given: str | Path) -> Path:
    """Returns the checkpoint folder that ``given`` is, or the newest one inside a trial's or experiment's folder.

    Raises:
        ValueError: There is none.
    """
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise ValueError(f"{given}: no such folder. {_nearest_to(path)}".strip())
    if (path / _MARK).is_file() or is_exported(path):
        return path
    inside = [mark.parent for pattern in ("*", "*/*") for mark in path.glob(f"{pattern}/{_MARK}")]
    inside = [folder for folder in inside if not _is_hidden(folder, path) and is_complete(folder)]
    if inside:
        trials = {folder.parent for folder in inside}
        newest = [_newest([folder for folder in inside if folder.parent == trial]) for trial in trials]
        return max(newest, key=_written)
    raise ValueError(
        f"{given} is no checkpoint of an RLlib algorithm (it has no {_MARK}), nor an exported agent. "
        "Give a folder such as ~/ray_results/EXPERIMENT/TRIAL/checkpoint_000010, or the experiment's folder."
    )


def _nearest_to(missing: Path) -> str:
    """Returns the half-sentence that names the folder which the first missing part of a path may have meant."""
    there = next(parent for parent in missing.parents if parent.exists())
    name = missing.relative_to(there).parts[0]
    beside = [folder.name for folder in there.iterdir() if folder.is_dir()] if there.is_dir() else []
    return did_you_mean(name, beside, list_up_to=0, cutoff=0.75)


def _newest(of_trial: list[Path]) -> Path:
    """Returns the newest of a trial's checkpoints: by number, since copies may have any time; else by time."""
    numbered = all(re.fullmatch(r"checkpoint_\d+", folder.name) for folder in of_trial)
    return max(of_trial, key=(lambda folder: int(folder.name.split("_")[1])) if numbered else _written)


def _written(folder: Path) -> tuple[float, str]:
    return (folder / _MARK).stat().st_mtime, str(folder)


def load(given: str | Path) -> Checkpoint | ExportedAgent:
    """Reads which algorithm and config a checkpoint, or an exported agent, is of.

    Raises:
        ValueError: It cannot be read, or is of something else.
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
            f"{path} is of an algorithm whose code is not here: {_one_line(error)}. Install or import it."
        ) from error
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {_one_line(error)}") from error
    if not (isinstance(algorithm, type) and issubclass(algorithm, Algorithm)):
        raise ValueError(f"{path} is of {algorithm}, which is no RLlib algorithm.")
    return Checkpoint(path, algorithm, config)


def check_restore(given: str, algorithm: type) -> str:
    """Returns the checkpoint's path.

    Raises:
        ValueError: ``algorithm`` cannot start from it.
    """
    checkpoint = load(given)
    # By name (the qualified one is Ray's): a trial runs, and saves, a copy of the class that Ray made.
    if _full_name(checkpoint.algorithm) != _full_name(algorithm):
        theirs = checkpoint.algorithm.__name__
        raise ValueError(
            f"{checkpoint.path} is a checkpoint of {theirs}, but {algorithm.__name__} is to be trained. "
            f"Use --algo {theirs} or another checkpoint."
        )
    return str(checkpoint.path)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def _one_line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())
