"""Configurations that build and train within a second."""

import copy
import time

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_sami import PlainSACConfig, SaCCMConfig
from rllib_sami.algorithms.sami.sami import SaMITorchLearner
from rllib_sami.algorithms.sami.update import UpdateConfig
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.replay_buffers.episode_store import EpisodeStore
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from . import envs  # noqa: F401  (registers the test environments)

TRAINING = {
    "encoder_hidden_dim": 16,
    "context_dim": 3,
    "actor_hidden": [16],
    "critic_hidden": [16],
    "train_episodes": 4,
    "updates_per_batch": 1,
    "contrast_interval": 1,
    "loss_timesteps": 32,
    "contrast_episodes": 8,
    "contrast_timesteps": 4,
    "num_negatives": 7,
    "updates_per_env_step": 0.1,
    "num_steps_sampled_before_learning_starts": 100,
    "replay_buffer_config": {"capacity": 5_000},
}


def tiny(config_class=SaCCMConfig, env="SaMI/Pendulum-v0", env_config=None, seed=0, **training) -> AlgorithmConfig:
    """A config with tiny networks: 3 slots, fragments of 7 steps, episodes of 20, 100 steps to an iteration."""
    if config_class is PlainSACConfig:  # whose batches are single transitions
        training = {"train_batch_size_per_learner": training.pop("loss_timesteps", 32)} | training
        training = {key: value for key, value in TRAINING.items() if key in config_class.settings} | training
    else:
        training = TRAINING | training
    return (
        config_class()
        .environment(env, env_config={"max_steps": 20} | (env_config or {}))
        .env_runners(num_envs_per_env_runner=3, rollout_fragment_length=7)
        .training(**training)
        .reporting(min_sample_timesteps_per_iteration=100)
        .debugging(seed=seed, log_level="ERROR")
    )


def refusal(config) -> str:
    """The message of the error that building the algorithm gives."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 (tests look at the message)
        config.build_algo()
    return str(error.value)


def trained_until(algo, holds, seconds=120.0):
    """Trains until a condition on the results holds, however slow the machine is; returns all results."""
    results, end = [algo.train()], time.monotonic() + seconds
    while not holds(results[-1]):
        assert time.monotonic() < end, f"not so after {len(results)} iterations: {results[-1]}"
        results.append(algo.train())
    return results


def recorded_constants(monkeypatch) -> list[UpdateConfig]:
    """The constants of every update that SaMI's learner makes from now on, if it is in this process."""
    update, recorded = SaMITorchLearner.update_function, []

    def record(acting, learning, optimization, batch, constants, losses):
        recorded.append(constants)
        return update(acting, learning, optimization, batch, constants, losses)

    monkeypatch.setattr(SaMITorchLearner, "update_function", staticmethod(record))
    return recorded


def runner_of(config, *, index=0, remote=False, runner_class=ArrayEnvRunner):
    """Env runner ``index`` of a config, without an algorithm: 0 is the local one, or with ``remote`` the first one."""
    config.validate()
    torch.manual_seed(1)
    return runner_class(config=config, worker_index=index + 1 if remote or index else 0)


def store_of(runner, fragments) -> EpisodeStore:
    """The store of a replay buffer that was given a runner's fragments."""
    obs_space, action_space = runner.get_spaces()["default_policy"]
    buffer = TaskEpisodeReplayBuffer(
        obs_space.shape[0], action_space.shape[0], runner.config.make_sampler(), capacity=5_000
    )
    for fragment in fragments:
        buffer.add(fragment)
    return buffer.store


def flat_state(state, prefix="") -> dict[str, object]:
    """Leaves of nested dicts and lists, by path."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {path: leaf for key, part in items for path, leaf in flat_state(part, f"{prefix}/{key}").items()}
    return {prefix: state}


def differences(one, other) -> list[str]:
    """Paths at which two nested states differ in any bit."""
    one, other = flat_state(one), flat_state(other)
    unequal = [path for path in one.keys() & other.keys() if not _same(one[path], other[path])]
    return sorted(unequal + list(one.keys() ^ other.keys()))


def _same(one, other) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype == object or other.dtype == object:
        return bool(np.all(one == other))
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def weights_of(algo) -> dict[str, np.ndarray]:
    """All parameters of the (local) learner, entropy coefficient included."""
    return flat_state(algo.learner_group.get_weights())


def snapshot(algo, result=None) -> dict[str, object]:
    """All that a checkpoint keeps (but times and throughputs), and what an iteration reported."""
    state = algo.get_state()
    state.pop("metrics_logger")
    state.pop("cpu_time_total_s", None)
    reported = {}
    if result is not None:
        learned = result.get("learners", {}).get("default_policy", {})
        reported["learners"] = {key: value for key, value in learned.items() if "throughput" not in key}
        sampled = result["env_runners"]
        names = ("episode_return_mean", "episode_len_mean", "return_by_task", "num_episodes_lifetime")
        reported["env_runners"] = {key: sampled[key] for key in names if key in sampled}
        reported["replay_buffer"] = result["replay_buffer"]
        reported["steps"] = result["num_env_steps_sampled_lifetime"]
    # Copied, since RLlib's state shares memory with the networks and optimisers.
    return copy.deepcopy({"state": state, "reported": reported})
