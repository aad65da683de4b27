"""The fixed episodes that an evaluation plays of a split of meta-tasks."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from rllib_sami import compat
from rllib_sami.core.faults import EnvironmentFaultError, Watch, closing, trying
from rllib_sami.core.metric_names import OWN_SPLIT
from rllib_sami.core.text import one_line
from rllib_sami.env_runners.episodes import NUM_SLOTS, EpisodeSpec, list_episodes, max_episode_steps
from rllib_sami.env_runners.player import TIMEOUT, Player
from rllib_sami.envs import MetaTaskEnv  # installed from envs/


class WrongSplitError(ValueError):
    """An environment plays another split than the one in its ``env_config``."""


@dataclasses.dataclass(frozen=True)
class SplitGrid:
    """The fixed episodes of one split of an environment, ready to be sent to another process."""

    name: str  # of the environment
    config: Any  # with `env`, the `env_config` of the split, `explore` and `evaluation_sample_timeout_s`
    split: str = OWN_SPLIT
    episodes: list[EpisodeSpec] = dataclasses.field(default_factory=list)
    single_env: bool = False  # whether one environment has to play all of them, one after the other
    max_episode_steps: int | None = None  # None if it is unknown

    def make_env(self, slot: int = 0, **env_config: Any) -> gymnasium.Env:
        """Makes the environment of a slot, with further settings in its ``env_config``.

        Raises:
            ValueError: It cannot be made.
        """
        config = self.config
        if env_config:
            config = config.copy(copy_frozen=False)
            config.env_config = {**config.env_config, **env_config}
        try:
            with Watch(self.name, config.evaluation_sample_timeout_s, TIMEOUT):
                return compat.env_creator(config, worker_index=0, slot=slot)()
        except EnvironmentFaultError:
            raise
        except Exception as error:  # whatever a simulator raises
            raise ValueError(f"the environment {self.name} cannot be made: {one_line(error)}") from error

    def player(self, **env_config: Any) -> Player:
        """Returns a player on its environments, with further settings in their ``env_config``."""
        make_env = functools.partial(self.make_env, **env_config)
        return Player(make_env, self.single_env, self.name, self.config.evaluation_sample_timeout_s)

    def with_split(self, env: gymnasium.Env, split: str, episodes: int, seed: int) -> SplitGrid:
        """Returns the episodes of another split.

        Args:
            env: An environment as :meth:`make_env` makes it.
            split: Name of the split.
            episodes: Number of episodes of each meta-task, see :func:`list_episodes`.
            seed: Seed of the evaluation.

        Raises:
            ValueError: The environment cannot be made with this split, or plays another one (``WrongSplitError``).
            EnvironmentFaultError: It cannot be reset.
        """
        config = self.config.copy(copy_frozen=False)
        if split != OWN_SPLIT:
            config.env_config = _with_split(env, self.config.env_config, split)
        grid = dataclasses.replace(self, config=config, split=split)
        with closing(grid.make_env(), self.name) as made:
            _check_split(made, split, self.name)
            with trying(self.name, "reset", config.evaluation_sample_timeout_s, TIMEOUT):
                specs, single_env = list_episodes(made, split, episodes, seed)
                limit = max_episode_steps(made)
        return dataclasses.replace(grid, episodes=specs, single_env=single_env, max_episode_steps=limit)

    def chunks(self) -> list[SplitGrid]:
        """Splits the episodes into chunks of up to ``NUM_SLOTS``, of equal length, or one for a single environment.

        One process plays a chunk from beginning to end, so results do not depend on the number of processes.
        """
        count = 1 if self.single_env else -(-len(self.episodes) // NUM_SLOTS)
        bounds = np.linspace(0, len(self.episodes), count + 1).astype(int).tolist()
        return [dataclasses.replace(self, episodes=self.episodes[a:b]) for a, b in itertools.pairwise(bounds)]


def _with_split(env: gymnasium.Env, env_config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Returns an ``env_config`` with another split, without the settings that replaced its tasks."""
    unwrapped = env.unwrapped
    others = {"tasks", *(factor.name for factor in unwrapped.factors)} if isinstance(unwrapped, MetaTaskEnv) else set()
    return {**{key: value for key, value in env_config.items() if key not in others}, "split": split}


def _check_split(env: gymnasium.Env, split: str, name: str) -> None:
    """Checks that an environment of this package plays the split in its ``env_config``.

    Raises:
        WrongSplitError: A wrapper or class around it does not pass the split on.
    """
    unwrapped = env.unwrapped
    if split != OWN_SPLIT and isinstance(unwrapped, MetaTaskEnv) and unwrapped.split != split:
        raise WrongSplitError(
            f"split {split!r}: {name!r} does not pass the 'split' of its `env_config` on to "
            f"{type(unwrapped).__name__}, which would play {unwrapped.split!r}. Let it do so, or use {OWN_SPLIT!r}, "
            "its tasks as they are."
        )
