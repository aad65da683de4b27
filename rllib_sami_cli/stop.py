"""When a run ends: the ``stop`` mapping, checked before the run and applied to each result."""

from __future__ import annotations

import difflib
import math
from numbers import Real
from typing import Any

from rllib_sami.algorithms.base.split_episodes import RETURN_BY_TASK, RETURN_MEAN, SUCCESS_RATE, USUAL_SPLITS
from rllib_sami.algorithms.offline.offline import VALIDATION
from rllib_sami.algorithms.skill_discovery.evaluation import METRICS as SKILL_METRICS
from rllib_sami.algorithms.skimo.pretraining_update import METRICS as OFFLINE_METRICS
from rllib_sami.core.metric_names import OWN_SPLIT
from rllib_sami.core.text import did_you_mean, nearest_name
from rllib_sami_cli.errors import Mistakes, UserError
from rllib_sami_cli.spaces import alternatives

RETURN = "env_runners/episode_return_mean"
STEPS = "num_env_steps_sampled_lifetime"
EPISODES = "env_runners/num_episodes_lifetime"
TRAINED = "learners/__all_modules__/num_env_steps_trained_lifetime"
EVALUATION_RETURN = "evaluation/env_runners/episode_return_mean"
# Name in today's results -> names of the old API stack, of Tune, and short ones that people try.
_OLD_NAMES = {
    RETURN: ("episode_reward_mean", "sampler_results/episode_reward_mean", "env_runners/episode_reward_mean",
             "episode_return_mean"),
    EVALUATION_RETURN: ("evaluation/episode_reward_mean", "evaluation/episode_return_mean",
                        "evaluation/sampler_results/episode_reward_mean", "evaluation/env_runners/episode_reward_mean"),
    "env_runners/episode_return_max": ("episode_reward_max",),
    "env_runners/episode_return_min": ("episode_reward_min",),
    "env_runners/episode_len_mean": ("episode_len_mean",),
    STEPS: ("timesteps_total", "num_env_steps_sampled", "num_agent_steps_sampled_lifetime", "timesteps"),
    TRAINED: ("num_env_steps_trained", "num_env_steps_trained_lifetime",
              "learners/default_policy/num_env_steps_trained_lifetime"),
    EPISODES: ("episodes_total",),
    "training_iteration": ("iterations",),
    "time_total_s": ("time_s",),
}  # fmt: skip
_TOP_LEVEL = (
    "training_iteration", "time_total_s", "time_since_restore", "iterations_since_restore", "time_this_iter_s",
    "num_env_steps_sampled_lifetime", "num_training_step_calls_per_iteration",
)  # fmt: skip
_GROUPS = (
    "env_runners", "learners", "evaluation", "replay_buffer", "timers", "perf", "custom_metrics", "fault_tolerance",
    "health",
)  # fmt: skip
_OF_EPISODES = [f"env_runners/{name}" for name in (
    "episode_return_mean", "episode_return_max", "episode_return_min", "episode_len_mean", "episode_len_max",
    "episode_len_min", "num_episodes_lifetime", "num_env_steps_sampled_lifetime",
    "success_rate",  # NaN where the environment does not report success
)]  # fmt: skip
_OF_LEARNERS = [
    TRAINED,
    "learners/__all_modules__/num_module_steps_trained_lifetime",
    "learners/default_policy/num_module_steps_trained_lifetime",
]
_OF_OFF_POLICY = ("cpu_time_total_s",)  # of this package's off-policy algorithms
_OF_OFFLINE = tuple(f"{VALIDATION}/{name}" for name in OFFLINE_METRICS)  # of SkiMoPretrain
# What every algorithm of ours, and RLlib's SAC and PPO, report (with evaluation).
KNOWN = {*_TOP_LEVEL, *_OF_EPISODES, *(f"evaluation/{name}" for name in _OF_EPISODES), *_OF_LEARNERS}


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
    """Returns the criteria as flat metric -> number; null removes an inherited criterion.

    Args:
        stop: The criteria, nested or flat.
        place: Where they stand, for messages.
        settings: The run's settings, if known: they decide which evaluation results there are.
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
            if settings is not None and key in _OF_OFFLINE and not settings.get("validation_fraction"):
                raise UserError(
                    f"{place}: '{key}' is in no result of this run. SkiMoPretrain reports it, with a "
                    "`validation_fraction` above 0."
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise UserError(f"{place}: '{key}' is {value!r}, but must be a number.")
            checked[key] = value
    mistakes.tell()
    return checked


def check_metric(key: str, place: str) -> None:
    """Raises a UserError for a metric that no result has."""
    known = sorted({*KNOWN, *_OF_OFF_POLICY, *_OF_OFFLINE})
    if key in known:
        return
    for name, old_names in _OLD_NAMES.items():
        if key in old_names:
            raise UserError(f"{place}: '{key}' is no longer in the results; write '{name}'.")
    group, _, rest = key.partition("/")
    if group in _GROUPS and rest:
        # Callbacks and modules log metrics of any name here, so only what looks like a typo is refused.
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
    _, split, *metric = key.split("/")
    if "evaluation_goals" in settings:  # of skill discovery
        of_skills = [f"evaluation/{part}/{name}" for part, names in SKILL_METRICS.items() for name in names]
        if key not in of_skills:
            raise UserError(f"{place}: unknown metric '{key}'. {did_you_mean(key, of_skills, 10)}")
        return
    splits = evaluated_splits(settings)
    is_by_task = len(metric) > 1 and metric[0] == RETURN_BY_TASK
    if split in splits and (is_by_task or metric in ([RETURN_MEAN], [SUCCESS_RATE])):
        return
    example = nearest_name(split, splits) or (splits[0] if splits else "")
    of_splits = f", on a split '{f'evaluation/{example}/{RETURN_MEAN}'}'" if splits else ""
    evaluated = f" (evaluated: {', '.join(splits)})" if splits else ""
    raise UserError(
        f"{place}: unknown metric '{key}'. The return in evaluation is '{EVALUATION_RETURN}'{of_splits}{evaluated}."
    )


def evaluated_splits(settings: dict[str, Any]) -> list[str]:
    """Returns the splits that results may have; none for RLlib's own algorithms, which do not know the setting."""
    if "evaluation_splits" not in settings:
        return []
    given = alternatives(settings["evaluation_splits"])
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
    """Returns whether a result has a number for a metric; NaN counts as one for metrics of the user's own."""
    value = flatten(result).get(metric)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and (metric not in KNOWN or not math.isnan(value))  # type: ignore[arg-type]


def is_due(result: dict[str, Any], metric: str) -> bool:
    """Returns whether a result comes late enough in a run to have a metric."""
    group = metric.partition("/")[0]
    if group in ("learners", "evaluation"):
        # Otherwise learning has not begun, or there was no evaluation: everything is NaN or 0.
        return any(lookup(result, f"{group}/{name}") for name in flatten(result.get(group) or {}))
    return group != "env_runners" or lookup(result, RETURN) is not None  # otherwise no episode has ended


def similar(result: dict[str, Any], metric: str) -> list[str]:
    """Returns the (at most 3) names in a result that are most similar to ``metric``, or end like it."""
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
