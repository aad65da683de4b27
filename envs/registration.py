"""The environments by name: one table for Gymnasium's registry, RLlib's and ``make``."""

import copy
from typing import Any

import gymnasium

from . import calvin, classic, kitchen, manipulation, maze, mujoco, panda, reuse, skills
from .base import MetaTaskEnv
from .checks import suggest

CLASSES: dict[str, tuple[type[MetaTaskEnv], ...]] = {
    "SaMI": (
        *(mujoco.Ant, mujoco.CrippledAnt, mujoco.HalfCheetah, mujoco.CrippledHalfCheetah),
        *(mujoco.Hopper, mujoco.CrippledHopper, mujoco.Walker, mujoco.CrippledWalker),
        *(mujoco.SlimHumanoid, mujoco.HumanoidStandup),
        *(mujoco.HalfCheetahDir, mujoco.HalfCheetahVel, mujoco.AntDir, mujoco.AntGoal),
        *(mujoco.HopperRandParams, mujoco.WalkerRandParams, mujoco.HalfCheetahFlipped),
        *(classic.CartPole, classic.Pendulum, classic.PointGoal),
        *(panda.PandaPush, panda.PandaPickAndPlace),
    ),
    "Skills": (
        *(skills.HalfCheetah, skills.Ant, skills.PosturePoint),
        *(skills.AntMultiGoal, skills.HalfCheetahGoal, skills.HalfCheetahHurdle),
        *(skills.Quadruped, skills.Humanoid, skills.QuadrupedGoal, skills.HumanoidGoal),
        *(skills.QuadrupedPixels, skills.HumanoidPixels),
        *(skills.Kitchen, skills.BinPicking),
    ),
    "Reuse": (
        *(reuse.Toy, reuse.ToyMulti, reuse.ToyGoal),
        *(reuse.PointMass, reuse.HalfCheetah, reuse.Walker, reuse.Hopper),
    ),
    "Maze": (maze.UMaze, maze.Medium, maze.Large, maze.Paper),
    "Manipulation": (manipulation.Scene,),
    "Kitchen": (kitchen.Mixed, kitchen.Misaligned, kitchen.Light),
}
"""Environment classes by the namespace of their ids: the entry that makes a new environment known."""

ENVIRONMENTS: dict[str, type[MetaTaskEnv]] = {
    f"{namespace}/{cls.__name__}-v0": cls for namespace, classes in CLASSES.items() for cls in classes
}
"""Environment class by id, such as ``"SaMI/Ant-v0"``."""


def register() -> None:
    """Registers all environments with Gymnasium; calling it again is harmless."""
    for env_id, cls in ENVIRONMENTS.items():
        if env_id not in gymnasium.registry:
            # Without max_episode_steps, which `max_steps` could not exceed: the environments truncate themselves.
            gymnasium.register(
                env_id,
                entry_point=f"{cls.__module__}:{cls.__qualname__}",
                # It steps environments that write their observation into a row.
                vector_entry_point=f"{__package__}.vector:{env_id}" if cls.writes_rows() else None,
            )
    if calvin.ENV_ID not in gymnasium.registry:  # not one of ENVIRONMENTS: nothing of it can be built without its data
        gymnasium.register(calvin.ENV_ID, entry_point=f"{calvin.__name__}:Calvin")


def make(env_id: str, **kwargs: Any) -> MetaTaskEnv:
    """Builds an environment without Gymnasium's wrappers, which samples fastest.

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
