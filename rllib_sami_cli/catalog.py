"""Which algorithms and environments there are, by name."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import os
import sys
import warnings
from typing import Any

import gymnasium
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.registry import ALGORITHMS as RLLIB_ALGORITHMS

from rllib_sami import compat
from rllib_sami.algorithms.base import environment_checks
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm
from rllib_sami.config.names import WrongSettings
from rllib_sami.core.faults import (
    ENVIRONMENT_ERRORS,
    SETTING_ERRORS,
    Watch,
    close_env,
    named,
    reason_of,
)
from rllib_sami.core.settings import is_number
from rllib_sami.core.text import did_you_mean, nearest_name
from rllib_sami.envs import ENVIRONMENTS  # installed from envs/
from rllib_sami.exports import skill_control, task_transfer
from rllib_sami.registration import ALGORITHMS as OUR_ALGORITHMS
from rllib_sami_cli import spaces
from rllib_sami_cli.errors import UserError, one_line

# Environments that are made of others, and of checkpoints.
_COMPOSED = {skill_control.ENV_ID: skill_control.make, **task_transfer.MAKERS}
# Set before Ray starts. The first two replace Tune's live lines and Ctrl-C by our own; the third leaves
# CUDA_VISIBLE_DEVICES of CPU-only workers alone, which is Ray's future default (otherwise it warns).
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare_imports(*folders: str | os.PathLike) -> None:
    """Sets up the process before Ray starts and before the user's own code, perhaps in ``folders``, is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for folder in (os.getcwd(), *map(os.path.abspath, folders)):
        if folder not in sys.path:
            # A console script lacks the current folder, where the user's own classes are.
            sys.path.append(folder)


def prepare(verbosity: int = 0) -> None:
    """Sets up the process and silences Ray, depending on the number of -v."""
    prepare_imports()
    UserError.show_cause = verbosity > 1
    if not verbosity:
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Consider boosting PBT")  # by reusing processes: RLlib cannot
        warnings.filterwarnings("ignore", message=r".*WARN: ")  # Gymnasium's, for RLlib's own example environments
    quiet(verbosity)


def log_level(verbosity: int) -> int:
    """Returns Ray's log level: errors only, warnings with -v, everything with -vv."""
    return {0: logging.ERROR, 1: logging.WARNING}.get(verbosity, logging.INFO)


def quiet(verbosity: int) -> None:
    """Sets the log level of Ray's Python loggers."""
    for name in ("ray", "ray.rllib", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(log_level(verbosity))
    if not verbosity:
        # We report a failed trial in one message, instead of Tune's traceback.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def algorithm_names() -> list[str]:
    """Names that ``run:`` and ``--algo`` accept: ours first, then RLlib's."""
    others = set(RLLIB_ALGORITHMS) - set(OUR_ALGORITHMS)
    return [*OUR_ALGORITHMS, *sorted(name for name in others if name[0] != "_")]


def algorithm_class(name: Any, place: str) -> type:
    """Returns the Algorithm class of a registered name, a class path, or a class."""
    if isinstance(name, type) and issubclass(name, Algorithm):
        return name
    if not isinstance(name, str) or not name:
        raise UserError(f"{place}: which algorithm? Give 'run: NAME'. {did_you_mean('', algorithm_names(), 40)}")
    candidate: Any = None
    if name in OUR_ALGORITHMS:
        candidate = OUR_ALGORITHMS[name]
    elif name in RLLIB_ALGORITHMS:
        candidate = RLLIB_ALGORITHMS[name]()[0]
    elif "." in name:
        candidate = _import(name, place, "algorithm")
    else:
        raise UserError(f"{place}: unknown algorithm '{name}'. {did_you_mean(name, algorithm_names(), 40)}")
    if not (isinstance(candidate, type) and issubclass(candidate, Algorithm)):
        raise UserError(f"{place}: '{name}' is not an RLlib Algorithm class.")
    return candidate


def as_class_path(env: Any) -> Any:
    """Returns ``env`` with each `module:Name` (also in a search space) as the dotted path that RLlib imports."""
    if isinstance(env, dict):
        return {key: as_class_path(value) for key, value in env.items()}
    if isinstance(env, list):
        return [as_class_path(value) for value in env]
    return compat.class_path(env) if isinstance(env, str) else env


def check_environment(env: Any, place: str) -> None:
    """Raises a UserError if RLlib could not make ``env`` (an id, a class path, or a class)."""
    if isinstance(env, type):
        return
    if not isinstance(env, str):
        raise UserError(f"{place}: which environment? Give 'env: ID'. {_environment_hint('')}")
    if compat.is_registered(env):
        return
    if ":" in env:
        module, _, inner = env.partition(":")
        try:
            importlib.import_module(module)
        except ENVIRONMENT_ERRORS as error:  # whatever the user's code raises
            raise UserError(
                f"{place}: environment '{env}': module '{module}' cannot be imported: {_why(error)}. Write "
                "my_module:MyEnv for a class in my_module.py, in this folder or installed."
            ) from error
        if inner in gymnasium.registry:
            return
        members = vars(sys.modules[module]).items()
        there = [name for name, value in members if isinstance(value, type) and issubclass(value, gymnasium.Env)]
        raise UserError(
            f"{place}: environment '{env}': module '{module}' has no '{inner}', and registers no such Gymnasium id. "
            f"{did_you_mean(inner, there, 30)}".strip()
        )
    if "." in env and "/" not in env:
        _check_maker(_import(env, place, "environment"), env, place)
        compat.register_class_path(env)
        return
    raise UserError(f"{place}: unknown environment '{env}'. {_environment_hint(env)}")


def _check_maker(maker: Any, env: str, place: str) -> None:
    """Raises a UserError for what cannot make an environment, as far as that is known without calling it."""
    if isinstance(maker, type) and not issubclass(maker, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise UserError(
            f"{place}: environment '{env}' is a class that does not derive from gymnasium.Env: write "
            f"class {maker.__name__}(gymnasium.Env)."
        )
    if not callable(maker):
        raise UserError(
            f"{place}: environment '{env}' is a {type(maker).__name__}, but must be a gymnasium.Env class, or a "
            "function that takes env_config and returns an environment."
        )
    try:
        inspect.signature(maker).bind({})
    except ValueError:
        return  # of compiled code
    except TypeError as error:
        what = "__init__(self, env_config=None)" if isinstance(maker, type) else f"{maker.__name__}(env_config)"
        raise UserError(
            f"{place}: environment '{env}' is made with one argument, the env_config, but that does not fit: {error}. "
            f"Write {what}."
        ) from error


def try_environment(env: Any, env_config: Any, place: str, timeout_s: Any) -> None:
    """Builds one of our environments, so that a wrong split or factor is reported before anything starts.

    Args:
        env: The environment.
        env_config: Its settings, with search spaces.
        place: Where they stand, for messages.
        timeout_s: ``sample_timeout_s``, which is checked later: what the environment is made of may hang.
    """
    cls: Any = (ENVIRONMENTS.get(env) or _COMPOSED.get(env)) if isinstance(env, str) else None
    if cls is None:
        return
    for settings in itertools.islice(spaces.alternatives(env_config or {}), 20):
        if not isinstance(settings, dict):
            return
        try:
            watched = is_number(timeout_s) and timeout_s > 0
            with Watch(env, timeout_s if watched else None, "sample_timeout_s"):
                made = cls(**settings)
        except SETTING_ERRORS as error:
            raise UserError(f"{place}: {one_line(error)}") from error
        except ENVIRONMENT_ERRORS as error:  # whatever the user's code raises
            raise UserError(f"{place}: {named(error, env, compat.MAKING)}") from error
        close_env(made, env)


def is_ours(env: Any) -> bool:
    """Returns whether all that an ``env`` may become are environments of this package."""
    return all(isinstance(one, str) and (one in ENVIRONMENTS or one in _COMPOSED) for one in spaces.alternatives(env))


def environment_settings(env: Any) -> set[str]:
    """Returns the keys that ``env_config`` may have; none unless ``env`` is one of our environments."""
    cls = ENVIRONMENTS.get(env) if isinstance(env, str) else None
    if cls is None:
        return set()
    arguments = {name for base in cls.__mro__ for name in inspect.signature(base.__init__).parameters}
    return (arguments | {factor.name for factor in cls.factors}) - {"self", "args", "kwargs", "factors"}


def check_trainable(algorithm: type, settings: dict[str, Any]) -> None:
    """Has our algorithms check the environment itself (spaces, ``task_id``); they raise a ValueError."""
    if issubclass(algorithm, CheckedAlgorithm):
        config = algorithm.get_default_config().update_from_dict(settings)
        config.validate()
        environment_checks.check_environment(config)


def messages(error: BaseException) -> list[str]:
    """Returns an exception's messages, one line per mistake."""
    return [one_line(text) for text in (error.args if isinstance(error, WrongSettings) else [error])]


def wrong_settings(algorithm: type, settings: dict[str, Any]) -> list[str]:
    """Returns messages about single settings that our algorithms refuse whatever the others are."""
    if not issubclass(algorithm, CheckedAlgorithm):
        return []
    try:
        return algorithm.get_default_config().update_from_dict(settings).mistakes()
    except ValueError as error:
        return messages(error)


def _environment_hint(env: str) -> str:
    ours = [*ENVIRONMENTS, *_COMPOSED]
    close = nearest_name(env, ours) or nearest_name(f"SaMI/{env}", ours, 0.8) or nearest_name(env, gymnasium.registry)
    hint = f"Did you mean '{close}'? " if close else ""
    return (
        f"{hint}Ours: {', '.join(ours)}. Gymnasium's ids and classes of your own (my_package.envs:MyEnv) work too; "
        "`rllib envs` shows ours."
    )


def _import(path: str, place: str, what: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ENVIRONMENT_ERRORS as error:  # whatever the user's code raises
        raise UserError(f"{place}: {what} '{path}' cannot be imported: {_why(error)}.") from error


def _why(error: BaseException) -> str:
    return reason_of(error) if isinstance(error, SystemExit) else one_line(error)
