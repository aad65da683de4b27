"""When a run ends: the ``stop`` mapping, checked first and applied to each result later."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from rllib_sami.cli.errors import UserError, nearest

RETURN = "env_runners/episode_return_mean"
STEPS = "num_env_steps_sampled_lifetime"
# Names of the old API stack, of Tune, and short ones people try -> the name in today's results.
TRANSLATED = {
    "episode_reward_mean": RETURN,
    "episode_reward_max": "env_runners/episode_return_max",
    "episode_reward_min": "env_runners/episode_return_min",
    "episode_len_mean": "env_runners/episode_len_mean",
    "sampler_results/episode_reward_mean": RETURN,
    "env_runners/episode_reward_mean": RETURN,
    "evaluation/episode_reward_mean": "evaluation/env_runners/episode_return_mean",
    "evaluation/sampler_results/episode_reward_mean": "evaluation/env_runners/episode_return_mean",
    "episode_return_mean": RETURN,
    "timesteps_total": STEPS,
    "num_env_steps_sampled": STEPS,
    "num_env_steps_trained": "num_env_steps_trained_lifetime",
    "episodes_total": "env_runners/num_episodes_lifetime",
    "timesteps": STEPS,
    "iterations": "training_iteration",
    "time_s": "time_total_s",
}
_TOP_LEVEL = {
    "training_iteration",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
    "num_env_steps_sampled_lifetime",
    "num_env_steps_trained_lifetime",
    "num_agent_steps_sampled_lifetime",
    "num_training_step_calls_per_iteration",
    "time_this_iter_s",
}
_GROUPS = {"env_runners", "learners", "evaluation", "timers", "perf", "custom_metrics", "fault_tolerance"}
_KNOWN_INNER = {
    RETURN,
    "env_runners/episode_return_max",
    "env_runners/episode_return_min",
    "env_runners/episode_len_mean",
    "env_runners/num_episodes_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
    "evaluation/env_runners/episode_return_mean",
    "evaluation/train/return_mean",
    "evaluation/moderate/return_mean",
    "evaluation/extreme/return_mean",
}


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested keys joined with '/', as Tune names metrics."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_stop(stop: dict[str, Any], place: str) -> dict[str, float]:
    """Returns the criteria as flat metric -> number; null takes an inherited criterion away."""
    checked = {}
    for key, value in flatten(stop).items():
        if value is None:
            continue
        _check_metric(key, place)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{place}: '{key}' is {value!r}, but must be a number.")
        checked[key] = value
    return checked


def _check_metric(key: str, place: str) -> None:
    if key in _TOP_LEVEL or key in _KNOWN_INNER:
        return
    if key in TRANSLATED:
        raise UserError(f"{place}: '{key}' is not reported any more; write '{TRANSLATED[key]}'.")
    known = sorted(_TOP_LEVEL | _KNOWN_INNER)
    group, _, rest = key.partition("/")
    if group in _GROUPS and rest:
        # Metrics of callbacks and modules live here under any name: refuse only what looks like a slip.
        if close := nearest(key, known, 0.92):
            raise UserError(f"{place}: unknown metric '{key}'. Did you mean '{close}'?")
        return
    close = nearest(key, known) or nearest(f"env_runners/{key}", known)
    hint = f"Did you mean '{close}'?" if close else f"Often used: training_iteration, {STEPS}, {RETURN}."
    raise UserError(f"{place}: unknown metric '{key}'. {hint}")


def lookup(result: dict[str, Any], metric: str) -> float | None:
    """Returns a metric of a (nested) result, or None where it is missing or not yet a number."""
    value: Any = result
    for part in metric.split("/"):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        return None
    return float(value)


def reached(result: dict[str, Any], stop: dict[str, float]) -> str | None:
    """Returns the first criterion that a result meets, or None."""
    for metric, threshold in stop.items():
        value = lookup(result, metric)
        if value is not None and value >= threshold:
            return metric
    return None
