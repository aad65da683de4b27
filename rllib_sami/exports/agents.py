"""Trained agents as data: weights, settings, a model card. Loading one runs no code from its files.

An exported agent is a folder with ``model.safetensors`` (encoder and actor), ``config.json`` and ``README.md``. Agents
that its environment is made of, such as ``skills``, lie in folders of it. A checkpoint, from which training continues,
is read with pickle instead: load only those that you trust.
"""

import functools
import importlib.metadata
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from safetensors import SafetensorError
from safetensors.torch import load_file

from rllib_sami.algorithms.base.array_config import ArrayConfig
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule
from rllib_sami.algorithms.sac.sac import SACTorchRLModule
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.checkpoints.files import MANIFEST, damage_of
from rllib_sami.exports.composed import agents_of, code_of
from rllib_sami.exports.model_card import (
    CHOSEN_SKILL,
    CONTEXT,
    LATENT,
    MODEL,
    NOTHING,
    SKILL,
    SKILL_OF_DATA,
    kind_of,
)
from rllib_sami.registration import ALGORITHMS

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FIGURE = "skills.png"
__version__ = importlib.metadata.version("rllib-sami")
# Network settings of earlier versions, and those that only training reads.
_FORMER_KEYS = {"initial_alpha", "key_encoder", "averaged_context"}


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
        env_config: Settings of the training environment as the file has them, with absolute paths of agents in the
            folder. They are data: an environment may be made of them if :meth:`refused` finds nothing.
        progress: ``training_iteration``, ``num_env_steps_sampled_lifetime`` and ``episode_return_mean``, if known.
    """

    path: Path
    algorithm: type[Algorithm]
    config: ArrayConfig
    trained_on: str
    env_config: dict[str, Any]
    progress: dict[str, Any]
    _spaces: tuple[gym.spaces.Box, gym.spaces.Box]
    _module_class: type[OffPolicyTorchRLModule]
    _network: dict[str, Any]

    def refused(self, given: Mapping[str, Any] | None = None) -> str | None:
        """Returns what in ``env_config`` could run code of the exporting person's choice; None: nothing.

        Args:
            given: Settings that whoever loads the agent gives instead of those in the file.
        """
        rest = {key: value for key, value in self.env_config.items() if key not in (given or {})}
        return code_of(self.trained_on, rest, is_exported)

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
        module_class = module_classes()[content.get("module", of_earlier_versions.__name__)]
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
        env_config = environment["config"] | _agents_inside(folder, environment)
        config.debugging(seed=content["training"].get("seed"))
        name, progress = str(environment["name"]), content["progress"]
        agent = ExportedAgent(folder, algorithm, config, name, env_config, progress, spaces, module_class, network)
        if not agent.refused():
            config.environment(name, env_config=env_config)
        return agent
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{folder / CONFIG} cannot be read: {type(error).__name__}: {error}. It is damaged, or another version "
            f"wrote it (here rllib-sami {__version__}). Export the checkpoint again."
        ) from error


def _agents_inside(folder: Path, environment: dict[str, Any]) -> dict[str, str]:
    """Returns the agents that an environment is made of and that lie in the folder: setting -> absolute path."""
    named = agents_of(environment["name"], environment["config"])
    paths = {name: folder / path for name, path in named.items() if isinstance(path, str)}
    return {name: str(path) for name, path in paths.items() if is_exported(path)}


def _usual_algorithm(network: dict[str, Any]) -> str:
    """Returns the algorithm of this package for an agent that another one has trained."""
    usual = {
        **{NOTHING: "PlainSAC", CONTEXT: "SaMI", LATENT: "TaskInference", SKILL: network.get("method")},
        **{SKILL_OF_DATA: "SkiMoPretrain", CHOSEN_SKILL: "SkiMo" if "planner" in network else "SPiRL", MODEL: "TDMPC"},
    }
    return str(usual[kind_of(network)])


@functools.cache
def module_classes() -> dict[str, type[OffPolicyTorchRLModule]]:
    """Returns the RLModules that can be exported, those of this package's off-policy algorithms, by name."""
    configs = [algorithm.get_default_config() for algorithm in ALGORITHMS.values()]
    classes = [one.get_default_rl_module_spec().module_class for one in configs if isinstance(one, ArrayConfig)]
    return {module_class.__name__: module_class for module_class in sorted(classes, key=lambda one: one.__name__)}


def _space_from_json(content: dict[str, Any]) -> gym.spaces.Box:
    dtype = np.dtype(content.get("dtype", "float32"))  # earlier versions had no other type

    def bound(name: str, unbounded: float) -> np.ndarray:
        if not isinstance(content[name], list):
            return np.full(content["shape"], content[name], dtype)
        return np.array([unbounded if x is None else x for x in content[name]], dtype).reshape(content["shape"])

    return gym.spaces.Box(bound("low", -np.inf), bound("high", np.inf), dtype=dtype.type)
