"""Checks that a checkpoint fits an algorithm, before anything is loaded."""

from pathlib import Path
from typing import Any

from rllib_sami import compat
from rllib_sami.core.networks import FORMER_NETWORK, ActorCriticConfig, NetworkConfig


def check_checkpoint(algorithm: Any, path: Path) -> None:
    """Checks that a checkpoint has the same algorithm, spaces and networks; RLlib would load whatever happens to fit.

    Raises:
        ValueError: Saying what differs and what to do.
    """
    name = type(algorithm).__name__
    saved = compat.checkpoint_constructor(path)
    if saved is None:
        return  # RLlib reports that there is no checkpoint
    theirs = saved["class"].__name__
    if theirs != name:  # by name, because Tune wraps each algorithm in a class with the same name
        raise ValueError(
            f"{path} is a checkpoint of {theirs} and cannot be restored into {name}. Restore it with "
            f"`{theirs}.from_checkpoint(path)`, or use a checkpoint of {name}."
        )
    saved = compat.checkpoint_constructor(path, compat.MODULE_IN_CHECKPOINT)
    module = algorithm.env_runner.module if algorithm.env_runner else None
    if saved is None or module is None:
        return
    saved = saved["ctor_args_and_kwargs"][1]
    networks_then = getattr(module, "former_acting_settings", FORMER_NETWORK) | saved["model_config"]
    networks_then.setdefault("acting_encoder", "average" if networks_then.get("averaged_context") else "online")
    then = {key: saved[key].shape for key in ("observation_space", "action_space")}
    now = {key: getattr(module, key).shape for key in then}
    of_networks: Any = NetworkConfig.__dataclass_fields__
    if module.model_config.get("context_dim") == 0:  # without an encoder its settings mean nothing
        of_networks = {"context_dim": None, **ActorCriticConfig.__dataclass_fields__}
    names = getattr(module, "network_settings", (*of_networks, "acting_encoder"))
    networks = [key for key in names if key in module.model_config]
    then |= {key: networks_then.get(key) for key in networks}
    now |= {key: module.model_config[key] for key in networks}
    for key, value in now.items():
        if _lists(then[key]) != _lists(value):
            raise ValueError(
                f"{path} was made with `{key}` {then[key]}, but this {name} has {value}. Restore it with "
                f"`{name}.from_checkpoint(path)`, which uses its configuration, or set the same value here."
            )


def _lists(value: Any) -> Any:
    """The same value with lists in place of tuples."""
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
