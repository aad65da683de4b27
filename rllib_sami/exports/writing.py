"""Writes trained agents as data; :mod:`rllib_sami.exports.agents` says which files there are, and reads them."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from safetensors.torch import save

from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.checkpoints.files import atomic_checkpoint, manifest_of
from rllib_sami.core.images import image_shape
from rllib_sami.exports.agents import CARD, CONFIG, FIGURE, FORMAT, WEIGHTS, ExportedAgent, __version__, module_classes
from rllib_sami.exports.checkpoints import load
from rllib_sami.exports.composed import agents_of
from rllib_sami.exports.model_card import model_card
from rllib_sami.registration import ALGORITHMS

# Stored elsewhere in the file, or set by RLlib.
_NO_SETTINGS = {
    *("algo_class", "class", "env", "env_config", "evaluation_config", "policies", "simple_optimizer"),
    "stats_cls_lookup",
}


def export_agent(
    module: OffPolicyTorchRLModule,
    config: AlgorithmConfig,
    folder: str | Path,
    *,
    algorithm: str,
    progress: dict[str, Any] | None = None,
    evaluation: Any = None,
    skills: dict[str, Any] | None = None,
    figure: bytes | None = None,
) -> Path:
    """Writes an agent as data, in place of an earlier export in the folder.

    Agents that its environment is made of, such as ``skills``, are written into folders of it.

    Args:
        module: Its RLModule, as ``algo.get_module()`` or a checkpoint returns it.
        config: Its training config.
        folder: Folder to write to.
        algorithm: Name of the algorithm that trained it.
        progress: Progress of training, see :class:`ExportedAgent`.
        evaluation: Results of ``evaluate()`` with this agent alone, for the model card; None: the card has the return
            in training.
        skills: What the agent's skills cover, and the goals that they reach, for the model card: a row of
            ``evaluation.skill_tables.per_run``.
        figure: A picture of the skills for the model card, PNG.

    Returns:
        The folder.

    Raises:
        ValueError: The module is of another kind, or an agent of its environment cannot be read.
    """
    if type(module) not in module_classes().values():
        raise ValueError(
            f"Only a {' or '.join(module_classes())} can be exported, but this agent's is a "
            f"{type(module).__name__}: to load it, its own code would have to run. Keep the checkpoint instead."
        )
    parts = agents_of(config.env, config.env_config)
    env_config = dict(config.env_config) | {name: name for name in parts}  # paths in the folder
    content = {
        "format": FORMAT,
        "package": f"rllib-sami {__version__}",
        "algorithm": algorithm,
        "environment": {"name": _plain(config.env), "config": _exactly(env_config, "env_config")},
        "observation_space": _space_as_json(module.observation_space),
        "action_space": _space_as_json(module.action_space),
        "module": type(module).__name__,
        "network": _plain(module.acting_settings),
        "progress": _plain(progress or {}),
        "evaluation": None if evaluation is None else _summary(evaluation),
        **({} if skills is None else {"skills": _plain(skills) | {"figure": FIGURE if figure else None}}),
        "training": _settings(config, AlgorithmConfig()),
    }
    content["experiment"], content["not_in_experiment"] = _experiment(config, content)
    weights = {
        name: value.contiguous().cpu() for name, value in module.state_dict().items() if name.startswith("acting.")
    }
    with atomic_checkpoint(folder, None, {"exported": algorithm}) as aside:
        for name, path in parts.items():
            _write_part(aside / name, name, path)
        # Written here, since `save_file` lets nobody but the owner read it.
        (aside / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
        (aside / CONFIG).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if figure is not None:
            (aside / FIGURE).write_bytes(figure)
        sizes = {name: value.numel() for name, value in weights.items()}
        (aside / CARD).write_text(model_card(content, sizes), encoding="utf-8")
    return Path(folder)


def _write_part(folder: Path, name: str, path: Any) -> None:
    """Writes an agent that another one's environment is made of."""
    try:
        agent = load(str(path))
        if isinstance(agent, ExportedAgent):
            shutil.copytree(agent.path, folder, ignore=shutil.ignore_patterns(".*"))
        else:
            about: Any = {"algorithm": agent.algorithm.__name__, "progress": progress_of(agent.path)}
            export_agent(agent.module(), agent.config, folder, **about)
    except ValueError as error:
        raise ValueError(f"{name}={path!r} of the agent's `env_config` cannot be exported with it: {error}") from error


def progress_of(checkpoint: Path) -> dict[str, Any]:
    """Returns the progress of training at a checkpoint, as far as it is known."""
    names = ("training_iteration", "num_env_steps_sampled_lifetime", "episode_return_mean")
    manifest = manifest_of(checkpoint) or {}
    return {name: manifest[name] for name in names if name in manifest}


def _settings(config: AlgorithmConfig, default: AlgorithmConfig) -> dict[str, Any]:
    """Returns the settings that differ from another config, as JSON."""
    defaults = {_public(key): _plain(value) for key, value in vars(default).items()}
    given = {_public(key): value for key, value in vars(config).items()}
    settings = {key: _plain(value) for key, value in sorted(given.items()) if key not in _NO_SETTINGS}
    return {
        key: value
        for key, value in settings.items()
        if not key.startswith("_") and (key not in defaults or not _same(value, defaults[key]))
    }


def _public(key: str) -> str:
    """Returns the name of a setting; RLlib keeps one of them as a private attribute."""
    return "train_batch_size_per_learner" if key == "_train_batch_size_per_learner" else key


def _same(value: Any, default: Any) -> bool:
    """Returns whether two settings are equal; a class may be named by its path or by its name alone."""
    if isinstance(value, dict) and isinstance(default, dict):
        return value.keys() == default.keys() and all(_same(value[key], default[key]) for key in value)
    return value == default or (isinstance(value, str) and value.endswith(f".{default}"))


def _experiment(config: AlgorithmConfig, content: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns the experiment for ``rllib train file`` that trains such an agent: what differs from the defaults.

    Returns:
        The experiment, None if a file cannot name its algorithm, and the settings that are left out because a file
        cannot hold them.
    """
    run, default, own = content["algorithm"], type(config)(), config.algo_class
    if isinstance(own, type) and own is not ALGORITHMS.get(run):
        if not _is_writable(own):
            return None, []
        run, default = _plain(own), own.get_default_config()  # type: ignore[attr-defined]
    elif run not in ALGORITHMS:
        return None, []
    # Learning from data takes no environment steps.
    names = ("num_env_steps_sampled_lifetime", "training_iteration")
    stop = next(({name: count} for name in names if (count := content["progress"].get(name))), None)
    env_config = content["environment"]["config"]
    settings = _settings(config, default)
    left_out = [key for key in settings if not _is_writable(getattr(config, key))]
    experiment = {
        "run": run,
        "env": content["environment"]["name"],
        **({"stop": stop} if stop else {}),
        "config": ({"env_config": env_config} if env_config else {})
        | {key: value for key, value in settings.items() if key not in left_out},
    }
    if not _is_writable(config.env):
        del experiment["env"]
        left_out.insert(0, "env")
    return experiment, left_out


def _is_writable(value: Any) -> bool:
    """Returns whether a file can hold a setting: numbers, text, lists and dicts of them, classes that have a path."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_writable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_writable, value))
    if isinstance(value, type):  # not in the main module, which is another one in each process, nor in a function
        found = getattr(sys.modules.get(value.__module__), value.__qualname__, None)
        return found is value and value.__module__ != "__main__"
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str | np.bool_ | np.integer)


def _summary(evaluation: Any) -> dict[str, Any]:
    """Returns an evaluation in a few numbers: the mean over the tasks of each split."""
    columns = evaluation.summary().set_index("split")[["tasks", "return", "success"]].astype(object)
    splits = columns.where(columns.notna(), None).to_dict("index")
    return {"episodes_per_task": evaluation.provenance.get("episodes_per_task"), "splits": _plain(splits)}


def _plain(value: Any) -> Any:
    """Returns a value as JSON can hold it: classes by their path, other objects and infinite numbers as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return value if _is_writable(value) else str(value)


def _exactly(value: Any, name: str) -> Any:
    """Returns a value as JSON holds it without loss (arrays and tuples become lists).

    Raises:
        ValueError: JSON cannot hold it; the environment would be another one.
    """
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _exactly(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _exactly(value.tolist(), name)
    if isinstance(value, list | tuple):
        return [_exactly(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if _is_writable(value) and not isinstance(value, type):
        return value
    raise ValueError(
        f"`{name}` is {value!r}, which the exported settings cannot hold. Train with numbers, text and lists in "
        "`env_config`, or keep the checkpoint instead."
    )


def _space_as_json(space: gym.spaces.Box) -> dict[str, Any]:
    """Returns a Box as JSON; None stands for no bound, and a single number for the same bound of all of an image."""
    bounds: dict[str, Any] = {
        name: bound.item(0)
        if image_shape(space) and (bound == bound.item(0)).all()
        else [x.item() if np.isfinite(x) else None for x in bound.ravel()]
        for name, bound in (("low", space.low), ("high", space.high))
    }
    return {**bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
