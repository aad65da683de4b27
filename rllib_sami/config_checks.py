"""Checks of a configuration and its environment, so that mistakes are named before any worker starts."""

import difflib
import math
import numbers
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from . import compat
from .core.context_encoder import ENCODER_TYPES
from .core.losses import SIMILARITIES
from .core.networks import NetworkConfig
from .core.pairing import PAIRINGS
from .core.update import OBJECTIVES
from .replay_buffer import TaskEpisodeReplayBuffer

if TYPE_CHECKING:
    from .algorithm import SaMI, SaMIConfig

TASK_ID_HINT = (
    "Let its `reset()` return an integer meta-task number in the infos, `return obs, {'task_id': k}` with k = 0, 1, "
    "..., and `step()` may do so too. TESAC and SAC need none."
)

_SWITCHES = (
    "encoder_reward",
    "normalize_context",
    "encoder_critic_gradient",
    "return_gap_weight",
    "store_buffer_in_checkpoints",
)


# --- The configuration ----------------------------------------------------------------------------------------------


def check_config(config: "SaMIConfig") -> None:
    """Checks the fields that this package adds, and resolves class paths among them.

    Raises:
        ValueError: Naming the field, its value, what was expected and what to do.
    """
    for key in ("context_dim", "encoder_hidden_dim", "contrast_timesteps", "num_negatives", "train_episodes"):
        _number(config, key, "a whole number of at least 1", lambda x: _is_int(x) and x >= 1)
    _number(config, "contrast_episodes", "a whole number of at least 4", lambda x: _is_int(x) and x >= 4)
    for key in ("loss_timesteps", "num_torch_threads"):
        if getattr(config, key) is not None:
            _number(config, key, "a whole number of at least 1, or None", lambda x: _is_int(x) and x >= 1)
    for key in ("temperature", "initial_alpha", "updates_per_env_step"):
        _number(config, key, "a number above 0", lambda x: x > 0)
    for key in ("contrast_coeff", "num_steps_sampled_before_learning_starts"):
        _number(config, key, "a number of at least 0", lambda x: x >= 0)
    for key in ("tau", "key_encoder_tau"):
        _number(config, key, "a number in (0, 1]", lambda x: 0 < x <= 1)
    _number(config, "gamma", "a number in [0, 1]", lambda x: 0 <= x <= 1)
    for key in ("actor_lr", "critic_lr", "alpha_lr", "encoder_lr"):
        _check_rate(config, key)
    if config.grad_clip is not None:
        _number(config, "grad_clip", "a number above 0, or None", lambda x: x > 0)
    for key in _SWITCHES:
        if not isinstance(getattr(config, key), bool):
            raise ValueError(f"`{key}` is {getattr(config, key)!r}, but must be True or False.")
    _number(config, "positive_fraction", "a number between 0 and 1", lambda x: 0 < x < 1)
    for key in ("actor_hidden", "critic_hidden"):
        sizes = getattr(config, key)
        if not isinstance(sizes, list | tuple) or not sizes or not all(_is_int(size) and size >= 1 for size in sizes):
            raise ValueError(f"`{key}` is {sizes!r}, but must be a list of layer sizes such as [256, 256].")
    _one_of(config, "encoder_type", ENCODER_TYPES)
    _one_of(config, "objective", OBJECTIVES)
    _one_of(config, "similarity", SIMILARITIES)
    if config.pairing is not None:
        _one_of(config, "pairing", PAIRINGS)
    if not config.encoder_critic_gradient and not config.has_contrast:
        raise ValueError(
            f"`encoder_critic_gradient` is False and there is no contrast (`pairing` {config.pairing!r}, "
            f"`contrast_coeff` {config.contrast_coeff}), so nothing would train the context encoder. Set "
            f"`encoder_critic_gradient` to True, or `pairing` to one of {list(PAIRINGS)} and `contrast_coeff` above 0."
        )
    if config.target_entropy != "auto" and not _is_number(config.target_entropy):
        raise ValueError(f"`target_entropy` is {config.target_entropy!r}, but must be a number or 'auto'.")
    if config.lr is not None:
        raise ValueError(
            f"`lr` is {config.lr}, but each network has its own rate: set `actor_lr`, `critic_lr`, `encoder_lr` and "
            "`alpha_lr`, and leave `lr` at None."
        )
    if config.grad_clip_by != "global_norm":
        raise ValueError(
            f"`grad_clip_by` is {config.grad_clip_by!r}, but must be 'global_norm': gradients are clipped by the norm "
            "over each of encoder, critics and actor."
        )
    if not (config.enable_rl_module_and_learner and config.enable_env_runner_and_connector_v2):
        raise ValueError(
            "`api_stack(...)` selects RLlib's old API stack, but must be left as it is: only the new works."
        )
    if config.is_multi_agent:
        raise ValueError("Multi-agent environments are not supported: `policies` must be left as it is.")
    if config.gym_env_vectorize_mode not in ("sync", gym.VectorizeMode.SYNC):
        raise ValueError(
            f"`gym_env_vectorize_mode` is {config.gym_env_vectorize_mode!r}, but must be 'sync': environments are "
            "stepped in their runner's process. Use more env runners (`num_env_runners`) for more processes."
        )
    _check_replay_buffer(config)
    if isinstance(config.env_runner_cls, str):
        config.env_runner_cls = compat.load_class(config.env_runner_cls, "env_runner_cls")
    runner_class = config.env_runner_cls
    if not (isinstance(runner_class, type) and issubclass(runner_class, SingleAgentEnvRunner)):
        raise ValueError(f"`env_runner_cls` is {config.env_runner_cls!r}, but must be a SingleAgentEnvRunner.")


def _check_replay_buffer(config: "SaMIConfig") -> None:
    options = config.replay_buffer_config
    if not isinstance(options, dict):
        raise ValueError(
            f"`replay_buffer_config` is {options!r}, but must be a dict such as "
            "{'type': 'TaskEpisodeReplayBuffer', 'capacity': 400_000}."
        )
    unknown = set(options) - {"type", "capacity"}
    if unknown:
        key = sorted(unknown)[0]
        raise ValueError(
            f"`replay_buffer_config` has the key {key!r}, but only 'type' and 'capacity' are known"
            f"{_nearest(key, ['type', 'capacity'])}"
        )
    buffer_class = options.get("type", TaskEpisodeReplayBuffer)
    if buffer_class == TaskEpisodeReplayBuffer.__name__:
        buffer_class = TaskEpisodeReplayBuffer
    elif isinstance(buffer_class, str):
        hint = "It must be 'TaskEpisodeReplayBuffer' or the path of a subclass of it."
        buffer_class = compat.load_class(buffer_class, "replay_buffer_config['type']", hint)
    if not (isinstance(buffer_class, type) and issubclass(buffer_class, TaskEpisodeReplayBuffer)):
        raise ValueError(
            f"`replay_buffer_config['type']` is {buffer_class!r}, but must be 'TaskEpisodeReplayBuffer' or a subclass "
            "of it: the updates need whole episodes with their tasks."
        )
    capacity: Any = options.get("capacity", 400_000)
    if not _is_int(capacity) or capacity < max(2, config.num_steps_sampled_before_learning_starts):
        raise ValueError(
            f"`replay_buffer_config['capacity']` is {capacity!r}, but must be a whole number of at least "
            f"`num_steps_sampled_before_learning_starts` ({config.num_steps_sampled_before_learning_starts})."
        )
    config.replay_buffer_config = {"type": buffer_class, "capacity": capacity}


def _check_rate(config: "SaMIConfig", key: str) -> None:
    value = getattr(config, key)
    points = value if isinstance(value, list | tuple) else [[0, value], [1, value]]
    is_schedule = len(points) >= 2 and all(
        isinstance(point, list | tuple) and len(point) == 2 and all(_is_number(x) and x >= 0 for x in point)
        for point in points
    )
    if not (is_schedule and points[0][0] == 0):
        raise ValueError(
            f"`{key}` is {value!r}, but must be a number of at least 0, or a schedule of [environment steps, rate] "
            "pairs that begins at 0, such as [[0, 1e-3], [1_000_000, 1e-4]]."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _number(config: "SaMIConfig", key: str, expected: str, holds: Callable[[Any], bool]) -> None:
    value = getattr(config, key)
    if not _is_number(value) or not holds(value):
        raise ValueError(f"`{key}` is {value!r}, but must be {expected}.")


def _one_of(config: "SaMIConfig", key: str, choices: Collection[str]) -> None:
    value = getattr(config, key)
    if value not in choices:
        raise ValueError(f"`{key}` is {value!r}, but must be one of {list(choices)}{_nearest(value, choices)}")


def _nearest(value: Any, choices: Collection[str]) -> str:
    close = difflib.get_close_matches(str(value), list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


# --- The environment ------------------------------------------------------------------------------------------------


def check_environment(config: "SaMIConfig") -> None:
    """Makes the environment once, resets it and checks that the algorithm can train on it.

    Raises:
        ValueError: Saying what is missing and how to add it.
    """
    env = compat.env_creator(config, worker_index=0, slot=0)()
    try:
        name = config.env if isinstance(config.env, str) else getattr(config.env, "__name__", config.env)
        _check_spaces(env, name)
        _, info = env.reset(seed=0)
        algorithm = config.algo_class.__name__ if config.algo_class else type(config).__name__
        if "task_id" not in info:
            if not config.has_contrast:
                return
            raise ValueError(
                f"The environment {name!r} gives no 'task_id' in its reset infos, which {algorithm} needs to tell "
                f"episodes of one task from those of another. {TASK_ID_HINT}"
            )
        if not _is_int(info["task_id"]) or info["task_id"] < 0:
            raise ValueError(
                f"The environment {name!r} gives the 'task_id' {info['task_id']!r} in its reset infos, but it must be "
                f"a whole number of at least 0. {TASK_ID_HINT}"
            )
        num_tasks = env.get_wrapper_attr("num_tasks") if env.has_wrapper_attr("num_tasks") else None
        if config.pairing == "task" and num_tasks == 1:
            raise ValueError(
                f"The environment {name!r} has one meta-task only, but {algorithm} contrasts several. Use another "
                "split or SaTESAC."
            )
    finally:
        env.close()


def _check_spaces(env: gym.Env, name: Any) -> None:
    if not isinstance(env, gym.Env):
        raise ValueError(f"The environment {name!r} is a {type(env).__name__}, but must be a gymnasium.Env.")
    action_space = env.action_space
    if not isinstance(action_space, gym.spaces.Box):
        raise ValueError(
            f"The environment {name!r} has the action space {action_space}, but only continuous actions "
            "(gymnasium.spaces.Box) are supported. Discrete actions need another algorithm, such as RLlib's DQN."
        )
    if not (np.isfinite(action_space.low).all() and np.isfinite(action_space.high).all()):
        raise ValueError(
            f"The environment {name!r} has the action space {action_space}, but actions must be bounded. Wrap it in "
            "gymnasium.wrappers.RescaleAction or give the Box finite bounds."
        )
    _check_observation_space(env.observation_space, name)


def _check_observation_space(space: gym.Space, name: Any, key: str = "") -> None:
    if isinstance(space, gym.spaces.Dict):
        for sub_key, sub_space in space.items():
            _check_observation_space(sub_space, name, f"{key}[{sub_key!r}]")
    elif not isinstance(space, gym.spaces.Box):
        raise ValueError(
            f"The environment {name!r} has the observation space{key} {space}, but only Box, or Dict of Box, is "
            "supported. Encode other observations as numbers (gymnasium.wrappers.FlattenObservation may do)."
        )
    elif len(space.shape) > 1:
        raise ValueError(
            f"The environment {name!r} has observations{key} of shape {space.shape}, but only flat ones are supported: "
            "images need an encoder of their own. Use gymnasium.wrappers.FlattenObservation if it is no image."
        )


# --- Checkpoints ----------------------------------------------------------------------------------------------------


def check_checkpoint(algorithm: "SaMI", path: Any, filesystem: Any = None) -> None:
    """Checks that a checkpoint is of the same algorithm, spaces and networks; RLlib would load what happens to fit.

    Raises:
        ValueError: Saying what differs and what to do.
    """
    name = type(algorithm).__name__
    saved = compat.checkpoint_constructor(path, filesystem)
    if saved is None:
        return  # RLlib says that there is none
    theirs = saved["class"].__name__
    if theirs != name:  # by name, as Tune wraps each algorithm in a class of the same name
        raise ValueError(
            f"{path} is a checkpoint of {theirs}, but is to be restored into {name}. Restore it with "
            f"`{theirs}.from_checkpoint(path)`, or give a checkpoint of {name}."
        )
    saved = compat.checkpoint_constructor(path, filesystem, compat.MODULE_IN_CHECKPOINT)
    module = algorithm.env_runner.module if algorithm.env_runner else None
    if saved is None or module is None:
        return
    saved = saved["ctor_args_and_kwargs"][1]
    then = {key: saved[key].shape for key in ("observation_space", "action_space")}
    now = {key: getattr(module, key).shape for key in then}
    networks = [key for key in NetworkConfig.__dataclass_fields__ if key != "initial_alpha"]
    then |= {key: saved["model_config"].get(key) for key in networks}
    now |= {key: module.model_config[key] for key in networks}
    for key, value in now.items():
        if _as_list(then[key]) != _as_list(value):
            raise ValueError(
                f"{path} was made with `{key}` {then[key]}, but this {name} has {value}. Restore it with "
                f"`{name}.from_checkpoint(path)`, which takes over its configuration, or set the same here."
            )


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
