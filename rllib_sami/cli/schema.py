"""Checks an experiment before anything starts: every key known, every value of the right type.

RLlib itself takes unknown settings without a word, so a misspelt ``gama: 0.9`` would train with the default.
"""

from __future__ import annotations

import inspect
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Union

from rllib_sami import compat
from rllib_sami.cli import catalog, spaces, typecheck
from rllib_sami.cli.errors import Mistakes, UserError, did_you_mean, nearest, one_line
from rllib_sami.cli.experiment import EXPERIMENT_KEYS, Experiment
from rllib_sami.cli.folders import plain
from rllib_sami.cli.resources import NO_LIMITS, Limits, auto_settings, resolve_auto
from rllib_sami.cli.search import Search, check_search
from rllib_sami.cli.stop import check_stop
from rllib_sami.evaluation import checkpoints
from rllib_sami.rllib_settings import ARRAY_RUNNER, IDLE, MAPPED, OURS, TABLE, USED, Row, no_effect, refusal, rows
from rllib_sami.unused_settings import readers, warn_once

CHECKPOINT_TYPES = {
    "num_to_keep": int | None,
    "checkpoint_score_attribute": str | None,
    "checkpoint_score_order": str,
    "checkpoint_frequency": int,
    "checkpoint_at_end": bool,
}
EXPERIMENT_TYPES = {
    "config": dict,
    "stop": dict,
    "checkpoint_config": dict,
    "num_samples": int,
    "search": dict,
    "max_failures": int,
    "time_budget_s": float | None,
    "storage_path": str | None,
    "restore": str | None,
}
# Not attributes of a config, yet `update_from_dict` or we understand them.
_EXTRA_KEYS = {"model_config", "multiagent", "train_batch_size_per_learner", "callbacks", "framework"}


@dataclass
class Plan:
    """A checked experiment, ready to run.

    Attributes:
        name: Name of the experiment and its folder.
        algorithm: The Algorithm class.
        config: What Tune gets: settings, search space and all.
        stop: Flat metric name -> threshold.
        checkpoint_config: Fields of `ray.tune.CheckpointConfig`.
        search: How trials are compared, proposed and ended early.
        bundles: Resources of one trial: a list of dicts such as {"CPU": 1}.
        auto: Names of the settings that the file left to the machine; ``config`` has their numbers.
        given: What the command line said beside the file, as a part of an experiment.
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


def check(experiment: Experiment, limits: Limits = NO_LIMITS) -> Plan:
    """Checks all of an experiment; a UserError tells all of its mistakes."""
    place, mistakes = experiment.place, Mistakes()
    body: dict[str, Any] = {}
    for key, value in experiment.body.items():
        with mistakes.noted():
            _check_keys({key: value}, EXPERIMENT_KEYS, place)
            if key in EXPERIMENT_TYPES:
                _check_type(key, value, EXPERIMENT_TYPES[key], place)
            body[key] = value
    given = body.get("config") or {}
    config = resolve_auto(given, limits)
    if body.get("env") is not None:
        config["env"] = body["env"]
    base = experiment.config_object
    if base is None or base.env is None or "env" in config:
        with mistakes.noted():
            for env in spaces.alternatives(config.get("env")):
                catalog.check_environment(env, place)
                catalog.try_environment(env, config.get("env_config"), f"{place}, config.env_config")
    algorithm: Any = None
    with mistakes.noted():
        algorithm = catalog.algorithm_class(body.get("run"), place)
    if algorithm is None:
        mistakes.tell(experiment.body)
    schema = ConfigSchema.of(algorithm)
    checked = schema.check(config, f"{place}, config", catalog.environment_settings(config.get("env")), mistakes)
    settings = schema.evaluation_defaults | config | checked
    if base is not None:
        # Only what the file set: RLlib's 250 defaults belong neither into the record nor into a trial's parameters.
        of_base = {k: value for k, value in base.to_dict().items() if plain(value) != plain(schema.defaults.get(k))}
        checked = {**of_base, **checked}
        settings = settings | checked
    plan = Plan(experiment.name, algorithm, checked, {}, {}, auto=auto_settings(given), given=experiment.given)
    for key in ("num_samples", "max_failures", "time_budget_s", "storage_path", "restore"):
        if body.get(key) is not None:
            setattr(plan, key, typecheck.cast(body[key], EXPERIMENT_TYPES[key]))
    with mistakes.noted():
        plan.stop = check_stop(body.get("stop") or {}, f"{place}, stop", settings)
    with mistakes.noted():
        plan.checkpoint_config = _check_checkpoint(body.get("checkpoint_config") or {}, f"{place}, checkpoint_config")
    with mistakes.noted():
        plan.search = check_search(body.get("search"), checked, plan.stop, settings, f"{place}, search")
    with mistakes.noted():
        plan.bundles = _validate(plan, place, complete=not mistakes.found)
    if plan.restore is not None:
        with mistakes.noted():
            plan.restore = _check_restore(plan.restore, algorithm, f"{place}, restore")
    mistakes.tell(experiment.body)
    return plan


def check_all(experiments: Sequence[Experiment], limits: Limits = NO_LIMITS) -> list[Plan]:
    """Checks experiments; a UserError tells all mistakes of all of them."""
    mistakes, plans = Mistakes(), []
    for experiment in experiments:
        with mistakes.noted():
            plans.append(check(experiment, limits))
    mistakes.tell()
    return plans


def with_config(plan: Plan, config: dict[str, Any]) -> Plan:
    """Returns the plan with another (checked) config, and the resources that this needs."""
    changed = replace(plan, config=config)
    changed.bundles = _validate(changed, plan.name)
    return changed


class ConfigSchema:
    """The settings an algorithm knows: names, types and defaults, taken from its config class."""

    def __init__(self, algorithm: type):
        default = algorithm.get_default_config()  # type: ignore[attr-defined]
        self.name = algorithm.__name__
        self.defaults: dict[str, Any] = {**vars(default), **default.to_dict()}
        self.hints = _type_hints(type(default))
        self.readers = readers(default)
        fates = rows(TABLE, self.readers)
        self.keys = self.defaults.keys() | _EXTRA_KEYS | fates.keys()
        intervals = ("evaluation_interval", "offline_evaluation_interval")
        self.evaluation_defaults = {key: self.defaults.get(key) for key in intervals}
        if "evaluation_splits" in self.defaults:  # of our algorithms
            self.evaluation_defaults["evaluation_splits"] = None
        self.public_keys = {
            key
            for key in self.defaults.keys() | _EXTRA_KEYS
            if not key.startswith("_") and (key not in fates or fates[key].fate in (USED, MAPPED))
        }

    @staticmethod
    @cache
    def of(algorithm: type) -> ConfigSchema:
        """Returns the (cached) schema of an Algorithm class."""
        return ConfigSchema(algorithm)

    def check(
        self,
        config: dict[str, Any],
        place: str,
        of_environment: Container[str] = (),
        mistakes: Mistakes | None = None,
    ) -> dict[str, Any]:
        """Returns what is right of ``config``, with numbers cast.

        Args:
            config: Setting to value.
            place: Where it stands, for messages.
            of_environment: Names that belong into ``env_config``.
            mistakes: Where to note what is wrong; None to raise it, as one UserError.
        """
        checked = {}
        found = mistakes or Mistakes()
        table = self._table(config)
        for key, value in config.items():
            with found.noted():
                if key not in self.keys:
                    self._unknown(key, place, of_environment)
                checked[key] = self._check_value(key, value, place, table)
        if mistakes is None:
            found.tell(config)
        return checked

    def _table(self, config: dict[str, Any]) -> dict[str, Row]:
        """Returns what becomes of RLlib's settings, with other env runners or RLlib's old API stack if asked for."""
        if config.get("enable_rl_module_and_learner") is False:
            return {}
        return rows(TABLE, self.readers - {ARRAY_RUNNER} if "env_runner_cls" in config else self.readers)

    def hint(self, key: str) -> Any:
        """Returns the type of a setting: the declared one, or else that of its default."""
        if key == "num_cpus_per_env_runner":
            return float  # RLlib declares an int, but hands it to Ray, which shares CPUs out in fractions
        from_default = typecheck.type_of_default(self.defaults.get(key))
        declared = self.hints.get(key, from_default)
        # RLlib declares some wrongly (a bool as Optional[str]); the default itself is always right.
        return declared if typecheck.fits(self.defaults.get(key), declared) else Union[declared, from_default]  # noqa: UP007 - values, not an annotation

    def _unknown(self, key: Any, place: str, of_environment: Container[str]) -> None:
        hint = did_you_mean(key, self.public_keys) or "No setting has a similar name."
        if key in EXPERIMENT_KEYS:
            hint = "It belongs one level up, beside 'config'."
        elif key in of_environment:
            hint = f"The environment has: env_config.{key}."
        raise UserError(f"{place}: {self.name} has no setting '{key}'. {hint}")

    def _check_value(self, key: str, value: Any, place: str, table: dict[str, Row]) -> Any:
        space = spaces.parse(value, f"{place}.{key}")
        if space is not None:
            return self._check_space(key, space, place, table)
        default, row = self.defaults.get(key, compat.default_of(key)), table.get(key)
        if message := refusal(row, key, value, default):
            raise UserError(f"{place}: {message}".replace("`", "'"))
        if (
            row is not None and row.fate == IDLE and value != default and OURS not in self.readers
        ):  # which warn themselves
            warn_once(self.name, no_effect(key, value, row.text), key)
        if key in ("env", "callbacks", "callbacks_class", "multiagent"):
            return value
        hint = self.hint(key)
        wanted = hint
        if self.defaults.get(key) is not None:
            # RLlib declares everything Optional; do not advertise null where it is not the default.
            wanted = typecheck.without_none(hint)
        if not typecheck.fits(value, wanted):
            spaces.refuse_misspelt(value, f"{place}.{key}")
        if value is not None or wanted is hint:
            _check_type(key, value, wanted, place)
        if isinstance(value, dict):
            self._check_nested(key, value, f"{place}.{key}")
            if key == "evaluation_config":
                return self.check(value, f"{place}.{key}")
        value = typecheck.cast(value, hint)
        if key.startswith("num_") and isinstance(value, int | float) and value < 0:
            raise UserError(f"{place}: '{key}' is {value}, but a number of things cannot be negative.")
        return value

    def _check_space(self, key: str, space: Any, place: str, table: dict[str, Row]) -> Any:
        """Returns a search space of a setting, each alternative checked and cast."""
        from ray.tune.search.sample import Categorical, Float

        if isinstance(space, Float) and not typecheck.fits(0.5, self.hint(key)):
            raise UserError(f"{place}: '{key}' must be {typecheck.describe(self.hint(key))}: search it with choice.")
        checked = [self._check_value(key, item, place, table) for item in spaces.alternatives(space)]
        if isinstance(space, Categorical):
            return Categorical(checked).uniform()
        return {spaces.GRID: checked} if isinstance(space, dict) else space

    def _check_nested(self, key: str, value: dict[str, Any], place: str) -> None:
        if key == "replay_buffer_config":
            known = _buffer_keys(value.get("type"), self.defaults.get(key) or {})
            if known:
                _check_keys(value, known, place)
        elif key == "model_config":
            # A custom module may read any key, so only what looks like a slip of a known one is refused.
            known = _model_keys()
            for name in value:
                if name not in known and nearest(name, known, 0.8):
                    raise UserError(f"{place}: unknown key '{name}'. {did_you_mean(name, known)}")


def _type_hints(config_class: type) -> dict[str, Any]:
    """Returns setting -> declared type, from the keyword arguments of the config's methods."""
    from ray.rllib.utils.from_config import NotProvided

    hints: dict[str, Any] = {}
    for cls in reversed(config_class.__mro__):
        for method in vars(cls).values():
            if not inspect.isfunction(method):
                continue
            try:
                parameters = inspect.signature(method, eval_str=True).parameters.values()
            except Exception:  # a name that exists for type checkers only
                parameters = inspect.signature(method).parameters.values()
            for parameter in parameters:
                annotation = parameter.annotation
                if parameter.default is NotProvided and annotation is not inspect.Parameter.empty:
                    hints[parameter.name] = Any if isinstance(annotation, str) else annotation
    return hints


def _buffer_keys(kind: Any, default: dict[str, Any]) -> set[str]:
    """Returns what a replay buffer's config may contain, or nothing if its class is not known here."""
    from ray.rllib.utils import replay_buffers

    candidate = kind or default.get("type")
    if isinstance(candidate, str):
        import rllib_sami

        name = candidate.rpartition(".")[2]
        candidate = getattr(replay_buffers, name, None) or getattr(rllib_sami, name, None)
    if not isinstance(candidate, type):
        return set(default) | {"type"} if kind in (None, default.get("type")) and default else set()
    known = {"type"} | (set(default) if kind in (None, default.get("type")) else set())
    for cls in candidate.__mro__:
        if "__init__" in vars(cls) and cls is not object:
            known |= set(inspect.signature(vars(cls)["__init__"]).parameters) - {"self", "args", "kwargs"}
    return known


def _model_keys() -> set[str]:
    from dataclasses import fields

    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    return {item.name for item in fields(DefaultModelConfig)}


def _check_keys(mapping: dict[str, Any], known: Any, place: str) -> None:
    mistakes = Mistakes()
    for key in mapping:
        with mistakes.noted():
            if key not in known:
                raise UserError(f"{place}: unknown key '{key}'. {did_you_mean(key, known)}")
    mistakes.tell()


def _check_type(key: str, value: Any, hint: Any, place: str) -> None:
    if not typecheck.fits(value, hint):
        raise UserError(f"{place}: '{key}' is {value!r}, but must be {typecheck.describe(hint)}.")


def _check_checkpoint(value: dict[str, Any], place: str) -> dict[str, Any]:
    mistakes = Mistakes()
    for key, item in value.items():
        with mistakes.noted():
            _check_keys({key: item}, CHECKPOINT_TYPES, place)
            _check_type(key, item, CHECKPOINT_TYPES[key], place)
    mistakes.tell()
    checked = {key: typecheck.cast(item, CHECKPOINT_TYPES[key]) for key, item in value.items()}
    score = checked.get("checkpoint_score_attribute")
    if score and score.startswith("min-"):  # the historic way to say "less is better"
        checked.update(checkpoint_score_attribute=score[4:], checkpoint_score_order="min")
    if checked.get("checkpoint_score_order", "max") not in ("min", "max"):
        raise UserError(f"{place}: 'checkpoint_score_order' must be 'min' or 'max'.")
    if checked.get("num_to_keep") is not None and checked["num_to_keep"] < 1:
        raise UserError(f"{place}: 'num_to_keep' must be at least 1, or null to keep all.")
    return checked


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
        complete: Whether ``plan`` has all of its settings; else each is looked at by itself.
    """
    from ray.tune.search.sample import Function

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
    bundles: list[dict[str, float]] = []
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
            catalog.check_trainable(plan.algorithm, point)
        except Exception as error:
            # Making the environment runs the user's code, which may raise anything.
            mistakes.note(error, [f"{place}: {text}" for text in catalog.messages(error)])
            continue
        if _total(request.bundles) > _total(bundles):
            bundles = [dict(bundle) for bundle in request.bundles]
    mistakes.tell()
    return bundles


def _total(bundles: list[dict[str, float]]) -> tuple[float, float]:
    """Returns how much a trial asks for, GPUs before all else, to be compared."""
    return sum(bundle.get("GPU", 0) for bundle in bundles), sum(bundle.get("CPU", 0) for bundle in bundles)
