"""RLlib's configs: keys of dict configs, what the user gave for the model, classes named by their path.

Touches ``AlgorithmConfig._translate_special_keys`` and ``_model_config``.
"""

import dataclasses
import importlib
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

# Keys of dict configs that are no fields: RLlib gives them a meaning of its own.
SPECIAL_CONFIG_KEYS = {"_enable_new_api_stack", "multiagent", "class"}


def present_name(config: AlgorithmConfig, key: str) -> str:
    """The name that a dict config's key has today."""
    return config._translate_special_keys(key, warn_deprecated=False)


def user_model_config(config: AlgorithmConfig) -> dict[str, Any]:
    """What the user gave as ``rl_module(model_config=...)``."""
    given = config._model_config
    return given if isinstance(given, dict) else dataclasses.asdict(given)


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
