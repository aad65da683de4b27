"""Plans an evaluation: which agent plays which episodes; agents and environments that stay open in a process."""

from __future__ import annotations

import atexit
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle
import gymnasium

from rllib_sami.algorithms.skill_discovery.evaluation import GOALS, skill_grids
from rllib_sami.algorithms.skill_discovery.skill_discovery import SkillDiscoveryConfig
from rllib_sami.algorithms.skimo.skill_task import other_skills
from rllib_sami.core.faults import closing
from rllib_sami.core.metric_names import OWN_SPLIT, SPLITS
from rllib_sami.env_runners.agents import Agent, make_agent
from rllib_sami.env_runners.episodes import Episode, EpisodeSpec
from rllib_sami.env_runners.player import Player
from rllib_sami.env_runners.splits import SplitGrid, WrongSplitError
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.evaluation.names import ORACLE
from rllib_sami.evaluation.processes import advance

if TYPE_CHECKING:
    from rllib_sami.exports.agents import ExportedAgent
    from rllib_sami.exports.checkpoints import Checkpoint

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AgentOnSplit:
    """An agent and the episodes that it plays of one split."""

    checkpoint: Checkpoint | ExportedAgent
    grid: SplitGrid
    context: str  # what its actor sees of the context, see `agents.parse_context`
    name: str | None = None  # instead of that of the algorithm

    @property
    def algorithm(self) -> str:
        """Name of the algorithm. An agent that observes the task is another one than an agent that does not."""
        name = self.name or self.checkpoint.algorithm.__name__
        return f"{name} ({ORACLE})" if self.grid.config.env_config.get("observe_task") else name

    def agent(self) -> Agent:
        """Returns the agent."""
        checkpoint, explore = self.checkpoint, self.grid.config.explore
        return make_agent(checkpoint.module(), checkpoint.path, explore, self.context, checkpoint.env_steps())

    def chunks(self) -> list[AgentOnSplit]:
        """Splits the episodes into parts that are played at once, see ``SplitGrid.chunks``."""
        return [dataclasses.replace(self, grid=chunk) for chunk in self.grid.chunks()]

    def pack(self) -> tuple[bytes, list[EpisodeSpec]]:
        """Returns agent and environments as bytes that any process can open, and the episodes."""
        without_episodes = dataclasses.replace(self, grid=dataclasses.replace(self.grid, episodes=[]))
        return cloudpickle.dumps(without_episodes), self.grid.episodes


EPISODES = 5  # of each task
NUM_SKILLS, NUM_GOALS = 48, 50  # where a checkpoint has other or none


def plan(agent: AgentOnSplit, splits: Sequence[str] | None, episodes: int | None, seed: int) -> list[AgentOnSplit]:
    """Returns what the agent plays of each split.

    Args:
        agent: With the checkpoint's own ``env_config`` and no episodes.
        splits: Names of splits; None for all of train, moderate, extreme and super_extreme that the environment has,
            or for the tasks in the checkpoint's ``env_config`` if it names some, or if the environment has no splits.
        episodes: Number of episodes of each meta-task, or of skills and goals; None for the usual numbers.
        seed: Seed of the evaluation.

    Raises:
        ValueError: The environment has no such split, or does not fit the agent.
    """
    if splits is not None and not splits:
        raise ValueError("splits: none given.")
    played, grid = [], agent.grid
    if isinstance(grid.config, SkillDiscoveryConfig):
        with closing(grid.make_env(), grid.name) as env:
            _check_spaces(env, agent)
        usual = grid.config.evaluation_duration
        num_skills = episodes or (usual if isinstance(usual, int) else NUM_SKILLS)
        num_goals = grid.config.evaluation_goals and (episodes or grid.config.evaluation_goals)
        if GOALS in (splits or ()):
            num_goals = num_goals or episodes or NUM_GOALS
        of_skills = skill_grids(grid.config, splits, num_skills, num_goals, seed)
        return [dataclasses.replace(agent, grid=one) for one in of_skills]
    episodes = episodes or EPISODES
    with closing(grid.make_env(), grid.name) as env:
        _check_spaces(env, agent)
        _check_skills(env, agent)
        wanted = splits or _default_splits(env, grid.config.env_config)
        for split in dict.fromkeys(wanted):  # the same episodes twice would count as independent ones
            try:
                of_split = grid.with_split(env, split, episodes, seed)
            except WrongSplitError:
                if splits is None:
                    continue
                raise
            if of_split.single_env and agent.context == "shuffled":
                raise ValueError(
                    f"context='shuffled' takes contexts of episodes played at the same time, but {grid.name} chooses "
                    "its tasks itself, so that one environment plays all episodes, one after the other. Use zero or "
                    "frozen-after=N, or give it the attributes num_tasks and next_task_id."
                )
            played.append(dataclasses.replace(agent, grid=of_split))
    return played or plan(agent, [OWN_SPLIT], episodes, seed)


def _default_splits(env: gymnasium.Env, env_config: Mapping[str, Any]) -> list[str]:
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, MetaTaskEnv):
        return [env_config["split"]] if isinstance(env_config.get("split"), str) else [OWN_SPLIT]
    if unwrapped.split == "custom":
        return [OWN_SPLIT]
    return [split for split in SPLITS if split in unwrapped.splits] or [unwrapped.split]


def _check_skills(env: gymnasium.Env, agent: AgentOnSplit) -> None:
    model = env.get_wrapper_attr("skill_model") if env.has_wrapper_attr("skill_model") else None
    if model is not None and (warning := other_skills(agent.checkpoint.path, model.checksum())):
        logger.warning("%s", warning)


def _check_spaces(env: gymnasium.Env, agent: AgentOnSplit) -> None:
    trained_on = agent.agent().spaces
    spaces: Any = (trained_on[0], env.observation_space, trained_on[1], env.action_space)
    if any(space is None for space in spaces):
        return
    sizes = [gymnasium.spaces.flatdim(space) for space in spaces]
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise ValueError(
            f"{agent.checkpoint.path}: the agent was trained on {sizes[0]} observations and {sizes[2]} actions, "
            f"but this environment has {sizes[1]} and {sizes[3]}."
        )


def play_packed(packed: bytes, episodes: Sequence[EpisodeSpec]) -> list[Episode]:
    """Plays episodes; agent and environments stay open for the next ones."""
    agent, player = open_packed(packed)
    return player.play(agent, episodes, lambda _, slot: advance(1) if slot.done else None)


_open: dict[bytes, tuple[Agent, Player]] = {}  # the packed agent that is open, if any


def open_packed(packed: bytes) -> tuple[Agent, Player]:
    """Returns a packed agent and its player, which are kept until another one is opened."""
    if packed not in _open:
        close()
        agent: AgentOnSplit = cloudpickle.loads(packed)
        _open[packed] = agent.agent(), agent.grid.player()
    return _open[packed]


@atexit.register  # of processes that only play
def close() -> None:
    """Closes the environments of the agent that is open, if any."""
    while _open:
        _, (_, player) = _open.popitem()
        player.close()
