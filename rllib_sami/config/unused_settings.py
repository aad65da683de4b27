"""Settings that change nothing with the others as they are: RLlib's are refused, those of this package warned of.

Experiments share files, and algorithms differ in what they read of them; so a contrast's settings for TESAC are no
mistake, but who sets one alone should hear of it.
"""

import logging
from collections.abc import Iterator
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.util.debug import log_once

from rllib_sami.config.rllib_settings import EVERY, IDLE, TABLE, refusal, rows

logger = logging.getLogger(__name__)


def readers(config: AlgorithmConfig) -> frozenset[str]:
    """To whom of the tables' rows a config belongs."""
    of = {EVERY} if config.enable_rl_module_and_learner else set()
    return frozenset(of | getattr(config, "setting_readers", frozenset()))  # others are RLlib's own


def refusals(config: AlgorithmConfig) -> Iterator[str]:
    """What is said of RLlib's settings that are changed without effect; ``env_runner_cls`` must be a class by now."""
    defaults = vars(type(config)())
    for key, row in rows(TABLE, readers(config)).items():
        if config.in_evaluation and key == "batch_mode":
            continue  # RLlib sets it there
        if key in defaults and hasattr(config, key):  # RLlib may rename what it keeps private
            message = refusal(row, key, getattr(config, key), defaults[key])
            if message:
                yield message


def without_effect(config: Any) -> dict[str, str]:
    """Names of the settings that change nothing with the others as they are, with the reason for each."""
    reasons = {key: row.text for key, row in rows(TABLE, readers(config)).items() if row.fate == IDLE}
    if config.rollout_fragment_length == "auto":
        reasons.pop("train_batch_size", None)  # RLlib chooses the length by it
    return {key: reason for key, reason in (reasons | config.without_effect()).items() if hasattr(config, key)}


def warn_of_unused(config: Any) -> None:
    """Says once which settings were changed without effect.

    They are not refused: experiments of several algorithms share them, and earlier checkpoints may hold some.
    """
    if config.in_evaluation:
        return  # the training config has been checked, and RLlib sets some of this one's by itself
    defaults = vars(type(config)())
    changed: dict[str, dict[str, Any]] = {}
    for key, reason in without_effect(config).items():
        if getattr(config, key) != defaults.get(key):
            changed.setdefault(reason, {})[key] = getattr(config, key)
    warn_of(config, changed)


def warn_of(config: Any, without_effect: dict[str, dict[str, Any]]) -> None:
    """Warns once of settings without effect, by the reason that they share."""
    for reason, settings in without_effect.items():
        listed = ", ".join(f"`{key.lstrip('_')}` is {value!r}" for key, value in settings.items())
        have = "has" if len(settings) == 1 else "have"
        about = f"{', '.join(settings)}: {reason}"
        warn_once(type(config).__name__, f"{listed}, but {have} no effect here. {reason}.", about)


def warn_once(name: str, message: str, about: str) -> None:
    """Warns of settings of an algorithm, once for each ``about``: not of values, which a search changes often."""
    if log_once(f"{name}: {about}"):
        logger.warning("%s: %s", name, message)
