"""Settings that change nothing with the others as they are: RLlib's are refused, those of this package warned of.

Experiments share files, and algorithms differ in what they read of them; so a contrast's settings for TESAC are no
mistake, but who sets one alone should hear of it.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.util.debug import log_once

from rllib_sami.algorithms.sami.pairing import PAIRINGS
from rllib_sami.config.rllib_settings import ARRAY_RUNNER, EVERY, IDLE, OFF_POLICY, OURS, SAPPO, TABLE, refusal, rows

if TYPE_CHECKING:
    from rllib_sami.algorithms.base.algorithm import ContextConfig

logger = logging.getLogger(__name__)

# What only an encoder, or only a contrast, reads.
_OF_ENCODER = ("encoder_hidden_dim", "encoder_type", "encoder_lr", "normalize_context", "contrast_interval")
_OF_CONTRAST = (
    "skill_weight",
    "return_gap_weight",
    "objective",
    "temperature",
    "similarity",
    "contrast_episodes",
    "contrast_timesteps",
    "num_negatives",
    "positive_fraction",
    "contrast_capacity",
)


def readers(config: AlgorithmConfig) -> frozenset[str]:
    """To whom of the table's rows a config belongs."""
    of = {EVERY} if config.enable_rl_module_and_learner else set()
    if hasattr(type(config), "has_contrast"):
        off_policy = hasattr(config, "train_episodes")
        of |= {OURS, OFF_POLICY if off_policy else SAPPO}
        if off_policy and config.has_array_runner:
            of.add(ARRAY_RUNNER)
    return frozenset(of)


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


def without_effect(config: "ContextConfig") -> dict[str, str]:
    """Names of the settings that change nothing with the others as they are, with the reason for each."""
    reasons = {key: row.text for key, row in rows(TABLE, readers(config)).items() if row.fate == IDLE}
    if config.rollout_fragment_length == "auto":
        reasons.pop("train_batch_size", None)  # RLlib chooses the length by it
    if config.context_dim == 0:
        reasons |= dict.fromkeys(_OF_ENCODER, "There is no context encoder: `context_dim` is 0")
    if not config.has_contrast:
        why = "`pairing` is None" if config.pairing is None else "`contrast_coeff` is 0"
        reasons |= dict.fromkeys(_OF_CONTRAST, f"There is no contrast: {why}")
        if config.contrast_coeff > 0:
            reasons["contrast_coeff"] = reasons["temperature"]
    elif config.pairing is not None and not PAIRINGS[config.pairing].by_skill:
        why = f"`pairing` is {config.pairing!r}, which takes returns for equal"
        reasons |= dict.fromkeys(("positive_fraction", "return_gap_weight"), why)
    if config.has_contrast and config.pairing != "skill_task":
        reasons["skill_weight"] = f"There is nothing to weigh: `pairing` is {config.pairing!r}, not 'skill_task'"
    if not getattr(config, "key_encoder", config.has_contrast):  # SaPPO has one for the contrast alone
        reasons["key_encoder_tau"] = "Nothing reads a key encoder"
    return {key: reason for key, reason in reasons.items() if hasattr(config, key)}


def warn_of_unused(config: "ContextConfig") -> None:
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
    for reason, settings in changed.items():
        listed = ", ".join(f"`{key.lstrip('_')}` is {value!r}" for key, value in settings.items())
        have = "has" if len(settings) == 1 else "have"
        about = f"{', '.join(settings)}: {reason}"
        warn_once(type(config).__name__, f"{listed}, but {have} no effect here. {reason}.", about)


def warn_once(name: str, message: str, about: str) -> None:
    """Warns of settings of an algorithm, once for each ``about``: not of values, which a search changes often."""
    if log_once(f"{name}: {about}"):
        logger.warning("%s: %s", name, message)
