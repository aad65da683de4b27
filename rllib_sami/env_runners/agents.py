"""Agents on many episodes at once: this package's, with their contexts, and any other RLlib module."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch import Tensor, nn

from rllib_sami import compat
from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.core.env_values import snapshot
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.core.text import one_line
from rllib_sami.env_runners.episodes import NUM_SLOTS
from rllib_sami.env_runners.player import Agent, RunningEpisode

CONTEXTS = "learned, zero, shuffled or frozen-after=N"


def make_agent(
    module: Any, checkpoint: Path | None, explore: bool, context: str = "learned", env_steps: int = -1
) -> Agent:
    """Returns the agent that acts with an RLModule.

    Args:
        module: The module.
        checkpoint: Folder of the algorithm's checkpoint. Modules of other packages need its connectors.
        explore: Whether to act with noise, as in training.
        context: What the actor sees, see :func:`parse_context`; ``"learned"`` is the encoder's own context.
        env_steps: Number of training steps, which the noise of some modules depends on; -1: unknown.

    Raises:
        ValueError: ``context`` is unknown, the agent has no context, or its connectors cannot be loaded.
    """
    if hasattr(module, "infer_skill"):
        return GoalAgent(module, explore, context)
    if hasattr(module, "acting") and hasattr(module.acting, "state_of_skill"):
        return SkillAgent(module, explore, context)
    if hasattr(module, "acting"):  # of this package
        return ContextAgent(module, explore, context)
    if parse_context(context) is not None:
        raise ValueError(f"context={context!r}: {type(module).__name__} has no context to change. Leave it at learned.")
    if checkpoint is None:
        raise ValueError(f"{type(module).__name__} needs the connectors of a checkpoint to act.")
    return ConnectorAgent(checkpoint, module, explore, env_steps)


class ContextAgent:
    """A module of this package.

    Every batch has ``NUM_SLOTS`` episodes, whether or not as many are played, so that the numbers of one episode do
    not depend on the others.
    """

    def __init__(self, module: Any, explore: bool, context: str = "learned"):
        self._module, networks, change = module, module.acting, parse_context(context)
        self._has_context, self._changed_actor = networks.config.context_dim > 0, None
        if change is not None:
            if not self._has_context:
                raise ValueError(f"context={context!r}: this agent has no context to change. Leave it at learned.")
            networks = copy.deepcopy(networks)
            networks.actor = self._changed_actor = _ChangedContextActor(networks.actor, *change)
        self._policy = RecurrentPolicy(networks, NUM_SLOTS)
        self._scale, self.explore = module.scale_actions, explore
        self.spaces = (module.observation_space, module.action_space)

    @property
    def contexts(self) -> np.ndarray | None:
        """Contexts at the last :meth:`act`, ``[NUM_SLOTS, D]``; None without an encoder."""
        return self._policy.context if self._has_context else None

    def values(self) -> np.ndarray | None:
        """Values of the states at the last :meth:`act`, ``[NUM_SLOTS]``; None where the networks have none."""
        of_states = getattr(self._module.acting, "state_values", None)
        if of_states is None:
            return None
        device = next(self._module.acting.parameters()).device
        return of_states(torch.from_numpy(self._obs).to(device)).cpu().numpy()

    def inferred_tasks(self) -> list[InferredTask] | None:
        """What was inferred of the tasks at the last :meth:`act`, one for each slot."""
        networks = self._module.acting
        device = next(networks.actor.parameters()).device
        return networks.infer_tasks(
            *(torch.from_numpy(array).to(device) for array in (self._obs, self._policy.context))
        )

    def reset(self, episodes: Sequence[RunningEpisode], obs: np.ndarray) -> None:
        """Starts new episodes."""
        self._obs = obs
        self._policy.begin()
        # Latents and random numbers that an episode keeps in its state are its own.
        states = [
            self._module.acting.initial_state(1, np.random.default_rng([episode.spec.noise_seed, 2]))
            for episode in episodes
        ]
        self._policy.set_state(np.concatenate(states), slice(0, len(states)))
        # One generator per episode; the environment's own generator has the seed itself.
        self._rngs = [np.random.default_rng([episode.spec.noise_seed, 1]) for episode in episodes]
        if self._changed_actor is not None:
            self._changed_actor.reset([episode.spec.task_id for episode in episodes])

    def act(self, episodes: Sequence[RunningEpisode], live: list[int]) -> Mapping[int, Any] | np.ndarray:
        """Returns actions ``[NUM_SLOTS, *A]``; the policy's memory of finished episodes stays as it is."""
        slots = slice(None) if len(live) == len(episodes) else live  # a slice copies nothing
        rewards = np.zeros(NUM_SLOTS, np.float32)
        rewards[live] = [episodes[index].reward for index in live]
        self._policy.remember(rewards, slots=slots)
        noise = None
        if self.explore:
            noise = np.zeros((NUM_SLOTS, self._policy.action_dim), np.float32)
            for index in live:
                noise[index] = self._rngs[index].standard_normal(self._policy.action_dim, np.float32)
        actions = self._scale.of_array(self._policy.act(self._obs, noise, slots))
        # Indexing a one-dimensional array would give scalars instead of arrays.
        return actions if actions.ndim > 1 else {index: actions[index, ...] for index in live}


class SkillAgent(ContextAgent):
    """A module whose policy reads a skill: that of the episode, or one that it draws."""

    def inferred_tasks(self) -> None:
        """Returns None: a skill tells nothing of tasks."""

    @property
    def skills(self) -> np.ndarray:
        """Skills at the last :meth:`act`, ``[NUM_SLOTS, d]``."""
        return self._policy.state[:, : self._module.network_config.skill_dim]

    def reset(self, episodes: Sequence[RunningEpisode], obs: np.ndarray) -> None:
        """Starts new episodes with their skills; those without one draw it."""
        super().reset(episodes, obs)
        for index, episode in enumerate(episodes):
            if episode.spec.skill is not None:
                self._policy.set_state(self._module.acting.state_of_skill(episode.spec.skill)[None], [index])


class GoalAgent(SkillAgent):
    """A module that also finds, at each step, the skill that leads to the goal of an episode."""

    @property
    def contexts(self) -> np.ndarray | None:
        """Features of the states at the last :meth:`act`, ``[NUM_SLOTS, d]``; None where the method has none."""
        return self._module.features(self._obs)

    def reset(self, episodes: Sequence[RunningEpisode], obs: np.ndarray) -> None:
        """Starts new episodes with their skills or goals; those without both draw a skill."""
        super().reset(episodes, obs)
        self._with_goals: list[int] = []
        self._goals = np.zeros_like(obs)
        for index, episode in enumerate(episodes):
            if episode.spec.goal is not None:
                self._with_goals.append(index)
                self._goals[index] = episode.spec.goal.obs

    def act(self, episodes: Sequence[RunningEpisode], live: list[int]) -> Mapping[int, Any] | np.ndarray:
        """Returns actions ``[NUM_SLOTS, *A]``."""
        if self._with_goals:  # of all slots, so that the numbers of one do not depend on how many there are
            skills = self._module.infer_skill(self._obs, self._goals).cpu().numpy()
            self._policy.set_state(skills[self._with_goals], self._with_goals)
        return super().act(episodes, live)


def parse_context(text: str) -> tuple[str, int] | None:
    """Returns which context replaces the encoder's, which shows whether the agent uses its context at all.

    * ``zero``: zeros;
    * ``shuffled``: the context of another episode at the same step (its last one if that is over), of another task
      where possible;
    * ``frozen-after=N``: the context of step N from there on, so ``frozen-after=0`` keeps that of the first
      observation.

    Returns:
        ``("zero", 0)``, ``("shuffled", 0)`` or ``("frozen", N)``; None for ``"learned"``.

    Raises:
        ValueError: ``text`` is none of these.
    """
    if text == "learned":
        return None
    if text in ("zero", "shuffled"):
        return text, 0
    if text == "oracle":
        raise ValueError(
            "context='oracle': the actor was trained on contexts of its encoder, so there is no true one to give "
            f"it. Train an agent on the task itself (env_config observe_task=True); here: {CONTEXTS}."
        )
    if found := re.fullmatch(r"frozen-after=(\d+)", str(text)):
        return "frozen", int(found[1])
    raise ValueError(f"context={text!r}: expected {CONTEXTS}, such as frozen-after=100.")


class _ChangedContextActor(nn.Module):
    """An actor that sees another context than its encoder's, see :func:`parse_context`."""

    def __init__(self, actor: nn.Module, kind: str, last_step: int):
        super().__init__()
        self._actor: Any = actor
        self._kind, self._last_step = kind, last_step

    def reset(self, tasks: Sequence[int | None]) -> None:
        """Starts episodes of these tasks."""
        self._step, self._frozen = 0, torch.zeros(0)
        if self._kind == "shuffled":
            if len(tasks) < 2:
                raise ValueError("context='shuffled' takes contexts from another episode: play at least two.")
            shifts = range(1, len(tasks))
            same_task = [sum(task == tasks[at - shift] for at, task in enumerate(tasks)) for shift in shifts]
            shift = shifts[int(np.argmin(same_task))]
            self._source = [(at - shift) % len(tasks) for at in range(len(tasks))] + [*range(len(tasks), NUM_SLOTS)]

    def mode(self, obs: Tensor, context: Tensor) -> Tensor:
        return self._actor.mode(obs, self._change(context))

    def sample(self, obs: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self._actor.sample(obs, self._change(context), noise)

    def _change(self, context: Tensor) -> Tensor:
        """Returns what the actor sees in place of contexts ``[NUM_SLOTS, D]``; called once per step."""
        if self._kind == "zero":
            return torch.zeros_like(context)
        if self._kind == "shuffled":
            return context[self._source]
        if self._step <= self._last_step:
            self._frozen = context
        self._step += 1
        return self._frozen


class ConnectorAgent:
    """Any other RLlib module between the connectors it was trained with, whose state is restored at each reset."""

    contexts: np.ndarray | None = None

    def __init__(self, checkpoint: Path, module: Any, explore: bool, env_steps: int = -1):
        from ray.rllib.connectors.env_to_module import EnvToModulePipeline
        from ray.rllib.connectors.module_to_env import ModuleToEnvPipeline

        folder = checkpoint / "env_runner"
        try:
            self._to_module = EnvToModulePipeline.from_checkpoint(folder / "env_to_module_connector")
            self._to_env = ModuleToEnvPipeline.from_checkpoint(folder / "module_to_env_connector")
        except Exception as error:
            raise ValueError(f"{checkpoint}: its connectors cannot be loaded: {one_line(error)}") from error
        self._pipelines = (self._to_module, self._to_env)
        for pipeline in self._pipelines:
            compat.freeze_statistics(pipeline)
        self._trained_states = [copy.deepcopy(pipeline.get_state()) for pipeline in self._pipelines]
        # Connectors may change the observations.
        self.spaces = (self._to_module.input_observation_space, module.action_space)
        self._module, self.explore, self._env_steps = module, explore, max(0, env_steps)

    def values(self) -> None:
        """Returns None: other modules have no values in common."""

    def reset(self, episodes: Sequence[RunningEpisode], obs: np.ndarray) -> None:
        """Starts new episodes."""
        # RLlib's modules draw from torch's global generator; this agent has a stream of its own.
        self._rng_state = torch.Generator().manual_seed(episodes[0].spec.noise_seed).get_state()
        for pipeline, state in zip(self._pipelines, self._trained_states, strict=True):
            pipeline.set_state(copy.deepcopy(state))
        self._episodes = []
        for running in episodes:
            episode = SingleAgentEpisode(
                observation_space=running.env.observation_space, action_space=running.env.action_space
            )
            episode.add_env_reset(observation=running.obs, infos=snapshot(running.info))
            self._episodes.append(episode)
        self._acted: dict[int, tuple[Any, dict[str, Any]]] = {}

    def inferred_tasks(self) -> None:
        """Returns None: nothing is inferred of tasks."""

    def act(self, episodes: Sequence[RunningEpisode], live: list[int]) -> dict[int, Any]:
        """Returns the actions; the recurrent state travels in the extra outputs of the episodes."""
        for index in live:
            if index in self._acted:
                running, (action, extra) = episodes[index], self._acted[index]
                self._episodes[index].add_env_step(
                    running.obs, action, running.reward, snapshot(running.info), extra_model_outputs=extra
                )
        common = {
            "episodes": [self._episodes[index] for index in live],
            "explore": self.explore,
            "rl_module": self._module,
            "shared_data": {},
        }
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._rng_state)
            batch = self._to_module(batch={}, **common)
            explore, infer = self._module.forward_exploration, self._module.forward_inference
            out = self._to_env(batch=explore(batch, t=self._env_steps) if self.explore else infer(batch), **common)
            self._rng_state = torch.get_rng_state()
        actions = out.pop(Columns.ACTIONS)
        for_env = out.pop(Columns.ACTIONS_FOR_ENV, actions)
        self._acted = {
            index: (actions[at], {key: value[at] for key, value in out.items()}) for at, index in enumerate(live)
        }
        # Copies: an environment may write into its action, which the episode keeps.
        return {index: snapshot(for_env[at]) for at, index in enumerate(live)}
