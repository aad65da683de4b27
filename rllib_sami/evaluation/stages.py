"""Who plays where: an agent's checkpoint, an environment, one of its splits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium

from .. import compat
from ..envs import MetaTaskEnv
from .agents import Agent, make_agent
from .episodes import Episode, Job, Player, cap_of, chooses, jobs_of
from .results import SPLITS

if TYPE_CHECKING:
    from ..export import ExportedAgent
    from .checkpoints import Checkpoint

OWN_SPLIT = "own"  # tasks of the checkpoint's env_config, and environments without splits


@dataclasses.dataclass(frozen=True)
class Stage:
    """An agent and where it plays, ready to be sent to another process.

    Attributes:
        checkpoint: The algorithm's checkpoint.
        config: The algorithm's config, with the environment and the ``env_config`` of the split.
        split: Name of the split.
        explore: Whether the agent acts with noise.
        context: What its actor sees of the context.
        alone: Whether one environment has to play all episodes, one after the other.
        cap: Of the episodes, in steps; None if the environment does not tell.
    """

    checkpoint: Checkpoint | ExportedAgent
    config: Any
    split: str
    explore: bool
    context: str
    alone: bool = False
    cap: int | None = None

    def make_env(self, slot: int, **more: Any) -> gymnasium.Env:
        """Makes the environment of a slot, with more arguments in its ``env_config``.

        Raises:
            ValueError: It cannot be made.
        """
        config = self.config
        if more:
            config = config.copy(copy_frozen=False)
            config.env_config = {**config.env_config, **more}
        try:
            return compat.env_creator(config, worker_index=0, slot=slot)()
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the environment {name_of(config.env)} cannot be made: {reason}") from error

    def agent(self) -> Agent:
        """Returns the agent."""
        return make_agent(self.checkpoint.module(), self.checkpoint.path, self.explore, self.context)

    def player(self, **more: Any) -> Player:
        """Returns a player on environments with more arguments in their ``env_config``."""
        return Player(functools.partial(self.make_env, **more), self.alone)


def plan(stage: Stage, splits: Sequence[str] | None, episodes: int, seed: int) -> list[tuple[Stage, list[Job]]]:
    """Returns the stage of each split with the episodes to play.

    Args:
        stage: With the checkpoint's own ``env_config``.
        splits: Their names; None for all of train, moderate, extreme and super_extreme that the environment has, or
            for the checkpoint's own tasks where its ``env_config`` names some, or the environment has no splits.
        episodes: Of each meta-task.
        seed: Of the episodes.

    Raises:
        ValueError: The environment has no such split, or does not fit the agent.
    """
    env = stage.make_env(0)
    try:
        _check_spaces(env, stage)
        if splits is None:
            splits = _usual_splits(env, stage.config.env_config)
        played = []
        for split in splits:
            if split == OWN_SPLIT:
                of_split, there = stage.config, env
            else:
                of_split = stage.config.copy(copy_frozen=False)
                of_split.env_config = env_config_of(env, stage.config.env_config, split)
                there = dataclasses.replace(stage, config=of_split).make_env(0)
            alone, cap = chooses(there, seed), cap_of(there)
            here = dataclasses.replace(stage, config=of_split, split=split, alone=alone, cap=cap)
            played.append((here, jobs_of(there, split, episodes, seed)))
            if there is not env:
                there.close()
        return played
    finally:
        env.close()


def env_config_of(env: gymnasium.Env, env_config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Returns an ``env_config`` with another split, without what set the tasks in its stead."""
    unwrapped = env.unwrapped
    others = {"tasks", *(factor.name for factor in unwrapped.factors)} if isinstance(unwrapped, MetaTaskEnv) else set()
    return {**{key: value for key, value in env_config.items() if key not in others}, "split": split}


def name_of(env: Any) -> str:
    """Returns an environment's name, whatever a config has for it."""
    return env if isinstance(env, str) else getattr(env, "__name__", str(env))


def _usual_splits(env: gymnasium.Env, env_config: Mapping[str, Any]) -> list[str]:
    if not isinstance(env.unwrapped, MetaTaskEnv):
        return [env_config["split"]] if isinstance(env_config.get("split"), str) else [OWN_SPLIT]
    if env.unwrapped.split == "custom":
        return [OWN_SPLIT]
    return [split for split in SPLITS if split in env.unwrapped.splits] or [env.unwrapped.split]


def _check_spaces(env: gymnasium.Env, stage: Stage) -> None:
    module = stage.checkpoint.module()
    spaces = (module.observation_space, env.observation_space, module.action_space, env.action_space)
    if any(space is None for space in spaces):
        return
    sizes = [gymnasium.spaces.flatdim(space) for space in spaces]
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise ValueError(
            f"{stage.checkpoint.path}: the agent was trained on {sizes[0]} observations and {sizes[2]} actions, "
            f"but this environment has {sizes[1]} and {sizes[3]}."
        )


def pack(stage: Stage) -> bytes:
    """Returns a stage as bytes that any process can open."""
    import cloudpickle

    return cloudpickle.dumps(stage)


def play_packed(packed: bytes, jobs: Sequence[Job]) -> list[Episode]:
    """Plays a chunk on a packed stage; agent and environments stay open for the next one."""
    agent, player = opened(packed)
    return player.play(agent, jobs)


@functools.lru_cache(maxsize=1)
def opened(packed: bytes) -> tuple[Agent, Player]:
    """Returns agent and player of a packed stage."""
    import cloudpickle

    stage: Stage = cloudpickle.loads(packed)
    return stage.agent(), stage.player()
