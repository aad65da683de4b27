"""Task inference on other bodies, as environments.

They are stages of a chain: a low-level policy of a body is trained in ``Reuse/LowLevel-v0``. ``Reuse/Striding-v0`` and
``Reuse/HighLevel-v0`` take it, and an agent of a toy, from their checkpoints.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import register_env

from rllib_sami import compat
from rllib_sami.core.env_values import name_of
from rllib_sami.core.faults import ENVIRONMENT_ERRORS
from rllib_sami.core.settings import is_integer
from rllib_sami.core.text import did_you_mean
from rllib_sami.env_runners.episodes import max_episode_steps
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.envs.checks import check_switch, check_weight
from rllib_sami.envs.reuse.families import quantity_of
from rllib_sami.exports.checkpoints import load
from rllib_sami.hierarchy import FrozenPolicy
from rllib_sami.hierarchy.commands import (
    COMMAND_STEPS,
    MAX_STEPS,
    QUANTITIES,
    RANGES,
    CommandEnv,
    Ranges,
    check_quantities,
    ranges_of,
)
from rllib_sami.hierarchy.frozen_inference import FrozenInference
from rllib_sami.hierarchy.transfer import (
    GUIDES,
    HighLevelEnv,
    SteeredEnv,
    StrideChooser,
    StridingEnv,
    check_stride,
)

LOW_LEVEL, STRIDING, HIGH_LEVEL = "Reuse/LowLevel-v0", "Reuse/Striding-v0", "Reuse/HighLevel-v0"
BODY_NEEDS = (
    "A body needs the attributes `proprioception`, what a policy may know of it that does not say where it is, and "
    "`quantity(name)`, the present value of a quantity: see docs/task_inference.md."
)


def make_low_level(
    body: Any = None,
    quantities: Sequence[str] | None = None,
    ranges: Mapping[str, Sequence[float]] | None = None,
    scales: Mapping[str, float] | None = None,
    command_steps: Sequence[int] | None = None,
    max_steps: int | None = None,
    high_level: str | None = None,
    **body_config: Any,
) -> CommandEnv:
    """Makes the environment in which a low-level policy is trained.

    Args:
        body: The body: an id, a class or the path of one.
        quantities: As for :class:`rllib_sami.hierarchy.commands.CommandEnv`, and the others too.
        ranges: Likewise.
        scales: Likewise.
        command_steps: Likewise.
        max_steps: Steps of an episode; None: 200, or with a ``high_level`` as many as the body has by itself.
        high_level: Checkpoint of a policy that was trained in ``Reuse/HighLevel-v0`` and gives the commands, in the
            body's tasks: those with which its own low level was trained, so that ``quantities``, ``ranges`` and
            ``command_steps`` cannot be chosen.
        **body_config: Settings of the body.

    Raises:
        ValueError: An argument is missing or wrong, or the body cannot be commanded.
    """
    if high_level is not None:
        chosen = {"quantities": quantities, "ranges": ranges, "command_steps": command_steps}
        for name, value in chosen.items():
            if value is not None:
                raise ValueError(f"{name}={value!r}: it is that of high_level={high_level!r}. Leave it out.")
        more = {} if max_steps is None else {"max_steps": max_steps}
        return _steered(str(high_level), body, scales, body_config | more)
    env = _body(LOW_LEVEL, body, body_config)
    limit = max_episode_steps(env)
    if max_steps is not None and limit is not None and is_integer(max_steps) and max_steps > limit:
        env.close()
        if not isinstance(env.unwrapped, MetaTaskEnv):
            raise ValueError(
                f"max_steps={max_steps}: episodes of {name_of(body)!r} have {limit} steps at most. Give no more."
            )
        env = _body(LOW_LEVEL, body, body_config | {"max_steps": max_steps})
    quantities = QUANTITIES if quantities is None else quantities
    commanded = CommandEnv(
        env, quantities, ranges, scales, command_steps or COMMAND_STEPS, MAX_STEPS if max_steps is None else max_steps
    )
    _check_quantities(env, body, quantities)
    return commanded


def make_striding(
    toy: str | None = None,
    low_level: str | None = None,
    body: Any = None,
    fixed_stride: int | None = None,
    guide: str = GUIDES[0],
    place_gain: float = 3.0,
    step_cost: float = 0.03,
    task_reward: bool = False,
    **body_config: Any,
) -> StridingEnv:
    """Makes the environment in which an agent of a toy steers a body, and the lengths of strides are learned.

    Args:
        toy: Checkpoint of ``TaskInference`` on a toy, or an exported agent.
        low_level: Checkpoint of a policy that was trained in ``Reuse/LowLevel-v0``.
        body: None: that of the low level.
        fixed_stride: As for :class:`rllib_sami.hierarchy.transfer.StridingEnv`, and the others too.
        guide: Likewise.
        place_gain: Likewise.
        step_cost: Likewise.
        task_reward: Likewise.
        **body_config: Settings of the body, such as ``split``.

    Raises:
        ValueError: An argument is missing or wrong, or the parts do not fit each other.
    """
    check_stride(fixed_stride)
    if guide not in GUIDES:
        raise ValueError(f"guide={guide!r}: expected one of {', '.join(GUIDES)}. {did_you_mean(guide, GUIDES)}".strip())
    check_switch("task_reward", task_reward)
    settings = {
        "place_gain": check_weight("place_gain", place_gain),
        "step_cost": check_weight("step_cost", step_cost),
    }
    parts = _parts(STRIDING, toy, low_level, body, body_config, masked=guide == "masked")
    if guide == "oracle" and not parts[0].has_wrapper_attr("tracked_quantity"):
        raise ValueError(
            "guide='oracle': the body has no method `tracked_quantity()`, which tells family, present and wanted value "
            "of its task. Give it one, or take another guide."
        )
    return StridingEnv(*parts, fixed_stride=fixed_stride, guide=guide, task_reward=task_reward, **settings)


def make_high_level(
    toy: str | None = None,
    low_level: str | None = None,
    striding: str | None = None,
    fixed_stride: int | None = None,
    body: Any = None,
    action_cost: float = 0.05,
    task_reward: bool = False,
    masked: bool = False,
    **body_config: Any,
) -> HighLevelEnv:
    """Makes the environment in which a high level learns to command a body, with the latents of a toy's agent.

    Args:
        toy: As for :func:`make_striding`.
        low_level: Likewise.
        striding: Checkpoint of a policy that was trained in ``Reuse/Striding-v0``, which chooses the strides.
        fixed_stride: Steps of each stride instead.
        body: None: that of the low level.
        action_cost: As for :class:`rllib_sami.hierarchy.transfer.HighLevelEnv`.
        task_reward: Likewise.
        masked: Whether observations have, instead of the latent, one that tells nothing.
        **body_config: Settings of the body, such as ``split``.

    Raises:
        ValueError: An argument is missing or wrong, or the parts do not fit each other.
    """
    check_stride(fixed_stride)
    if (striding is None) == (fixed_stride is None):
        raise ValueError(
            f"{HIGH_LEVEL} needs `striding`, a checkpoint of {STRIDING}, or `fixed_stride`, and not both: it has "
            f"striding={striding!r} and fixed_stride={fixed_stride!r}."
        )
    check_switch("task_reward", task_reward)
    check_weight("action_cost", action_cost)
    parts = _parts(HIGH_LEVEL, toy, low_level, body, body_config, check_switch("masked", masked))
    _check_passive(toy, parts[-2])
    choose_stride = _choose_stride(parts[0], parts[2], fixed_stride, striding)
    return HighLevelEnv(*parts, choose_stride=choose_stride, action_cost=action_cost, task_reward=task_reward)


MAKERS: dict[str, Callable[..., gym.Env]] = {
    LOW_LEVEL: make_low_level,
    STRIDING: make_striding,
    HIGH_LEVEL: make_high_level,
}


def register() -> None:
    """Registers the environments with Gymnasium and RLlib; doing so again changes nothing."""
    for env_id, make in MAKERS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=f"{__name__}:{make.__name__}")
        register_env(env_id, lambda context, make=make: make(**context))


def _steered(path: str, body: Any, scales: Mapping[str, float] | None, body_config: dict[str, Any]) -> SteeredEnv:
    """Makes the environment in which a low level is trained further."""
    checkpoint = _checkpoint(LOW_LEVEL, "high_level", path, HIGH_LEVEL)
    settings, module = dict(checkpoint.config.env_config), checkpoint.module()
    quantities, ranges = _commands(_checkpoint(HIGH_LEVEL, "low_level", settings.get("low_level"), LOW_LEVEL))
    env = _body(LOW_LEVEL, body, body_config)
    toy, inference = _toy(LOW_LEVEL, settings.get("toy"), settings.get("masked", False))
    _check_passive(settings.get("toy"), inference)
    _check_tasks(env, toy, inference)
    _check_quantities(env, body, (*quantities, *toy.quantities))
    read = gym.spaces.flatdim(env.observation_space) + inference.latent_dim
    if module.acting.obs_dim != read or module.acting.action_dim != len(quantities):
        raise ValueError(
            f"high_level={path!r}: it reads {module.acting.obs_dim} numbers and commands {module.acting.action_dim} "
            f"quantities, but the body {name_of(body)!r} and the toy's latent have {read}, and its low level knows "
            f"{len(quantities)}. Take the body that it was trained with."
        )
    policy = FrozenPolicy(module.acting, module.action_space, latent_dim=inference.latent_dim)
    choose_stride = _choose_stride(env, quantities, settings.get("fixed_stride"), settings.get("striding"))
    return SteeredEnv(env, quantities, toy, inference, policy, choose_stride, ranges, scales)


# --- The parts ------------------------------------------------------------------------------------------------------


def _parts(
    env_id: str, toy: str | None, low_level: str | None, body: Any, body_config: dict[str, Any], masked: bool
) -> tuple[gym.Env, FrozenPolicy, Sequence[str], Any, FrozenInference, Ranges]:
    """Returns the arguments of ``TransferEnv``."""
    toy_env, inference = _toy(env_id, toy, masked)
    of_body = _checkpoint(env_id, "low_level", low_level, LOW_LEVEL)
    quantities, ranges = _commands(of_body)
    own_body = of_body.config.env_config.get("body")
    env = _body(env_id, own_body if body is None else body, body_config)
    width = len(env.get_wrapper_attr("proprioception")) + len(quantities)
    acting: Any = of_body.module()
    if acting.acting.obs_dim != width or acting.action_space != env.action_space:
        raise ValueError(
            f"low_level={low_level!r}: it reads {acting.acting.obs_dim} numbers and acts in {acting.action_space}, but "
            f"the body {name_of(own_body if body is None else body)!r} with {len(quantities)} commands has {width} and "
            f"{env.action_space}. Train a low level for this body, or leave `body` out."
        )
    _check_quantities(env, body, (*quantities, *toy_env.quantities))
    unknown = {*inference.quantities} - {*quantities}
    if unknown:
        raise ValueError(
            f"toy={toy!r}: its tasks are also about {min(unknown)!r}, which the low level cannot be commanded: it "
            f"knows {', '.join(quantities)}. Train it with quantities: {sorted({*quantities} | unknown)}, or take a toy"
            " without such tasks."
        )
    _check_tasks(env, toy_env, inference)
    policy = FrozenPolicy(acting.acting, acting.action_space, latent_dim=len(quantities))
    return env, policy, quantities, toy_env, inference, ranges


def _commands(low_level: Any) -> tuple[tuple[str, ...], Ranges]:
    """Returns the quantities that a low level can be commanded, and their ranges."""
    settings = low_level.config.env_config
    quantities = check_quantities(settings.get("quantities") or QUANTITIES)
    return quantities, ranges_of(quantities, settings.get("ranges"))


def _toy(env_id: str, path: str | None, masked: bool) -> tuple[Any, FrozenInference]:
    """Returns a toy's environment and its agent."""
    checkpoint = _checkpoint(env_id, "toy", path, None)
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
    return env, FrozenInference(module.acting, masked)


def _check_tasks(env: gym.Env, toy: Any, inference: FrozenInference) -> None:
    """Raises a ValueError for a body whose tasks or rewards mean nothing to the agent of the toy."""
    if env.has_wrapper_attr("family_names") and env.has_wrapper_attr("task_families"):
        names = env.get_wrapper_attr("family_names")
        about = {quantity_of(names[family]) for family in env.get_wrapper_attr("task_families") if family >= 0}
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


def _check_passive(toy: str | None, inference: FrozenInference) -> None:
    """Raises a ValueError for an encoder that reads actions, which are not the toy's where a high level commands."""
    if inference.reads_actions:
        raise ValueError(
            f"toy={toy!r}: its encoder reads the agent's own actions, but commands are given by another policy here. "
            f"Give a checkpoint of TaskInference, or use {STRIDING}, in which the toy's agent commands."
        )


def _choose_stride(
    env: gym.Env, quantities: Sequence[str], fixed_stride: int | None, striding: str | None
) -> StrideChooser:
    """Returns what chooses the strides: a number, or a policy from its checkpoint."""
    if striding is None:
        return StrideChooser(fixed_stride)
    module: Any = _checkpoint(HIGH_LEVEL, "striding", striding, STRIDING).module()
    expected = len(env.get_wrapper_attr("proprioception")) + len(quantities)
    if module.acting.obs_dim != expected:
        raise ValueError(
            f"striding={striding!r}: it reads {module.acting.obs_dim} numbers, but the body and its commands have "
            f"{expected}. Train it with the same low level."
        )
    return StrideChooser(None, FrozenPolicy(module.acting, module.action_space, latent_dim=len(quantities)))


def _checkpoint(env_id: str, name: str, path: str | None, trained_on: str | None) -> Any:
    """Reads a checkpoint, which must be of ``trained_on``."""
    if path is None:
        raise ValueError(f"{env_id} needs {name!r} in its `env_config`: a checkpoint, such as {{{name}: CHECKPOINT}}.")
    checkpoint = load(str(path))
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


def _body(env_id: str, body: Any, body_config: dict[str, Any]) -> gym.Env:
    """Makes a body and checks that it has what is needed of it."""
    if body is None:
        raise ValueError(f"{env_id} needs 'body' in its `env_config`, such as {{body: Reuse/HalfCheetah-v0}}.")
    if not isinstance(body, str) and not callable(body):
        raise ValueError(f"body={body!r}: expected an environment's id, its class, or the path of one.")
    env = compat.env_creator(AlgorithmConfig().environment(body, env_config=body_config), 0, 0)()
    env.reset(seed=0)  # before it, a body may not have a state
    for name in ("proprioception", "quantity"):
        if not env.has_wrapper_attr(name):
            env.close()
            raise ValueError(f"body={name_of(body)!r} has no `{name}`. {BODY_NEEDS}")
    return env


def _check_quantities(env: gym.Env, body: Any, quantities: Sequence[str]) -> None:
    """Raises a ValueError for quantities that a body does not have."""
    for name in quantities:
        try:
            float(env.get_wrapper_attr("quantity")(name))
        except ENVIRONMENT_ERRORS as error:
            env.close()
            raise ValueError(
                f"The body {name_of(body or env)!r} has no quantity {name!r}. Give it one in its `quantity(name)`, or "
                f"leave it out of `quantities`; usual ones are {', '.join(RANGES)}."
            ) from error
