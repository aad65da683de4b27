"""When a run ends: the ``stop`` mapping, checked first and applied to each result later."""

from __future__ import annotations

import difflib
import math
from numbers import Real
from typing import Any

from rllib_sami.algorithms.base.split_episodes import RETURN_BY_TASK, RETURN_MEAN, SUCCESS_RATE, USUAL_SPLITS
from rllib_sami.core.text import nearest_name
from rllib_sami.evaluation.stages import OWN_SPLIT
from rllib_sami_cli.errors import Mistakes, UserError

RETURN = "env_runners/episode_return_mean"
STEPS = "num_env_steps_sampled_lifetime"
EPISODES = "env_runners/num_episodes_lifetime"
TRAINED = "learners/__all_modules__/num_env_steps_trained_lifetime"
EVALUATION_RETURN = "evaluation/env_runners/episode_return_mean"
# Names of the old API stack, of Tune, and short ones people try -> the name in today's results.
TRANSLATED = {
    "episode_reward_mean": RETURN,
    "episode_reward_max": "env_runners/episode_return_max",
    "episode_reward_min": "env_runners/episode_return_min",
    "episode_len_mean": "env_runners/episode_len_mean",
    "sampler_results/episode_reward_mean": RETURN,
    "env_runners/episode_reward_mean": RETURN,
    "evaluation/episode_reward_mean": EVALUATION_RETURN,
    "evaluation/episode_return_mean": EVALUATION_RETURN,
    "evaluation/sampler_results/episode_reward_mean": EVALUATION_RETURN,
    "evaluation/env_runners/episode_reward_mean": EVALUATION_RETURN,
    "episode_return_mean": RETURN,
    "timesteps_total": STEPS,
    "num_env_steps_sampled": STEPS,
    "num_env_steps_trained": TRAINED,
    "num_env_steps_trained_lifetime": TRAINED,
    "learners/default_policy/num_env_steps_trained_lifetime": TRAINED,
    "num_agent_steps_sampled_lifetime": STEPS,
    "episodes_total": "env_runners/num_episodes_lifetime",
    "timesteps": STEPS,
    "iterations": "training_iteration",
    "time_s": "time_total_s",
}
OF_SPLIT = (RETURN_MEAN, SUCCESS_RATE)
_TOP_LEVEL = {
    "training_iteration",
    "time_total_s",
    "time_since_restore",
    "iterations_since_restore",
    "num_env_steps_sampled_lifetime",
    "num_training_step_calls_per_iteration",
    "time_this_iter_s",
}
_GROUPS = {
    "env_runners",
    "learners",
    "evaluation",
    "replay_buffer",
    "timers",
    "perf",
    "custom_metrics",
    "fault_tolerance",
    "health",
}
_OF_EPISODES = {
    "env_runners/episode_return_mean",
    "env_runners/episode_return_max",
    "env_runners/episode_return_min",
    "env_runners/episode_len_mean",
    "env_runners/episode_len_max",
    "env_runners/episode_len_min",
    "env_runners/success_rate",  # NaN where the environment does not know success
    "env_runners/num_episodes_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
}
_OF_LEARNERS = {
    TRAINED,
    "learners/__all_modules__/num_module_steps_trained_lifetime",
    "learners/default_policy/num_module_steps_trained_lifetime",
}
# What every algorithm of ours, and RLlib's SAC and PPO, report (with evaluation).
KNOWN = _TOP_LEVEL | _OF_EPISODES | {f"evaluation/{name}" for name in _OF_EPISODES} | _OF_LEARNERS


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested keys joined with '/', as Tune names metrics."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_stop(stop: dict[str, Any], place: str, settings: dict[str, Any] | None = None) -> dict[str, float]:
    """Returns the criteria as flat metric -> number; null takes an inherited criterion away.

    Args:
        stop: The criteria, nested or flat.
        place: Where they stand, for messages.
        settings: The run's settings, if known: they say what there is of evaluation in its results.
    """
    checked = {}
    mistakes = Mistakes()
    for key, value in flatten(stop).items():
        if value is None:
            continue
        with mistakes.noted():
            check_metric(key, place)
            if settings is not None and key.startswith("evaluation/"):
                _check_evaluation(key, place, settings)
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise UserError(f"{place}: '{key}' is {value!r}, but must be a number.")
            checked[key] = value
    mistakes.tell()
    return checked


def check_metric(key: str, place: str) -> None:
    """Refuses a metric that is in no result."""
    if key in KNOWN:
        return
    if key in TRANSLATED:
        raise UserError(f"{place}: '{key}' is in no result of today; write '{TRANSLATED[key]}'.")
    known = sorted(KNOWN)
    group, _, rest = key.partition("/")
    if group in _GROUPS and rest:
        # Metrics of callbacks and modules live here under any name: refuse only what looks like a slip.
        if close := nearest_name(key, known, 0.92):
            raise UserError(f"{place}: unknown metric '{key}'. Did you mean '{close}'?")
        return
    close = nearest_name(key, known) or nearest_name(f"env_runners/{key}", known)
    hint = f"Did you mean '{close}'?" if close else f"Often used: training_iteration, {STEPS}, {RETURN}."
    raise UserError(f"{place}: unknown metric '{key}'. {hint}")


def _check_evaluation(key: str, place: str, settings: dict[str, Any]) -> None:
    if not (settings.get("evaluation_interval") or settings.get("offline_evaluation_interval")):
        raise UserError(f"{place}: '{key}' is in no result without evaluation: set config.evaluation_interval.")
    # A function or callbacks of the user's own may report under any name.
    own = any(name.startswith(("callbacks", "custom_evaluation_function")) for name in settings)
    if own or key.startswith(("evaluation/env_runners/", "evaluation/offline_eval_runners/")):
        return
    splits = _evaluated_splits(settings)
    _, split, *metric = key.split("/")
    if split in splits and metric and (metric[0] == RETURN_BY_TASK if metric[1:] else metric[0] in OF_SPLIT):
        return
    example = nearest_name(split, splits) or (splits[0] if splits else "")
    of_splits = f", on a split '{f'evaluation/{example}/{RETURN_MEAN}'}'" if splits else ""
    evaluated = f" (evaluated: {', '.join(splits)})" if splits else ""
    raise UserError(
        f"{place}: unknown metric '{key}'. The return in evaluation is '{EVALUATION_RETURN}'{of_splits}{evaluated}."
    )


def _evaluated_splits(settings: dict[str, Any]) -> list[str]:
    """Returns the splits that results may have: of algorithms of this package, which know the setting."""
    if "evaluation_splits" not in settings:
        return []
    given = [settings["evaluation_splits"]]
    if isinstance(given[0], dict):  # a grid search
        given = given[0].get("grid_search", [None])
    return list(dict.fromkeys(split for one in given for split in ([*USUAL_SPLITS, OWN_SPLIT] if one is None else one)))


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


def has(result: dict[str, Any], metric: str) -> bool:
    """Returns whether a result has a number under a metric's name; of a metric of one's own NaN is one."""
    value = flatten(result).get(metric)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and (metric not in KNOWN or not math.isnan(value))  # type: ignore[arg-type]


def is_due(result: dict[str, Any], metric: str) -> bool:
    """Returns whether a result comes late enough in a run to have a metric."""
    group = metric.partition("/")[0]
    if group in ("learners", "evaluation"):
        # Else learning has not begun, or there was no evaluation: all is NaN, and nothing counted.
        return any(lookup(result, f"{group}/{name}") for name in flatten(result.get(group) or {}))
    return group != "env_runners" or lookup(result, RETURN) is not None  # else no episode has ended


def similar(result: dict[str, Any], metric: str) -> list[str]:
    """Returns the names in a result that are most like ``metric``: alike as a whole, or the same in the end."""
    names = [
        name for name, value in flatten(result).items() if isinstance(value, Real) and not name.startswith("config/")
    ]
    last = metric.rpartition("/")[2]
    same_end = [name for name in names if last in name.split("/")]
    alike = difflib.get_close_matches(metric, names, n=3, cutoff=0.6)
    return list(dict.fromkeys([*same_end[:2], *alike]))[:3]


def reached(result: dict[str, Any], stop: dict[str, float]) -> str | None:
    """Returns the first criterion that a result meets, or None."""
    for metric, threshold in stop.items():
        value = lookup(result, metric)
        if value is not None and value >= threshold:
            return metric
    return None
