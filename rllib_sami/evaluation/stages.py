"""Who plays where: an agent's checkpoint, an environment, one of its splits."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium

from rllib_sami import compat
from rllib_sami.core.faults import EnvironmentFaultError, Watch, closing, trying
from rllib_sami.core.metric_names import OWN_SPLIT, SPLITS
from rllib_sami.env_runners.agents import Agent, make_agent
from rllib_sami.env_runners.episodes import Episode, Job, chooses, jobs_of, max_episode_steps
from rllib_sami.env_runners.player import TIMEOUT, Player
from rllib_sami.env_runners.splits import check_split, env_config_of
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.evaluation.processes import advance

if TYPE_CHECKING:
    from rllib_sami.exports.agents import ExportedAgent
    from rllib_sami.exports.checkpoints import Checkpoint


@dataclasses.dataclass(frozen=True)
class Stage:
    """An agent and where it plays, ready to be sent to another process.

    Attributes:
        checkpoint: The algorithm's checkpoint.
        name: Of the environment.
        config: The algorithm's config, with the environment and the ``env_config`` of the split.
        split: Name of the split.
        explore: Whether the agent acts with noise.
        context: What its actor sees of the context.
        alone: Whether one environment has to play all episodes, one after the other.
        cap: Of the episodes, in steps; None if the environment does not tell.
        timeout_s: How long an episode may take in seconds, see ``faults.Watch``; None: any time.
    """

    checkpoint: Checkpoint | ExportedAgent
    name: str
    config: Any
    split: str
    explore: bool
    context: str
    alone: bool = False
    cap: int | None = None
    timeout_s: float | None = None

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
            with Watch(self.name, self.timeout_s, TIMEOUT):
                return compat.env_creator(config, worker_index=0, slot=slot)()
        except EnvironmentFaultError:
            raise
        except Exception as error:  # whatever a simulator raises
            reason = " ".join((str(error) or type(error).__name__).split())
            raise ValueError(f"the environment {self.name} cannot be made: {reason}") from error

    def trying(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Watches and names the environment while it does ``what``, see ``faults.trying``."""
        return trying(self.name, what, self.timeout_s, TIMEOUT)

    def agent(self) -> Agent:
        """Returns the agent."""
        checkpoint = self.checkpoint
        return make_agent(checkpoint.module(), checkpoint.path, self.explore, self.context, checkpoint.env_steps())

    def player(self, **more: Any) -> Player:
        """Returns a player on environments with more arguments in their ``env_config``."""
        return Player(functools.partial(self.make_env, **more), self.alone, self.name, self.timeout_s)


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
    if splits is not None and not splits:
        raise ValueError("splits: none given.")
    with closing(stage.make_env(0), stage.name) as env:
        _check_spaces(env, stage)
        played = []
        wanted = splits or _usual_splits(env, stage.config.env_config)
        for split in dict.fromkeys(wanted):  # the same episodes twice would count as independent ones
            config = stage.config.copy(copy_frozen=False)
            if split != OWN_SPLIT:
                config.env_config = env_config_of(env, stage.config.env_config, split)
            here = dataclasses.replace(stage, config=config, split=split)
            with closing(here.make_env(0), here.name) as there:
                try:
                    check_split(there, split, here.name)
                except ValueError:
                    if splits is None:
                        continue
                    raise
                with here.trying("reset"):
                    alone, cap = chooses(there, seed), max_episode_steps(there)
                    jobs = jobs_of(there, split, episodes, seed)
            if alone and stage.context == "shuffled":
                raise ValueError(
                    f"context='shuffled' takes contexts of episodes played at the same time, but {stage.name} chooses "
                    "its tasks itself, so that one environment plays all episodes, one after the other. Use zero or "
                    "frozen-after=N, or give it the attributes num_tasks and next_task_id."
                )
            played.append((dataclasses.replace(here, alone=alone, cap=cap), jobs))
    return played or plan(stage, [OWN_SPLIT], episodes, seed)


def _usual_splits(env: gymnasium.Env, env_config: Mapping[str, Any]) -> list[str]:
    if not isinstance(env.unwrapped, MetaTaskEnv):
        return [env_config["split"]] if isinstance(env_config.get("split"), str) else [OWN_SPLIT]
    if env.unwrapped.split == "custom":
        return [OWN_SPLIT]
    return [split for split in SPLITS if split in env.unwrapped.splits] or [env.unwrapped.split]


def _check_spaces(env: gymnasium.Env, stage: Stage) -> None:
    of_agent = stage.agent().spaces
    spaces: Any = (of_agent[0], env.observation_space, of_agent[1], env.action_space)
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
    return player.play(agent, jobs, lambda _, slot: advance(1) if slot.done else None)


_open: dict[bytes, tuple[Agent, Player]] = {}  # the packed stage that is played on, or none


def opened(packed: bytes) -> tuple[Agent, Player]:
    """Returns agent and player of a packed stage; they are kept until another stage is opened."""
    import cloudpickle

    if packed not in _open:
        close()
        stage: Stage = cloudpickle.loads(packed)
        _open[packed] = stage.agent(), stage.player()
    return _open[packed]


@atexit.register  # of processes that only play
def close() -> None:
    """Closes the environments of the stage that is open, if any."""
    while _open:
        _, (_, player) = _open.popitem()
        player.close()
