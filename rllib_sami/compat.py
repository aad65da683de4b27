"""Every touch of an RLlib internal that may move between Ray releases (written for Ray 2.60)."""

import dataclasses
import importlib
import math
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    EPISODE_LEN_MAX,
    EPISODE_LEN_MEAN,
    EPISODE_LEN_MIN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    TIMERS,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from ray.tune.registry import ENV_CREATOR, _global_registry

SAMPLING = "sample"  # tag of the calls that go on during updates

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.core.learner.learner import Learner
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

__all__ = [
    "DEFAULT_MODULE_ID",
    "ENV_RUNNER_RESULTS",
    "LEARNER_RESULTS",
    "NUM_ENV_STEPS_SAMPLED_LIFETIME",
    "TIMERS",
]

MODULE_IN_CHECKPOINT = f"{COMPONENT_LEARNER_GROUP}/{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{DEFAULT_MODULE_ID}"


# Keys of dict configs that are no fields: RLlib gives them a meaning of its own.
SPECIAL_CONFIG_KEYS = {"_enable_new_api_stack", "multiagent", "class"}


def present_name(config: AlgorithmConfig, key: str) -> str:
    """The name that a dict config's key has today."""
    return config._translate_special_keys(key, warn_deprecated=False)


def user_model_config(config: AlgorithmConfig) -> dict[str, Any]:
    """What the user gave as ``rl_module(model_config=...)``."""
    given = config._model_config
    return given if isinstance(given, dict) else dataclasses.asdict(given)


def new_episode_id() -> str:
    """An id as RLlib's episodes have."""
    return uuid.uuid4().hex


def episode_from_arrays(
    *,
    id_: str,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    info: dict[str, Any],
    last_info: dict[str, Any],
    terminated: bool,
    truncated: bool,
    t_started: int,
) -> SingleAgentEpisode:
    """An episode (piece) over arrays ``[n + 1, O]``, ``[n, A]`` and ``[n]``; all but the last share one info dict."""
    return SingleAgentEpisode(
        id_=id_,
        observations=InfiniteLookbackBuffer(data=observations),
        actions=InfiniteLookbackBuffer(data=actions),
        rewards=InfiniteLookbackBuffer(data=rewards),
        infos=InfiniteLookbackBuffer(data=[info] * len(actions) + [last_info]),
        terminated=terminated,
        truncated=truncated,
        t_started=t_started,
        len_lookback_buffer=0,
    )


def env_creator(config: AlgorithmConfig, worker_index: int, slot: int) -> Callable[[], gym.Env]:
    """Makes the environment of one slot, with an ``EnvContext`` that knows its runner and slot.

    ``config.env`` may be a name in RLlib's registry, a Gymnasium id (``"module:Name-v0"`` too), a class or a
    callable that takes the context, or the dotted path of one.

    Raises:
        ValueError: If ``config.env`` is none of these.
    """
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
        if ":" in env or env in gym.registry:
            return lambda: gym.make(env, **context)
        env = load_class(
            env,
            "env",
            "It is no name in RLlib's registry either (`ray.tune.register_env`), nor a Gymnasium id; the environments "
            "of this package are listed by `rllib envs`.",
        )
    return lambda: env(context)


def load_class(path: str, key: str, hint: str = "") -> Any:
    """The class (or callable) at a dotted path.

    Raises:
        ValueError: If it cannot be imported, naming the config's ``key``.
    """
    module_name, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"`{key}` is {path!r}, but no class could be imported from there. {hint}".strip()) from None


def runner_spaces(env: gym.vector.VectorEnv) -> dict[str, tuple[gym.Space, gym.Space]]:
    """Spaces as RLlib's env runners report them."""
    single = (env.single_observation_space, env.single_action_space)
    return {
        INPUT_ENV_SPACES: (env.observation_space, env.action_space),
        INPUT_ENV_SINGLE_SPACES: single,
        DEFAULT_MODULE_ID: single,
    }


def call_on_environment_created(runner: "SingleAgentEnvRunner") -> None:
    """Calls the user's ``on_environment_created`` callbacks."""
    from ray.rllib.callbacks.utils import make_callback

    make_callback(
        "on_environment_created",
        callbacks_objects=runner._callbacks,
        callbacks_functions=runner.config.callbacks_on_environment_created,
        kwargs={
            "env_runner": runner,
            "metrics_logger": runner.metrics,
            "env": runner.env.unwrapped,
            "env_context": EnvContext(
                dict(runner.config.env_config), worker_index=runner.worker_index, num_workers=runner.num_workers
            ),
        },
    )


def listens_to(config: AlgorithmConfig, callback: str) -> bool:
    """Whether the user's callbacks do something at ``callback``, such as ``"on_episode_end"``."""
    classes = config.callbacks_class if isinstance(config.callbacks_class, list | tuple) else [config.callbacks_class]
    overridden = any(getattr(cls, callback, None) is not getattr(RLlibCallback, callback) for cls in classes)
    return overridden or bool(getattr(config, f"callbacks_{callback}", None))


def call_on_episode_end(
    runner: "SingleAgentEnvRunner", episode: SingleAgentEpisode, earlier: list[SingleAgentEpisode], slot: int
) -> None:
    """Calls the user's ``on_episode_end`` callbacks with the piece that ended the episode and those before it."""
    from ray.rllib.callbacks.utils import make_callback

    make_callback(
        "on_episode_end",
        callbacks_objects=runner._callbacks,
        callbacks_functions=runner.config.callbacks_on_episode_end,
        kwargs={
            "episode": episode,
            "prev_episode_chunks": earlier,
            "env_runner": runner,
            "metrics_logger": runner.metrics,
            "env": runner.env.unwrapped,
            "rl_module": runner.module,
            "env_index": int(slot),
        },
    )


def log_recent_episodes(metrics: MetricsLogger, returns: np.ndarray, lengths: np.ndarray) -> None:
    """Logs return and length of finished episodes under RLlib's names: mean, smallest and largest."""
    values = {
        EPISODE_RETURN_MEAN: returns.mean(),
        EPISODE_RETURN_MIN: returns.min(),
        EPISODE_RETURN_MAX: returns.max(),
        EPISODE_LEN_MEAN: lengths.mean(),
        EPISODE_LEN_MIN: lengths.min(),
        EPISODE_LEN_MAX: lengths.max(),
    }
    reduced_by = {EPISODE_RETURN_MIN: "min", EPISODE_LEN_MIN: "min", EPISODE_RETURN_MAX: "max", EPISODE_LEN_MAX: "max"}
    for key, value in values.items():
        metrics.log_value(key, float(value), reduce=reduced_by.get(key, "mean"), window=1)


def sample_episodes(algorithm: "Algorithm", *, random_actions: bool) -> list[SingleAgentEpisode]:
    """One round of sampling of all env runners; their metrics go to the algorithm's logger."""
    episodes, results = synchronous_parallel_sample(
        worker_set=algorithm.env_runner_group,
        concat=True,
        sample_timeout_s=algorithm.config.sample_timeout_s,
        random_actions=random_actions,
        _uses_new_env_runners=True,
        _return_metrics=True,
    )
    algorithm.metrics.aggregate(results, key=ENV_RUNNER_RESULTS)
    return episodes


def begin_sampling(algorithm: "Algorithm", *, random_actions: bool) -> None:
    """Starts a round of sampling of all remote env runners that are not at it already; does not wait."""
    algorithm.env_runner_group.foreach_env_runner_async(
        lambda runner: (runner.sample(random_actions=random_actions), runner.get_metrics()), tag=SAMPLING
    )


def finish_sampling(algorithm: "Algorithm") -> list[SingleAgentEpisode]:
    """Waits for the rounds that were begun, as :func:`sample_episodes` does; those of lost env runners are missing."""
    results = algorithm.env_runner_group.fetch_ready_async_reqs(
        tags=SAMPLING, timeout_seconds=algorithm.config.sample_timeout_s
    )
    # In the order of the runners, not of their speed, so that a run can be repeated.
    rounds = [result for _, result in sorted(results, key=lambda pair: pair[0])]
    algorithm.metrics.aggregate([metrics for _, metrics in rounds], key=ENV_RUNNER_RESULTS)
    return [episode for episodes, _ in rounds for episode in episodes]


def begin_new_episodes(algorithm: "Algorithm") -> None:
    """Lets every env runner reset its environments before it samples again; drops what is being sampled."""
    algorithm.env_runner_group.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=algorithm.config.sample_timeout_s)
    algorithm.env_runner_group.foreach_env_runner(lambda runner: setattr(runner, "_needs_initial_reset", True))


def env_steps_sampled(algorithm: "Algorithm") -> int:
    """Environment steps sampled since the beginning of training, over restores."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))


def progress(algorithm: "Algorithm") -> dict[str, Any]:
    """How far training is: what a checkpoint's manifest tells of it."""
    mean = algorithm.metrics.peek((ENV_RUNNER_RESULTS, EPISODE_RETURN_MEAN), default=math.nan)
    return {
        "algorithm": type(algorithm).__name__,
        "training_iteration": algorithm.iteration,
        "num_env_steps_sampled_lifetime": env_steps_sampled(algorithm),
        "episode_return_mean": float(mean) if math.isfinite(mean) else None,
        "time_total_s": round(float(algorithm._time_total), 3),
    }


def update_learners(algorithm: "Algorithm", samples: list[dict[str, np.ndarray]]) -> None:
    """One call of the learners, with a sample for each of them."""
    batches = [
        MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(arrays)},
            env_steps=int(np.prod(arrays["step_index"].shape)),
        )
        for arrays in samples
    ]
    # `batch` would be split among several learners; a single one takes nothing else.
    data = {"batch": batches[0]} if len(batches) == 1 else {"batches": batches}
    results = algorithm.learner_group.update(
        **data, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps_sampled(algorithm)}
    )
    algorithm.metrics.aggregate(results, key=LEARNER_RESULTS)


def set_learning_rates(learner: "Learner", timesteps: dict[str, Any]) -> None:
    """Sets every optimiser's rate to its schedule's value at this point of training."""
    for optimizer, schedule in learner._optimizer_lr_schedules.items():
        rate = schedule.update(timestep=timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        learner._set_optimizer_lr(optimizer, lr=rate)


def log_steps_trained(metrics: MetricsLogger, module_id: str, steps: int) -> None:
    """Logs the steps of one learner call under RLlib's names; RLlib's iterations and stop criteria read them."""
    for key, group in ((NUM_MODULE_STEPS_TRAINED, module_id), (NUM_MODULE_STEPS_TRAINED, ALL_MODULES)):
        metrics.log_value((group, key), steps, reduce="sum")
        metrics.log_value((group, f"{key}_lifetime"), steps, reduce="lifetime_sum", with_throughput=True)
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), steps, reduce="sum")
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum", with_throughput=True)


def sync_weights(algorithm: "Algorithm") -> None:
    """Sends encoder and actor to all env runners."""
    algorithm.env_runner_group.sync_weights(
        from_worker_or_learner_group=algorithm.learner_group,
        policies=[DEFAULT_MODULE_ID],
        inference_only=True,
        # Waits for what was sent before and is still on its way: else RLlib leaves these weights out.
        timeout_seconds=algorithm.config.sample_timeout_s,
    )


def absolute_path(path: Any) -> str:
    """A local path made absolute, as RLlib needs it; a URI as it is."""
    return str(path) if "://" in str(path) else str(Path(path).absolute())


def checkpoint_constructor(folder: Path, component: str = "") -> dict[str, Any] | None:
    """The class and constructor arguments in a checkpoint (or a component's folder in it); None if it has none."""
    try:
        return pickle.loads((folder / component / Checkpointable.CLASS_AND_CTOR_ARGS_FILE_NAME).read_bytes())
    except (OSError, ImportError, AttributeError, TypeError, ValueError):
        return None  # as RLlib does with what another version of Python or of a package has written
