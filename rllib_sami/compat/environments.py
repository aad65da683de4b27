"""Environments: names that RLlib and Gymnasium know, and how RLlib makes an environment.

Touches Tune's registry (``_global_registry``) and ``EnvContext``.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import ENV_CREATOR, _global_registry, register_env

from rllib_sami.compat.configs import load_class
from rllib_sami.core.faults import ENVIRONMENT_ERRORS, exits_as_errors
from rllib_sami.envs.registration import ENVIRONMENTS, make

MAKING = "when it was made"


def class_path(env: str) -> str:
    """Returns ``"module:Name"`` of an environment's class as the dotted path that RLlib imports.

    Any other name, also one that Gymnasium knows or that does not exist, is returned as it is.
    """
    module, colon, name = env.partition(":")
    if not colon or is_registered(env) or name in gym.registry:
        return env
    try:
        imported = importlib.import_module(module)  # which may register the name with Gymnasium
    except ENVIRONMENT_ERRORS:  # they are reported where the environment is made
        return env
    return f"{module}.{name}" if name not in gym.registry and hasattr(imported, name) else env


def env_option(env: str | None) -> str:
    """The option with which ``rllib evaluate`` finds a dotted path, `` --env module:Name``; empty for other names."""
    *module, name = (env or "").split(".")
    is_path = bool(module) and all(map(str.isidentifier, (*module, name)))
    return f" --env {'.'.join(module)}:{name}" if is_path else ""


def register_class_path(path: str) -> None:
    """Registers a dotted path under its own name, because RLlib's env runners do not import classes."""
    register_env(path, functools.partial(_make_by_path, path))


def _make_by_path(path: str, context: EnvContext) -> gym.Env:
    with exits_as_errors(path, MAKING):
        return load_class(path, "env")(context)


def may_be_made(env: str) -> bool:
    """Whether ``env`` is an id that is known here, or looks like a path to import from."""
    return is_registered(env) or "." in env or ":" in env


def env_creator(config: AlgorithmConfig, worker_index: int, slot: int) -> Callable[[], gym.Env]:
    """Returns a function that makes the environment of one slot, with an ``EnvContext`` of its runner and slot.

    ``config.env`` may be a name in RLlib's registry, a Gymnasium id (also ``"module:Name-v0"``), a class or callable
    that takes the context, or the dotted path of one.

    Raises:
        ValueError: If ``config.env`` is none of these.
    """
    create = _creator(config, worker_index, slot)

    def make_env() -> gym.Env:
        with exits_as_errors(getattr(config.env, "__name__", config.env), MAKING):
            return create()

    return make_env


def _creator(config: AlgorithmConfig, worker_index: int, slot: int) -> Callable[[], gym.Env]:
    context = EnvContext(
        dict(config.env_config),
        worker_index=worker_index,
        vector_index=slot,
        num_workers=config.num_env_runners,
        remote=config.remote_worker_envs,
    )
    env = config.env
    if env is None:
        raise ValueError("`env` is not set. Give one with `config.environment('SaMI/Ant-v0')`.")
    if isinstance(env, str):
        if _global_registry.contains(ENV_CREATOR, env):
            creator = _global_registry.get(ENV_CREATOR, env)
            return lambda: creator(context)
        if env.rpartition(":")[2] in ENVIRONMENTS:  # the registry is emptied when Ray shuts down
            return lambda: make(env, **context)
        env = class_path(env)
        if ":" in env or env in gym.registry:
            return lambda: gym.make(env, **context)
        env = load_class(
            env,
            "env",
            "A class of your own must be in a module of the current folder, or installed. It is no name in RLlib's "
            "registry either (`ray.tune.register_env`), nor a Gymnasium id; `rllib envs` lists those of "
            "this package.",
        )
    return lambda: env(context)


def is_registered(env: Any) -> bool:
    """Whether an environment is a name in RLlib's or Gymnasium's registry, so that making it imports nothing."""
    return isinstance(env, str) and (_global_registry.contains(ENV_CREATOR, env) or env in gym.registry)


def registered_creator(env: Any) -> Callable[[EnvContext], gym.Env] | None:
    """The function behind a name that was registered here (RLlib, Gymnasium), for processes without that entry.

    None for environments of this package, which are registered everywhere, and for anything but a registered name.
    """
    if not is_registered(env) or env in ENVIRONMENTS:
        return None
    if _global_registry.contains(ENV_CREATOR, env):
        return _global_registry.get(ENV_CREATOR, env)
    spec = gym.spec(env)
    return lambda context: gym.make(spec, **context)
