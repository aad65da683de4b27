"""Settings that change nothing in combination with the others: RLlib's are refused, this package's only warned of.

Experiment files are shared by several algorithms, so contrast settings given to TESAC are no mistake. But a user who
changes only such a setting should hear of it.
"""

import logging
from collections.abc import Iterator
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.util.debug import log_once

from rllib_sami.config.rllib_settings import EVERY, IDLE, TABLE, refusal, rows

logger = logging.getLogger(__name__)


def readers(config: AlgorithmConfig) -> frozenset[str]:
    """The groups of algorithms, as the tables name them, that a config belongs to."""
    of = {EVERY} if config.enable_rl_module_and_learner else set()
    return frozenset(of | getattr(config, "setting_readers", frozenset()))  # RLlib's own configs have none


def refusals(config: AlgorithmConfig) -> Iterator[str]:
    """Messages about RLlib's settings that were changed without effect; ``env_runner_cls`` must be a class by now."""
    defaults = vars(type(config)())
    for key, row in rows(TABLE, readers(config)).items():
        if config.in_evaluation and key == "batch_mode":
            continue  # RLlib sets it there
        has_it = key in defaults and hasattr(config, key)  # RLlib may rename what it keeps private
        if has_it and (message := refusal(row, key, getattr(config, key), defaults[key])):
            yield message


def without_effect(config: Any) -> dict[str, str]:
    """Names of settings that change nothing in combination with the others, with the reason for each."""
    reasons = {key: row.text for key, row in rows(TABLE, readers(config)).items() if row.fate == IDLE}
    if config.rollout_fragment_length == "auto":
        reasons.pop("train_batch_size", None)  # RLlib chooses the length by it
    return {key: reason for key, reason in (reasons | config.without_effect()).items() if hasattr(config, key)}


def warn_of_unused(config: Any) -> None:
    """Warns once of settings that were changed without effect.

    They are not refused, because experiments of several algorithms share them and earlier checkpoints may hold some.
    """
    if config.in_evaluation:
        return  # the training config has been checked, and RLlib sets some of this one's itself
    defaults = vars(type(config)())
    changed: dict[str, dict[str, Any]] = {}
    for key, reason in without_effect(config).items():
        if getattr(config, key) != defaults.get(key):
            changed.setdefault(reason, {})[key] = getattr(config, key)
    warn_without_effect(config, changed)


def warn_without_effect(config: Any, by_reason: dict[str, dict[str, Any]]) -> None:
    """Warns once of settings without effect, given by the reason that they share."""
    for reason, settings in by_reason.items():
        listed = ", ".join(f"`{key.lstrip('_')}` is {value!r}" for key, value in settings.items())
        have = "has" if len(settings) == 1 else "have"
        about = f"{', '.join(settings)}: {reason}"
        warn_once(type(config).__name__, f"{listed}, but {have} no effect here. {reason}.", about)


def warn_once(name: str, message: str, about: str) -> None:
    """Warns of settings of an algorithm, once for each ``about``, which leaves out values: a search changes them."""
    if log_once(f"{name}: {about}"):
        logger.warning("%s: %s", name, message)
