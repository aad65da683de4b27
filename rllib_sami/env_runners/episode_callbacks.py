"""RLlib's episode callbacks, called by the array runner in the same way as by RLlib's own runner."""

from typing import Any

import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_sami import compat
from rllib_sami.core.env_values import TASK_ID, snapshot
from rllib_sami.env_runners.vector_env import VectorStep


class EpisodeCallbacks:
    """Records an episode for each slot of a runner and passes it to the user's callbacks.

    Used only if there are episode callbacks; sampling itself does not need it. The order is that of RLlib's own runner:
    ``on_episode_created`` before the reset, ``on_episode_start`` after it, ``on_episode_step`` after each step, and
    ``on_episode_end`` after the last step, before the environment is reset. Data that a callback puts into the
    episode's ``custom_data`` stays with the episode, also in the pieces that ``sample`` returns. Actions are
    normalised.

    Args:
        runner: The ``ArrayEnvRunner`` whose episodes these are.
    """

    def __init__(self, runner: Any):
        self._runner = runner
        self._running: list[SingleAgentEpisode] = []
        self._earlier: list[list[SingleAgentEpisode]] = []  # pieces of each running episode in earlier fragments
        self._over: dict[int, SingleAgentEpisode] = {}  # episodes that ended in the present step, by slot

    def create_all(self) -> None:
        """Creates new episodes in all slots; to be called just before the environments are reset."""
        self._running = [SingleAgentEpisode() for _ in range(self._runner.num_envs)]
        self._earlier = [[] for _ in self._running]
        self._over = {}
        for slot in range(len(self._running)):
            self._call("on_episode_created", slot)

    def start(self, begun: np.ndarray, obs: np.ndarray, quota: np.ndarray | None = None) -> None:
        """Adds the resets of environments.

        Args:
            begun: Whether a slot's environment has been reset, ``[n]``.
            obs: The first observations of new episodes, ``[n, O]``.
            quota: How many more episodes of each slot are wanted, ``[n]``; None for any number.
        """
        infos = self._infos()
        for slot in _wanted(begun, quota):
            self._running[slot].add_env_reset(obs[slot], infos[slot])
            self._call("on_episode_start", slot)

    def step(self, actions: np.ndarray, quota: np.ndarray | None, step: VectorStep) -> None:
        """Adds a step of all slots; to be called before any environment is reset.

        Args:
            actions: Normalised actions, ``[n, A]``.
            quota: See :meth:`start`.
            step: The result of the actions.
        """
        self._over = {}
        infos = self._infos()
        for slot in _wanted(np.ones(len(actions), bool), quota):
            if step.restarted[slot]:  # the episode is lost
                self._create(slot)
                continue
            terminated = bool(step.terminated[slot])
            self._running[slot].add_env_step(
                step.final_obs[slot],
                actions[slot],
                step.rewards[slot],
                infos[slot],
                terminated=terminated,
                truncated=bool(step.done[slot]) and not terminated,
            )
            self._call("on_episode_step", slot)
            if step.done[slot]:
                self._call("on_episode_end", slot, prev_episode_chunks=self._earlier[slot])
                self._over[slot] = self._running[slot]
                self._create(slot)

    def cut(self) -> None:
        """Ends the fragment: running episodes continue in new pieces."""
        for slot, episode in enumerate(self._running):
            if len(episode) > 0:
                self._earlier[slot].append(episode)
                self._running[slot] = episode.cut()

    def of_piece(self, slot: int) -> SingleAgentEpisode:
        """The episode of a slot's piece: the one that ended in the present step, or else the running one."""
        return self._over.get(slot, self._running[slot])

    def id_of(self, slot: int) -> str:
        """Id of a slot's running episode."""
        return self._running[slot].id_

    def _infos(self) -> list[dict[str, Any]]:
        pairs = zip(self._runner.env.infos, self._runner.env.task_ids, strict=True)
        return [{**snapshot(info), TASK_ID: int(task_id)} for info, task_id in pairs]

    def _create(self, slot: int) -> None:
        self._running[slot], self._earlier[slot] = SingleAgentEpisode(), []
        self._call("on_episode_created", slot)

    def _call(self, callback: str, slot: int, **kwargs) -> None:
        compat.call_on_episode(callback, self._runner, self._running[slot], slot, **kwargs)


def _wanted(slots: np.ndarray, quota: np.ndarray | None) -> list[int]:
    """Returns those of the slots, a mask ``[n]``, whose episodes are wanted."""
    return np.flatnonzero(slots if quota is None else slots & (quota > 0)).tolist()
