"""The settings that an algorithm knows: names, types and defaults, taken from its config class."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Container
from functools import cache
from typing import Any, Union

from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils import replay_buffers
from ray.rllib.utils.from_config import NotProvided
from ray.tune.search.sample import Categorical, Float, Function

import rllib_sami
from rllib_sami import compat
from rllib_sami.config.family_settings import FAMILY
from rllib_sami.config.rllib_settings import (
    ARRAY_RUNNER,
    IDLE,
    MAPPED,
    OURS,
    RENAMED,
    TABLE,
    USED,
    Row,
    no_effect,
    refusal,
    rows,
)
from rllib_sami.config.unused_settings import readers, warn_once
from rllib_sami.core.text import did_you_mean, nearest_name
from rllib_sami.registration import ALGORITHMS
from rllib_sami_cli import spaces, typecheck
from rllib_sami_cli.errors import Mistakes, UserError
from rllib_sami_cli.experiment import EXPERIMENT_KEYS

# Not attributes of a config, yet `update_from_dict` or we understand them.
_EXTRA_KEYS = {"model_config", "multiagent", "train_batch_size_per_learner", "callbacks", "framework"}


class ConfigSchema:
    """The settings of one algorithm.

    Attributes:
        name: Name of the algorithm.
        defaults: Setting -> default.
        hints: Setting -> declared type.
        keys: All names that a config may have.
        public_keys: Those of them that messages suggest.
        evaluation_defaults: Defaults of the settings that decide which evaluation results there are.
    """

    def __init__(self, algorithm: type):
        default = algorithm.get_default_config()  # type: ignore[attr-defined]
        self.name = algorithm.__name__
        self.defaults: dict[str, Any] = {**vars(default), **default.to_dict()}
        self.hints = _type_hints(type(default))
        self.readers = readers(default)
        fates = self._table({})
        self.keys = self.defaults.keys() | _EXTRA_KEYS | fates.keys()
        intervals = ("evaluation_interval", "offline_evaluation_interval")
        self.evaluation_defaults = {key: self.defaults.get(key) for key in intervals}
        if "evaluation_splits" in self.defaults:  # of our algorithms
            self.evaluation_defaults["evaluation_splits"] = None
        # Of skill discovery, whose evaluation has metrics of its own, and of learning from data.
        own = ("evaluation_goals", "validation_fraction")
        self.evaluation_defaults |= {key: self.defaults[key] for key in own if key in self.defaults}
        # Files are shared, so settings that only our other algorithms read are suggested, too.
        shared = {key for key, row in rows(FAMILY, self.readers).items() if row.fate in (IDLE, MAPPED)}
        unread = {key for key, row in fates.items() if row.fate not in (USED, MAPPED)}
        names = (self.defaults.keys() | _EXTRA_KEYS) - unread | shared
        self.public_keys = {key for key in names if not key.startswith("_")}

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
        """Returns the valid part of ``config``, with numbers cast.

        Args:
            config: Setting to value.
            place: Where it stands, for messages.
            of_environment: Names that belong into ``env_config``.
            mistakes: Collects what is wrong; None raises it, as one UserError.
        """
        checked = {}
        found = mistakes or Mistakes()
        table = self._table(config)
        for key, value in config.items():
            with found.noted():
                if key not in self.keys:
                    self._unknown(key, place, of_environment)
                taken = self._check_value(key, value, place, table)
                if key in self.defaults or key not in table or table[key].fate != RENAMED:
                    checked[key] = taken  # an old name without effect is left out, since RLlib would refuse it
        if mistakes is None:
            found.tell(config)
        return checked

    def _table(self, config: dict[str, Any]) -> dict[str, Row]:
        """Returns what becomes of settings of RLlib and of our other algorithms.

        It depends on the env runners and the API stack that ``config`` chooses.
        """
        if config.get("enable_rl_module_and_learner") is False:
            return {}
        known = self.readers - {ARRAY_RUNNER} if "env_runner_cls" in config else self.readers
        return rows(FAMILY, known) | rows(TABLE, known)

    def hint(self, key: str) -> Any:
        """Returns the type of a setting: the declared one, or else that of its default."""
        if key == "num_cpus_per_env_runner":
            return float  # RLlib declares an int, but Ray takes fractions of CPUs
        from_default = typecheck.type_of_default(self.defaults.get(key))
        declared = self.hints.get(key, from_default)
        # RLlib declares some wrongly (a bool as Optional[str]); the default itself is always right.
        is_right = typecheck.fits(self.defaults.get(key), declared)
        return declared if is_right else Union[declared, from_default]  # noqa: UP007 - values, not an annotation

    def _unknown(self, key: Any, place: str, of_environment: Container[str]) -> None:
        hint = did_you_mean(key, self.public_keys) or "No setting has a similar name."
        configs = {name: algorithm.get_default_config() for name, algorithm in ALGORITHMS.items()}
        if owners := [name for name, config in configs.items() if key in getattr(config, "settings", {})]:
            hint = (
                f"It is one of {' and '.join(owners[:3])}: in a file of several experiments, NAME.{key} sets it in one."
            )
        if key in EXPERIMENT_KEYS:
            hint = "It belongs one level up, beside 'config'."
        elif key in of_environment:
            hint = f"The environment has: env_config.{key}."
        raise UserError(f"{place}: {self.name} has no setting '{key}'. {hint}")

    def _check_value(self, key: str, value: Any, place: str, table: dict[str, Row]) -> Any:
        space = spaces.parse(value, f"{place}.{key}")
        if space is not None:
            return self._check_space(key, space, place, table)
        if isinstance(value, dict) and spaces.searched(value) and key != "evaluation_config":
            for item in spaces.alternatives(value):
                self._check_value(key, item, place, table)
            return value
        default, row = self.defaults.get(key, compat.default_of(key)), table.get(key)
        if message := refusal(row, key, value, default):
            raise UserError(f"{place}: {message}".replace("`", "'"))
        if row is not None and row.fate == IDLE and value != default and OURS not in self.readers:
            warn_once(self.name, no_effect(key, value, row.text), key)  # our own algorithms do it themselves
        if key in ("env", "callbacks", "callbacks_class", "multiagent"):
            return value
        hint = self.hint(key)
        # RLlib declares everything Optional; do not advertise null unless it is the default.
        wanted = hint if self.defaults.get(key) is None else typecheck.without_none(hint)
        if not typecheck.fits(value, wanted):
            spaces.refuse_misspelt(value, f"{place}.{key}")
        if value is not None or wanted is hint:
            check_type(key, value, wanted, place)
        if isinstance(value, dict):
            self._check_nested(key, value, f"{place}.{key}")
            if key == "evaluation_config":
                return self.check(value, f"{place}.{key}")
        value = typecheck.cast(value, hint)
        if key.startswith("num_") and isinstance(value, int | float) and value < 0:
            raise UserError(f"{place}: '{key}' is {value}, but a count cannot be negative.")
        return value

    def _check_space(self, key: str, space: Any, place: str, table: dict[str, Row]) -> Any:
        """Returns a search space of a setting, each alternative checked and cast."""
        if isinstance(space, Function):
            return space  # what it gives is known in a trial
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
                check_keys(value, known, place)
        elif key == "model_config":
            # A custom module may read any key, so only what looks like a typo of a known one is refused.
            known = {item.name for item in dataclasses.fields(DefaultModelConfig)}
            for name in value:
                if name not in known and nearest_name(name, known, 0.8):
                    raise UserError(f"{place}: unknown key '{name}'. {did_you_mean(name, known)}")


def _type_hints(config_class: type) -> dict[str, Any]:
    """Returns setting -> declared type, from the keyword arguments of the config's methods."""
    hints: dict[str, Any] = {}
    for cls in reversed(config_class.__mro__):
        for method in vars(cls).values():
            if not inspect.isfunction(method):
                continue
            try:
                parameters = inspect.signature(method, eval_str=True).parameters.values()
            except Exception:  # a name that only type checkers know
                parameters = inspect.signature(method).parameters.values()
            for parameter in parameters:
                annotation = parameter.annotation
                if parameter.default is NotProvided and annotation is not inspect.Parameter.empty:
                    hints[parameter.name] = Any if isinstance(annotation, str) else annotation
    return hints


def _buffer_keys(kind: Any, default: dict[str, Any]) -> set[str]:
    """Returns the keys that a replay buffer's config may have, or none if its class is unknown here."""
    candidate = kind or default.get("type")
    if isinstance(candidate, str):
        name = candidate.rpartition(".")[2]
        candidate = getattr(replay_buffers, name, None) or getattr(rllib_sami, name, None)
    known = set(default) if kind in (None, default.get("type")) else set()
    if not isinstance(candidate, type):
        return known and known | {"type"}
    known.add("type")
    for cls in candidate.__mro__:
        if "__init__" in vars(cls) and cls is not object:
            known |= set(inspect.signature(vars(cls)["__init__"]).parameters) - {"self", "args", "kwargs"}
    return known


def check_keys(mapping: dict[str, Any], known: Any, place: str) -> None:
    """Raises a UserError that names the unknown keys of a mapping."""
    mistakes = Mistakes()
    for key in mapping:
        with mistakes.noted():
            if key not in known:
                raise UserError(f"{place}: unknown key '{key}'. {did_you_mean(key, known)}")
    mistakes.tell()


def check_type(key: str, value: Any, hint: Any, place: str) -> None:
    """Raises a UserError if a value does not fit a type."""
    if not typecheck.fits(value, hint):
        raise UserError(f"{place}: '{key}' is {value!r}, but must be {typecheck.describe(hint)}.")


def check_mapping(mapping: dict[str, Any], types: dict[str, Any], place: str, mistakes: Mistakes) -> dict[str, Any]:
    """Returns the items whose keys are known and whose values fit, with numbers cast; notes the mistakes of the others.

    Args:
        mapping: What the user wrote.
        types: Known key -> type.
        place: Where it stands, for messages.
        mistakes: Collects what is wrong.
    """
    checked = {}
    for key, value in mapping.items():
        with mistakes.noted():
            check_keys({key: value}, types, place)
            check_type(key, value, types[key], place)
            checked[key] = typecheck.cast(value, types[key])
    return checked
