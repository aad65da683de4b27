"""The environments by name: one table for Gymnasium's registry, RLlib's and ``make``."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium

from .base import MetaTaskEnv
from .classic import CartPole, Pendulum, PointGoal
from .factors import suggest
from .mujoco import (
    Ant,
    AntDir,
    AntGoal,
    CrippledAnt,
    CrippledHalfCheetah,
    CrippledHopper,
    CrippledWalker,
    HalfCheetah,
    HalfCheetahDir,
    HalfCheetahFlipped,
    HalfCheetahVel,
    Hopper,
    HopperRandParams,
    HumanoidStandup,
    SlimHumanoid,
    Walker,
    WalkerRandParams,
)
from .panda import PandaPickAndPlace, PandaPush

ENVIRONMENTS: dict[str, type[MetaTaskEnv]] = {
    f"SaMI/{cls.__name__}-v0": cls
    for cls in (
        *(Ant, CrippledAnt, HalfCheetah, CrippledHalfCheetah, Hopper, CrippledHopper, Walker, CrippledWalker),
        *(SlimHumanoid, HumanoidStandup),
        *(HalfCheetahDir, HalfCheetahVel, AntDir, AntGoal, HopperRandParams, WalkerRandParams, HalfCheetahFlipped),
        *(CartPole, Pendulum, PointGoal),
        *(PandaPush, PandaPickAndPlace),
    )
}
"""Environment class by id. A new environment needs its class here and nothing else."""


def register() -> None:
    """Registers all environments with Gymnasium; again is harmless."""
    for env_id, cls in ENVIRONMENTS.items():
        if env_id not in gymnasium.registry:
            # No max_episode_steps, which `max_steps` could not exceed: the environments cap themselves.
            gymnasium.register(
                env_id,
                entry_point=f"{cls.__module__}:{cls.__qualname__}",
                vector_entry_point=f"{__package__}.vector:{cls.__qualname__}",
            )


def make(env_id: str, **kwargs: Any) -> MetaTaskEnv:
    """Builds an environment without Gymnasium's wrappers, the form that samples fastest.

    Args:
        env_id: E.g. ``"SaMI/Ant-v0"``; a module prefix as in ``"rllib_sami:SaMI/Ant-v0"`` is dropped.
        **kwargs: Arguments of the environment's constructor.

    Raises:
        ValueError: The id is unknown.
    """
    name = env_id.rpartition(":")[2]
    if name not in ENVIRONMENTS:
        raise ValueError(f"env_id={env_id!r} is not an environment of this package. {suggest(name, ENVIRONMENTS)}")
    env = ENVIRONMENTS[name](**kwargs)
    env.spec = copy.copy(gymnasium.spec(name))
    env.spec.kwargs = dict(kwargs)
    return env


def list_environments() -> list[str]:
    """Returns the ids of all environments, sorted."""
    return sorted(ENVIRONMENTS)
