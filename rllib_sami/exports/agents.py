"""Trained agents as data: weights, settings, a model card. Loading one runs no code from its files.

An exported agent is a folder with ``model.safetensors`` (encoder and actor), ``config.json`` and ``README.md``. A
checkpoint, from which training continues, is read with pickle instead: load only those that you trust.
"""

import functools
import importlib.metadata
import json
import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from rllib_sami.algorithms.base.array_config import ArrayConfig
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.sac.sac import SACTorchRLModule
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.checkpoints.files import MANIFEST, atomic_checkpoint, damage_of
from rllib_sami.core.images import image_shape
from rllib_sami.exports.composed import code_of, unexported
from rllib_sami.exports.model_card import (
    CHOSEN_SKILL,
    CONTEXT,
    LATENT,
    MODEL,
    NOTHING,
    SKILL,
    SKILL_OF_DATA,
    kind_of,
    model_card,
)
from rllib_sami.registration import ALGORITHMS

logger = logging.getLogger(__name__)
FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FIGURE = "skills.png"
__version__ = importlib.metadata.version("rllib-sami")
# Network settings of earlier versions, and those that only training reads.
_FORMER_KEYS = {"initial_alpha", "key_encoder", "averaged_context"}
# Stored elsewhere in the file, or set by RLlib.
_NO_SETTINGS = {
    *("algo_class", "class", "env", "env_config", "evaluation_config", "policies", "simple_optimizer"),
    "stats_cls_lookup",
}


@dataclass(frozen=True)
class ExportedAgent:
    """An exported agent: like a checkpoint for acting, but training cannot continue from it.

    Attributes:
        path: Its folder.
        algorithm: The Algorithm class that trained it; ``SaMI`` (without an encoder, ``PlainSAC``), or that of the
            skill discovery method, for classes of other packages.
        config: Networks, environment and ``env_config`` as in training. ``env`` is None if the training environment is
            not registered here (:attr:`trained_on` has its name), or would run code, see ``refused``.
        trained_on: Name of the training environment.
        refused: What in the settings of the training environment could run code of the exporting person's choice; None:
            nothing.
        progress: ``training_iteration``, ``num_env_steps_sampled_lifetime`` and ``episode_return_mean``, if known.
    """

    path: Path
    algorithm: type[Algorithm]
    config: ArrayConfig
    trained_on: str
    refused: str | None
    progress: dict[str, Any]
    _spaces: tuple[gym.spaces.Box, gym.spaces.Box]
    _module_class: type[OffPolicyTorchRLModule]
    _network: dict[str, Any]

    def module(self) -> OffPolicyTorchRLModule:
        """Returns the RLModule, ready to act.

        Raises:
            ValueError: The weights do not fit the networks that the settings describe.
        """
        observation_space, action_space = self._spaces
        module = self._module_class(
            observation_space=observation_space,
            action_space=action_space,
            inference_only=True,
            model_config=self._network,
        )
        try:
            module.load_state_dict(load_file(self.path / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{self.path / WEIGHTS} cannot be loaded into the networks of {CONFIG}: {error}. One of the two is "
                "damaged or changed; export the checkpoint again."
            ) from error
        return module

    def env_steps(self) -> int:
        """Returns the number of environment steps that the agent was trained for; -1 if unknown."""
        steps = self.progress.get("num_env_steps_sampled_lifetime")
        return int(steps) if isinstance(steps, int | float) and math.isfinite(steps) else -1


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
        ValueError: The module is of another kind.
    """
    if type(module) not in _module_classes().values():
        raise ValueError(
            f"Only a {' or '.join(_module_classes())} can be exported, but this agent's is a "
            f"{type(module).__name__}: to load it, its own code would have to run. Keep the checkpoint instead."
        )
    content = {
        "format": FORMAT,
        "package": f"rllib-sami {__version__}",
        "algorithm": algorithm,
        "environment": {"name": _plain(config.env), "config": _exactly(dict(config.env_config), "env_config")},
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
    if parts := unexported(config.env, config.env_config, is_exported):
        logger.warning(
            "The agent acts in %s, which is made of checkpoints: %s. They are not part of the export. Export them too; "
            "whoever loads this agent gives their folders, such as --env %s --env-config '{%s: DIR, ...}'.",
            *(config.env, ", ".join(f"{name}={path}" for name, path in parts.items()), config.env, next(iter(parts))),
        )
    weights = {
        name: value.contiguous().cpu() for name, value in module.state_dict().items() if name.startswith("acting.")
    }
    with atomic_checkpoint(folder, None, {"exported": algorithm}) as aside:
        # Written here, since `save_file` lets nobody but the owner read it.
        (aside / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
        (aside / CONFIG).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if figure is not None:
            (aside / FIGURE).write_bytes(figure)
        sizes = {name: value.numel() for name, value in weights.items()}
        (aside / CARD).write_text(model_card(content, sizes), encoding="utf-8")
    return Path(folder)


def is_exported(folder: str | Path) -> bool:
    """Returns whether a folder is that of an exported agent."""
    return Path(folder, WEIGHTS).is_file() and Path(folder, CONFIG).is_file()


def load_exported(folder: str | Path) -> ExportedAgent:
    """Reads an exported agent. Nothing is unpickled, and no module or class that the files name is imported.

    Raises:
        ValueError: It is not an exported agent, this version cannot read it, or its files were changed (except the
            card, :data:`CARD`).
    """
    folder = Path(folder).expanduser().absolute()
    if not is_exported(folder):
        raise ValueError(
            f"{folder} is no exported agent: {WEIGHTS} or {CONFIG} is missing. `rllib export CHECKPOINT --out DIR` "
            "makes one."
        )
    if damage := damage_of(folder, may_differ=[CARD]):
        raise ValueError(
            f"The exported agent {folder} is damaged: {damage}. Export the checkpoint again; if you have changed it "
            f"yourself, delete {MANIFEST}."
        )
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            raise ValueError(f"its format {content['format']} is of a newer version ({content['package']})")
        network = {key: value for key, value in content["network"].items() if key not in _FORMER_KEYS}
        of_earlier_versions = SaMITorchRLModule if network.get("context_dim") else SACTorchRLModule
        module_class = _module_classes()[content.get("module", of_earlier_versions.__name__)]
        network = module_class.former_acting_settings | network
        if set(network) != module_class.names_of_acting_settings(network):
            raise ValueError(f"its `network` has the keys {sorted(content['network'])}")
        spaces = (_space_from_json(content["observation_space"]), _space_from_json(content["action_space"]))
        environment = content["environment"]
        for key, value in (("progress", content["progress"]), ("config", environment["config"])):
            if not isinstance(value, dict):
                raise TypeError(f"its `{key}` is {value!r}, but must be an object")
        algorithm = ALGORITHMS.get(content["algorithm"], ALGORITHMS[_usual_algorithm(network)])
        config = algorithm.get_default_config()
        config.training(**{key: value for key, value in network.items() if key in config.settings})
        # Such code would be chosen by whoever wrote the file.
        refused = code_of(environment["name"], environment["config"], is_exported)
        env = None if refused else environment["name"]
        config.environment(env, env_config=environment["config"] if env else {})
        config.debugging(seed=content["training"].get("seed"))
        name, progress = str(environment["name"]), content["progress"]
        return ExportedAgent(folder, algorithm, config, name, refused, progress, spaces, module_class, network)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{folder / CONFIG} cannot be read: {type(error).__name__}: {error}. It is damaged, or another version "
            f"wrote it (here rllib-sami {__version__}). Export the checkpoint again."
        ) from error


def _usual_algorithm(network: dict[str, Any]) -> str:
    """Returns the algorithm of this package for an agent that another one has trained."""
    usual = {
        **{NOTHING: "PlainSAC", CONTEXT: "SaMI", LATENT: "TaskInference", SKILL: network.get("method")},
        **{SKILL_OF_DATA: "SkiMoPretrain", CHOSEN_SKILL: "SkiMo" if "planner" in network else "SPiRL", MODEL: "TDMPC"},
    }
    return str(usual[kind_of(network)])


@functools.cache
def _module_classes() -> dict[str, type[OffPolicyTorchRLModule]]:
    """Returns the RLModules that can be exported, those of this package's off-policy algorithms, by name."""
    configs = [algorithm.get_default_config() for algorithm in ALGORITHMS.values()]
    classes = [one.get_default_rl_module_spec().module_class for one in configs if isinstance(one, ArrayConfig)]
    return {module_class.__name__: module_class for module_class in sorted(classes, key=lambda one: one.__name__)}


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


def _space_from_json(content: dict[str, Any]) -> gym.spaces.Box:
    dtype = np.dtype(content.get("dtype", "float32"))  # earlier versions had no other type

    def bound(name: str, unbounded: float) -> np.ndarray:
        if not isinstance(content[name], list):
            return np.full(content["shape"], content[name], dtype)
        return np.array([unbounded if x is None else x for x in content[name]], dtype).reshape(content["shape"])

    return gym.spaces.Box(bound("low", -np.inf), bound("high", np.inf), dtype=dtype.type)
