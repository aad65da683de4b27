"""Environments: which names RLlib and Gymnasium know, how RLlib makes one, spaces as its env runners report them.

Touches Tune's registry (``_global_registry``), ``EnvContext`` and the keys of an env runner's spaces.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import ENV_CREATOR, _global_registry, register_env

from rllib_sami.compat.configs import load_class
from rllib_sami.core.faults import ENVIRONMENT_ERRORS, exits_named
from rllib_sami.envs.registration import ENVIRONMENTS, make

MAKING = "when it was made"


def class_path(env: str) -> str:
    """An environment's ``"module:Name"`` as the dotted path that RLlib imports; any other name as it is.

    So is one that Gymnasium knows, or that there is not.
    """
    module, colon, name = env.partition(":")
    if not colon or is_registered(env) or name in gym.registry:
        return env
    try:
        imported = importlib.import_module(module)  # which may register the name with Gymnasium
    except ENVIRONMENT_ERRORS:  # whatever it raises is told where the environment is made
        return env
    return f"{module}.{name}" if name not in gym.registry and hasattr(imported, name) else env


def env_option(env: str | None) -> str:
    """What ``rllib evaluate`` needs to find an environment: `` --env module:Name`` of a dotted path, else nothing."""
    *module, name = (env or "").split(".")
    is_path = bool(module) and all(map(str.isidentifier, (*module, name)))
    return f" --env {'.'.join(module)}:{name}" if is_path else ""


def register_class_path(path: str) -> None:
    """Registers a dotted path under its own name: RLlib's env runners look for no classes."""
    register_env(path, functools.partial(_make_by_path, path))


def _make_by_path(path: str, context: EnvContext) -> gym.Env:
    with exits_named(path, MAKING):
        return load_class(path, "env")(context)


def may_be_made(env: str) -> bool:
    """Returns whether ``env`` is an id known here, or a path that something could be imported from."""
    return is_registered(env) or "." in env or ":" in env


def env_creator(config: AlgorithmConfig, worker_index: int, slot: int) -> Callable[[], gym.Env]:
    """Makes the environment of one slot, with an ``EnvContext`` that knows its runner and slot.

    ``config.env`` may be a name in RLlib's registry, a Gymnasium id (``"module:Name-v0"`` too), a class or a
    callable that takes the context, or the dotted path of one.

    Raises:
        ValueError: If ``config.env`` is none of these.
    """
    create = _creator(config, worker_index, slot)

    def make_env() -> gym.Env:
        with exits_named(getattr(config.env, "__name__", config.env), MAKING):
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
        if env.rpartition(":")[2] in ENVIRONMENTS:  # that registry is emptied as Ray shuts down
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
    """Whether an environment's name is in RLlib's or Gymnasium's registry, so that making it imports nothing."""
    return isinstance(env, str) and (_global_registry.contains(ENV_CREATOR, env) or env in gym.registry)


def registered_creator(env: Any) -> Callable[[EnvContext], gym.Env] | None:
    """What makes an environment that was registered here (RLlib, Gymnasium) by name, for processes without that entry.

    None for those of this package, which are registered everywhere, and for what is no registered name.
    """
    if not is_registered(env) or env in ENVIRONMENTS:
        return None
    if _global_registry.contains(ENV_CREATOR, env):
        return _global_registry.get(ENV_CREATOR, env)
    spec = gym.spec(env)
    return lambda context: gym.make(spec, **context)


def runner_spaces(env: gym.vector.VectorEnv) -> dict[str, tuple[gym.Space, gym.Space]]:
    """Spaces as RLlib's env runners report them."""
    single = (env.single_observation_space, env.single_action_space)
    return {
        INPUT_ENV_SPACES: (env.observation_space, env.action_space),
        INPUT_ENV_SINGLE_SPACES: single,
        DEFAULT_MODULE_ID: single,
    }
