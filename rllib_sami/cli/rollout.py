"""Plays a checkpoint's agent on environments in lockstep, each with its own episode."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_sami import compat
from rllib_sami.cli.checkpoints import Checkpoint
from rllib_sami.cli.errors import UserError, one_line

_MOST_ENVIRONMENTS = 16
_TASK_KEYS = ("task_id", "task")


def run_episodes(checkpoint: Checkpoint, config: Any, episodes: int, seed: int, explore: bool) -> list[dict[str, Any]]:
    """Plays ``episodes`` episodes of each meta-task and returns one dict per episode.

    Of an environment that cannot be told its next meta-task (attributes ``num_tasks`` and ``next_task_id``),
    ``episodes`` in all are played, of the meta-tasks that it chooses.
    """
    first = _make(config, 0)
    walks = first.has_wrapper_attr("next_task_id") and first.has_wrapper_attr("num_tasks")
    # Where an environment chooses, its copies might all choose the same: a single one goes on from task to task.
    chooses = not walks and "task_id" in first.reset(seed=seed)[1]
    # Else every episode has a seed of its own, so that none depends on which environment plays it.
    tasks = list(range(first.get_wrapper_attr("num_tasks"))) if walks else [None]
    jobs = deque(
        _Job(index, task, None if chooses and index else _seed_of(seed, task or 0, episode))
        for index, (task, episode) in enumerate(itertools.product(tasks, range(episodes)))
    )
    module = checkpoint.module()
    _check_spaces(first, module, checkpoint)
    first.close()
    envs = [_make(config, slot) for slot in range(1 if chooses else min(_MOST_ENVIRONMENTS, len(jobs)))]
    torch.manual_seed(seed)
    agent: Agent = (
        DirectAgent(module, explore) if _acts_alone(module) else ConnectorAgent(checkpoint, config, module, explore)
    )
    slots = [_Slot(env, jobs.popleft()) for env in envs]
    results: list[tuple[int, dict[str, Any]]] = []
    while slots:
        actions = agent.act([slot.episode for slot in slots])
        for slot, (action, action_for_env, extra) in zip(slots, actions, strict=True):
            slot.step(action, action_for_env, extra)
        for slot in [slot for slot in slots if slot.episode.is_done]:
            results.append((slot.job.index, slot.result()))
            if jobs:
                slot.begin(jobs.popleft())
            else:
                slot.env.close()
                slots.remove(slot)
    results.sort(key=lambda result: result[0])  # in the order of the jobs, not in that of the episodes' ends
    return sorted((result for _, result in results), key=lambda result: task_order(result["task_id"]))


def task_order(task_id: Any) -> tuple[bool, bool, Any]:
    """Returns what meta-tasks are sorted by: without one first, then numbers, then names."""
    return task_id is not None, isinstance(task_id, str), task_id


@dataclass(frozen=True)
class _Job:
    """One episode to play: the meta-task to set, if any, and the seed, if any."""

    index: int
    task_id: int | None
    seed: int | None


def _seed_of(seed: int, task_id: int, index: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(task_id, index)).generate_state(1)[0])


class _Slot:
    """One environment and its episode in progress."""

    def __init__(self, env: Any, job: _Job):
        self.env = env
        self.begin(job)

    def begin(self, job: _Job) -> None:
        if job.task_id is not None:
            self.env.set_wrapper_attr("next_task_id", job.task_id)
        self.job = job
        obs, info = self.env.reset(seed=job.seed)
        self.task = {key: info[key] for key in _TASK_KEYS if key in info}
        self.success: bool | None = None
        self.episode = SingleAgentEpisode(
            observation_space=self.env.observation_space, action_space=self.env.action_space
        )
        self.episode.add_env_reset(observation=obs, infos=info)

    def step(self, action: Any, action_for_env: Any, extra: dict[str, Any]) -> None:
        obs, reward, terminated, truncated, info = self.env.step(action_for_env)
        self.task = {**{key: info[key] for key in _TASK_KEYS if key in info}, **self.task}  # what the reset said stands
        if "is_success" in info:
            self.success = bool(info["is_success"])
        self.episode.add_env_step(
            obs, action, float(reward), info, terminated=terminated, truncated=truncated, extra_model_outputs=extra
        )

    def result(self) -> dict[str, Any]:
        return {
            "task_id": _plain(self.task.get("task_id")),
            "task": self.task.get("task"),
            "seed": self.job.seed,
            "return": float(self.episode.get_return()),
            "length": len(self.episode),
            "success": self.success,
        }


class Agent(Protocol):
    """Something that acts on several episodes at once."""

    def act(self, episodes: list[SingleAgentEpisode]) -> list[tuple[Any, Any, dict[str, Any]]]:
        """Returns (action as stored, action for the environment, extra outputs) for each episode."""


class DirectAgent:
    """A module that scales its own actions and carries all it remembers in its state, as this package's do."""

    def __init__(self, module: Any, explore: bool):
        self._module = module
        self._forward = module.forward_exploration if explore else module.forward_inference
        self._states: dict[str, dict[str, np.ndarray]] = {}

    def act(self, episodes: list[SingleAgentEpisode]) -> list[tuple[Any, Any, dict[str, Any]]]:
        """Returns the actions, and keeps the recurrent state per episode."""
        states = [self._states.pop(episode.id_, None) or self._module.get_initial_state() for episode in episodes]
        obs = np.stack([_flat(episode) for episode in episodes])
        rewards = np.array([episode.get_rewards(-1) if len(episode) else 0.0 for episode in episodes], np.float32)
        with torch.no_grad():
            out = self._forward(
                {
                    Columns.OBS: torch.from_numpy(obs),
                    Columns.REWARDS: torch.from_numpy(rewards),
                    Columns.STATE_IN: {
                        key: torch.from_numpy(np.stack([state[key] for state in states])) for key in states[0]
                    },
                }
            )
        state_out = {key: value.cpu().numpy() for key, value in out[Columns.STATE_OUT].items()}
        for index, episode in enumerate(episodes):
            self._states[episode.id_] = {key: value[index] for key, value in state_out.items()}
        actions, for_env = out[Columns.ACTIONS].cpu().numpy(), out[Columns.ACTIONS_FOR_ENV].cpu().numpy()
        return [(actions[index], for_env[index], {}) for index in range(len(episodes))]


class ConnectorAgent:
    """Any other RLlib module, between the connectors it was trained with."""

    def __init__(self, checkpoint: Checkpoint, config: Any, module: Any, explore: bool):
        from ray.rllib.connectors.env_to_module import EnvToModulePipeline
        from ray.rllib.connectors.module_to_env import ModuleToEnvPipeline

        folder = checkpoint.path / "env_runner"
        try:
            self._to_module = EnvToModulePipeline.from_checkpoint(folder / "env_to_module_connector")
            self._to_env = ModuleToEnvPipeline.from_checkpoint(folder / "module_to_env_connector")
        except Exception as error:
            raise UserError(f"{checkpoint.path}: its connectors cannot be loaded: {one_line(error)}") from error
        self._module, self._explore = module, explore
        self._forward = module.forward_exploration if explore else module.forward_inference

    def act(self, episodes: list[SingleAgentEpisode]) -> list[tuple[Any, Any, dict[str, Any]]]:
        """Returns the actions; the recurrent state travels in the extra outputs of the episodes."""
        shared: dict[str, Any] = {}
        common = {"episodes": episodes, "explore": self._explore, "rl_module": self._module, "shared_data": shared}
        with torch.no_grad():
            out = self._to_env(batch=self._forward(self._to_module(batch={}, **common)), **common)
        actions = out.pop(Columns.ACTIONS)
        for_env = out.pop(Columns.ACTIONS_FOR_ENV, actions)
        return [
            (actions[index], for_env[index], {key: value[index] for key, value in out.items()})
            for index in range(len(episodes))
        ]


def _plain(task_id: Any) -> int | str | None:
    """Returns a meta-task as Python's own number; whatever else an environment calls it, as text."""
    if isinstance(task_id, np.ndarray | np.generic) and task_id.size == 1:
        task_id = task_id.item()
    return task_id if task_id is None or isinstance(task_id, int) else str(task_id)


def _acts_alone(module: Any) -> bool:
    from rllib_sami.rl_module import SaMITorchRLModule

    return isinstance(module, SaMITorchRLModule)


def _make(config: Any, slot: int) -> Any:
    try:
        return compat.env_creator(config, worker_index=0, slot=slot)()
    except (TypeError, ValueError, gymnasium.error.Error) as error:
        raise UserError(f"the environment {config.env} cannot be made: {one_line(error)}") from error


def _check_spaces(env: Any, module: Any, checkpoint: Checkpoint) -> None:
    wanted, there = module.action_space, env.action_space
    sizes = [
        gymnasium.spaces.flatdim(space)
        for space in (module.observation_space, env.observation_space, wanted, there)
        if space is not None
    ]
    if len(sizes) == 4 and (sizes[0] != sizes[1] or sizes[2] != sizes[3]):
        raise UserError(
            f"{checkpoint.path}: the agent was trained on {sizes[0]} observations and {sizes[2]} actions, "
            f"but this environment has {sizes[1]} and {sizes[3]}."
        )


def _flat(episode: SingleAgentEpisode) -> np.ndarray:
    """Returns the newest observation as the flat float32 array that the module reads."""
    flat = gymnasium.spaces.flatten(episode.observation_space, episode.get_observations(-1))
    return np.asarray(flat, np.float32)
