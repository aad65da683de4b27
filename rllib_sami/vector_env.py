"""A vector environment that moves arrays: flat float32 observations, task ids, infos at the end of episodes only."""

import contextlib
import logging
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from .envs import MetaTaskEnv  # installed from envs/
from .envs.vector import EnvBatch

logger = logging.getLogger(__name__)
TASK_ID = "task_id"
NO_TASK = 0  # of environments whose infos have no task id


@dataclass(frozen=True)
class VectorStep:
    """What one step of ``n`` environments gave; where ``done``, ``obs`` begins the next episode already.

    Attributes:
        obs: ``[n, O]``, observations to act on next.
        final_obs: ``[n, O]``, observations after the step, the final one where ``done``.
        rewards: ``[n]``.
        terminated: ``[n]``.
        done: ``[n]``, terminated or truncated.
        restarted: ``[n]``: the environment failed and was made anew, its episode is lost.
        task_ids: ``[n]``, of the episodes that ``obs`` belongs to.
        final_infos: The info of the episode's last step, by environment where ``done``.
    """

    obs: np.ndarray
    final_obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    restarted: np.ndarray
    task_ids: np.ndarray
    final_infos: dict[int, dict[str, Any]]


class TaskVectorEnv(SyncVectorEnv):
    """Steps ``n`` environments one after the other; finished ones are reset in the same step.

    Environments of this package, not wrapped, write into one array together; others are stepped by Gymnasium's API.

    Args:
        env_fns: Makes the environments.
        restart_failed: Whether an environment that raises, or gives numbers that are not finite, is made anew (its
            episode is lost) instead of passing the error on.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gym.Env]], restart_failed: bool = False):
        self._env_fns = list(env_fns)
        super().__init__(env_fns, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._restart_failed = restart_failed
        space = self.single_observation_space
        # Most observations are flat already; flattening costs more than copying.
        self._is_flat = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
        self._original_space = space
        self.single_observation_space = flat_observation_space(space)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self._obs_shape = (self.num_envs, *flat_observation_space(space).shape)
        self._task_ids = np.full(self.num_envs, NO_TASK, np.int64)
        self._infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]  # the last ones that were given
        kind: Any = type(self.envs[0])
        alike = all(isinstance(env, MetaTaskEnv) and type(env) is kind for env in self.envs)
        self._batch = EnvBatch(self.envs) if alike and kind.step is MetaTaskEnv.step else None

    def flatten(self, obs: Any) -> np.ndarray:
        """One observation as ``[O]``."""
        return obs if self._is_flat else np.asarray(gym.spaces.flatten(self._original_space, obs))

    def reset_all(
        self,
        seeds: Sequence[int],
        next_task_ids: Sequence[int] | np.ndarray | None = None,
        before_resets: Callable[[], None] | None = None,
    ) -> np.ndarray:
        """Begins new episodes everywhere.

        Args:
            seeds: One for each environment.
            next_task_ids: Meta-task that each environment's walk goes on from (its ``next_task_id``), modulo its
                ``num_tasks``; ignored by environments that lack one of these attributes.
            before_resets: Called when the walks are set, before the first reset.

        Returns:
            Observations ``[n, O]``.
        """
        obs = np.empty(self._obs_shape, np.float32)
        for index, env in enumerate(self.envs):
            walks = env.has_wrapper_attr("next_task_id") and env.has_wrapper_attr("num_tasks")
            if next_task_ids is not None and walks:
                num_tasks = env.get_wrapper_attr("num_tasks")
                env.set_wrapper_attr("next_task_id", int(next_task_ids[index]) % num_tasks)
        if before_resets is not None:
            before_resets()
        for index, seed in enumerate(seeds):
            obs[index] = self._begin(index, seed=int(seed))
        return obs

    @property
    def task_ids(self) -> np.ndarray:
        """Meta-task of each environment's present episode, ``[n]``."""
        return self._task_ids.copy()

    @property
    def infos(self) -> list[dict[str, Any]]:
        """What each environment's info says now."""
        return self._infos if self._batch is None else [env.episode_info() for env in self._batch.envs]

    def step_arrays(self, actions: np.ndarray, before_resets: Callable[[VectorStep], None] | None = None) -> VectorStep:
        """Steps every environment.

        Args:
            actions: ``[n, A]``, in the action space, not normalised.
            before_resets: Called after the step, before any environment is reset or made anew; where an episode is
                over, ``obs`` is still its last one.

        Returns:
            The step.
        """
        rewards, ended, truncated = np.zeros(self.num_envs), *np.zeros((2, self.num_envs), bool)
        final_infos: dict[int, dict[str, Any]] = {}
        if self._batch is not None:
            failed = self._batch.step(actions, rewards, ended, truncated)
            obs = self._batch.rows.copy()
        else:
            obs = np.zeros(self._obs_shape, np.float32)
            failed = self._step_each(actions, obs, rewards, ended, truncated, final_infos)
        if failed and not self._restart_failed:
            raise next(iter(failed.values()))
        restarted = np.zeros(self.num_envs, bool)
        restarted[list(failed)] = True
        rewards[restarted] = 0.0
        terminated, done = ended & ~restarted, (ended | truncated) & ~restarted
        if self._batch is not None:
            final_infos = {index: self._batch.envs[index].episode_info() for index in np.flatnonzero(done).tolist()}
        final_obs = obs.copy() if failed or done.any() else obs
        step = VectorStep(
            obs, final_obs, rewards.astype(np.float32), terminated, done, restarted, self.task_ids, final_infos
        )
        if before_resets is not None:
            before_resets(step)
        for index, error in failed.items():
            logger.error("Environment %d failed; it is made anew and its episode is lost.", index, exc_info=error)
            obs[index] = self._make_anew(index)
        for index in np.flatnonzero(done).tolist():
            obs[index] = self._begin(index)
        return replace(step, task_ids=self.task_ids)

    def _step_each(
        self,
        actions: np.ndarray,
        obs: np.ndarray,
        rewards: np.ndarray,
        ended: np.ndarray,
        truncated: np.ndarray,
        final_infos: dict[int, dict[str, Any]],
    ) -> dict[int, Exception]:
        """Steps environments of any kind, like ``EnvBatch.step``."""
        failed: dict[int, Exception] = {}
        for index, env in enumerate(self.envs):
            try:
                result, reward, ended[index], truncated[index], info = env.step(actions[index])
                self._infos[index] = info
                obs[index], rewards[index] = self._as_float32(index, result, reward)
                if ended[index] or truncated[index]:
                    final_infos[index] = info
            except Exception as error:
                failed[index] = error
        return failed

    def _begin(self, index: int, seed: int | None = None) -> np.ndarray:
        """Resets one environment and notes its task."""
        try:
            obs, info = self.envs[index].reset(seed=seed)
            flat, _ = self._as_float32(index, obs)
        except Exception:
            if not self._restart_failed:
                raise
            logger.exception("Environment %d could not be reset; it is made anew.", index)
            return self._make_anew(index)
        self._note(index, info)
        return flat

    def _note(self, index: int, info: dict[str, Any]) -> None:
        self._task_ids[index] = task_id_of(info) or NO_TASK
        self._infos[index] = info

    def _as_float32(self, index: int, obs: Any, reward: Any = 0.0) -> tuple[np.ndarray, np.float32]:
        """An environment's observation ``[O]`` and reward as they are kept.

        Raises:
            FloatingPointError: If they are not finite then.
        """
        flat, reward = np.asarray(self.flatten(obs), np.float32), np.float32(reward)
        if not (math.isfinite(reward) and math.isfinite(flat.sum())):
            raise FloatingPointError(f"Environment {index} gave a reward or observation that is not finite (float32).")
        return flat, reward

    def _make_anew(self, index: int) -> np.ndarray:
        """Replaces a failed environment; random numbers and the walk over tasks go on where it was."""
        failed, env = self.envs[index], self._env_fns[index]()
        if env.has_wrapper_attr("next_task_id"):
            env.set_wrapper_attr("next_task_id", failed.get_wrapper_attr("next_task_id"))
        obs, info = env.reset(seed=int(failed.unwrapped.np_random.integers(2**31)))
        flat, _ = self._as_float32(index, obs)
        self.envs[index] = env
        if self._batch is not None:
            self._batch.replace(index, env)
        self._note(index, info)
        with contextlib.suppress(Exception):  # it is broken already
            failed.close()
        return flat


def task_id_of(info: dict[str, Any]) -> int | None:
    """The meta-task in an info; None without one, or if it is no number (then no algorithm that needs it runs)."""
    task_id = info.get(TASK_ID)
    return int(task_id) if isinstance(task_id, numbers.Integral) else None


def flat_observation_space(space: gym.Space) -> gym.spaces.Box:
    """The flat float32 Box of a space."""
    flat: Any = gym.spaces.flatten_space(space)
    return gym.spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32)
