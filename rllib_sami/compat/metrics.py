"""Metrics: episodes, steps, evaluations and progress under the names that RLlib's results have.

Touches ``MetricsLogger``, the names in ``ray.rllib.utils.metrics``, and an algorithm's ``_last_result`` and
``_time_total``.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tree
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    EPISODE_LEN_MAX,
    EPISODE_LEN_MEAN,
    EPISODE_LEN_MIN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    EVALUATION_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm


def _episode_statistics(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Return and length of finished episodes under RLlib's names: mean, smallest and largest."""
    return {
        EPISODE_RETURN_MEAN: float(returns.mean()),
        EPISODE_RETURN_MIN: float(returns.min()),
        EPISODE_RETURN_MAX: float(returns.max()),
        EPISODE_LEN_MEAN: float(lengths.mean()),
        EPISODE_LEN_MIN: float(lengths.min()),
        EPISODE_LEN_MAX: float(lengths.max()),
    }


def log_recent_episodes(metrics: MetricsLogger, returns: np.ndarray, lengths: np.ndarray) -> None:
    """Logs return and length of finished episodes under RLlib's names."""
    reduced_by = {EPISODE_RETURN_MIN: "min", EPISODE_LEN_MIN: "min", EPISODE_RETURN_MAX: "max", EPISODE_LEN_MAX: "max"}
    for key, value in _episode_statistics(returns, lengths).items():
        metrics.log_value(key, value, reduce=reduced_by.get(key, "mean"), window=1)


def log_steps_trained(metrics: MetricsLogger, module_id: str, steps: int) -> None:
    """Logs the steps of one learner call under RLlib's names; RLlib's iterations and stop criteria read them."""
    for key, group in ((NUM_MODULE_STEPS_TRAINED, module_id), (NUM_MODULE_STEPS_TRAINED, ALL_MODULES)):
        metrics.log_value((group, key), steps, reduce="sum")
        metrics.log_value((group, f"{key}_lifetime"), steps, reduce="lifetime_sum", with_throughput=True)
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), steps, reduce="sum")
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum", with_throughput=True)


def env_steps_sampled(algorithm: "Algorithm") -> int:
    """Environment steps sampled since the beginning of training, over restores."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))


def progress(algorithm: "Algorithm") -> dict[str, Any]:
    """How far training is: what a checkpoint's manifest tells of it."""
    last = algorithm._last_result or {}  # the metrics themselves are gone once an iteration has reported them
    mean = last.get(ENV_RUNNER_RESULTS, {}).get(EPISODE_RETURN_MEAN, math.nan)
    return {
        "algorithm": type(algorithm).__name__,
        "training_iteration": algorithm.iteration,
        "num_env_steps_sampled_lifetime": env_steps_sampled(algorithm),
        "episode_return_mean": float(mean) if math.isfinite(mean) else None,
        "time_total_s": round(float(algorithm._time_total), 3),
    }


def evaluated_episodes(returns: np.ndarray, lengths: np.ndarray, before: Mapping[str, Any]) -> dict[str, float]:
    """What RLlib's ``evaluation/env_runners`` says of an evaluation's episodes; ``before`` is what it said before."""
    episodes, steps = len(returns), int(lengths.sum())
    return {
        **_episode_statistics(returns, lengths),
        NUM_EPISODES: episodes,
        NUM_EPISODES_LIFETIME: before.get(NUM_EPISODES_LIFETIME, 0) + episodes,
        NUM_ENV_STEPS_SAMPLED: steps,
        NUM_ENV_STEPS_SAMPLED_LIFETIME: before.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0) + steps,
    }


def nothing_evaluated() -> dict[str, float]:
    """The same before the first evaluation: NaN, and nothing counted."""
    counted = evaluated_episodes(np.zeros(1), np.zeros(1), {})
    return {key: 0 if key.startswith("num_") else float("nan") for key in counted}


def log_evaluation(metrics: MetricsLogger, results: Mapping[str, Any]) -> None:
    """Logs an evaluation's nested results, so that callbacks get them from RLlib."""
    # By way of another logger: RLlib reads back only what was merged from one.
    of_evaluation = MetricsLogger(root=False)
    for path, value in tree.flatten_with_path(results):
        of_evaluation.log_value(path, value, window=1)
    metrics.aggregate([of_evaluation.reduce()], key=EVALUATION_RESULTS)
