"""Checks of the environment before any worker starts; messages say what it lacks."""

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_sami import compat
from rllib_sami.algorithms.base.acting_batch import check_scaled_by_rllib
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.config.names import arguments
from rllib_sami.core.action_scale import ActionScale
from rllib_sami.core.env_values import (
    TASK_ID,
    TASK_ID_HINT,
    TaskIds,
    UnusableValue,
    flat_observation,
    name_of,
    reset_of,
)
from rllib_sami.core.faults import ENVIRONMENT_ERRORS, EnvironmentFaultError, Watch, closing, named
from rllib_sami.core.images import convolved_size, image_shape, newest_images, row_dtype

logger = logging.getLogger(__name__)
NO_IMAGES = (
    "only flat ones are supported here. Some algorithms of skill discovery read images: see docs/skill_discovery.md."
)
IMAGES = (
    "images must be whole observations, of type uint8 and shape [H, W, C] with at most four colours C, or stacks "
    "[n, H, W, C] of them. Of gymnasium.wrappers, FrameStackObservation makes stacks, GrayscaleObservation with "
    "keep_dim=True keeps the axis C, TransformObservation with np.moveaxis puts it last, and AddRenderObservation with "
    "render_only=True observes nothing else."
)
MOST_CONVOLVED = 20_000  # numbers of an image for each network, more than which are hardly meant


def check_environment(config: BaseConfig) -> None:
    """Makes the environment once, resets it and checks that the algorithm can train, and be evaluated, on it.

    Raises:
        ValueError: Saying what is missing and how to add it.
    """
    _check_training(config)
    if "evaluation_splits" in vars(config) and (config.evaluation_interval or config.evaluation_splits):
        try:
            config.evaluation_grids()
        except (ValueError, EnvironmentFaultError):  # their messages are complete
            raise
        except ENVIRONMENT_ERRORS as error:
            raise _failed(error, name_of(config.env), "evaluation") from error


def _check_training(config: BaseConfig) -> None:
    name = name_of(config.env)
    make = compat.env_creator(config, worker_index=0, slot=0)
    with _watched(config, name, compat.MAKING):
        env = make()
    with closing(env, name):
        _check_spaces(env, name, config)
        if "replay_buffer_config" in vars(config):
            _check_memory(env, config)
        with _watched(config, name, "reset"):
            obs, info = reset_of(env.reset(seed=0))
            _check_observation(obs, env.observation_space)
        config.read_environment(env)
        needs = config.environment_needs
        only_rewards_differ = env.has_wrapper_attr("reward_tells_task") and env.get_wrapper_attr("reward_tells_task")
        if only_rewards_differ and not needs.reads_rewards:
            logger.warning(
                "Only the reward tells the tasks of %r apart, but the context encoder does not read it. %s.",
                name,
                "Put it into the observation" if needs.reads_rewards is None else "Set `encoder_reward` to True",
            )
        algorithm = config.algo_class.__name__ if config.algo_class else type(config).__name__
        task_steps = env.get_wrapper_attr("task_steps") if env.has_wrapper_attr("task_steps") else None
        if needs.constant_task and task_steps is not None:
            raise ValueError(
                f"`task_steps` is {task_steps} in the `env_config` of {name!r}, but {algorithm} takes all steps of an "
                "episode for those of one task. Leave it out, and give it to evaluations: `evaluation_config: "
                "{env_config: {task_steps: …}}`, or `rllib evaluate --env-config`."
            )
        if needs.task_ids == "ignored":
            return
        if TASK_ID not in info:
            if needs.task_ids == "each reset or none":
                return
            raise ValueError(
                f"The environment {name!r} gives no 'task_id' in its reset infos, which {algorithm} needs to tell "
                f"episodes of one task from those of another. {TASK_ID_HINT}"
            )
        with _watched(config, name, "reset"):
            TaskIds(needs.task_ids).read_reset(info)
        num_tasks = env.get_wrapper_attr("num_tasks") if env.has_wrapper_attr("num_tasks") else None
        if num_tasks is not None and num_tasks < needs.num_tasks:
            raise ValueError(
                f"The environment {name!r} has only one meta-task, but {algorithm} contrasts several. Use another "
                "split or SaTESAC."
            )


@contextlib.contextmanager
def _watched(config: BaseConfig, name: Any, where: str) -> Iterator[None]:
    """Watches the environment and turns its errors into a ValueError that names it and says what helps."""
    try:
        with Watch(name, config.sample_timeout_s, "sample_timeout_s"):
            yield
    except ENVIRONMENT_ERRORS as error:
        if isinstance(error, EnvironmentFaultError):
            raise
        raise _failed(error, name, where) from error


def _failed(error: BaseException, name: Any, where: str) -> ValueError:
    return ValueError(f"{named(error, name, where)}{_remedy(error, where)}")


def _remedy(error: BaseException, where: str) -> str:
    """Returns what to do about an error of the environment, if that is known."""
    text = str(error)
    is_made = where == compat.MAKING
    if is_made and isinstance(error, KeyError):
        return f". If it reads that from its `env_config`, give it one: env_config={{{text}: ...}}."
    if not is_made and isinstance(error, TypeError) and re.search(r"\breset\(\) (got an unex|takes|missing)", text):
        return ". Write `reset(self, *, seed=None, options=None)`, which returns observation and info."
    # Environments with a Gymnasium id get the `env_config` as keyword arguments, which Gymnasium's message names.
    is_call = re.search(r"\(\) (takes (no|\d+ positional)|missing \d+ required)", text) and "with kwargs" not in text
    if is_made and isinstance(error, TypeError) and is_call:
        return ". RLlib makes it with one argument, the `env_config`: write `__init__(self, env_config=None)`."
    return ""


def _check_observation(obs: Any, space: gym.Space) -> None:
    with np.errstate(over="ignore"):  # reported below
        flat = flat_observation(obs, space, (gym.spaces.flatdim(space),), row_dtype(space))
    if not (finite := np.isfinite(flat)).all():
        first = int(np.argmin(finite))
        raise UnusableValue(
            f"an observation whose number {first} of {flat.size} is {flat[first]} in float32, but must be finite."
        )
    if images := image_shape(space):
        newest_images(flat[None], images, begins=True)


def _check_memory(env: gym.Env, config: BaseConfig) -> None:
    """Checks that the full replay buffer fits into memory; it is allocated only as it fills, maybe days later."""
    options: dict[str, Any] = config.replay_buffer_config
    capacity, images = options["capacity"], image_shape(env.observation_space)
    obs_dim, action_dim = gym.spaces.flatdim(env.observation_space), gym.spaces.flatdim(env.action_space)
    of_obs = 4 * obs_dim if images is None else images.frame_size
    needed, available = capacity * (of_obs + 4 * (action_dim + 1)), compat.available_memory()
    if images and "images" not in arguments(options["type"]):
        raise ValueError(
            f"`replay_buffer_config['type']` is {options['type'].__name__}, whose constructor takes no `images`: the "
            "layout of images, to be passed on to that of TaskEpisodeReplayBuffer. Add it."
        )
    if needed > available:
        numbers = obs_dim if images is None else f"{images.frame_size} (one image)"
        smaller = "less" if images is None else "less, or make images smaller (gymnasium.wrappers.ResizeObservation)"
        raise ValueError(
            f"`replay_buffer_config['capacity']` is {capacity:,} steps of {numbers} + {action_dim} + 1 numbers "
            f"(observation, action, reward), which take {needed / 2**30:,.1f} GiB of memory, but "
            f"{available / 2**30:,.1f} GiB are available. Set it to {int(0.8 * capacity * available / needed):,} or "
            f"{smaller}."
        )


def _check_spaces(env: gym.Env, name: Any, config: BaseConfig) -> None:
    if not isinstance(env, gym.Env):
        raise ValueError(f"The environment {name!r} is a {type(env).__name__}, but must be a gymnasium.Env.")
    for key in ("observation_space", "action_space"):
        if not isinstance(space := getattr(env, key, None), gym.Space):
            raise ValueError(
                f"The environment {name!r} has {'no' if space is None else repr(space) + ' as'} `{key}`, but must have "
                f"one: set `self.{key}` in its `__init__`, such as to gymnasium.spaces.Box(-1.0, 1.0, (3,))."
            )
    action_space = env.action_space
    if not isinstance(action_space, gym.spaces.Box):
        raise ValueError(
            f"The environment {name!r} has the action space {action_space}, but only continuous actions "
            "(gymnasium.spaces.Box) are supported. Discrete actions need another algorithm, such as RLlib's DQN."
        )
    if not action_space.is_bounded():  # for integers, which have no infinity, Gymnasium remembers it
        raise ValueError(
            f"The environment {name!r} has the action space {action_space}, but actions must be bounded. Give "
            f"it finite bounds, such as gymnasium.spaces.Box(-1.0, 1.0, {action_space.shape}), in its `__init__` or "
            "with gymnasium.wrappers.TransformAction(env, func, action_space)."
        )
    needs = config.environment_needs
    if needs.flat_actions and len(action_space.shape) != 1:
        raise ValueError(
            f"The environment {name!r} has actions of shape {action_space.shape}, but RLlib's PPO takes flat ones. "
            "Wrap it in gymnasium.wrappers.TransformAction to reshape them."
        )
    try:
        ActionScale(action_space.low, action_space.high)
        if needs.scaled_by_rllib:
            check_scaled_by_rllib(action_space)
    except ValueError as error:
        raise ValueError(f"The environment {name!r} has the action space {action_space}, but {error}") from error
    images = image_shape(env.observation_space)
    if images is None or needs.conv_filters is None:
        _check_observation_space(env.observation_space, name, reads_images=needs.conv_filters is not None)
    else:
        try:
            size = convolved_size(images, needs.conv_filters)
        except ValueError as error:
            raise ValueError(f"The environment {name!r} has {error}") from error
        if size > MOST_CONVOLVED:
            logger.warning(
                "Images of %r have %d x %d pixels, of which `conv_filters` make %d numbers for each network. "
                "gymnasium.wrappers.ResizeObservation(env, (64, 64)) makes them smaller.",
                *(name, images.height, images.width, size),
            )


def _check_observation_space(space: gym.Space, name: Any, key: str = "", reads_images: bool = False) -> None:
    if isinstance(space, gym.spaces.Dict):
        if not space.spaces:  # Gymnasium cannot flatten it
            raise ValueError(f"The environment {name!r} has the empty observation space{key} {space}. Leave it out.")
        for sub_key, sub_space in space.items():
            _check_observation_space(sub_space, name, f"{key}[{sub_key!r}]", reads_images)
    elif not isinstance(space, gym.spaces.Box):
        raise ValueError(
            f"The environment {name!r} has the observation space{key} {space}, but only Box, or Dict of Box, is "
            "supported. Encode other observations as numbers (gymnasium.wrappers.FlattenObservation may do)."
        )
    elif len(space.shape) > 1:
        raise ValueError(
            f"The environment {name!r} has observations{key} of shape {list(space.shape)} and type {space.dtype}, but "
            f"{IMAGES if reads_images else NO_IMAGES} If it is no image, use gymnasium.wrappers.FlattenObservation."
        )
