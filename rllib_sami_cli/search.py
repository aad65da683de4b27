"""The ``search`` of an experiment: by which number trials are compared, who proposes them, who ends them early."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rllib_sami.algorithms.base.split_episodes import RETURN_MEAN
from rllib_sami.core.networks import NetworkConfig
from rllib_sami.core.text import did_you_mean
from rllib_sami_cli import spaces
from rllib_sami_cli.errors import UserError, one_line
from rllib_sami_cli.stop import RETURN, STEPS, check_stop

MODERATE = f"evaluation/moderate/{RETURN_MEAN}"
KEYS = ("metric", "mode", "algorithm", "scheduler")
ALGORITHMS = ("random", "optuna")
# What a scheduler may count in, in the order in which a stop criterion is taken for it.
COUNTERS = (STEPS, "training_iteration", "time_total_s")
PBT = "pbt"
# Shorter names for Tune's.
_ALIASES = {"asha": "async_hyperband"}
# A trial is judged for the first time, or replaced, after this part of a full one.
_PART = 8
# What says how large or of which kind the networks are. A trial that takes over another's networks keeps its own.
_OF_NETWORKS = {*NetworkConfig.__dataclass_fields__, "model_config", "_model_config", "replay_buffer_config", "env"}


@dataclass
class Search:
    """A checked ``search``.

    Attributes:
        metric: Result by which trials are compared, flat.
        mode: ``"max"`` or ``"min"``.
        algorithm: Who proposes settings: ``"random"`` (and grids) or ``"optuna"`` (TPE).
        scheduler: Tune's name of what ends or replaces trials early.
        arguments: The scheduler's own.
    """

    metric: str = RETURN
    mode: str = "max"
    algorithm: str = "random"
    scheduler: str = "fifo"
    arguments: dict[str, Any] = field(default_factory=dict)


def check_search(
    given: dict[str, Any] | None, config: dict[str, Any], stop: dict[str, float], settings: dict[str, Any], place: str
) -> Search:
    """Returns a checked search; the first mistake raises a UserError.

    Args:
        given: What the experiment says; None if nothing.
        config: Checked settings, with search spaces.
        stop: Checked stop criteria.
        settings: ``config`` over the defaults that say what there is of evaluation.
        place: Where it stands, for messages.
    """
    evaluates = bool(settings.get("evaluation_interval")) and "evaluation_splits" in settings
    if given is None:
        return Search(metric=MODERATE if evaluates and _has_split("moderate", settings) else RETURN)
    for key in given:
        if key not in KEYS:
            raise UserError(f"{place}: unknown key '{key}'. {did_you_mean(key, KEYS)}")
    name, arguments = _scheduler(given.get("scheduler", "fifo"), place)
    metric = str(given.get("metric") or arguments.pop("metric", None) or MODERATE)
    mode = given.get("mode") or arguments.pop("mode", None) or "max"
    if mode not in ("max", "min"):
        raise UserError(f"{place}: 'mode' is {mode!r}, but must be 'max' or 'min'.")
    _check_metric(metric, settings, place)
    algorithm = given.get("algorithm", "random")
    if algorithm not in ALGORITHMS:
        raise UserError(f"{place}: unknown algorithm '{algorithm}'. {did_you_mean(algorithm, ALGORITHMS)}")
    search = Search(metric, mode, algorithm, name, arguments)
    _check_together(search, config, place)
    create_scheduler(search, config, stop, place)
    return search


def _scheduler(given: Any, place: str) -> tuple[str, dict[str, Any]]:
    """Returns Tune's name of a scheduler and its arguments."""
    from ray.tune.schedulers import SCHEDULER_IMPORT

    arguments = dict(given) if isinstance(given, dict) else {"type": given}
    name = str(arguments.pop("type", None)).lower()
    known = {*SCHEDULER_IMPORT, *_ALIASES}
    if name not in known:
        raise UserError(f"{place}: unknown scheduler '{name}'. {did_you_mean(name, known, 20)}")
    return _ALIASES.get(name, name), arguments


def _check_metric(metric: str, settings: dict[str, Any], place: str) -> None:
    place = f"{place}, metric"
    if not metric.startswith("evaluation/"):
        check_stop({metric: 0}, place)
        return
    if not settings.get("evaluation_interval"):
        raise UserError(
            f"{place}: '{metric}' needs evaluation during training: set evaluation_interval (such as 10 iterations) in "
            f"config, or name another metric, such as '{RETURN}'."
        )
    seen = _has_split("extreme", settings) if metric.startswith("evaluation/env_runners/") else "extreme" in metric
    if seen:
        raise UserError(
            f"{place}: '{metric}' is of the extreme split, by which nothing may be chosen: it is the test. Take "
            f"'{MODERATE}'."
        )
    check_stop({metric: 0}, place, settings)


def _has_split(split: str, settings: dict[str, Any]) -> bool:
    if "evaluation_splits" not in settings:
        return False
    given = settings["evaluation_splits"]
    return given is None or any(one is None or split in one for one in ([given] if isinstance(given, list) else []))


def _check_together(search: Search, config: dict[str, Any], place: str) -> None:
    """Refuses what does not go with the search algorithm or scheduler."""
    searched = {key: value for key, value in config.items() if spaces.is_searched(value)}
    if search.algorithm == "optuna" and importlib.util.find_spec("optuna") is None:
        raise UserError(f"{place}: Optuna is not installed. Install it:  pip install 'rllib-sami[search]'")
    if search.algorithm == "random" and search.scheduler != PBT:
        return
    who = "Population-based training" if search.scheduler == PBT else "Optuna"
    if not searched:
        raise UserError(
            f"{place}: {who} has nothing to search: give at least one setting of config a space, for example "
            "encoder_lr: {loguniform: [1e-4, 1e-3]}."
        )
    for key, value in searched.items():
        if isinstance(value, dict):
            raise UserError(f"{place}: {who} takes no grid_search ('{key}'): write choice instead.")
    if search.scheduler == PBT:
        if search.algorithm != "random":
            raise UserError(f"{place}: population-based training proposes settings itself: leave 'algorithm' out.")
        for key in searched:
            if key in _OF_NETWORKS:
                raise UserError(
                    f"{place}: population-based training cannot search '{key}': trials take over each other's "
                    "networks, which it shapes. Give it one value, or take the scheduler 'asha'."
                )


def create_scheduler(search: Search, config: dict[str, Any], stop: dict[str, float], place: str) -> Any:
    """Returns Tune's scheduler, told what to count in and when to look, where the user did not say it.

    Args:
        search: Checked.
        config: Checked settings; population-based training changes those that have a search space.
        stop: Checked stop criteria.
        place: Where the search stands, for messages.

    Raises:
        UserError: If the scheduler does not know an argument or refuses its value.
    """
    from ray.tune.schedulers import SCHEDULER_IMPORT, FIFOScheduler

    known: Any = SCHEDULER_IMPORT[search.scheduler]
    kind = known if isinstance(known, type) else known()  # some are imported only when asked for
    if kind is FIFOScheduler:
        return FIFOScheduler()
    parameters = set(inspect.signature(kind).parameters)
    for key in search.arguments:
        if key not in parameters:
            raise UserError(
                f"{place}, scheduler: {search.scheduler} has no '{key}'. {did_you_mean(key, parameters, 20)}"
            )
    arguments = {"metric": search.metric, "mode": search.mode, **_timing(search, parameters, stop, place)}
    arguments |= search.arguments
    if search.scheduler == PBT:
        arguments |= _mutations(config)
    try:
        return type(kind.__name__, (_WaitsForNumber, kind), {})(
            **{key: value for key, value in arguments.items() if key in parameters}
        )
    except Exception as error:
        raise UserError(f"{place}, scheduler: {search.scheduler} refuses these settings: {one_line(error)}") from error


def _timing(search: Search, parameters: set[str], stop: dict[str, float], place: str) -> dict[str, Any]:
    """Returns what the scheduler counts in and when it looks: what the experiment stops at, and an eighth of it."""
    if "time_attr" not in parameters:
        return {}
    counter = search.arguments.get("time_attr") or next((name for name in COUNTERS if name in stop), None)
    if counter not in COUNTERS:
        raise UserError(
            f"{place}, scheduler: 'time_attr' is {counter!r}, but must be one of: {', '.join(COUNTERS)}; or give one "
            "of them as a stop criterion."
        )
    if counter not in stop:
        return {"time_attr": counter}
    most = stop[counter]
    part = max(1, int(most / _PART))
    return {"time_attr": counter, "max_t": most, "grace_period": part, "perturbation_interval": part}


def _mutations(config: dict[str, Any]) -> dict[str, Any]:
    """Returns what population-based training changes, and how it stays within the search spaces."""
    from ray.tune.search.sample import Categorical, Domain, Float, Integer

    searched = {key: value for key, value in config.items() if isinstance(value, Domain)}
    mutations = {
        # A list is stepped through; the object would be multiplied.
        key: list(value.categories) if isinstance(value, Categorical) else value
        for key, value in searched.items()
    }
    ends = {
        key: list(spaces.alternatives(value)) for key, value in searched.items() if isinstance(value, Float | Integer)
    }

    def within_bounds(changed: dict[str, Any]) -> dict[str, Any]:
        return changed | {key: min(max(changed[key], min(of)), max(of)) for key, of in ends.items()}

    return {"hyperparam_mutations": mutations, "custom_explore_fn": within_bounds}


class _WaitsForNumber:
    """Keeps results without a number, such as those before the first evaluation, from a scheduler."""

    _metric: str

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        from ray.tune.schedulers import TrialScheduler

        if not math.isfinite(result.get(self._metric, math.nan)):
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)  # type: ignore[misc]


def create_algorithm(
    search: Search, config: dict[str, Any], bundles: Iterable[dict[str, float]], available: dict[str, float]
) -> Any:
    """Returns who proposes settings to Tune.

    Args:
        search: Checked.
        config: Checked settings; their ``seed``, if a number, is the search's too.
        bundles: Resources of one trial.
        available: Resources of the cluster. Optuna gets as many trials at once as fit: it learns from those that end.
    """
    from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter

    seed = config.get("seed")
    seed = seed if isinstance(seed, int) else None
    if search.algorithm == "random":
        return BasicVariantGenerator(random_state=seed)
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {key: value for key, value in config.items() if spaces.is_searched(value)}
    space = OptunaSearch.convert_search_space(space)
    needed: dict[str, float] = {}
    for bundle in bundles:
        for kind, number in bundle.items():
            needed[kind] = needed.get(kind, 0) + number
    at_once = min((available.get(kind, 0) / number for kind, number in needed.items() if number), default=1)
    algorithm = OptunaSearch(space, metric=search.metric, mode=search.mode, seed=seed)
    return ConcurrencyLimiter(algorithm, max_concurrent=max(1, int(at_once)))
