"""Turns the steps of one call of ``sample`` into pieces of episodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_sami import compat
from rllib_sami.core.env_values import TASK_ID
from rllib_sami.env_runners.vector_env import VectorStep


class RunningEpisodes:
    """The episodes in progress, one in each of ``n`` slots.

    Args:
        task_ids: Tasks of the episodes, ``[n]``.
        new_id: Returns the id of a slot's new episode.

    Attributes:
        ids: Ids of the episodes.
        task_ids: Tasks of the episodes, ``[n]``.
        lengths: Steps so far, ``[n]``.
        inner_steps: The same with all steps inside of them, ``[n]``.
        returns: Sums of rewards so far, ``[n]``.
    """

    def __init__(self, task_ids: np.ndarray, new_id: Callable[[int], str]):
        self._new_id = new_id
        self.task_ids = task_ids
        self.ids = [new_id(slot) for slot in range(len(task_ids))]
        self.lengths, self.inner_steps = np.zeros((2, len(task_ids)), np.int64)
        self.returns = np.zeros(len(task_ids))

    def add(self, step: VectorStep) -> None:
        """Adds one step of each episode."""
        self.lengths += 1
        self.inner_steps += step.inner_steps
        self.returns += step.rewards

    def begin(self, slot: int) -> None:
        """Begins a new episode in a slot."""
        self.ids[slot] = self._new_id(slot)
        self.lengths[slot] = self.inner_steps[slot] = self.returns[slot] = 0


class FragmentBuilder:
    """Collects the steps of one fragment and cuts them into episodes.

    Args:
        running: The episodes in progress.
        custom_data: Returns further data of a slot's episode.
        obs: Observations before the first step, ``[n, O]``.
        action_dim: Action width ``A``.
        num_steps: Expected number of steps; there may be more.
    """

    def __init__(
        self,
        running: RunningEpisodes,
        custom_data: Callable[[int], dict[str, Any]],
        obs: np.ndarray,
        action_dim: int,
        num_steps: int,
    ):
        self._running, self._custom_data = running, custom_data
        num_slots, obs_dim = obs.shape
        # The steps of a slot are neighbours in memory, so that a piece is a view.
        self._obs = np.empty((num_slots, num_steps + 1, obs_dim), obs.dtype)
        self._actions = np.empty((num_slots, num_steps, action_dim), np.float32)
        self._rewards = np.empty((num_slots, num_steps), np.float32)
        self._obs[:, 0] = self._final_obs = obs
        self._length = 0
        self._first = np.zeros(num_slots, np.int64)  # where each slot's piece begins within the fragment
        self.episodes: list[SingleAgentEpisode] = []

    def append(self, actions: np.ndarray, step: VectorStep) -> None:
        """Adds one step of all slots."""
        if self._length == self._rewards.shape[1]:
            self._double()
        self._actions[:, self._length] = actions
        self._rewards[:, self._length] = step.rewards
        self._length += 1
        self._obs[:, self._length] = step.obs
        self._final_obs = step.final_obs
        self._running.add(step)

    def _double(self) -> None:
        """Doubles the arrays; closed pieces keep the old arrays, of which they are views."""
        self._obs, self._actions, self._rewards = (
            np.concatenate([array, np.empty_like(array)], axis=1) for array in (self._obs, self._actions, self._rewards)
        )

    def close(
        self,
        slot: int,
        *,
        terminated: bool = False,
        truncated: bool = False,
        final_info: dict[str, Any] | None = None,
    ) -> None:
        """Ends a slot's piece at this step; its episode is over if it is terminated or truncated."""
        running, first, end = self._running, int(self._first[slot]), self._length
        obs = self._obs[slot, first : end + 1]
        if terminated or truncated:  # the array's last observation is already the first one of the next episode
            obs = np.concatenate([obs[:-1], self._final_obs[slot : slot + 1]])
        task_id = int(running.task_ids[slot])
        episode = compat.episode_from_arrays(
            id_=running.ids[slot],
            observations=obs,
            actions=self._actions[slot, first:end],
            rewards=self._rewards[slot, first:end],
            info={TASK_ID: task_id},
            last_info={**(final_info or {}), TASK_ID: task_id},
            terminated=terminated,
            truncated=truncated,
            t_started=int(running.lengths[slot]) - (end - first),
        )
        episode.custom_data.update(self._custom_data(slot))
        episode.custom_data[TASK_ID] = task_id
        self.episodes.append(episode)
        self._first[slot] = end

    def drop(self, slot: int) -> None:
        """Discards a slot's piece; its next episode begins at this step."""
        self._first[slot] = self._length

    def close_all(self) -> None:
        """Ends all open pieces; their episodes continue in the next fragment."""
        for slot in np.flatnonzero(self._first < self._length).tolist():
            self.close(slot)
