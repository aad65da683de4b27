"""What a run prints while it trains: the live table, with a line per trial and iteration at most every few seconds."""

from __future__ import annotations

import math
import time
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console

from rllib_sami.algorithms.base.health import HEALTH, symptoms
from rllib_sami.algorithms.base.split_episodes import ENV_STEPS
from rllib_sami.evaluation.results import split_order
from rllib_sami_cli.steps import doing
from rllib_sami_cli.stop import EVALUATION_RETURN, RETURN, RETURN_MEAN, STEPS, flatten, lookup

CLONING_ERROR = "validation/behaviour_cloning_error"
EVALUATED_STEPS = f"evaluation/{ENV_STEPS}"
_LONGEST_TAG = 60  # characters of what tells trials apart
_MOST_TASKS = 12  # in a line
_BY_TASK = "env_runners/return_by_task/"
_COLUMNS = (
    ("iter", 6), ("env steps", 11), ("return", 10), ("steps/s", 8), ("updates/s", 9), ("elapsed", 8), ("left", 8),
)  # fmt: skip
# Metrics that grow evenly, so that they tell the time left.
_COUNTERS = ("training_iteration", "time_total_s", "lifetime", "num_episodes")


class Announcements(Callback):
    """Prints, once for all trials, what keeps the live table waiting.

    Args:
        settings: The run's, over the defaults.
    """

    def __init__(self, settings: dict[str, Any]):
        self._compiles = bool(settings.get("compile_update"))
        self._interval = settings.get("evaluation_interval")
        self._announced: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Everything is built: training begins."""
        self._announce("Training" + (" (compiling the first update takes up to a minute)" if self._compiles else ""))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Looks ahead to the first evaluation."""
        every = self._interval
        if isinstance(every, int) and every > 0 and (result.get("training_iteration", 0) + 1) % every == 0:
            when = f" (every {every} iterations)" if every > 1 else ""
            self._announce(f"The next iteration ends with an evaluation{when}")

    def _announce(self, what: str) -> None:
        if what not in self._announced:
            self._announced.add(what)
            doing(what)


class Progress(Callback):
    """Prints the live table.

    Args:
        stop: The run's stop criteria, for the time left.
        interval: Least seconds between two lines of one trial; 0 prints every iteration.
        console: Where to print; stdout by default.
    """

    def __init__(self, stop: dict[str, float], interval: float = 10.0, console: Console | None = None):
        self._stop = stop
        self._interval = interval
        self._console = console or Console(highlight=False, soft_wrap=True)
        # By trial: when it began and its counters after the first iteration; when its last line was printed and of
        # which result; the result that is held back; the last known returns.
        self._begin: dict[str, tuple[float, dict[str, Any]]] = {}
        self._last: dict[str, tuple[float, dict[str, Any]]] = {}
        self._held: dict[str, dict[str, Any]] = {}
        self._returns: dict[str, dict[str, float]] = {}
        self._details: dict[str, list[str]] = {}
        self._lines = 0

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Prints a line, unless the trial's last line is younger than the interval."""
        now, key = time.monotonic(), trial.trial_id
        # An iteration in which no episode ended has no return: the last known one stands.
        # A resumed trial still has its last result.
        self._returns.setdefault(key, returns(trial.last_result)).update(returns(result))
        if key not in self._begin:
            # The best guess of when the first iteration began is its own duration.
            seconds = lookup(result, "time_this_iter_s") or 0.0
            self._begin[key] = (now - seconds, {})
        elif now - self._last[key][0] < self._interval:
            self._held[key] = result
            return
        self._print(now, trial, result, len(trials))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints the last result if it was held back."""
        if result := self._held.pop(trial.trial_id, None):
            self._print(time.monotonic(), trial, result, len(trials))

    def flush(self, trials: list[Trial]) -> None:
        """Prints every result that was held back (after an interruption)."""
        for trial in trials:
            self.on_trial_complete(0, trials, trial)

    def lacks_return(self, trials: list[Trial]) -> bool:
        """Returns whether no episode of any trial has ended yet; with a data set, there is none to wait for."""
        sampling = [trial for trial in trials if _steps(trial.last_result) or not trial.last_result]
        return bool(sampling) and not any(RETURN in self._returns.get(trial.trial_id, {}) for trial in sampling)

    def _print(self, now: float, trial: Trial, result: dict[str, Any], trials: int) -> None:
        key = trial.trial_id
        begun, first = self._begin[key]
        if not first:
            first.update({name: lookup(result, name) for name in flatten(result) if _grows_evenly(name)}, __time__=now)
        last_time, last = self._last.get(key, (begun, {}))
        self._last[key] = (now, result)
        self._held.pop(key, None)
        seconds = now - last_time
        values = (
            _count(lookup(result, "training_iteration")),
            _count(_steps(result)),
            _number(self._returns[key].get(RETURN)),
            _number(lookup(result, "env_steps_per_second") or _rate(_steps(last), _steps(result), seconds)),
            _number(lookup(result, "updates_per_second") or _rate(_updates(last), _updates(result), seconds)),
            duration(lookup(result, "time_total_s")),
            duration(self._time_left(now, begun, first, result)),
        )
        header = [name.rjust(width) for name, width in _COLUMNS]
        cells = [value.rjust(width) for value, (_, width) in zip(values, _COLUMNS, strict=True)]
        if "log_k" in ((result.get("learners") or {}).get("default_policy") or {}):
            header.append("bound/most")
            cells.append(f"{_bound(result):>10}")
        if (error := lookup(result, CLONING_ERROR)) is not None:
            header.append("cloning error")
            cells.append(f"{error:13.3g}")
        if HEALTH in result:
            header.append("health")
            cells.append(f"{', '.join(name.replace('_', ' ') for name in symptoms(result[HEALTH])) or 'ok':6}")
        if trials > 1:
            tag = trial.experiment_tag
            header.append("trial")
            cells += [trial.trial_id, tag if len(tag) <= _LONGEST_TAG else f"{tag[: _LONGEST_TAG - 3]}..."]
        if self._lines % 20 == 0:
            self._console.print("  ".join(header), style="bold")
        self._lines += 1
        self._console.print("  ".join(cells).rstrip())
        details = _details(self._returns[key])
        for detail in details:
            if detail not in self._details.get(key, ()):  # an evaluation is told once
                self._console.print(f"{'':8}{detail}", style="dim")
        self._details[key] = details

    def _time_left(self, now: float, begun: float, first: dict[str, Any], result: dict[str, Any]) -> float | None:
        """Returns seconds until the first criterion that grows evenly is met, at the pace since this process began."""
        estimates = []
        for metric, threshold in self._stop.items():
            value = lookup(result, metric)
            if value is None or not _grows_evenly(metric):
                continue
            if metric == "time_total_s":
                estimates.append(threshold - value)
            elif (start := first.get(metric)) is not None and value > start:
                # `first` was taken after one iteration, so the pace is measured from there.
                estimates.append((threshold - value) * (now - first["__time__"]) / (value - start))
        return max(0.0, min(estimates)) if estimates else None


def _grows_evenly(metric: str) -> bool:
    return any(word in metric for word in _COUNTERS)


def _steps(result: dict[str, Any]) -> float | None:
    return lookup(result, STEPS) or lookup(result, f"env_runners/{STEPS}")


def _updates(result: dict[str, Any]) -> float | None:
    """Returns the number of gradient updates so far, whatever the algorithm calls it."""
    for name in ("num_updates_lifetime", "num_gradient_updates_lifetime"):
        for place in ("learners/default_policy/", "learners/__all_modules__/", ""):
            if (value := lookup(result, place + name)) is not None:
                return value
    trained = lookup(result, "learners/default_policy/num_module_steps_trained_lifetime")
    batch = lookup(result, "learners/default_policy/module_train_batch_size_mean")
    return trained / batch if trained is not None and batch else None


def _rate(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or seconds <= 0 or after < before:  # a trial may go on from another's checkpoint
        return None
    return (after - before) / seconds


def returns(result: dict[str, Any]) -> dict[str, float]:
    """Returns all mean returns of a result: over all, by task, in evaluation (and after how many steps that was)."""
    names = [RETURN, EVALUATION_RETURN, EVALUATED_STEPS]
    by_task = (result.get("env_runners") or {}).get("return_by_task")
    names += [f"{_BY_TASK}{task}" for task in by_task] if isinstance(by_task, dict) else []
    evaluation = result.get("evaluation")
    names += [f"evaluation/{split}/{RETURN_MEAN}" for split in evaluation] if isinstance(evaluation, dict) else []
    names += _OF_SKILLS
    found = {name: lookup(result, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


# What skills cover, and how much of the time they are near goals.
_OF_SKILLS = {
    "evaluation/skills/state_coverage": "skills cover {:,.0f} cells",
    "evaluation/skills/end_distance": "{:,.2f} from start to end",
    "evaluation/goals/staying_time": "near goals {:.0%} of the time",
}


def _details(known: dict[str, float]) -> list[str]:
    """Returns the lines under a row: returns by task and in evaluation, where there are any."""
    lines = []
    tasks = [name.removeprefix(_BY_TASK) for name in known if name.startswith(_BY_TASK)]
    if len(tasks) > 1:  # episodes of environments without tasks are all of task 0
        tasks.sort(key=lambda task: (len(task), task))  # 2 before 10
        cells = [f"{task}: {_number(known[_BY_TASK + task])}" for task in tasks]
        more = f"  ... {len(cells) - _MOST_TASKS} more" if len(cells) > _MOST_TASKS else ""
        lines.append("by task   " + "  ".join(cells[:_MOST_TASKS]) + more)
    if any(name in known for name in _OF_SKILLS):
        cells = [
            words.format(known[name]) for name, words in _OF_SKILLS.items() if not math.isnan(known.get(name, math.nan))
        ]
        lines.append(f"evaluated at {_count(known.get(EVALUATED_STEPS))} steps   " + (", ".join(cells) or "-"))
        return lines
    suffix = f"/{RETURN_MEAN}"
    splits = [name.split("/")[1] for name in known if name.startswith("evaluation/") and name.endswith(suffix)]
    if splits:
        cells = [
            f"{split}: {_number(known[f'evaluation/{split}{suffix}'])}" for split in sorted(splits, key=split_order)
        ]
        lines.append(f"evaluated at {_count(known.get(EVALUATED_STEPS))} steps   " + "  ".join(cells))
    elif EVALUATION_RETURN in known:
        lines.append(f"evaluation  {_number(known[EVALUATION_RETURN])}")
    return lines


def _bound(result: dict[str, Any]) -> str:
    """Returns the contrastive bound (the one between tasks if there are two) and its maximum, in nats."""
    found = [lookup(result, f"learners/default_policy/{name}") for name in ("task_bound", "sance_bound", "log_k")]
    task_bound, bound, most = (math.nan if value is None else value for value in found)
    bound = bound if math.isnan(task_bound) else task_bound
    return "-" if math.isnan(bound) else f"{bound:.2f}/{most:.2f}"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Returns seconds as 42s, 3m05s or 2h07m."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
