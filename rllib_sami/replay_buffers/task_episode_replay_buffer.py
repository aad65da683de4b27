"""The replay buffer: takes RLlib's episodes and returns arrays for several updates."""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_sami.core.env_values import TASK_ID, TaskIds, UnusableValue, image_bytes
from rllib_sami.core.images import ImageShape
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

# Keys of `SingleAgentEpisode.custom_data` that ArrayEnvRunner sets, in addition to the task id.
SLOT = "slot"
EPISODE_FIELDS = "episode_fields"
Sampler = Callable[..., dict[str, np.ndarray] | None]  # arguments: `store`, `num_updates` and `rng`


def _slot_of(episode: SingleAgentEpisode) -> Hashable:
    return episode.custom_data.get(SLOT, episode.id_)


class TaskEpisodeReplayBuffer:
    """Whole episodes of many tasks.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        sampler: Draws the arrays of several updates from the store, ``sampler(store, num_updates=U, rng=rng)``; see
            ``samplers``.
        capacity: Number of steps to store; the oldest episodes are dropped first.
        seed: Seed of the draws; None for a random one.
        fields: Widths of further data of each episode, see ``EpisodeStore``.
        images: Layout of observations that are images.

    Attributes:
        task_ids: Reads the tasks of episodes from env runners other than ArrayEnvRunner.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        sampler: Sampler,
        *,
        capacity: int = 400_000,
        seed: int | None = None,
        fields: Mapping[str, int] | None = None,
        images: ImageShape | None = None,
    ):
        self.store = EpisodeStore(obs_dim, action_dim, capacity, fields, images)
        self._sampler = sampler
        self.task_ids = TaskIds()
        self._rng = np.random.default_rng(seed)
        self._num_steps_added = 0
        # Steps added since this buffer was made, including restored ones.
        self.num_steps_since_restore = 0

    def add(self, episodes: list[SingleAgentEpisode]) -> None:
        """Adds complete episodes or pieces of them.

        The task is ``custom_data["task_id"]`` if the runner has set it, otherwise the ``task_id`` in the info of the
        reset. Without either, it is 0.

        Raises:
            FloatingPointError: A number is not finite.
            ValueError: A task id is missing or wrong, or images are no stacks of the last ones.
        """
        for episode in episodes:
            piece = EpisodePiece(
                slot=_slot_of(episode),
                task_id=self._task_of(episode),
                first_step=episode.t_started,
                obs=self._rows_of(episode.get_observations(), len(episode) + 1),
                actions=np.asarray(episode.get_actions(), np.float32).reshape(len(episode), -1),
                rewards=np.asarray(episode.get_rewards(), np.float32),
                done=episode.is_done,
                terminated=episode.is_terminated,
                fields=self._fields_of(episode),
            )
            if not all(math.isfinite(part.sum(dtype=np.float64)) for part in (piece.obs, piece.actions, piece.rewards)):
                raise FloatingPointError(
                    f"An episode of task {piece.task_id} has an observation, action or reward that is not finite from "
                    f"step {episode.t_started} on, and cannot be learned from. Fix the environment."
                )
            try:
                is_stored = self.store.add(piece)
            except UnusableValue as error:
                raise ValueError(f"An environment gave {error}") from error
            if is_stored:
                self._num_steps_added += len(episode)
                self.num_steps_since_restore += len(episode)

    def _rows_of(self, observations: Any, num_rows: int) -> np.ndarray:
        """Returns observations ``[num_rows, O]``."""
        if self.store.images is None:
            return np.asarray(observations, np.float32).reshape(num_rows, -1)
        given = np.asarray(observations)  # RLlib's own env runner has not checked them
        try:
            return image_bytes(given, given.shape).reshape(num_rows, -1)
        except UnusableValue as error:
            raise ValueError(f"An environment gave {error}") from error

    def _fields_of(self, episode: SingleAgentEpisode) -> Mapping[str, np.ndarray]:
        """Returns further data of an episode. Other env runners keep such data in the module's recurrent state."""
        if EPISODE_FIELDS in episode.custom_data or not self.store.field_names or episode.t_started > 0:
            return episode.custom_data.get(EPISODE_FIELDS, {})
        state = episode.get_extra_model_outputs(Columns.STATE_OUT, 0)
        return {name: np.asarray(state[name], np.float32) for name in self.store.field_names}

    def _task_of(self, episode: SingleAgentEpisode) -> int | None:
        """Returns the episode's task; None if no info has it, or only that of a piece that is not here."""
        if TASK_ID in episode.custom_data:  # set by ArrayEnvRunner, which has checked the infos
            return episode.custom_data[TASK_ID]
        if not len(episode.infos):
            return None
        begins = episode.t_started == 0
        try:
            task_id = (
                self.task_ids.read_reset(episode.get_infos(0)) if begins else self.store.task_of(_slot_of(episode))
            )
            if task_id is not None:
                for at in (0, -1):
                    self.task_ids.check_step(episode.get_infos(at), task_id)
        except UnusableValue as error:
            raise ValueError(f"An environment gave {error}") from error
        return task_id

    def drop_all_but(self, episodes: list[SingleAgentEpisode]) -> None:
        """Drops all other episodes in progress."""
        self.store.drop_open(keep={_slot_of(episode) for episode in episodes})

    def sample(self, num_updates: int) -> dict[str, np.ndarray] | None:
        """Returns the arrays of ``num_updates`` updates; None if the sampler finds nothing to draw."""
        return self._sampler(self.store, num_updates=num_updates, rng=self._rng)

    def __len__(self) -> int:
        """Number of stored steps."""
        return self.store.num_steps

    def get_metrics(self) -> dict[str, float]:
        """Returns the numbers of stored steps, finished episodes and tasks, and of all steps ever added."""
        return {
            "num_env_steps_stored": self.store.num_steps,
            "num_episodes_stored": len(self.store.finished),
            "num_tasks_stored": len(np.unique(self.store.finished["task_id"])),
            "num_env_steps_added_lifetime": self._num_steps_added,
        }

    def get_state(self, *, copy: bool = True) -> dict[str, Any]:
        """Returns finished episodes, counters and the random state as a nested dict of numbers, text and arrays.

        With ``copy`` False, to be written immediately, an array may be a list of views to concatenate.
        """
        return {
            "store": self.store.get_state(copy=copy),
            "rng": self._rng.bit_generator.state,
            "num_steps_added": self._num_steps_added,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores :meth:`get_state`.

        Raises:
            ValueError: The episodes have other widths.
        """
        self.store.set_state(state["store"])
        self._rng.bit_generator.state = state["rng"]
        self._num_steps_added = state["num_steps_added"]
        self.num_steps_since_restore = self.store.num_steps
