"""Checks of a configuration, so that mistakes are named before any worker starts."""

import itertools
import math
import numbers
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import compat
from rllib_sami.algorithms.base.split_episodes import ENV_STEPS
from rllib_sami.algorithms.sami.compilation import check_compilation
from rllib_sami.algorithms.sami.contrast import OBJECTIVES
from rllib_sami.algorithms.sami.pairing import PAIRINGS
from rllib_sami.config.names import arguments, nearest
from rllib_sami.core.context_encoder import ENCODER_TYPES
from rllib_sami.core.losses import SIMILARITIES
from rllib_sami.env_runners.array_env_runner import SaMIEnvRunner
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

if TYPE_CHECKING:
    from rllib_sami.algorithms.base.algorithm import ContextConfig
    from rllib_sami.algorithms.sami.algorithm import SaMIConfig
    from rllib_sami.algorithms.sappo.sappo import SaPPOConfig

_SWITCHES = (
    "overlap_sampling",
    "encoder_reward",
    "encoder_critic_gradient",
    "key_encoder",
    "averaged_context",
    "normalize_inputs",
    "encoder_obs_delta",
    "store_buffer_in_checkpoints",
    "compile_update",
    "mixed_precision",
)


def context_values(config: "ContextConfig") -> Iterator[str]:
    """What is wrong with settings of context encoder and contrast, and what no algorithm here can do."""
    for key in ("encoder_hidden_dim", "contrast_timesteps", "num_negatives"):
        yield from _number(config, key, "an integer >= 1", lambda x: is_int(x) and x >= 1)
    yield from _number(config, "contrast_episodes", "an integer >= 4", lambda x: is_int(x) and x >= 4)
    if config.num_torch_threads is not None:
        expected = "an integer >= 1, or None"
        yield from _number(config, "num_torch_threads", expected, lambda x: is_int(x) and x >= 1)
    yield from _number(config, "temperature", "a number above 0", lambda x: x > 0)
    for key in ("contrast_coeff", "skill_weight"):
        yield from _number(config, key, "a number of at least 0", lambda x: x >= 0)
    yield from _number(config, "key_encoder_tau", "a number in (0, 1]", lambda x: 0 < x <= 1)
    yield from _number(config, "gamma", "a number in [0, 1]", lambda x: 0 <= x <= 1)
    yield from _number(config, "positive_fraction", "a number between 0 and 1", lambda x: 0 < x < 1)
    if config.grad_clip is not None:
        yield from _number(config, "grad_clip", "a number above 0, or None", lambda x: x > 0)
    for key in ("normalize_context", "return_gap_weight"):
        yield from _switch(config, key)
    for key in ("actor_hidden", "critic_hidden"):
        sizes = getattr(config, key)
        if not isinstance(sizes, list | tuple) or not sizes or not all(is_int(size) and size >= 1 for size in sizes):
            yield f"`{key}` is {sizes!r}, but must be a list of layer sizes such as [256, 256]."
    yield from _one_of(config, "encoder_type", ENCODER_TYPES)
    yield from _one_of(config, "objective", OBJECTIVES)
    yield from _one_of(config, "similarity", SIMILARITIES)
    yield from _one_of(config, "pairing", (*PAIRINGS, None))
    if not (config.enable_rl_module_and_learner and config.enable_env_runner_and_connector_v2):
        yield "`api_stack(...)` selects RLlib's old API stack, but must be left as it is: only the new works."
    if config.is_multi_agent:
        yield "Multi-agent environments are not supported: `policies` must be left as it is."


def rllib_values(config: "ContextConfig") -> Iterator[str]:
    """What is wrong with RLlib's own settings whose range it checks nowhere, or only where its setters are called."""
    overrides = config.evaluation_config if isinstance(config.evaluation_config, dict) else {}
    for place, settings in (("", vars(config)), ("evaluation_config.", overrides)):
        for expected, holds, keys in _RLLIB_RANGES:
            for key in keys.split():
                if key in settings and not holds(settings[key]):
                    yield f"`{place}{key}` is {settings[key]!r}, but must be {expected}."


def sami_values(config: "SaMIConfig") -> Iterator[str]:
    """What is wrong with single settings of SaMI; resolves class paths among them."""
    for key in _SWITCHES:
        yield from _switch(config, key)
    yield from _number(config, "context_dim", "an integer >= 0", lambda x: is_int(x) and x >= 0)
    for key in ("train_episodes", "updates_per_batch", "contrast_interval"):
        yield from _number(config, key, "an integer >= 1", lambda x: is_int(x) and x >= 1)
    if config.loss_timesteps is not None:
        expected = "an integer >= 1, or None"
        yield from _number(config, "loss_timesteps", expected, lambda x: is_int(x) and x >= 1)
    yield from _number(config, "initial_alpha", "a number above 0", lambda x: x > 0)
    yield from _schedule(config, "updates_per_env_step", "a number above 0", 1.0, lambda x: x > 0)
    yield from _number(config, "num_steps_sampled_before_learning_starts", "a number of at least 0", lambda x: x >= 0)
    yield from _number(config, "tau", "a number in (0, 1]", lambda x: 0 < x <= 1)
    for key in ("actor_lr", "critic_lr", "alpha_lr", "encoder_lr"):
        yield from _schedule(config, key, "a number of at least 0", 1e-3, lambda x: x >= 0)
    if config.target_entropy != "auto" and not _is_number(config.target_entropy):
        yield f"`target_entropy` is {config.target_entropy!r}, but must be a number or 'auto'."
    mode: Any = config.gym_env_vectorize_mode
    if str(getattr(mode, "value", mode)).lower() != gym.VectorizeMode.SYNC.value:  # RLlib before 2.51 says "SYNC"
        yield (
            f"`gym_env_vectorize_mode` is {mode!r}, but must be 'sync': environments are "
            "stepped in their runner's process. Use more env runners (`num_env_runners`) for more processes."
        )
    yield from _replay_buffer(config)
    try:
        if isinstance(config.env_runner_cls, str):
            config.env_runner_cls = compat.load_class(config.env_runner_cls, "env_runner_cls")
    except ValueError as error:
        yield str(error)
    else:
        runner_class = config.env_runner_cls
        if not (isinstance(runner_class, type) and issubclass(runner_class, SingleAgentEnvRunner)):
            yield f"`env_runner_cls` is {config.env_runner_cls!r}, but must be a SingleAgentEnvRunner."
    yield from _evaluation_splits(config)


def sami_together(config: "SaMIConfig") -> Iterator[str]:
    """What is wrong with settings of SaMI that do not go together, each of which is right."""
    yield from _batches(config)
    yield from _no_context(config) if config.context_dim == 0 else _trained_encoder(config, "encoder_critic_gradient")
    if config.has_contrast and not config.key_encoder:
        yield (
            f"`pairing` is {config.pairing!r}, but `key_encoder` is False, and a contrast needs its keys. Set "
            "`pairing` to None, or `key_encoder` to True (as SaCCM, SaTESAC and CCM have it)."
        )
    if config.averaged_context and not (config.has_contrast and not config.encoder_critic_gradient):
        yield (
            "`averaged_context` is True, but the contrast alone must train the encoder then: `pairing` is "
            f"{config.pairing!r}, `contrast_coeff` {config.contrast_coeff}, `encoder_critic_gradient` "
            f"{config.encoder_critic_gradient}. Set `averaged_context` to False (and `key_encoder_tau` to 0.05), or "
            "the others as SaCCM has them."
        )


def sappo_values(config: "SaPPOConfig") -> Iterator[str]:
    """What is wrong with single settings of SaPPO; those of PPO are RLlib's to check."""
    yield from _number(config, "context_dim", "an integer >= 1", lambda x: is_int(x) and x >= 1)
    yield from _switch(config, "encoder_ppo_gradient")
    yield from _number(config, "contrast_capacity", "an integer >= 2", lambda x: is_int(x) and x >= 2)
    if config.encoder_reward:
        yield (
            f"`encoder_reward` is {config.encoder_reward!r}, but RLlib's own env runners, on which SaPPO samples, do "
            "not hand rewards on. Leave it, and put the previous reward into the observation."
        )
    if isinstance(config.env_runner_cls, type) and issubclass(config.env_runner_cls, SaMIEnvRunner):
        yield "`env_runner_cls` is SaMIEnvRunner, but SaPPO samples with RLlib's own env runner: leave it at None."


def sappo_together(config: "SaPPOConfig") -> Iterator[str]:
    """What is wrong with settings of SaPPO that do not go together."""
    yield from _trained_encoder(config, "encoder_ppo_gradient")


def _batches(config: "SaMIConfig") -> Iterator[str]:
    number, interval = config.updates_per_batch, config.contrast_interval
    one_each = "`updates_per_batch` and `contrast_interval` to 1 (and `train_episodes` to 6 or so)"
    own = " and `averaged_context` to False" if config.averaged_context else ""
    if max(number, interval) > 1 and config.encoder_critic_gradient:
        key = "updates_per_batch" if number > 1 else "contrast_interval"
        yield (
            f"`{key}` is {getattr(config, key)}, but `encoder_critic_gradient` is True: every update trains the "
            f"encoder and needs contexts of its own. Set {one_each}{own}, or "
            "`encoder_critic_gradient` to False."
        )
    if number > 1 and config.loss_timesteps is None:
        yield (
            f"`updates_per_batch` is {number}, but `loss_timesteps` is None (all steps): they cannot be shared out "
            f"among updates. Set `loss_timesteps` to a number such as 256, or {one_each}."
        )
    if number % interval:
        yield (
            f"`contrast_interval` is {interval}, but must divide `updates_per_batch`, which is {number}. Set "
            f"`updates_per_batch` to {interval} or a multiple of it, or `contrast_interval` to 1."
        )


def _no_context(config: "SaMIConfig") -> Iterator[str]:
    trained_by = ("encoder_critic_gradient", "has_contrast", "key_encoder")
    for key in (*trained_by, "encoder_reward", "normalize_inputs", "encoder_obs_delta"):
        if getattr(config, key):
            setting, value = ("pairing", "None") if key == "has_contrast" else (key, "False")
            yield (
                f"`context_dim` is 0, so there is no context encoder, but `{setting}` is {getattr(config, setting)!r}. "
                f"Set `{setting}` to {value} (as PlainSAC has it), or `context_dim` to at least 1."
            )


def _trained_encoder(config: "ContextConfig", switch: str) -> Iterator[str]:
    if not getattr(config, switch) and not config.has_contrast:
        yield (
            f"`{switch}` is False and there is no contrast (`pairing` {config.pairing!r}, "
            f"`contrast_coeff` {config.contrast_coeff}), so nothing would train the context encoder. Set "
            f"`{switch}` to True, or `pairing` to one of {list(PAIRINGS)} and `contrast_coeff` above 0."
        )


def check_machine(config: "SaMIConfig") -> None:
    """Checks that this process has what the settings need: a GPU for a local learner, a compiler (some seconds).

    Raises:
        ValueError: Naming the setting and what is missing.
    """
    if config.num_learners == 0 and config.num_gpus_per_learner > 0 and not torch.cuda.is_available():
        raise ValueError(
            f"`num_gpus_per_learner` is {config.num_gpus_per_learner}, but torch {torch.__version__} finds no GPU "
            "here. Install torch with CUDA and the GPU's driver, or set `num_gpus_per_learner` to 0."
        )
    if not config.compile_update:
        return
    try:
        # Remote learners may have a GPU where this process has none.
        check_compilation("cuda" if config.num_gpus_per_learner > 0 and torch.cuda.is_available() else "cpu")
    except RuntimeError as error:
        raise ValueError(
            f"`compile_update` is True, but torch.compile does not work here ({error}). Install a C++ compiler (g++ "
            "or clang++) and Python's headers, or set `compile_update` to False."
        ) from error


def _replay_buffer(config: "SaMIConfig") -> Iterator[str]:
    options = config.replay_buffer_config
    if not isinstance(options, dict):
        yield (
            f"`replay_buffer_config` is {options!r}, but must be a dict such as "
            "{'type': 'TaskEpisodeReplayBuffer', 'capacity': 400_000}."
        )
        return
    buffer_class = options.get("type", TaskEpisodeReplayBuffer)
    if buffer_class == TaskEpisodeReplayBuffer.__name__:
        buffer_class = TaskEpisodeReplayBuffer
    elif isinstance(buffer_class, str):
        hint = "It must be 'TaskEpisodeReplayBuffer' or the path of a subclass of it."
        try:
            buffer_class = compat.load_class(buffer_class, "replay_buffer_config['type']", hint)
        except ValueError as error:
            yield str(error)
            return
    if not (isinstance(buffer_class, type) and issubclass(buffer_class, TaskEpisodeReplayBuffer)):
        yield (
            f"`replay_buffer_config['type']` is {buffer_class!r}, but must be 'TaskEpisodeReplayBuffer' or a subclass "
            "of it: the updates need whole episodes with their tasks."
        )
        return
    given_by_us = {"obs_dim", "action_dim", "sampling", "seed"}
    known = sorted({"type", *arguments(buffer_class)} - given_by_us)
    for key in options:
        if key not in known:
            yield (
                f"`replay_buffer_config` has the key {key!r}, but {buffer_class.__name__} takes {known}"
                f"{nearest(key, known)}"
            )
    capacity: Any = options.get("capacity", 400_000)
    first = config.num_steps_sampled_before_learning_starts
    if not is_int(capacity) or capacity < max(2, first if _is_number(first) else 2):
        yield (
            f"`replay_buffer_config['capacity']` is {capacity!r}, but must be an integer >= "
            f"`num_steps_sampled_before_learning_starts` ({first})."
        )
    config.replay_buffer_config = {**options, "type": buffer_class, "capacity": capacity}


def _evaluation_splits(config: "SaMIConfig") -> Iterator[str]:
    splits = config.evaluation_splits
    if splits is None:
        return
    are_names = isinstance(splits, list | tuple) and all(isinstance(split, str) and split for split in splits)
    if not are_names or len(set(splits)) < len(splits):
        yield (
            f"`evaluation_splits` is {splits!r}, but must be a list of different names such as ['train', 'extreme'], "
            "[] for RLlib's own evaluation, or None for the usual splits of the environment."
        )
        return
    if splits and not config.can_evaluate_splits:
        other = "`custom_evaluation_function`" if config.custom_evaluation_function else "this `env_runner_cls`"
        yield (
            f"`evaluation_splits` is {splits!r}, but {other} evaluates in its own way. Set `evaluation_splits` to [] "
            f"or leave out {other}."
        )
    if reserved := {compat.ENV_RUNNER_RESULTS, ENV_STEPS} & set(splits):
        yield f"`evaluation_splits` has {min(reserved)!r}, which has a meaning of its own in the results."
    config.evaluation_splits = list(splits)


def _schedule(
    config: "SaMIConfig", key: str, expected: str, example: float, holds: Callable[[Any], bool]
) -> Iterator[str]:
    value = getattr(config, key)
    points = value if isinstance(value, list | tuple) else [[0, value], [1, value]]
    are_pairs = len(points) >= 2 and all(
        isinstance(point, list | tuple) and len(point) == 2 and all(map(_is_number, point)) for point in points
    )
    if are_pairs:
        steps, rates = zip(*points, strict=True)
        rise = steps[0] == 0 and all(one < next_one for one, next_one in itertools.pairwise(steps))
        if rise and all(map(holds, rates[:-1])) and (holds(rates[-1]) or rates[-1] == 0):
            return
    yield (
        f"`{key}` is {value!r}, but must be {expected}, or a schedule of [environment steps, rate] pairs whose steps "
        f"begin at 0 and rise, such as [[0, {example}], [1_000_000, {example / 10}]]."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def is_int(value: Any) -> bool:
    """Whether a value is a whole number (True and False are not)."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


# What is expected, the check, the settings.
_RLLIB_RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("an integer from 0 to 4294967295, or None", lambda x: x is None or (is_int(x) and 0 <= x < 2**32), "seed"),
    ("a number above 0, or None", lambda x: x is None or (_is_number(x) and x > 0),
     "sample_timeout_s evaluation_sample_timeout_s"),
    ("an integer >= 1", lambda x: is_int(x) and x >= 1, "num_envs_per_env_runner metrics_num_episodes_for_smoothing"),
    ("an integer >= 1, or 'auto'", lambda x: x == "auto" or (is_int(x) and x >= 1), "rollout_fragment_length"),
    ("an integer >= 0", lambda x: is_int(x) and x >= 0, "num_env_runners evaluation_num_env_runners num_learners"),
    ("a number of at least 0", lambda x: _is_number(x) and x >= 0,
     "num_cpus_per_env_runner num_gpus_per_env_runner num_gpus_per_learner num_cpus_for_main_process"),
    ("a number of at least 0, or 'auto'", lambda x: x == "auto" or (_is_number(x) and x >= 0), "num_cpus_per_learner"),
    ("a number of at least 0, or None", lambda x: x is None or (_is_number(x) and x >= 0),
     "evaluation_interval min_time_s_per_iteration min_sample_timesteps_per_iteration "
     "min_train_timesteps_per_iteration"),
)  # fmt: skip


def _number(config: "ContextConfig", key: str, expected: str, holds: Callable[[Any], bool]) -> Iterator[str]:
    value = getattr(config, key)
    if not _is_number(value) or not holds(value):
        yield f"`{key}` is {value!r}, but must be {expected}."


def _switch(config: "ContextConfig", key: str) -> Iterator[str]:
    if not isinstance(getattr(config, key), bool):
        yield f"`{key}` is {getattr(config, key)!r}, but must be True or False."


def _one_of(config: "ContextConfig", key: str, choices: Collection[str | None]) -> Iterator[str]:
    value = getattr(config, key)
    if value not in choices:
        yield f"`{key}` is {value!r}, but must be one of {list(choices)}{nearest(value, choices)}"
