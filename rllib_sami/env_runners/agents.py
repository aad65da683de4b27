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
from rllib_sami.env_runners.episodes import ROWS
from rllib_sami.env_runners.player import Agent, Turn

CONTEXTS = "learned, zero, shuffled or frozen-after=N"


def make_agent(
    module: Any, checkpoint: Path | None, explore: bool, context: str = "learned", env_steps: int = -1
) -> Agent:
    """Returns the agent that acts with an RLModule.

    Args:
        module: The module.
        checkpoint: Folder of the algorithm's checkpoint, whose connectors other modules than this package's need.
        explore: Whether it acts with noise, as in training.
        context: What the actor gets to see of the context: ``"learned"`` is what the encoder makes.
        env_steps: That the agent was trained for, on which the noise of some modules depends; -1: not known.

    Raises:
        ValueError: ``context`` is unknown or there is none, or the connectors cannot be loaded.
    """
    if hasattr(module, "acting"):  # of this package
        return ContextAgent(module, explore, context)
    if ContextChange.parse(context) is not None:
        raise ValueError(f"context={context!r}: {type(module).__name__} has no context to change. Leave it at learned.")
    if checkpoint is None:
        raise ValueError(f"{type(module).__name__} needs the connectors of a checkpoint to act.")
    return ConnectorAgent(checkpoint, module, explore, env_steps)


class ContextAgent:
    """A module of this package. Each product has ``ROWS`` rows, so that an episode's numbers are its own."""

    def __init__(self, module: Any, explore: bool, context: str = "learned"):
        networks, self._change = module.acting, ContextChange.parse(context)
        if self._change is not None:
            if networks.config.context_dim == 0:
                raise ValueError(f"context={context!r}: this agent has no context to change. Leave it at learned.")
            networks = copy.deepcopy(networks)
            networks.actor = _ActorElsewhere(networks.actor, self._change)
        self._policy = RecurrentPolicy(networks, ROWS)
        self._scale, self.explore = module.scale_actions, explore
        self.spaces = (module.observation_space, module.action_space)
        self.contexts: np.ndarray | None = None
        if networks.config.context_dim > 0:
            self.contexts = np.zeros((ROWS, networks.config.context_dim), np.float32)

    def begin(self, slots: Sequence[Turn], rows: np.ndarray) -> None:
        """Takes up new episodes."""
        self._rows = rows
        self._policy.begin()
        self._rewards = np.zeros(ROWS, np.float32)
        self._noise = np.zeros((ROWS, self._policy.action_dim), np.float32)
        # Of each episode alone; the environment's own generator has the seed itself.
        self._rngs = [np.random.default_rng([slot.job.noise_seed, 1]) for slot in slots]
        if self._change is not None:
            self._change.begin([slot.job.task_id for slot in slots])

    def act(self, slots: Sequence[Turn], live: list[int]) -> Mapping[int, Any] | np.ndarray:
        """Returns actions ``[ROWS, *A]``; what belongs to finished episodes stays as it was at their end."""
        going_on = slice(None) if len(live) == len(slots) else live
        self._rewards[live] = [slots[index].reward for index in live]
        self._policy.remember(self._rewards, slots=going_on)
        if self.explore:
            for index in live:
                self._noise[index] = self._rngs[index].standard_normal(self._noise.shape[1], np.float32)
        action = self._policy.act(self._rows, self._noise if self.explore else None, going_on)
        if self.contexts is not None:
            self.contexts = self._policy.context
        for_env = self._scale.of_array(action)
        # An entry of an array without further dimensions would be no array.
        return for_env if for_env.ndim > 1 else {index: for_env[index, ...] for index in live}


class ContextChange:
    """Gives the actor another context than the encoder's, to see whether the context is used at all.

    * ``zero``: zeros;
    * ``shuffled``: that of another episode at the same step (its last one if that is over), of another task where
      possible;
    * ``frozen-after=N``: that of step N from there on, so ``frozen-after=0`` has the context of the first observation
      only.
    """

    def __init__(self, kind: str, last_step: int = 0):
        self._kind, self._last_step = kind, last_step

    @classmethod
    def parse(cls, text: str) -> ContextChange | None:
        """Returns the change that a text names, None for "learned".

        Raises:
            ValueError: It names none.
        """
        if text == "learned":
            return None
        if text in ("zero", "shuffled"):
            return cls(text)
        if text == "oracle":
            raise ValueError(
                "context='oracle': the actor was trained on contexts of its encoder, so there is no true one to give "
                f"it. Train an agent on the task itself (env_config observe_task=True); here: {CONTEXTS}."
            )
        if found := re.fullmatch(r"frozen-after=(\d+)", str(text)):
            return cls("frozen", int(found[1]))
        raise ValueError(f"context={text!r}: expected {CONTEXTS}, such as frozen-after=100.")

    def begin(self, tasks: Sequence[int | None]) -> None:
        """Begins with the first step of episodes of these tasks."""
        self._step, self._frozen = 0, torch.zeros(0)
        if self._kind == "shuffled":
            if len(tasks) < 2:
                raise ValueError("context='shuffled' takes contexts from another episode: play at least two.")
            turns = range(1, len(tasks))
            same = [sum(task == tasks[at - turn] for at, task in enumerate(tasks)) for turn in turns]
            turn = turns[int(np.argmin(same))]
            self._source = [(at - turn) % len(tasks) for at in range(len(tasks))] + list(range(len(tasks), ROWS))

    def __call__(self, context: Tensor) -> Tensor:
        """Returns what the actor sees of contexts ``[ROWS, D]``."""
        if self._kind == "zero":
            return torch.zeros_like(context)
        if self._kind == "shuffled":
            return context[self._source]
        if self._step <= self._last_step:
            self._frozen = context
        self._step += 1
        return self._frozen


class _ActorElsewhere(nn.Module):
    """An actor that sees a changed context."""

    def __init__(self, actor: nn.Module, change: ContextChange):
        super().__init__()
        self._actor: Any = actor
        self._change = change

    def mode(self, obs: Tensor, context: Tensor) -> Tensor:
        return self._actor.mode(obs, self._change(context))

    def sample(self, obs: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self._actor.sample(obs, self._change(context), noise)


class ConnectorAgent:
    """Any other RLlib module, between the connectors it was trained with; they begin each chunk as they were then."""

    contexts: np.ndarray | None = None

    def __init__(self, checkpoint: Path, module: Any, explore: bool, env_steps: int = -1):
        from ray.rllib.connectors.env_to_module import EnvToModulePipeline
        from ray.rllib.connectors.module_to_env import ModuleToEnvPipeline

        folder = checkpoint / "env_runner"
        try:
            self._to_module = EnvToModulePipeline.from_checkpoint(folder / "env_to_module_connector")
            self._to_env = ModuleToEnvPipeline.from_checkpoint(folder / "module_to_env_connector")
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{checkpoint}: its connectors cannot be loaded: {reason}") from error
        self._pipelines = (self._to_module, self._to_env)
        for pipeline in self._pipelines:
            compat.freeze_statistics(pipeline)
        self._as_trained = [copy.deepcopy(pipeline.get_state()) for pipeline in self._pipelines]
        # Connectors may change the observations.
        self.spaces = (self._to_module.input_observation_space, module.action_space)
        self._module, self.explore, self._env_steps = module, explore, max(0, env_steps)

    def begin(self, slots: Sequence[Turn], rows: np.ndarray) -> None:
        """Takes up new episodes."""
        # RLlib's modules draw from torch's global generator.
        torch.manual_seed(slots[0].job.noise_seed)
        for pipeline, state in zip(self._pipelines, self._as_trained, strict=True):
            pipeline.set_state(copy.deepcopy(state))
        self._episodes = []
        for slot in slots:
            episode = SingleAgentEpisode(
                observation_space=slot.env.observation_space, action_space=slot.env.action_space
            )
            episode.add_env_reset(observation=slot.obs, infos=snapshot(slot.info))
            self._episodes.append(episode)
        self._acted: dict[int, tuple[Any, dict[str, Any]]] = {}

    def act(self, slots: Sequence[Turn], live: list[int]) -> dict[int, Any]:
        """Returns the actions; the recurrent state travels in the extra outputs of the episodes."""
        for index in live:
            if index in self._acted:
                slot, (action, extra) = slots[index], self._acted[index]
                self._episodes[index].add_env_step(
                    slot.obs, action, slot.reward, snapshot(slot.info), extra_model_outputs=extra
                )
        episodes = [self._episodes[index] for index in live]
        shared: dict[str, Any] = {}
        common = {"episodes": episodes, "explore": self.explore, "rl_module": self._module, "shared_data": shared}
        with torch.no_grad():
            batch = self._to_module(batch={}, **common)
            explore, infer = self._module.forward_exploration, self._module.forward_inference
            out = self._to_env(batch=explore(batch, t=self._env_steps) if self.explore else infer(batch), **common)
        actions = out.pop(Columns.ACTIONS)
        for_env = out.pop(Columns.ACTIONS_FOR_ENV, actions)
        self._acted = {
            index: (actions[at], {key: value[at] for key, value in out.items()}) for at, index in enumerate(live)
        }
        # Copies: an environment may write into its action, which the episode keeps.
        return {index: snapshot(for_env[at]) for at, index in enumerate(live)}
