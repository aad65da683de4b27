"""RLlib's configs: keys of dict configs, the user's model settings, classes given by their dotted path.

Touches ``AlgorithmConfig._translate_special_keys``, ``_model_config`` and ``_rl_module_spec``, and RLlib's log.
"""

import dataclasses
import functools
import importlib
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.models.catalog import MODEL_DEFAULTS
from ray.util.debug import log_once

# As if said before: every RLModule makes a deprecated RLModuleConfig itself, and RLlib would tell the user not to.
log_once("RLModule(config=[RLModuleConfig object])")

# Keys of dict configs that are not fields of the config, but that RLlib understands.
SPECIAL_CONFIG_KEYS = {"_enable_new_api_stack", "multiagent", "class"}


def present_name(config: AlgorithmConfig, key: str) -> str:
    """Today's name of a dict config's key."""
    return config._translate_special_keys(key, warn_deprecated=False)


def user_model_config(config: AlgorithmConfig) -> dict[str, Any]:
    """What the user gave as ``rl_module(model_config=...)``; for a ``DefaultModelConfig`` the non-default values."""
    given = config._model_config
    if isinstance(given, dict):
        return given
    defaults = vars(type(given)())
    return {key: value for key, value in dataclasses.asdict(given).items() if value != defaults[key]}


def module_class(config: AlgorithmConfig) -> type:
    """The class of the RLModule: the user's, or else the algorithm's own."""
    given = getattr(config._rl_module_spec, "module_class", None)
    return given or config.get_default_rl_module_spec().module_class


@functools.cache
def model_defaults() -> dict[str, Any]:
    """RLlib's defaults of a model's keys; today's take precedence over older ones."""
    return MODEL_DEFAULTS | dataclasses.asdict(DefaultModelConfig())


@functools.cache
def _defaults() -> dict[str, Any]:
    from ray.rllib.algorithms.dqn import DQNConfig
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.algorithms.sac import SACConfig

    return vars(PPOConfig()) | vars(DQNConfig()) | vars(SACConfig())


def default_of(name: str) -> Any:
    """RLlib's default of a setting of its PPO, DQN or SAC; ``NotProvided`` if none of them has it."""
    return _defaults().get(name, NotProvided)


def load_class(path: str, key: str, hint: str = "") -> Any:
    """The class (or callable) at a dotted path.

    Raises:
        ValueError: If it cannot be imported, naming the config's ``key``.
    """
    module_name, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"`{key}` is {path!r}, but no class could be imported from there. {hint}".strip()) from None
    except SystemExit as error:  # a script without `if __name__ == "__main__":`
        raise ValueError(f"`{key}` is {path!r}, but importing it called sys.exit({error.code!r}).") from error
