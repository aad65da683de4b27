"""Metrics: episodes, steps, evaluations and progress under RLlib's names.

Touches ``MetricsLogger`` and its ``MeanStats``, the names in ``ray.rllib.utils.metrics``, and an algorithm's
``_last_result`` and ``_time_total``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tree
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
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
from ray.rllib.utils.metrics.stats import MeanStats
from ray.rllib.utils.metrics.stats.utils import batch_values_to_cpu

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm


class PooledMean(MeanStats):
    """RLlib's ``"mean"``, but over all logged values; RLlib's own is a mean of the env runners' means."""

    def reduce(self, compile: bool = True) -> Any:
        """Passes on all values, not their mean; only ``compile``, at the end of an iteration, averages."""
        if compile:
            return super().reduce(compile)
        pooled = self.clone()
        pooled.values = batch_values_to_cpu(self.values)
        self._set_values([])
        return pooled


def pool_means(config: AlgorithmConfig) -> None:
    """Makes a config's metrics use :class:`PooledMean` instead of RLlib's mean."""
    classes: dict[str, Any] = config.stats_cls_lookup
    config.stats_cls_lookup = {name: PooledMean if cls is MeanStats else cls for name, cls in classes.items()}


def episode_statistics(returns: Sequence[float], lengths: Sequence[float]) -> dict[str, float]:
    """Mean, minimum and maximum of returns and lengths of finished episodes, under RLlib's names; NaN without any."""
    if len(returns) == 0:
        return dict.fromkeys(episode_statistics([0.0], [0.0]), math.nan)
    return {
        EPISODE_RETURN_MEAN: float(np.mean(returns)),
        EPISODE_RETURN_MIN: float(np.min(returns)),
        EPISODE_RETURN_MAX: float(np.max(returns)),
        EPISODE_LEN_MEAN: float(np.mean(lengths)),
        EPISODE_LEN_MIN: float(np.min(lengths)),
        EPISODE_LEN_MAX: float(np.max(lengths)),
    }


def log_episodes(metrics: MetricsLogger, returns: Sequence[float], lengths: Sequence[float]) -> None:
    """Logs returns and lengths of finished episodes under RLlib's names, pooled over all env runners."""
    for episode_return, length in zip(returns, lengths, strict=True):
        metrics.log_value(EPISODE_RETURN_MEAN, episode_return, reduce="mean")
        metrics.log_value(EPISODE_LEN_MEAN, length, reduce="mean")
    if len(returns):
        statistics = episode_statistics(returns, lengths)
        for key in (EPISODE_RETURN_MIN, EPISODE_LEN_MIN):
            metrics.log_value(key, statistics[key], reduce="min")
        for key in (EPISODE_RETURN_MAX, EPISODE_LEN_MAX):
            metrics.log_value(key, statistics[key], reduce="max")


def log_steps_trained(metrics: MetricsLogger, module_id: str, steps: int) -> None:
    """Logs the steps of one learner update under RLlib's names, which its iterations and stop criteria read."""
    for key, group in ((NUM_MODULE_STEPS_TRAINED, module_id), (NUM_MODULE_STEPS_TRAINED, ALL_MODULES)):
        metrics.log_value((group, key), steps, reduce="sum")
        metrics.log_value((group, f"{key}_lifetime"), steps, reduce="lifetime_sum", with_throughput=True)
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), steps, reduce="sum")
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum", with_throughput=True)


def newest_episodes(results: Mapping[str, Any], before: dict[str, float]) -> dict[str, float]:
    """Returns and lengths of the episodes in a result, or ``before`` if no episode has ended in its iteration."""
    sampled = results[ENV_RUNNER_RESULTS]
    return before if math.isnan(sampled.get(EPISODE_RETURN_MEAN, math.nan)) else {key: sampled[key] for key in before}


def no_steps_trained(module_id: str) -> dict[str, dict[str, int]]:
    """The counts of :func:`log_steps_trained` before the first update."""
    names = (NUM_MODULE_STEPS_TRAINED, f"{NUM_MODULE_STEPS_TRAINED}_lifetime")
    of_all = (*names, NUM_ENV_STEPS_TRAINED, NUM_ENV_STEPS_TRAINED_LIFETIME)
    return {module_id: dict.fromkeys(names, 0), ALL_MODULES: dict.fromkeys(of_all, 0)}


def env_steps_sampled(algorithm: "Algorithm") -> int:
    """Environment steps sampled since the start of training, including those before a restore."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))


def progress(algorithm: "Algorithm") -> dict[str, Any]:
    """The progress of training, for a checkpoint's manifest."""
    last = algorithm._last_result or {}  # the metrics themselves are empty once an iteration has reported them
    mean = last.get(ENV_RUNNER_RESULTS, {}).get(EPISODE_RETURN_MEAN, math.nan)
    return {
        "algorithm": type(algorithm).__name__,
        "training_iteration": algorithm.iteration,
        "num_env_steps_sampled_lifetime": env_steps_sampled(algorithm),
        "episode_return_mean": float(mean) if math.isfinite(mean) else None,
        "time_total_s": round(float(algorithm._time_total), 3),
    }


def evaluated_episodes(returns: Sequence[float], lengths: Sequence[int], before: Mapping[str, Any]) -> dict[str, float]:
    """RLlib's ``evaluation/env_runners`` for an evaluation's episodes; ``before`` is that of the last evaluation."""
    episodes, steps = len(returns), int(sum(lengths))
    return {
        **episode_statistics(returns, lengths),
        NUM_EPISODES: episodes,
        NUM_EPISODES_LIFETIME: before.get(NUM_EPISODES_LIFETIME, 0) + episodes,
        NUM_ENV_STEPS_SAMPLED: steps,
        NUM_ENV_STEPS_SAMPLED_LIFETIME: before.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0) + steps,
    }


def log_evaluation(metrics: MetricsLogger, results: Mapping[str, Any]) -> None:
    """Logs an evaluation's nested results, so that RLlib passes them to callbacks."""
    # Through another logger, because RLlib reads back only what was merged from one.
    of_evaluation = MetricsLogger(root=False)
    for path, value in tree.flatten_with_path(results):
        of_evaluation.log_value(path, value, window=1)
    metrics.aggregate([of_evaluation.reduce()], key=EVALUATION_RESULTS)
