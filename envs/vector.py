"""Vectorised stepping: several environments whose observations are the rows of one array."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from .base import MetaTaskEnv
from .time_limit import spec_with_limit


class EnvBatch:
    """Steps ``n`` environments of one kind, each straight into its row of the observations.

    What ``env.step`` gives, to the last bit, without its copies and dicts. Physics that releases the interpreter's
    lock (MuJoCo) runs in several threads on request.

    Attributes:
        envs: The environments; ``replace`` changes one.
        rows: ``[n, O]`` float32, the present observations.
    """

    def __init__(self, envs: Sequence[MetaTaskEnv], num_threads: int = 1):
        """Takes over the environments' observation buffers.

        Args:
            envs: Environments with equal observation spaces.
            num_threads: Number of threads that step; each has a fixed, contiguous share of the environments.

        Raises:
            ValueError: ``num_threads`` is not an integer from 1 to ``n``, or these environments cannot be stepped in
                several threads.
        """
        if isinstance(num_threads, bool) or not isinstance(num_threads, int) or not 1 <= num_threads <= len(envs):
            raise ValueError(f"num_threads={num_threads!r}: expected an integer in 1..{len(envs)} (environments).")
        if num_threads > 1 and not envs[0].thread_safe:
            raise ValueError(f"num_threads={num_threads}: {type(envs[0]).__name__} can be stepped in one thread only.")
        self.envs = list(envs)
        self.rows = np.zeros((len(envs), *envs[0].observation_space.shape), np.float32)  # type: ignore[misc]
        for env, row in zip(self.envs, self.rows, strict=True):
            env.bind_observation(row)
        bounds = np.linspace(0, len(envs), num_threads + 1).astype(int).tolist()
        self._shares = [range(*pair) for pair in itertools.pairwise(bounds)]
        self._pool = ThreadPoolExecutor(num_threads - 1) if num_threads > 1 else None

    def step(
        self, actions: np.ndarray, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray
    ) -> dict[int, Exception]:
        """Steps all environments; the new observations are in ``rows``, nothing is reset.

        Args:
            actions: ``[n, A]``.
            rewards: ``[n]``, written; likewise:
            terminated: ``[n]``.
            truncated: ``[n]``.

        Returns:
            The environments that failed, with what they raised, or FloatingPointError where an observation or reward
            is not finite. What was written for them means nothing.

        Raises:
            ValueError: There is not one action for each environment.
        """
        # MuJoCo converts anything else at every assignment, which is dearer one by one.
        actions = np.asarray(actions, np.float64)
        if actions.ndim != 2 or len(actions) != len(self.envs):
            raise ValueError(f"actions have shape {actions.shape}; expected ({len(self.envs)}, action_dim).")
        failed: dict[int, Exception] = {}
        work = (actions, rewards, terminated, truncated, failed)
        if self._pool is None:
            self._step_share(self._shares[0], *work)
        else:
            others = [self._pool.submit(self._step_share, share, *work) for share in self._shares[1:]]
            self._step_share(self._shares[0], *work)
            for other in others:
                other.result()
        if not math.isfinite(self.rows.sum() + rewards.sum()):
            finite = np.isfinite(self.rows).all(axis=1) & np.isfinite(rewards)
            for index in np.flatnonzero(~finite).tolist():
                failed.setdefault(index, FloatingPointError("The observation or reward is not finite."))
        return failed

    def _step_share(
        self,
        share: range,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        failed: dict[int, Exception],
    ) -> None:
        for index in share:
            try:
                rewards[index], terminated[index], truncated[index] = self.envs[index].advance(actions[index])
            except Exception as error:
                failed[index] = error

    def replace(self, index: int, env: MetaTaskEnv) -> None:
        """Puts another environment in the place of one."""
        env.bind_observation(self.rows[index])
        self.envs[index] = env

    def close(self) -> None:
        """Ends the threads; the environments stay open."""
        if self._pool is not None:
            self._pool.shutdown()


class MetaTaskVectorEnv(SyncVectorEnv):
    """The ``VectorEnv`` of our environments: ``gymnasium.make_vec("SaMI/Ant-v0", num_envs=16)``.

    Environment ``j`` begins with meta-task ``j`` (modulo their number), or what ``set_attr("next_task_id", [...])``
    says, and walks on from there. One that is over is reset in the same step: its last observation and info are in
    ``infos["final_obs"]`` and ``infos["final_info"]``. Trajectories are those of the single environments, to the last
    bit.
    """

    _spec: EnvSpec | None = None

    def __init__(self, env_class: type[MetaTaskEnv], num_envs: int = 1, num_threads: int = 1, **kwargs: Any):
        """Makes the environments.

        Args:
            env_class: Their class.
            num_envs: How many.
            num_threads: Threads that step them. More than one pays where cores would else be idle: on two cores, Ant
                is stepped 1.8 times as fast, HalfCheetah 1.2 to 1.6 times (16 to 64 environments).
            **kwargs: Arguments of ``env_class``.
        """
        super().__init__(
            [functools.partial(env_class, **kwargs)] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP
        )
        self._batch = EnvBatch(self.envs, num_threads)  # type: ignore[arg-type]
        for index, env in enumerate(self._batch.envs):
            env.next_task_id = index % env.num_tasks

    @property
    def spec(self) -> EnvSpec | None:
        """What ``make_vec`` made it from, with the length of its episodes."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec_with_limit(spec, self._batch.envs[0].max_steps)

    @property
    def task_ids(self) -> np.ndarray:
        """Meta-task of each environment's present episode, ``[n]``."""
        return np.array([env.task_id for env in self._batch.envs])

    def reset(  # type: ignore[override]  # of arrays, which the base class leaves open
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins new episodes everywhere.

        Args:
            seed: None, one for each environment, or the first one's (the next has one more, and so on). Seeded resets
                start the walk over the meta-tasks again.
            options: Given to every environment's reset, but for ``reset_mask``, ``[n]`` bool: which environments are
                reset; the others go on.

        Returns:
            Observations ``[n, O]``, and infos with ``task_id`` and ``task`` as arrays.

        Raises:
            ValueError: The number of seeds or the length of the mask is not that of the environments.
        """
        seeds = [None if seed is None else seed + j for j in range(self.num_envs)] if _is_one(seed) else list(seed)  # type: ignore[arg-type,operator]
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, bool)), bool)
        if not len(seeds) == mask.size == self.num_envs:
            raise ValueError(f"{len(seeds)} seeds and a reset_mask of {mask.size}; expected {self.num_envs} each.")
        infos: dict[str, Any] = {}
        for index in np.flatnonzero(mask).tolist():
            _, info = self._batch.envs[index].reset(seed=seeds[index], options=options)
            infos = self._add_info(infos, info, index)
        return self._batch.rows.copy(), infos

    def step(  # type: ignore[override]
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps every environment.

        Args:
            actions: ``[n, A]``.

        Returns:
            Observations ``[n, O]`` float32 (of the next episode where one is over), rewards ``[n]``, terminated,
            truncated, infos with ``task_id`` of the episode that the observation belongs to.
        """
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        failed = self._batch.step(actions, rewards, terminated, truncated)
        if failed:
            index, error = min(failed.items())
            raise RuntimeError(f"Environment {index} failed: {error}") from error
        infos: dict[str, Any] = {}
        for index in np.flatnonzero(terminated | truncated).tolist():
            env = self._batch.envs[index]
            final = {"final_obs": self._batch.rows[index].copy(), "final_info": env.episode_info()}
            _, info = env.reset()
            infos = self._add_info(self._add_info(infos, final, index), info, index)
        infos["task_id"], infos["_task_id"] = self.task_ids, np.ones(self.num_envs, bool)
        return self._batch.rows.copy(), rewards, terminated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the threads and closes the environments."""
        if hasattr(self, "_batch"):  # else the constructor failed
            self._batch.close()
        super().close_extras(**kwargs)


def _is_one(seed: Any) -> bool:
    return seed is None or isinstance(seed, (int, np.integer))


def __getattr__(name: str) -> Any:
    """A vector environment's constructor by the name of its class, for the strings in Gymnasium's registry."""
    from .registration import ENVIRONMENTS

    env_id = f"SaMI/{name}-v0"
    if env_id not in ENVIRONMENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return functools.partial(MetaTaskVectorEnv, ENVIRONMENTS[env_id])
