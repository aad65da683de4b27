"""Task inference on other bodies, as environments.

They are stages of a chain: a low-level policy of a body is trained in ``Reuse/LowLevel-v0``. ``Reuse/Striding-v0`` and
``Reuse/HighLevel-v0`` take it, and an agent of a toy, from their checkpoints.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import gymnasium as gym
from ray.tune.registry import register_env

from rllib_sami.core.env_values import name_of
from rllib_sami.core.settings import is_integer
from rllib_sami.core.text import did_you_mean, nearest_name
from rllib_sami.env_runners.episodes import max_episode_steps
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.envs.checks import check_switch, check_weight
from rllib_sami.exports.transfer_parts import (
    HIGH_LEVEL,
    LATENT_NOISE,
    LOW_LEVEL,
    STRIDING,
    check_body_has,
    check_passive,
    check_tasks,
    checkpoint_of,
    commands_of,
    make_body,
    parts_of,
    stride_chooser,
    toy_of,
)
from rllib_sami.hierarchy import FrozenPolicy
from rllib_sami.hierarchy.commands import (
    COMMAND_STEPS,
    MAX_STEPS,
    QUANTITIES,
    CommandEnv,
    check_quantities,
    ranges_of,
)
from rllib_sami.hierarchy.transfer import GUIDES, HighLevelEnv, SteeredEnv, StridingEnv, check_stride

logger = logging.getLogger(__name__)
Make = TypeVar("Make", bound=Callable[..., gym.Env])


def _with_hints(env_id: str) -> Callable[[Make], Make]:
    """Decorates a function that makes an environment: of a misspelt setting, which goes to the body, it says so."""

    def decorate(make: Make) -> Make:
        own = [name for name, one in inspect.signature(make).parameters.items() if one.kind is not one.VAR_KEYWORD]

        @functools.wraps(make)
        def making(**settings: Any) -> gym.Env:
            likely = {key: close for key in settings if key not in own and (close := nearest_name(key, own, 0.8))}
            hint = " ".join(f"{env_id} has a setting {close!r}, but no {key!r}." for key, close in likely.items())
            try:
                env = make(**settings)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{error} {hint}".strip()) from error
            if hint and not isinstance(_body(env).unwrapped, MetaTaskEnv):  # which knows all of its settings
                logger.warning("%s It is given to the body.", hint)
            return env

        return cast("Make", making)

    return decorate


def _body(env: Any) -> gym.Env:
    return env.body if isinstance(env, CommandEnv) else env.env


@_with_hints(LOW_LEVEL)
def make_low_level(
    body: Any = None,
    quantities: Sequence[str] | None = None,
    ranges: Mapping[str, Sequence[float]] | None = None,
    scales: Mapping[str, float] | None = None,
    command_steps: Sequence[int] = COMMAND_STEPS,
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
            body's tasks. ``quantities`` and ``ranges`` are those with which its own low level was trained, and strides
            take the place of ``command_steps``.
        **body_config: Settings of the body.

    Raises:
        ValueError: An argument is missing or wrong, or the body cannot be commanded.
    """
    if high_level is not None:
        more = {} if max_steps is None else {"max_steps": max_steps}
        return _steered(str(high_level), body, quantities, ranges, scales, body_config | more)
    env = make_body(LOW_LEVEL, body, body_config)
    limit = max_episode_steps(env)
    if max_steps is not None and limit is not None and is_integer(max_steps) and max_steps > limit:
        env.close()
        if not isinstance(env.unwrapped, MetaTaskEnv):
            raise ValueError(
                f"max_steps={max_steps}: episodes of {name_of(body)!r} have {limit} steps at most. Give no more."
            )
        env = make_body(LOW_LEVEL, body, body_config | {"max_steps": max_steps})
    quantities = QUANTITIES if quantities is None else quantities
    commanded = CommandEnv(
        env, quantities, ranges, scales, command_steps, MAX_STEPS if max_steps is None else max_steps
    )
    check_body_has(env, body, quantities)
    return commanded


@_with_hints(STRIDING)
def make_striding(
    toy: str | None = None,
    low_level: str | None = None,
    body: Any = None,
    fixed_stride: int | None = None,
    guide: str = GUIDES[0],
    place_gain: float = 3.0,
    step_cost: float = 0.03,
    task_reward: bool = False,
    latent_noise: float = LATENT_NOISE,
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
        latent_noise: As for :class:`rllib_sami.hierarchy.frozen_inference.FrozenInference`.
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
    inference: dict[str, Any] = {"masked": guide == "masked", "latent_noise": latent_noise}
    parts = parts_of(STRIDING, toy, low_level, body, body_config, **inference)
    if guide == "oracle" and not parts[0].has_wrapper_attr("tracked_quantity"):
        raise ValueError(
            "guide='oracle': the body has no method `tracked_quantity()`, which tells family, present and wanted value "
            "of its task. Give it one, or take another guide."
        )
    return StridingEnv(*parts, fixed_stride=fixed_stride, guide=guide, task_reward=task_reward, **settings)


@_with_hints(HIGH_LEVEL)
def make_high_level(
    toy: str | None = None,
    low_level: str | None = None,
    striding: str | None = None,
    fixed_stride: int | None = None,
    body: Any = None,
    action_cost: float = 0.05,
    task_reward: bool = False,
    masked: bool = False,
    latent_noise: float = 0.0,
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
        latent_noise: As for :func:`make_striding`; a high level learns more slowly from latents that are drawn.
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
    inference: dict[str, Any] = {"masked": check_switch("masked", masked), "latent_noise": latent_noise}
    parts = parts_of(HIGH_LEVEL, toy, low_level, body, body_config, **inference)
    check_passive(toy, parts[-2])
    choose_stride = stride_chooser(parts[0], parts[2], fixed_stride, striding)
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


def _steered(
    path: str,
    body: Any,
    quantities: Sequence[str] | None,
    ranges: Mapping[str, Sequence[float]] | None,
    scales: Mapping[str, float] | None,
    body_config: dict[str, Any],
) -> SteeredEnv:
    """Makes the environment in which a low level is trained further."""
    checkpoint = checkpoint_of(LOW_LEVEL, "high_level", path, HIGH_LEVEL)
    settings, module = dict(checkpoint.config.env_config), checkpoint.module()
    low_level = checkpoint_of(HIGH_LEVEL, "low_level", settings.get("low_level"), LOW_LEVEL)
    learned, learned_ranges = commands_of(low_level)
    quantities = learned if quantities is None else check_quantities(quantities)
    ranges = learned_ranges if ranges is None else ranges_of(quantities, ranges)
    for name, given, expected in (("quantities", quantities, learned), ("ranges", ranges, learned_ranges)):
        if given != expected:
            raise ValueError(
                f"{name}={given!r}: the high level commands a low level that was trained with {expected!r}. Leave it "
                "out."
            )
    env = make_body(LOW_LEVEL, body, body_config)
    of_toy: dict[str, Any] = {key: settings[key] for key in ("masked", "latent_noise") if key in settings}
    toy, inference = toy_of(LOW_LEVEL, settings.get("toy"), **of_toy)
    check_passive(settings.get("toy"), inference)
    check_tasks(env, toy, inference)
    check_body_has(env, body, (*quantities, *toy.quantities))
    read = gym.spaces.flatdim(env.observation_space) + inference.latent_dim
    if module.acting.obs_dim != read or module.acting.action_dim != len(quantities):
        raise ValueError(
            f"high_level={path!r}: it reads {module.acting.obs_dim} numbers and commands {module.acting.action_dim} "
            f"quantities, but the body {name_of(body)!r} and the toy's latent have {read}, and its low level knows "
            f"{len(quantities)}. Take the body that it was trained with."
        )
    policy = FrozenPolicy(module.acting, module.action_space, latent_dim=inference.latent_dim)
    choose_stride = stride_chooser(env, quantities, settings.get("fixed_stride"), settings.get("striding"))
    return SteeredEnv(env, quantities, toy, inference, policy, choose_stride, ranges, scales)
