"""The parts of environments in which task inference is reused: bodies, and agents from checkpoints.

Each function raises a ValueError that says what does not fit, and what to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_sami import compat
from rllib_sami.core.env_values import name_of, short
from rllib_sami.core.faults import ENVIRONMENT_ERRORS, SETTING_ERRORS, close_env, named, trying
from rllib_sami.core.settings import is_integer, is_number
from rllib_sami.envs.checks import check_weight
from rllib_sami.envs.reuse.families import quantity_of
from rllib_sami.exports.agents import ExportedAgent
from rllib_sami.exports.checkpoints import load
from rllib_sami.exports.composed import HIGH_LEVEL, LOW_LEVEL, STRIDING
from rllib_sami.hierarchy import FrozenPolicy
from rllib_sami.hierarchy.commands import QUANTITIES, RANGES, Ranges, check_quantities, ranges_of
from rllib_sami.hierarchy.frozen_inference import FrozenInference
from rllib_sami.hierarchy.transfer import StrideChooser

LATENT_NOISE = 2.0  # less leaves more agents at rest before they are there, more makes velocities inexact
BODY_NEEDS = (
    "A body needs the attributes `proprioception`, what a policy may know of it that does not say where it is, and "
    "`quantity(name)`, the present value of a quantity: see docs/task_inference.md."
)


def parts_of(
    env_id: str,
    toy: str | None,
    low_level: str | None,
    body: Any,
    body_config: dict[str, Any],
    *,
    masked: bool,
    latent_noise: float,
) -> tuple[gym.Env, FrozenPolicy, Sequence[str], Any, FrozenInference, Ranges]:
    """Returns the arguments of ``TransferEnv``."""
    toy_env, inference = toy_of(env_id, toy, masked, latent_noise)
    of_body = checkpoint_of(env_id, "low_level", low_level, LOW_LEVEL)
    quantities, ranges = commands_of(of_body)
    own_body = of_body.config.env_config.get("body")
    env = make_body(env_id, own_body if body is None else body, body_config)
    width = len(env.get_wrapper_attr("proprioception")) + len(quantities)
    acting: Any = of_body.module()
    if acting.acting.obs_dim != width or acting.action_space != env.action_space:
        raise ValueError(
            f"low_level={low_level!r}: it reads {acting.acting.obs_dim} numbers and acts in {acting.action_space}, but "
            f"the body {name_of(own_body if body is None else body)!r} with {len(quantities)} commands has {width} and "
            f"{env.action_space}. Train a low level for this body, or leave `body` out."
        )
    check_body_has(env, body, (*quantities, *toy_env.quantities))
    unknown = {*inference.quantities} - {*quantities}
    if unknown:
        raise ValueError(
            f"toy={toy!r}: its tasks are also about {min(unknown)!r}, which the low level cannot be commanded: it "
            f"knows {', '.join(quantities)}. Train it with quantities: {sorted({*quantities} | unknown)}, or take a toy"
            " without such tasks."
        )
    check_tasks(env, toy_env, inference)
    policy = FrozenPolicy(acting.acting, acting.action_space, latent_dim=len(quantities))
    return env, policy, quantities, toy_env, inference, ranges


def check_agent(env_id: str, name: str, path: str) -> None:
    """Checks an agent before the others of which an environment is made are trained.

    Args:
        env_id: The environment.
        name: The setting that names the agent.
        path: Its folder.
    """
    trained_on = {"low_level": LOW_LEVEL, "striding": STRIDING, "high_level": HIGH_LEVEL}
    if name == "toy":
        toy_of(env_id, path)
    elif name in trained_on:
        checkpoint_of(env_id, name, path, trained_on[name])


def body_of(settings: Mapping[str, Any]) -> Any:
    """Returns what names the body or task in an ``env_config``: its own setting, or that of its low level."""
    given = settings.get("body") or settings.get("env")
    if given is None and settings.get("low_level") is not None:
        return load(str(settings["low_level"])).config.env_config.get("body")
    return given


def commands_of(low_level: Any) -> tuple[tuple[str, ...], Ranges]:
    """Returns the quantities that a low level can be commanded, and their ranges."""
    settings = low_level.config.env_config
    quantities = check_quantities(settings.get("quantities") or QUANTITIES)
    return quantities, ranges_of(quantities, settings.get("ranges"))


def toy_of(
    env_id: str, path: str | None, masked: bool = False, latent_noise: float = 0.0
) -> tuple[Any, FrozenInference]:
    """Returns a toy's environment and its agent."""
    checkpoint = checkpoint_of(env_id, "toy", path, None)
    module: Any = checkpoint.module()
    env: Any = compat.env_creator(checkpoint.config, 0, 0)().unwrapped
    lacking = [name for name in ("observe_body", "command_of") if not hasattr(env, name)]
    if lacking:
        raise ValueError(
            f"toy={path!r}: its environment {name_of(checkpoint.config.env)!r} has no method `{lacking[0]}`, which "
            "tells how to see a body as the toy. Give a checkpoint of Reuse/Toy-v0, or see docs/task_inference.md."
        )
    families = getattr(module.acting.config, "families", ())
    if hasattr(module, "infer_skill") or not module.acting.config.context_dim:
        raise ValueError(f"toy={path!r}: the agent infers no task. Give a checkpoint of TaskInference.")
    if hasattr(env, "family_names") and not families:
        raise ValueError(
            f"toy={path!r}: the agent cannot tell the families {', '.join(env.family_names)} of the toy's tasks apart, "
            "so that commands would be about the wrong quantities. Give a checkpoint of TaskInference."
        )
    return env, FrozenInference(module.acting, masked, check_weight("latent_noise", latent_noise))


def check_tasks(env: gym.Env, toy: Any, inference: FrozenInference) -> None:
    """Raises a ValueError for a body whose tasks or rewards mean nothing to the agent of the toy."""
    if env.has_wrapper_attr("family_names") and env.has_wrapper_attr("task_families"):
        names, families = env.get_wrapper_attr("family_names"), env.get_wrapper_attr("task_families")
        if wrong := [family for family in families if not (is_integer(family) and -1 <= family < len(names))]:
            raise ValueError(
                f"The body's `task_families` has {wrong[0]!r}, but must have indices into `family_names`, of which "
                f"there are {len(names)}, and -1 for tasks of none."
            )
        about = {quantity_of(names[family]) for family in families if family >= 0}
        if unknown := about - {*inference.quantities}:
            raise ValueError(
                f"The body's tasks are also about {min(unknown)!r}, but those of the toy's agent are about "
                f"{', '.join(inference.quantities)} alone. Choose others with `split` or `tasks`, such as tasks: "
                f"[{{{inference.quantities[0]}: 2.0}}]."
            )
    if env.has_wrapper_attr("relative_reward"):
        pays_relative = getattr(toy, "relative_reward", False)
        if env.get_wrapper_attr("relative_reward") != pays_relative:
            words = ("distances", "relative errors")[:: -1 if pays_relative else 1]
            raise ValueError(
                f"The body's rewards are {words[1]}, but those of the toy are {words[0]}. "
                f"Set relative_reward: {str(pays_relative).lower()}."
            )


def check_passive(toy: str | None, inference: FrozenInference) -> None:
    """Raises a ValueError for an encoder that reads actions, which are not the toy's where a high level commands."""
    if inference.reads_actions:
        raise ValueError(
            f"toy={toy!r}: its encoder reads the agent's own actions, but commands are given by another policy here. "
            f"Give a checkpoint of TaskInference, or use {STRIDING}, in which the toy's agent commands."
        )


def stride_chooser(
    env: gym.Env, quantities: Sequence[str], fixed_stride: int | None, striding: str | None
) -> StrideChooser:
    """Returns what chooses the strides: a number, or a policy from its checkpoint."""
    if striding is None:
        return StrideChooser(fixed_stride)
    module: Any = checkpoint_of(HIGH_LEVEL, "striding", striding, STRIDING).module()
    expected = len(env.get_wrapper_attr("proprioception")) + len(quantities)
    if module.acting.obs_dim != expected:
        raise ValueError(
            f"striding={striding!r}: it reads {module.acting.obs_dim} numbers, but the body and its commands have "
            f"{expected}. Train it with the same low level."
        )
    return StrideChooser(None, FrozenPolicy(module.acting, module.action_space, latent_dim=len(quantities)))


def checkpoint_of(env_id: str, name: str, path: str | None, trained_on: str | None) -> Any:
    """Reads a checkpoint, which must be of ``trained_on``."""
    if path is None:
        raise ValueError(f"{env_id} needs {name!r} in its `env_config`: a checkpoint, such as {{{name}: CHECKPOINT}}.")
    try:
        checkpoint = load(str(path))
    except ValueError as error:
        raise ValueError(f"{name}={str(path)!r}: {error}") from error
    refused = checkpoint.refused() if isinstance(checkpoint, ExportedAgent) else None
    if refused and name != "striding":  # of which only the networks are read
        raise ValueError(
            f"{name}={str(path)!r}: it is exported, and the settings of its environment could run code: they have "
            f"{refused}. Register that first, or give a checkpoint that you trust."
        )
    env = checkpoint.config.env or getattr(checkpoint, "trained_on", None)
    if trained_on is not None and env != trained_on:
        raise ValueError(
            f"{name}={str(path)!r}: it was trained on {name_of(env)!r}, but must be of {trained_on}. "
            f"Give another checkpoint."
        )
    if not hasattr(checkpoint.module(), "acting"):
        raise ValueError(
            f"{name}={str(path)!r}: it is an agent of {checkpoint.algorithm.__name__}, which cannot act inside an "
            f"environment. Train {'TaskInference' if name == 'toy' else 'PlainSAC'} instead."
        )
    return checkpoint


def make_body(env_id: str, body: Any, body_config: dict[str, Any]) -> gym.Env:
    """Makes a body and checks that it has what is needed of it."""
    if body is None:
        raise ValueError(f"{env_id} needs 'body' in its `env_config`, such as {{body: Reuse/HalfCheetah-v0}}.")
    if not isinstance(body, str) and not callable(body):
        raise ValueError(f"body={body!r}: expected an environment's id, its class, or the path of one.")
    title = name_of(body)
    try:
        env = compat.env_creator(AlgorithmConfig().environment(body, env_config=body_config), 0, 0)()
    except SETTING_ERRORS:
        raise
    except ENVIRONMENT_ERRORS as error:
        raise named(error, title, compat.MAKING) from error
    if not isinstance(env, gym.Env):
        raise ValueError(f"body={title!r} is of class {type(env).__name__}, but must be a gymnasium.Env.")
    try:
        with trying(title, "reset", None, ""):
            env.reset(seed=0)  # before it, a body may not have a state
        for name in ("proprioception", "quantity"):
            if not env.has_wrapper_attr(name):
                raise ValueError(f"body={title!r} has no `{name}`. {BODY_NEEDS}")
        _check_proprioception(env, title)
    except BaseException:
        close_env(env, title)
        raise
    return env


def _check_proprioception(env: gym.Env, title: str) -> None:
    with trying(title, "proprioception", None, ""):
        given = env.get_wrapper_attr("proprioception")
    try:
        numbers = None if callable(given) else np.asarray(given, np.float32)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or numbers.ndim != 1 or not np.isfinite(numbers).all():
        what, remedy = ("a method", " Write it as a property.") if callable(given) else (short(given), "")
        raise ValueError(
            f"The body {title!r} has {what} as `proprioception`, but must have finite numbers, [P].{remedy}"
        )


def check_body_has(env: gym.Env, body: Any, quantities: Sequence[str]) -> None:
    """Raises a ValueError for quantities that a body does not have."""
    for name in quantities:
        title = name_of(body or env)
        try:
            value = env.get_wrapper_attr("quantity")(name)
        except ENVIRONMENT_ERRORS as error:
            close_env(env, title)
            raise ValueError(
                f"The body {title!r} has no quantity {name!r}. Give it one in its `quantity(name)`, or "
                f"leave it out of `quantities`; usual ones are {', '.join(RANGES)}."
            ) from error
        if not is_number(value):
            close_env(env, title)
            raise ValueError(f"The body {title!r} gives {short(value)} as its {name!r}, but must give a finite number.")
