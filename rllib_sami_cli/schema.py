"""Checks an experiment before anything starts: every key known, every value of the right type.

RLlib itself ignores unknown settings silently, so a misspelt ``gama: 0.9`` would train with the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.search.sample import Function

from rllib_sami.exports import checkpoints
from rllib_sami_cli import catalog, spaces, stages
from rllib_sami_cli.agents import find_agents, with_absolute_data
from rllib_sami_cli.config_schema import ConfigSchema, check_mapping
from rllib_sami_cli.errors import Mistakes, UserError, one_line
from rllib_sami_cli.experiment import EXPERIMENT_KEYS, Experiment
from rllib_sami_cli.folders import plain
from rllib_sami_cli.resources import NO_LIMITS, Limits, auto_settings, resolve_auto
from rllib_sami_cli.search import Search, check_search
from rllib_sami_cli.stop import check_metric, check_stop

_CHECKPOINT_TYPES = {
    "num_to_keep": int | None,
    "checkpoint_score_attribute": str | None,
    "checkpoint_score_order": str,
    "checkpoint_frequency": int,
    "checkpoint_at_end": bool,
}
_NUMBERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_samples": (lambda x: x >= 1 or x == -1, "an integer >= 1, or -1 for no end"),
    "max_failures": (lambda x: x >= -1, "an integer >= 0, or -1 for no end"),
    "time_budget_s": (lambda x: 0 < x < math.inf, "a number > 0 of seconds"),
}


@dataclass
class Plan:
    """A checked experiment, ready to run.

    Attributes:
        name: Name of the experiment and its folder.
        algorithm: The Algorithm class.
        config: Settings and search spaces, as Tune gets them.
        stop: Flat metric name -> threshold.
        checkpoint_config: Fields of `ray.tune.CheckpointConfig`.
        search: How trials are compared, proposed and ended early.
        bundles: Resources of one trial: a list of dicts such as {"CPU": 1}.
        auto: Names of the settings that are ``auto`` in the file; ``config`` has their numbers.
        given: What the command line set, in the form of an experiment.
        given_to: The same of all stages of the command line, by stage.
        stage: Name in the file, by which later experiments refer to this one.
        checkpoints: Earlier experiment -> the checkpoint of it that this one uses.
        ready: The checkpoints that the command line gave for other stages.
        agents: Folder of an agent in ``env_config``, as given -> its checkpoint, which ``config`` has.
    """

    name: str
    algorithm: type
    config: dict[str, Any]
    stop: dict[str, float]
    checkpoint_config: dict[str, Any]
    search: Search = field(default_factory=Search)
    num_samples: int = 1
    max_failures: int = 0
    time_budget_s: float | None = None
    storage_path: str | None = None
    restore: str | None = None
    bundles: list[dict[str, float]] = field(default_factory=list)
    auto: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)
    given_to: dict[str, dict[str, Any]] = field(default_factory=dict)
    stage: str = ""
    checkpoints: dict[str, str] = field(default_factory=dict)
    ready: dict[str, str] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)

    @property
    def awaits(self) -> list[str]:
        """Names of the earlier experiments whose checkpoints are still to be filled in."""
        return stages.references([self.config, self.restore])


def check(experiment: Experiment, limits: Limits = NO_LIMITS) -> Plan:
    """Checks all of an experiment; a UserError has all of its mistakes."""
    place, mistakes = experiment.place, Mistakes()
    body = check_mapping(experiment.body, EXPERIMENT_KEYS, place, mistakes)
    given = body.get("config") or {}
    config = resolve_auto(given, limits)
    if config.get("env_config", {}) is None:  # `env_config:` with nothing below it
        config["env_config"] = {}
    if body.get("env") is not None:
        config["env"] = body["env"]
    if "env" in config:
        config["env"] = catalog.as_class_path(config["env"])
    if "env_config" in config and catalog.is_ours(config.get("env")):  # in others a mapping may mean something else
        with mistakes.noted():
            config["env_config"] = spaces.parse_nested(config["env_config"], f"{place}, config.env_config")
    base = experiment.config_object
    if base is None or base.env is None or "env" in config:
        with mistakes.noted():
            for env in spaces.alternatives(config.get("env")):
                catalog.check_environment(env, place)
                if not stages.references(config.get("env_config")):
                    timeout_s = config.get("sample_timeout_s", AlgorithmConfig().sample_timeout_s)
                    catalog.try_environment(env, config.get("env_config"), f"{place}, config.env_config", timeout_s)
    algorithm: Any = None
    with mistakes.noted():
        algorithm = catalog.algorithm_class(body.get("run"), place)
    if algorithm is None:
        mistakes.tell(experiment.body)
    schema = ConfigSchema.of(algorithm)
    checked = schema.check(config, f"{place}, config", catalog.environment_settings(config.get("env")), mistakes)
    settings = schema.evaluation_defaults | config | checked
    if base is not None:
        # Only what the file set: RLlib's 250 defaults would crowd the record and a trial's parameters.
        of_base = {k: value for k, value in base.to_dict().items() if plain(value) != plain(schema.defaults.get(k))}
        checked = {**of_base, **checked}
        settings = settings | checked
    if "data" in checked and "data" in getattr(algorithm.get_default_config(), "settings", {}):
        checked = with_absolute_data(checked)
    agents: dict[str, str] = {}
    with mistakes.noted():
        checked, agents = find_agents(checked, f"{place}, config.env_config")
    plan = Plan(experiment.name, algorithm, checked, {}, {}, auto=auto_settings(given), given=experiment.given)
    plan.agents = agents
    plan.stage, plan.ready, plan.given_to = experiment.stage, experiment.ready, experiment.given_to
    for key in ("num_samples", "max_failures", "time_budget_s", "storage_path", "restore"):
        if body.get(key) is not None:
            setattr(plan, key, body[key])
            if key in _NUMBERS and not _NUMBERS[key][0](body[key]):
                mistakes.note(None, [f"{place}: '{key}' is {body[key]!r}, but must be {_NUMBERS[key][1]}."])
    with mistakes.noted():
        plan.stop = check_stop(body.get("stop") or {}, f"{place}, stop", settings)
    with mistakes.noted():
        plan.checkpoint_config = _check_checkpoint(body.get("checkpoint_config") or {}, f"{place}, checkpoint_config")
    with mistakes.noted():
        plan.search = check_search(body.get("search"), checked, plan.stop, settings, f"{place}, search")
    with mistakes.noted():
        plan.bundles = _validate(plan, place, complete=not mistakes.found)
    if plan.restore is not None and not stages.references(plan.restore):
        with mistakes.noted():
            plan.restore = _check_restore(plan.restore, algorithm, f"{place}, restore")
    mistakes.tell(experiment.body)
    return plan


def check_all(experiments: Sequence[Experiment], limits: Limits = NO_LIMITS) -> list[Plan]:
    """Checks experiments; a UserError has the mistakes of all of them."""
    mistakes, plans = Mistakes(), []
    for experiment in experiments:
        with mistakes.noted():
            stages.check_references(experiment, experiments)
        with mistakes.noted():
            plans.append(check(experiment, limits))
            _check_stage_algorithm(plans[-1], plans, f"{experiment.place}, restore")
    mistakes.tell()
    return plans


def with_config(plan: Plan, config: dict[str, Any]) -> Plan:
    """Returns the plan with another (checked) config, and the resources that this needs."""
    changed = replace(plan, config=config)
    changed.bundles = _validate(changed, plan.name)
    return changed


def with_checkpoints(plan: Plan, checkpoints: dict[str, str]) -> Plan:
    """Returns the plan with the checkpoints of earlier experiments filled in, and checked again."""
    changed = with_config(plan, stages.fill(plan.config, checkpoints))
    if plan.restore is not None:
        path = stages.fill(plan.restore, checkpoints)
        changed.restore = _check_restore(path, plan.algorithm, f"{plan.name}, restore")
    changed.checkpoints = checkpoints
    return changed


def _check_checkpoint(value: dict[str, Any], place: str) -> dict[str, Any]:
    mistakes = Mistakes()
    checked = check_mapping(value, _CHECKPOINT_TYPES, place, mistakes)
    mistakes.tell()
    score = checked.get("checkpoint_score_attribute")
    if score and score.startswith("min-"):  # RLlib's historic form of "less is better"
        checked.update(checkpoint_score_attribute=score[4:], checkpoint_score_order="min")
    if score:
        check_metric(checked["checkpoint_score_attribute"], f"{place}, checkpoint_score_attribute")
    if checked.get("checkpoint_score_order", "max") not in ("min", "max"):
        raise UserError(f"{place}: 'checkpoint_score_order' must be 'min' or 'max'.")
    if checked.get("num_to_keep") is not None and checked["num_to_keep"] < 1:
        raise UserError(f"{place}: 'num_to_keep' must be at least 1, or null to keep all.")
    return checked


def _check_stage_algorithm(plan: Plan, plans: list[Plan], place: str) -> None:
    for other in plans:
        if other.stage in stages.references(plan.restore) and other.algorithm is not plan.algorithm:
            theirs, ours = other.algorithm.__name__, plan.algorithm.__name__
            raise UserError(f"{place}: '{other.stage}' trains {theirs}, and {ours} cannot start from its checkpoint.")


def _check_restore(path: str, algorithm: type, place: str) -> str:
    try:
        return checkpoints.check_restore(path, algorithm)
    except ValueError as error:
        raise UserError(f"{place}: {one_line(error)}") from error


def _validate(plan: Plan, place: str, complete: bool = True) -> list[dict[str, float]]:
    """Lets the algorithm check the settings together, for each alternative of the search space.

    Returns the resources that one trial needs (the most that any alternative asks for).

    Args:
        plan: Checked so far.
        place: Where the experiment stands, for messages.
        complete: Whether ``plan`` has all of its settings; otherwise each is checked alone.
    """
    # What a function gives may depend on the other settings of a trial.
    settings = {key: value for key, value in plan.config.items() if not isinstance(value, Function)}
    if "model_config" in settings:
        # AlgorithmConfig has this one as a read-only property; the settable name has an underscore.
        plan.config["_model_config"] = settings["_model_config"] = plan.config.pop("model_config")
        settings.pop("model_config")
    first = {key: next(spaces.alternatives(value)) for key, value in settings.items()}
    points = [first]
    for key, value in settings.items():
        points += [{**first, key: item} for item in list(spaces.alternatives(value))[1:]]
    requests: list[list[dict[str, float]]] = []
    mistakes = Mistakes()
    refuses = f"{place}: {plan.algorithm.__name__} refuses these settings: "
    for point in points:
        if not complete:
            mistakes.note(None, [refuses + text for text in catalog.wrong_settings(plan.algorithm, point)])
            continue
        try:
            request = plan.algorithm.default_resource_request(point)  # type: ignore[attr-defined]
        except Exception as error:
            # RLlib raises ValueError, TypeError, KeyError, AttributeError and its own for a setting it cannot use.
            mistakes.note(error, [refuses + text for text in catalog.messages(error)])
            continue
        try:
            if not stages.references(point.get("env_config")):  # else the environment cannot be made yet
                catalog.check_trainable(plan.algorithm, point)
        except Exception as error:
            # Making the environment runs the user's code, which may raise anything.
            mistakes.note(error, [f"{place}: {text}" for text in catalog.messages(error)])
            continue
        requests.append([dict(bundle) for bundle in request.bundles])
    mistakes.tell()
    return max(requests, key=_total, default=[])


def _total(bundles: list[dict[str, float]]) -> list[float]:
    """Returns the GPUs and CPUs of a trial, to compare by."""
    return [sum(bundle.get(kind, 0) for bundle in bundles) for kind in ("GPU", "CPU")]
