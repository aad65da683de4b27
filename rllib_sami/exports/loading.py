"""Trained agents in loops of one's own: ``rllib_sami.load(path)``. Nothing here starts Ray."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

from rllib_sami import compat
from rllib_sami.core.env_values import UnusableValue, check_finite, reward_of, short, snapshot
from rllib_sami.core.faults import closing
from rllib_sami.env_runners.agents import Agent, ContextAgent, make_agent
from rllib_sami.env_runners.episodes import ROWS, Job
from rllib_sami.exports.checkpoints import load as load_checkpoint

if TYPE_CHECKING:
    from rllib_sami.exports.agents import ExportedAgent
    from rllib_sami.exports.checkpoints import Checkpoint


def load(path: str | Path, *, observation_space: gymnasium.Space | None = None) -> TrainedAgent:
    """Loads an agent that acts in any loop, as ``rllib evaluate`` plays it.

    .. code-block:: python

        agent = rllib_sami.load("~/ray_results/ant")
        obs, info = env.reset()
        agent.reset()
        reward, done = 0.0, False
        while not done:
            obs, reward, terminated, truncated, info = env.step(agent.act(obs, reward))
            done = terminated or truncated

    Args:
        path: A checkpoint's folder, that of a trial or experiment (its newest checkpoint is taken), or an exported
            agent's. Checkpoints are read with pickle, which can run code: load only those that you trust.
        observation_space: Of the environment, where observations are to be flattened (``Dict``) and the environment
            of training cannot be made here; None: that one's.

    Returns:
        The agent, at the start of an episode.

    Raises:
        ValueError: There is no agent, or none that can be loaded; the message says why.
        TypeError: ``observation_space`` is no space.
    """
    if not isinstance(observation_space, gymnasium.Space | None):
        raise TypeError(
            f"observation_space={observation_space!r}: expected a gymnasium.Space such as env.observation_space."
        )
    return TrainedAgent(load_checkpoint(path), observation_space)


class TrainedAgent:
    """A trained agent that plays one episode after the other; it keeps the memory of the present one.

    Attributes:
        observation_space: What its network reads, for this package's agents a flat Box.
        action_space: That of the actions it returns.
        module: The RLModule that it acts with.
    """

    def __init__(self, checkpoint: Checkpoint | ExportedAgent, observation_space: gymnasium.Space | None = None):
        self._checkpoint, self._given_space = checkpoint, observation_space
        self.module = module = checkpoint.module()
        self._agent: Agent = make_agent(module, checkpoint.path, explore=False, env_steps=checkpoint.env_steps())
        self.observation_space, self.action_space = self._agent.spaces
        is_ours = isinstance(self._agent, ContextAgent)
        self._reads_rewards = is_ours and module.network_config.encoder_reward
        self._rows = np.zeros((ROWS, module.acting.obs_dim if is_ours else 0), np.float32)
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begins an episode: forgets the one before.

        Args:
            seed: Of the noise in ``act(..., explore=True)``; None draws one from torch's generator.

        Raises:
            ValueError: It is no integer >= 0.
        """
        given: Any = int(torch.randint(2**31, ())) if seed is None else seed
        if not isinstance(given, numbers.Integral) or given < 0:
            raise ValueError(f"seed={seed!r}: expected an integer >= 0, or None to draw one.")
        self._noise: torch.Tensor | None = None  # state of the generator that RLlib's modules draw from
        self._turn, self._steps = _Turn(self, Job("", None, 0, None, int(given) % 2**63)), 0
        if isinstance(self._agent, ContextAgent):
            self._agent.begin([self._turn], self._rows)

    def act(self, obs: Any, reward: float | None = None, *, explore: bool = False) -> Any:
        """Returns the action for an observation; to be called once in each step of an episode.

        Args:
            obs: As the environment gives it. A ``Dict`` is flattened.
            reward: Of the step before, for encoders that read it (``encoder_reward=True``); others need none. Unread
                on an episode's first step.
            explore: Whether to sample the action, as in training, instead of the most likely one.

        Returns:
            An action of the environment's action space: not normalised, without a batch axis.

        Raises:
            ValueError: The observation does not fit, it or the reward is not finite, or the encoder reads rewards and
                there is none.
        """
        if self._reads_rewards and self._steps and reward is None:
            raise ValueError(
                "This agent's encoder reads rewards (`encoder_reward=True`): call act(obs, reward) with the reward of "
                "the step before, and reset() before an episode's first step."
            )
        turn, agent = self._turn, self._agent
        flat = self._flat(obs)
        try:
            last_reward = 0.0 if reward is None or self._steps == 0 else reward_of(reward)
            check_finite(flat, last_reward)
        except UnusableValue as error:
            raise ValueError(f"act() was given {error}") from error
        turn.obs, turn.reward = snapshot(obs), last_reward
        agent.explore = explore
        if isinstance(agent, ContextAgent):
            self._rows[0] = flat
            self._steps += 1
            return agent.act([turn], [0])[0]
        with torch.random.fork_rng(devices=[]):  # the caller's own draws stay as they would be without this agent
            if self._noise is not None:
                torch.set_rng_state(self._noise)
            if self._steps == 0:  # it takes the first observation along
                agent.begin([turn], self._rows)
            self._steps += 1
            action = agent.act([turn], [0])[0]
            self._noise = torch.get_rng_state()
        return action

    @property
    def context(self) -> np.ndarray | None:
        """What the encoder has made of the episode by the last ``act``, ``[D]``; None without one, or before it."""
        return self._agent.contexts[0].copy() if self._agent.contexts is not None and self._steps else None

    def _flat(self, obs: Any) -> np.ndarray:
        """An observation as float32 ``[O]``, in the order that training had; of RLlib's agents as their Box has it."""
        is_ours, space = isinstance(self._agent, ContextAgent), self.observation_space
        if is_ours and isinstance(obs, Mapping):
            space = self._given_space = self._given_space or self._space_of_training()
        if space is None or not space.is_np_flattenable:
            return np.zeros(0, np.float32)  # only the agent's connectors know
        is_box = isinstance(space, gymnasium.spaces.Box)
        shape: Any = self._rows[0].shape if is_ours else space.shape if is_box else (gymnasium.spaces.flatdim(space),)
        try:
            flat = np.asarray(obs if is_box else gymnasium.spaces.flatten(space, obs))
            if flat.dtype.kind not in "biufO":
                raise TypeError(f"it is of type {flat.dtype}")
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                flat = flat.astype(np.float32)
        except Exception as error:  # of missing keys, text, ragged lists, arrays of other libraries
            raise ValueError(
                f"The observation {short(obs)} does not fit {space}: {type(error).__name__}: {error}. Give it as the "
                "environment of training does."
            ) from error
        flat = np.atleast_1d(flat) if is_ours else flat  # spaces may be of shape ()
        if flat.shape != shape:
            raise ValueError(
                f"The observation has shape {list(flat.shape)}, but this agent reads {list(shape)}, one observation at "
                "a time."
            )
        return flat

    def _space_of_training(self) -> gymnasium.Space:
        """Of the environment of training, with the parts that the network reads as one."""
        try:
            env = compat.env_creator(self._checkpoint.config, worker_index=0, slot=0)()
            with closing(env, self._checkpoint.config.env):
                return env.observation_space
        except Exception as error:  # whatever an environment's own code raises
            raise ValueError(
                f"How to flatten this observation is not known, since the environment of training cannot be made here "
                f"({error}). Say so: load(path, observation_space=env.observation_space)."
            ) from error


@dataclass
class _Turn:
    """The present episode; see ``evaluation.agents.Turn``."""

    env: TrainedAgent
    job: Job
    obs: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    reward: float = 0.0
