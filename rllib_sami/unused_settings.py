"""Settings that change nothing with the others as they are: RLlib's are refused, those of this package warned of.

Experiments share files, and algorithms differ in what they read of them; so a contrast's settings for TESAC are no
mistake, but who sets one alone should hear of it.
"""

import logging
from typing import TYPE_CHECKING, Any

from ray.util.debug import log_once

from .core.pairing import PAIRINGS
from .env_runner import SaMIEnvRunner

if TYPE_CHECKING:
    from .algorithm import SaMIConfig
    from .base import ContextConfig

logger = logging.getLogger(__name__)

# Settings of RLlib that have no effect here: their defaults and what to set instead.
_BATCHES = "An update reads whole episodes: set `train_episodes`, `loss_timesteps` and `updates_per_env_step`"
_OF_RLLIB = {
    "_train_batch_size_per_learner": (None, _BATCHES),
    "minibatch_size": (None, _BATCHES),
    "num_epochs": (1, _BATCHES),
    "_learner_connector": (None, "The learner takes arrays from the replay buffer: subclass TaskEpisodeReplayBuffer"),
    "batch_mode": ("truncate_episodes", "The replay buffer puts pieces of episodes together: leave it as it is"),
    "torch_compile_learner": (False, "Set `compile_update`, which compiles the losses of an update"),
    "normalize_actions": (True, "The actor's tanh needs normalised actions: leave it as it is"),
}
# The same for SaMIEnvRunner.
_OWN_RUNNER = "SaMIEnvRunner calls no connectors. Wrap the environment, or set `env_runner_cls` to SingleAgentEnvRunner"
_OF_RLLIBS_RUNNER = {
    "_env_to_module_connector": (None, _OWN_RUNNER),
    "_module_to_env_connector": (None, _OWN_RUNNER),
    "output": (
        None,
        "Write the replay buffer's episodes: `rllib_sami.offline.write_episodes(algo.replay_buffer, DIR)`",
    ),
}
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


def refuse_unused(config: "SaMIConfig") -> None:
    """Refuses settings of RLlib that are changed in vain; ``env_runner_cls`` must be a class by now.

    Raises:
        ValueError: Naming the field, its value and what to do.
    """
    settings = dict(_OF_RLLIB)
    if config.in_evaluation:
        settings.pop("batch_mode")  # RLlib sets it there
    if issubclass(config.env_runner_cls, SaMIEnvRunner):
        settings |= _OF_RLLIBS_RUNNER
    for key, (default, advice) in settings.items():
        value = getattr(config, key, default)  # RLlib may rename what it keeps private
        if value != default:
            raise ValueError(f"`{key.lstrip('_')}` is {value!r}, but has no effect here. {advice}.")


def without_effect(config: "ContextConfig") -> dict[str, str]:
    """Names of the settings that change nothing with the others as they are, with the reason for each."""
    reasons = {}
    # PPO reads it, and RLlib where it is to choose the length of fragments.
    if hasattr(config, "train_episodes") and config.rollout_fragment_length != "auto":
        reasons["train_batch_size"] = _BATCHES
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
    """Says once which settings were changed in vain.

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
        listed = ", ".join(f"`{key}` is {value!r}" for key, value in settings.items())
        have = "has" if len(settings) == 1 else "have"
        message = f"{type(config).__name__}: {listed}, but {have} no effect here. {reason}."
        # Without values, which a search may change over and over.
        if log_once(f"{type(config).__name__}: {', '.join(settings)}: {reason}"):
            logger.warning("%s", message)
