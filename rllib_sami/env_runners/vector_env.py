"""A vector environment on arrays: flat observations, task ids, and infos only at the end of episodes."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib_sami.core.env_values import (
    NO_TASK,
    TaskIdRule,
    TaskIds,
    UnusableValue,
    flat_observation,
    reset_of,
    snapshot,
    step_of,
    success_of,
)
from rllib_sami.core.faults import EnvironmentFaultError, close_env, named
from rllib_sami.core.images import image_shape, row_dtype
from rllib_sami.envs import MetaTaskEnv  # installed from envs/
from rllib_sami.envs.vector import EnvBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VectorStep:
    """The result of one step of ``n`` environments. Where ``done``, ``obs`` is already that of the next episode.

    Attributes:
        obs: Observations to act on next, ``[n, O]``.
        final_obs: Observations after the step, ``[n, O]``: the final one where ``done``.
        rewards: ``[n]``.
        terminated: ``[n]``.
        done: Terminated or truncated, ``[n]``.
        restarted: Whether the environment failed and was made again, so that its episode is lost, ``[n]``.
        task_ids: Tasks of the episodes that ``obs`` belongs to, ``[n]``.
        final_infos: Copies of the infos of the last steps of episodes, by environment, where ``done``.
        inner_steps: How many steps each environment took inside, ``[n]``; ones where it is a step like any other.
    """

    obs: np.ndarray
    final_obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    done: np.ndarray
    restarted: np.ndarray
    task_ids: np.ndarray
    final_infos: dict[int, dict[str, Any]]
    inner_steps: np.ndarray


class TaskVectorEnv(SyncVectorEnv):
    """Steps ``n`` environments one after the other, and resets finished ones in the same step.

    Environments of this package without wrappers write into one common array; others are stepped with Gymnasium's API.
    Observations are float32, and images uint8.

    Args:
        env_fns: Functions that make the environments.
        restart_failed: Whether an environment that raises an error, or returns numbers that are not finite, is made
            again (its episode is lost). Otherwise the error is passed on. Always passed on are an EnvironmentFaultError
            (the environment hangs) and, as ValueError, mistakes in its code: a reward that is no number, an observation
            of another width, a wrong task id.
        task_ids: Whether infos must have task ids.
        runner_index: Index of the env runner, for messages; 0 is the local one.
        counts_inner_steps: Whether a step may take several inside, as ``info["env_steps"]`` says.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        restart_failed: bool = False,
        task_ids: TaskIdRule = "ignored",
        runner_index: int = 0,
        counts_inner_steps: bool = False,
    ):
        self._env_fns = list(env_fns)
        self._task_reader, self._runner_index = TaskIds(task_ids), runner_index
        self._counts_inner_steps = counts_inner_steps
        super().__init__(env_fns, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._restart_failed = restart_failed
        self._original_space = self.single_observation_space
        if image_shape(self._original_space) is None:  # the layout of images must stay known
            flat: Any = gym.spaces.flatten_space(self._original_space)
            self.single_observation_space = gym.spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32))
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self._row_shape = (gym.spaces.flatdim(self._original_space),)
        self._obs_shape, self._dtype = (self.num_envs, *self._row_shape), row_dtype(self._original_space)
        self._task_ids = np.full(self.num_envs, NO_TASK, np.int64)
        self._infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]  # the latest infos
        kind: Any = type(self.envs[0])
        are_alike = all(isinstance(env, MetaTaskEnv) and type(env) is kind for env in self.envs)
        self._batch = EnvBatch(self.envs) if are_alike and kind.writes_rows() else None

    def reset_all(
        self,
        seeds: Sequence[int],
        next_task_ids: Sequence[int] | np.ndarray | None = None,
        before_resets: Callable[[], None] | None = None,
    ) -> np.ndarray:
        """Begins new episodes in all environments.

        Args:
            seeds: One for each environment.
            next_task_ids: The next meta-task of each environment (its ``next_task_id``), modulo its ``num_tasks``;
                ignored by environments without these attributes.
            before_resets: Called after these are set, before the first reset.

        Returns:
            Observations ``[n, O]``.
        """
        obs = np.empty(self._obs_shape, self._dtype)
        for index, env in enumerate(self.envs):
            visits_in_order = env.has_wrapper_attr("next_task_id") and env.has_wrapper_attr("num_tasks")
            if next_task_ids is not None and visits_in_order:
                num_tasks = env.get_wrapper_attr("num_tasks")
                env.set_wrapper_attr("next_task_id", int(next_task_ids[index]) % num_tasks)
        if before_resets is not None:
            before_resets()
        for index, seed in enumerate(seeds):
            obs[index] = self._begin(index, seed=int(seed))
        return obs

    @property
    def task_ids(self) -> np.ndarray:
        """Meta-tasks of the current episodes, ``[n]``."""
        return self._task_ids.copy()

    @property
    def infos(self) -> list[dict[str, Any]]:
        """The latest info of each environment."""
        return self._infos if self._batch is None else [env.episode_info() for env in self._batch.envs]

    def step_arrays(self, actions: np.ndarray, before_resets: Callable[[VectorStep], None] | None = None) -> VectorStep:
        """Steps every environment.

        Args:
            actions: Actions in the action space, not normalised, ``[n, ...]``.
            before_resets: Called after the step, before any environment is reset or made again. Where an episode is
                over, ``obs`` is still its final one.

        Returns:
            The step.
        """
        rewards, ended, truncated = np.zeros(self.num_envs), *np.zeros((2, self.num_envs), bool)
        if self._batch is not None:
            failed = self._batch.step(actions, rewards, ended, truncated)
            obs = self._batch.rows.copy()
        else:
            obs = np.zeros(self._obs_shape, self._dtype)
            failed = self._step_each(actions, obs, rewards, ended, truncated)
        for error in failed.values():
            if not self._restart_failed or isinstance(error, EnvironmentFaultError):  # it might hang again
                raise error
        restarted = np.zeros(self.num_envs, bool)
        restarted[list(failed)] = True
        rewards[restarted] = 0.0
        terminated, done = ended & ~restarted, (ended | truncated) & ~restarted
        over = np.flatnonzero(done).tolist()
        final_infos = {index: self._final_info(index) for index in over}
        final_obs = obs.copy() if failed or over else obs
        inner_steps = np.ones(self.num_envs, np.int64)
        if self._counts_inner_steps:  # otherwise infos may mean something else
            inner_steps[:] = [info.get("env_steps", 1) for info in self.infos]
        rewards = rewards.astype(np.float32)
        step = VectorStep(obs, final_obs, rewards, terminated, done, restarted, self.task_ids, final_infos, inner_steps)
        if before_resets is not None:
            before_resets(step)
        for index, error in failed.items():
            logger.error("Environment %d failed; it is made again and its episode is lost.", index, exc_info=error)
            obs[index] = self._make_again(index)
        for index in over:
            obs[index] = self._begin(index)
        return replace(step, task_ids=self.task_ids)

    def _step_each(
        self,
        actions: np.ndarray,
        obs: np.ndarray,
        rewards: np.ndarray,
        ended: np.ndarray,
        truncated: np.ndarray,
    ) -> dict[int, Exception]:
        """Steps environments of any kind; see ``EnvBatch.step``."""
        failed: dict[int, Exception] = {}
        for index, env in enumerate(self.envs):
            try:
                # With the ellipsis, actions are arrays even in an action space without dimensions.
                given = step_of(env.step(actions[index, ...]))
                result, reward, ended[index], truncated[index], self._infos[index] = given
                obs[index], rewards[index] = self._converted(index, result, reward)
            except UnusableValue as error:
                raise self._mistake(index, error) from error
            except SystemExit as error:
                failed[index] = self._exited(index, error, "step")
            except Exception as error:
                failed[index] = error
        return failed

    def _final_info(self, index: int) -> dict[str, Any]:
        """Returns a copy of the info of an episode that is over; a reset may overwrite the original."""
        info = snapshot(self._infos[index] if self._batch is None else self._batch.envs[index].episode_info())
        try:
            success_of(info)
            self._task_reader.check_step(info, int(self._task_ids[index]))
        except UnusableValue as error:
            raise self._mistake(index, error) from error
        return info

    def _begin(self, index: int, seed: int | None = None) -> np.ndarray:
        """Resets one environment; makes it again if that fails."""
        try:
            return self._reset(index, self.envs[index], seed)
        except UnusableValue as error:
            raise self._mistake(index, error) from error
        except EnvironmentFaultError:  # see `step_arrays`
            raise
        except Exception:
            if not self._restart_failed:
                raise
            logger.exception("Environment %d could not be reset; it is made again.", index)
            return self._make_again(index)

    def _reset(self, index: int, env: gym.Env, seed: int | None) -> np.ndarray:
        """Resets the present or future environment ``index``; stores its task and info."""
        try:
            obs, info = reset_of(env.reset(seed=seed))
        except SystemExit as error:
            raise self._exited(index, error, "reset") from error
        flat, _ = self._converted(index, obs)
        task_id = self._task_reader.read_reset(info)
        self._task_ids[index] = NO_TASK if task_id is None else task_id
        self._infos[index] = info
        return flat

    def _exited(self, index: int, error: SystemExit, where: str) -> RuntimeError:
        """Returns an ordinary error for a SystemExit, which would end the process silently."""
        name = type(self.envs[index].unwrapped).__name__
        return RuntimeError(str(named(error, name, f"environment {index}, {where}")))

    def _mistake(self, index: int, error: UnusableValue) -> ValueError:
        runner = f" of env runner {self._runner_index}" if self._runner_index else ""
        return ValueError(f"Environment {index}{runner} ({type(self.envs[index].unwrapped).__name__}) gave {error}")

    def _converted(self, index: int, obs: Any, reward: float = 0.0) -> tuple[np.ndarray, np.float32]:
        """Converts an environment's observation to ``[O]`` and its reward, to float32 (images to uint8).

        Raises:
            FloatingPointError: One of them is not finite.
        """
        flat = flat_observation(obs, self._original_space, self._row_shape, self._dtype)
        converted = np.float32(reward)
        if not (math.isfinite(converted) and math.isfinite(flat.sum())):
            raise FloatingPointError(f"Environment {index} gave a reward or observation that is not finite (float32).")
        return flat, converted

    def _make_again(self, index: int) -> np.ndarray:
        """Replaces a failed environment; the new one continues its random numbers and its order of tasks."""
        failed, env = self.envs[index], self._env_fns[index]()
        if env.has_wrapper_attr("next_task_id"):
            env.set_wrapper_attr("next_task_id", failed.get_wrapper_attr("next_task_id"))
        try:
            flat = self._reset(index, env, seed=int(failed.unwrapped.np_random.integers(2**31)))
        except UnusableValue as error:
            raise self._mistake(index, error) from error
        self.envs[index] = env
        if self._batch is not None:
            self._batch.replace(index, env)
        close_env(failed, type(failed.unwrapped).__name__)
        return flat

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the environments."""
        for env in getattr(self, "envs", ()):  # none if making them failed
            close_env(env, type(env.unwrapped).__name__)
