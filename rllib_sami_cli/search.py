"""The ``search`` of an experiment: how trials are compared, what proposes their settings, what ends them early."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ray.tune.schedulers import SCHEDULER_IMPORT, FIFOScheduler, TrialScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.sample import Categorical, Float, Integer

from rllib_sami.algorithms.base.split_episodes import RETURN_MEAN
from rllib_sami.core.networks import NetworkConfig
from rllib_sami.core.text import did_you_mean
from rllib_sami_cli import spaces
from rllib_sami_cli.config_schema import check_keys
from rllib_sami_cli.errors import UserError, one_line
from rllib_sami_cli.stop import RETURN, STEPS, check_stop, evaluated_splits

MODERATE = f"evaluation/moderate/{RETURN_MEAN}"
KEYS = ("metric", "mode", "algorithm", "scheduler")
ALGORITHMS = ("random", "optuna")
# What a scheduler may count in, in the order of preference among the stop criteria.
COUNTERS = (STEPS, "training_iteration", "time_total_s")
PBT = "pbt"
_ALIASES = {"asha": "async_hyperband"}  # shorter name -> Tune's
# A trial is judged for the first time, or replaced, after this fraction (1 / _PART) of a full one.
_PART = 8
# Settings of the size or kind of networks. A trial that takes over another's networks keeps its own.
_OF_NETWORKS = {*NetworkConfig.__dataclass_fields__, "model_config", "_model_config", "replay_buffer_config", "env"}


@dataclass
class Search:
    """A checked ``search``.

    Attributes:
        metric: Result by which trials are compared, flat.
        mode: ``"max"`` or ``"min"``.
        algorithm: What proposes settings: ``"random"`` (and grids) or ``"optuna"`` (TPE).
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
        given: The experiment's ``search``; None if it has none.
        config: Checked settings, with search spaces.
        stop: Checked stop criteria.
        settings: ``config`` over the defaults that decide which evaluation results there are.
        place: Where it stands, for messages.
    """
    if given is None:
        evaluates = settings.get("evaluation_interval") and "moderate" in evaluated_splits(settings)
        return Search(metric=MODERATE if evaluates else RETURN)
    check_keys(given, KEYS, place)
    name, arguments = _scheduler(given.get("scheduler", "fifo"), place)
    metric = str(given.get("metric") or arguments.pop("metric", None) or MODERATE)
    mode = given.get("mode") or arguments.pop("mode", None) or "max"
    if mode not in ("max", "min"):
        raise UserError(f"{place}: 'mode' is {mode!r}, but must be 'max' or 'min'.")
    _check_metric(metric, settings, f"{place}, metric")
    algorithm = given.get("algorithm", "random")
    if algorithm not in ALGORITHMS:
        raise UserError(f"{place}: unknown algorithm '{algorithm}'. {did_you_mean(algorithm, ALGORITHMS)}")
    search = Search(metric, mode, algorithm, name, arguments)
    _check_together(search, config, place)
    create_scheduler(search, config, stop, place)
    return search


def _scheduler(given: Any, place: str) -> tuple[str, dict[str, Any]]:
    """Returns Tune's name of a scheduler and its arguments."""
    arguments = dict(given) if isinstance(given, dict) else {"type": given}
    name = str(arguments.pop("type", None)).lower()
    known = {*SCHEDULER_IMPORT, *_ALIASES}
    if name not in known:
        raise UserError(f"{place}: unknown scheduler '{name}'. {did_you_mean(name, known, 20)}")
    return _ALIASES.get(name, name), arguments


def _check_metric(metric: str, settings: dict[str, Any], place: str) -> None:
    if metric.startswith("evaluation/") and not settings.get("evaluation_interval"):
        example = "validation/behaviour_cloning_error" if "validation_fraction" in settings else RETURN
        raise UserError(
            f"{place}: '{metric}' needs evaluation during training: set evaluation_interval (such as 10 iterations) in "
            f"config, or name another metric, such as '{example}'."
        )
    is_mean_of_splits = metric.startswith("evaluation/env_runners/") and "extreme" in evaluated_splits(settings)
    if is_mean_of_splits or (metric.startswith("evaluation/") and "extreme" in metric):
        raise UserError(
            f"{place}: '{metric}' includes the extreme split, which is the test and must not be used to choose. "
            f"Use '{MODERATE}'."
        )
    check_stop({metric: 0}, place, settings)


def _check_together(search: Search, config: dict[str, Any], place: str) -> None:
    """Raises a UserError for settings that do not go with the search algorithm or scheduler."""
    searched = spaces.searched(config)
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
            if "/" in key:
                raise UserError(
                    f"{place}: population-based training cannot search '{key}', only settings of config themselves. "
                    "Give it one value, or use the scheduler 'asha'."
                )
            if key in _OF_NETWORKS:
                raise UserError(
                    f"{place}: population-based training cannot search '{key}': trials take over each other's "
                    "networks, which depend on it. Give it one value, or use the scheduler 'asha'."
                )


def create_scheduler(search: Search, config: dict[str, Any], stop: dict[str, float], place: str) -> Any:
    """Returns Tune's scheduler, with what it counts in and when it acts filled in.

    Args:
        search: Checked.
        config: Checked settings; population-based training changes those with a search space.
        stop: Checked stop criteria.
        place: Where the search stands, for messages.

    Raises:
        UserError: If the scheduler does not know an argument or refuses its value.
    """
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
    """Returns what the scheduler counts in, the criterion that ends the run, and when it acts, an eighth of that."""
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
    searched = spaces.searched(config)
    # Of a list the next value is taken; a Categorical would be multiplied.
    mutations = {k: list(v.categories) if isinstance(v, Categorical) else v for k, v in searched.items()}
    ends = {k: list(spaces.alternatives(v)) for k, v in searched.items() if isinstance(v, Float | Integer)}

    def within_bounds(changed: dict[str, Any]) -> dict[str, Any]:
        return changed | {key: min(max(changed[key], min(of)), max(of)) for key, of in ends.items()}

    return {"hyperparam_mutations": mutations, "custom_explore_fn": within_bounds}


class _WaitsForNumber:
    """Hides results without a number, such as those before the first evaluation, from a scheduler."""

    _metric: str

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if not math.isfinite(result.get(self._metric, math.nan)):
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)  # type: ignore[misc]


def create_algorithm(
    search: Search, config: dict[str, Any], bundles: Iterable[dict[str, float]], available: dict[str, float]
) -> Any:
    """Returns what proposes settings to Tune.

    Args:
        search: Checked.
        config: Checked settings; an integer ``seed`` seeds the search too.
        bundles: Resources of one trial.
        available: Resources of the cluster. Optuna learns from results, so it gets only as many trials at once as fit.
    """
    seed = config.get("seed")
    seed = seed if isinstance(seed, int) else None
    if search.algorithm == "random":
        return BasicVariantGenerator(random_state=seed)
    import optuna
    from ray.tune.search.optuna import OptunaSearch
    from ray.tune.utils.util import unflatten_dict

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = OptunaSearch.convert_search_space(unflatten_dict(spaces.searched(config)))
    needed: Counter[str] = Counter()
    for bundle in bundles:
        needed.update(bundle)
    at_once = min((available.get(kind, 0) / number for kind, number in needed.items() if number), default=1)
    algorithm = OptunaSearch(space, metric=search.metric, mode=search.mode, seed=seed)
    return ConcurrencyLimiter(algorithm, max_concurrent=max(1, int(at_once)))
