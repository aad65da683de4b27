"""Splits of meta-tasks, as an ``env_config`` asks for them."""

from collections.abc import Mapping
from typing import Any

import gymnasium

from rllib_sami.core.metric_names import OWN_SPLIT
from rllib_sami.envs import MetaTaskEnv


def env_config_of(env: gymnasium.Env, env_config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Returns an ``env_config`` with another split, without what set the tasks in its stead."""
    unwrapped = env.unwrapped
    others = {"tasks", *(factor.name for factor in unwrapped.factors)} if isinstance(unwrapped, MetaTaskEnv) else set()
    return {**{key: value for key, value in env_config.items() if key not in others}, "split": split}


def check_split(env: gymnasium.Env, split: str, name: str) -> None:
    """Checks that an environment of this package plays the split in its ``env_config``; others may mean what they like.

    Raises:
        ValueError: A wrapper or class around it does not hand that on.
    """
    there = env.unwrapped
    if split != OWN_SPLIT and isinstance(there, MetaTaskEnv) and there.split != split:
        raise ValueError(
            f"split {split!r}: {name!r} does not hand the 'split' of its `env_config` on to {type(there).__name__}, "
            f"which would play {there.split!r}. Let it do so, or use {OWN_SPLIT!r}, its tasks as they are."
        )
