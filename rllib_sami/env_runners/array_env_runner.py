"""The sampling loop: arrays from the environments to the replay buffer."""

import functools
import json
import math
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.core.env_values import name_of, success_of
from rllib_sami.core.faults import Watch, call_named
from rllib_sami.core.metric_names import FINISHED_EPISODES, RETURN_BY_TASK, SUCCESS_RATE
from rllib_sami.core.threads import set_num_threads
from rllib_sami.env_runners.episode_callbacks import EpisodeCallbacks
from rllib_sami.env_runners.episodes import max_episode_steps
from rllib_sami.env_runners.fragments import FragmentBuilder, RunningEpisodes
from rllib_sami.env_runners.player import TIMEOUT as EVALUATION_TIMEOUT
from rllib_sami.env_runners.player import Player
from rllib_sami.env_runners.recent_episodes import EpisodeStats, NamedTasks
from rllib_sami.env_runners.vector_env import TaskVectorEnv, VectorStep
from rllib_sami.replay_buffers.task_episode_replay_buffer import EPISODE_FIELDS, SLOT

RANDOM_STATE = "random_state"


class ArrayEnvRunner(SingleAgentEnvRunner):
    """Steps many environments with one forward pass per step; recurrent state, action and reward are arrays.

    Environment slot ``j`` of runner ``i`` begins with meta-task ``i * slots + j`` (modulo the number of tasks) and
    continues with the next task after each episode, so that all tasks are visited equally often. An episode that a
    reset of the runner cuts short does not count. Every slot has its own random stream.

    Whole episodes (``num_episodes``, as in evaluation) are divided among the slots beforehand, because taking those
    that end first would favour short ones.

    The infos of an episode contain its task, and the last info also what the environment returned at the end. If that
    has ``is_success``, ``success_rate`` is reported along with the returns.

    Unlike RLlib's own runner, it calls no connectors. ``config.env_runners(env_runner_cls=SingleAgentEnvRunner)`` uses
    RLlib's runner, at a fraction of the speed.
    """

    env: TaskVectorEnv

    def __init__(self, **kwargs):
        self.players: dict[str, Player] = {}  # environments of evaluations, by split
        # Before the base class, which makes the environments.
        self._entropy: int | None = None
        self._num_resets = 0
        self._episodes_over = np.zeros(0, np.int64)  # finished or lost episodes of each slot
        super().__init__(**kwargs)
        set_num_threads(self.config.num_torch_threads)
        if not hasattr(self.module, "acting"):
            raise ValueError(
                "ArrayEnvRunner acts with an OffPolicyTorchRLModule or a subclass, but the config's `rl_module` makes "
                f"a {type(self.module).__name__}. Use `env_runners(env_runner_cls=SingleAgentEnvRunner)` with others."
            )
        if self._entropy is None:
            seed = self.config.seed
            self._entropy = secrets.randbits(128) if seed is None else int(seed)
        self._rng = np.random.default_rng()  # for actions; seeded at the first reset
        self._policy = RecurrentPolicy(self.module.acting, self.num_envs)
        self._finished_episodes: list[EpisodeStats] = []  # since the last call of `get_metrics`
        self._named_tasks = NamedTasks()  # in evaluation
        self._quota: np.ndarray | None = None  # how many more episodes of each slot are wanted
        self._watch: Watch | None = None  # in evaluation, and if whole episodes are sampled
        self._listeners = EpisodeCallbacks(self) if compat.listens_to_episodes(self.config) else None

    # --- Environments -----------------------------------------------------------------------------------------------

    @override(SingleAgentEnvRunner)
    def make_env(self) -> None:
        if self.env is not None:
            self.env.close()
        slots = range(self.config.num_envs_per_env_runner)
        env_fns = [compat.env_creator(self.config, self.worker_index, slot) for slot in slots]
        self.env = TaskVectorEnv(
            env_fns,
            self.config.restart_failed_sub_environments,
            self.config.task_id_rule,
            self.worker_index or 0,
            self.config.counts_inner_steps,
        )
        self.num_envs = self.env.num_envs
        self._needs_initial_reset = True
        self._episodes_over = np.zeros(self.num_envs, np.int64)
        compat.call_on_environment_created(self)

    @override(SingleAgentEnvRunner)
    def stop(self) -> None:
        for player in self.players.values():
            player.close()
        super().stop()

    @property
    def _runner_index(self) -> int:
        """0 for the local runner or the first remote one."""
        return max(0, (self.worker_index or 0) - 1)

    @property
    def _identity(self) -> tuple[bool, int]:
        """Distinguishes this runner's random streams from those of others."""
        return bool(self.config.in_evaluation), int(self.worker_index or 0)

    def _seed_of(self, purpose: str, slot: int = 0) -> int:
        """Returns an independent seed for each (seed, evaluation?, runner, purpose, slot, time, round of resets)."""
        purposes = {"actions": 0, "env": 1}
        # RLlib tells a runner that is restarted, after a restore or a fault, how many steps were sampled. So it does
        # not repeat the random numbers of the first one.
        time = (self.num_env_steps_sampled_lifetime, self._num_resets)
        key = (int(self.config.in_evaluation), self._runner_index, purposes[purpose], slot, *time)
        return int(np.random.SeedSequence(self._entropy, spawn_key=key).generate_state(1)[0])

    def _reset(self) -> None:
        slots = range(self.num_envs)
        next_task_ids = self._runner_index * self.num_envs + np.arange(self.num_envs) + self._episodes_over
        seeds = [self._seed_of("env", slot) for slot in slots]
        create_all = self._listeners.create_all if self._listeners else None
        obs = self._on_env(self.env.reset_all, seeds, next_task_ids, hook=create_all)
        if self._num_resets == 0:
            self._rng = np.random.default_rng(self._seed_of("actions"))
        self._num_resets += 1
        self._needs_initial_reset = False
        self._obs = obs
        self._policy.begin(rng=self._rng)
        self._running = RunningEpisodes(self.env.task_ids, self._new_episode_id)
        if self._listeners:
            self._listeners.start(np.ones(self.num_envs, bool), obs)

    def _new_episode_id(self, slot: int) -> str:
        return self._listeners.id_of(slot) if self._listeners else uuid.uuid4().hex

    def _custom_data(self, slot: int) -> dict[str, Any]:
        """Data of a slot's episode for the replay buffer and the user's callbacks."""
        data = dict(self._listeners.of_piece(slot).custom_data) if self._listeners else {}
        if fields := self._policy.episode_fields(slot):
            data[EPISODE_FIELDS] = fields
        return data | {SLOT: (self._runner_index, slot)}

    # --- Sampling ---------------------------------------------------------------------------------------------------

    @override(SingleAgentEnvRunner)
    def _sample(self, *, num_episodes: int | None = None, **how: Any) -> list[SingleAgentEpisode]:
        if num_episodes is None and not self.config.in_evaluation:
            return self._sample_unwatched(**how)
        setting = EVALUATION_TIMEOUT if self.config.in_evaluation else "sample_timeout_s"
        self._watch = Watch(name_of(self.config.env), getattr(self.config, setting), setting)
        self._watch.allow(max_episode_steps(self.env.envs[0]))
        try:
            with self._watch:
                return self._sample_unwatched(num_episodes=num_episodes, **how)
        finally:
            self._watch = None

    def _on_env(self, call: Callable[..., Any], *args: Any, hook: Callable[..., None] | None) -> Any:
        """Calls ``call(*args, hook)`` of the environments; in evaluation errors name the environment."""
        if not self.config.in_evaluation:
            return call(*args, hook)
        return call_named(name_of(self.config.env), "evaluation", call, *args, hook=hook)

    def _sample_unwatched(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        if force_reset or num_episodes is not None or self._needs_initial_reset:
            self._reset()
        self._needs_initial_reset = True  # if an environment fails now, all start over
        for_env = self.module.scale_actions.of_array
        self._policy.refresh()
        num_steps = math.ceil(num_timesteps / self.num_envs) if num_timesteps else 256
        action_dim = self.module.acting.action_dim
        fragment = FragmentBuilder(self._running, self._custom_data, self._obs, action_dim, num_steps)
        self._quota = None
        if num_episodes is not None:
            self._quota = num_episodes // self.num_envs + (np.arange(self.num_envs) < num_episodes % self.num_envs)
        num_steps = num_counted = finished = 0
        while num_steps < (num_timesteps or 0) if self._quota is None else self._quota.any():
            action = self._act(explore, random_actions)
            listeners = functools.partial(self._listeners.step, action, self._quota) if self._listeners else None
            step = self._on_env(self.env.step_arrays, for_env(action), hook=listeners)
            fragment.append(action, step)
            num_steps += self.num_envs
            num_counted += int(step.inner_steps.sum())
            if self._watch is not None:
                wanted = self._running.lengths if self._quota is None else self._running.lengths[self._quota > 0]
                self._watch.step(int(wanted.max(initial=0)))
            if step.done.any() or step.restarted.any():
                finished += self._end_episodes(step, fragment)
                if self._listeners:
                    self._listeners.start(step.done | step.restarted, step.obs, self._quota)
            self._remember(action, step)
        if num_episodes is None:
            fragment.close_all()
            if self._listeners:
                self._listeners.cut()
            self._needs_initial_reset = False  # after whole episodes the next call starts over; the rest is discarded
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=num_counted)
        self._increase_sampled_metrics(num_counted, finished)
        return fragment.episodes

    def _act(self, explore: bool, random_actions: bool) -> np.ndarray:
        """Returns normalised actions ``[n, A]``; the encoder reads every step, even if actions are random."""
        shape = (self.num_envs, self.module.acting.action_dim)
        noise: np.ndarray | None = None
        if explore and not random_actions:
            noise = np.asarray(self._rng.standard_normal(shape, dtype=np.float32))
        action = self._policy.act(self._obs, noise)
        if random_actions:
            action = np.float32(2.0) * np.asarray(self._rng.random(shape, dtype=np.float32)) - np.float32(1.0)
        return action

    def _remember(self, action: np.ndarray, step: VectorStep) -> None:
        """Stores what the policy needs at the next step."""
        self._obs, self._running.task_ids = step.obs, step.task_ids
        self._policy.remember(step.rewards, action)
        begins = step.done | step.restarted
        if begins.any():
            self._policy.begin(begins, self._rng)

    def _end_episodes(self, step: VectorStep, fragment: FragmentBuilder) -> int:
        """Closes the pieces of finished episodes and drops those of lost ones; returns the number of finished ones."""
        finished, running = 0, self._running
        for slot in np.flatnonzero(step.done | step.restarted).tolist():
            if step.restarted[slot] or (self._quota is not None and self._quota[slot] == 0):
                fragment.drop(slot)
            else:
                finished += 1
                info, terminated = step.final_infos[slot], bool(step.terminated[slot])
                fragment.close(slot, terminated=terminated, truncated=not terminated, final_info=info)
                succeeded = success_of(info)
                success = math.nan if succeeded is None else float(succeeded)
                inner_steps, total = int(running.inner_steps[slot]), float(running.returns[slot])
                self._finished_episodes.append((int(running.task_ids[slot]), total, inner_steps, success))
                if self._quota is not None:
                    self._quota[slot] -= 1
                if self._watch is not None:
                    self._watch.episode()
            running.begin(slot)
            self._episodes_over[slot] += 1
        return finished

    # --- Metrics and state ------------------------------------------------------------------------------------------

    @override(SingleAgentEnvRunner)
    def get_metrics(self) -> dict[str, Any]:
        episodes, self._finished_episodes = self._finished_episodes, []
        _, returns, lengths, _ = zip(*episodes, strict=True) if episodes else ((),) * 4
        compat.log_episodes(self.metrics, returns, lengths)
        for stats in episodes:
            task_id, total, _, success = stats
            self.metrics.log_value(SUCCESS_RATE, success, reduce="mean")
            if not self.config.in_evaluation:
                # The algorithm averages over the last episodes of all env runners.
                self.metrics.log_value(FINISHED_EPISODES, stats, reduce="item_series")
            elif self._named_tasks.add(task_id):
                self.metrics.log_value((RETURN_BY_TASK, str(task_id)), total, reduce="mean")
        return self.metrics.reduce()

    @override(SingleAgentEnvRunner)
    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        if self.env is None:
            return self.spaces
        single = (self.env.single_observation_space, self.env.single_action_space)
        spaces = (self.env.observation_space, self.env.action_space)
        return {INPUT_ENV_SPACES: spaces, INPUT_ENV_SINGLE_SPACES: single, compat.DEFAULT_MODULE_ID: single}

    @override(SingleAgentEnvRunner)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(RANDOM_STATE, components, not_components):
            state[RANDOM_STATE] = {
                "runner": self._identity,
                "entropy": str(self._entropy),  # as text, because it has too many bits for an integer of msgpack
                "num_resets": self._num_resets,
                "episodes_over": self._episodes_over.copy(),
                "actions": json.dumps(self._rng.bit_generator.state),
            }
        return state

    @override(SingleAgentEnvRunner)
    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            self._weights_seq_no = 0  # otherwise RLlib would ignore weights that are older than the present ones
        super().set_state(state)
        # RLlib sends the local runner's state to restarted remote ones, which keep their own streams.
        random_state = state.get(RANDOM_STATE)
        if random_state is not None and tuple(random_state["runner"]) == self._identity:  # msgpack makes it a list
            self._entropy = int(random_state["entropy"])
            self._num_resets = random_state["num_resets"]
            if len(random_state["episodes_over"]) == self.num_envs:
                self._episodes_over = random_state["episodes_over"].copy()
            actions = random_state["actions"]
            self._rng.bit_generator.state = json.loads(actions) if isinstance(actions, str) else actions
            # Running episodes are not saved; new ones begin, with new random streams.
            self._needs_initial_reset = True
