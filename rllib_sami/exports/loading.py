"""Trained agents in your own loops: ``rllib_sami.load(path)``. Nothing here starts Ray."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch

from rllib_sami import compat
from rllib_sami.core.env_values import UnusableValue, check_finite, image_bytes, reward_of, short, snapshot
from rllib_sami.core.faults import closing
from rllib_sami.core.images import image_shape, row_dtype
from rllib_sami.env_runners.agents import Agent, ContextAgent, GoalAgent, SkillAgent, make_agent
from rllib_sami.env_runners.episodes import NUM_SLOTS, EpisodeSpec, Goal
from rllib_sami.exports.agents import ExportedAgent, is_exported
from rllib_sami.exports.checkpoints import load as load_checkpoint
from rllib_sami.exports.composed import CONTROL
from rllib_sami.exports.played_skills import load_skills

if TYPE_CHECKING:
    from rllib_sami.exports.checkpoints import Checkpoint


def load(
    path: str | Path, *, observation_space: gymnasium.Space | None = None, primitive_actions: bool = False
) -> TrainedAgent:
    """Loads an agent that acts in any loop, exactly as in ``rllib evaluate``.

    .. code-block:: python

        agent = rllib_sami.load("~/ray_results/ant")
        obs, info = env.reset()
        agent.reset()
        reward, done = 0.0, False
        while not done:
            obs, reward, terminated, truncated, info = env.step(agent.act(obs, reward))
            done = terminated or truncated

    Args:
        path: Folder of a checkpoint, of a trial or experiment (its newest checkpoint is taken), or of an exported
            agent. Checkpoints are read with pickle, which can run code: load only those that you trust.
        observation_space: Observation space of the environment. Only needed to flatten ``Dict`` observations if the
            training environment cannot be made here.
        primitive_actions: For agents whose actions are skills (``Skills/Control-v0``): the agent plays the skills that
            it chooses, so ``act`` is called in each step of the task, and returns an action of the task.

    Returns:
        The agent, at the start of an episode.

    Raises:
        ValueError: There is no agent, it cannot be loaded, or its actions are no skills (``primitive_actions``).
        TypeError: ``observation_space`` is not a space.
    """
    if not isinstance(observation_space, gymnasium.Space | None):
        raise TypeError(
            f"observation_space={observation_space!r}: expected a gymnasium.Space such as env.observation_space."
        )
    agent = PrimitiveActionAgent if primitive_actions else TrainedAgent
    return agent(load_checkpoint(path), observation_space)


class TrainedAgent:
    """A trained agent that plays one episode after the other and remembers the current one.

    Attributes:
        observation_space: What its network reads; a flat Box for this package's agents, or images.
        action_space: Space of the actions that it returns.
        module: The RLModule that it acts with.
    """

    def __init__(self, checkpoint: Checkpoint | ExportedAgent, observation_space: gymnasium.Space | None = None):
        self._checkpoint, self._given_space = checkpoint, observation_space
        self.module = module = checkpoint.module()
        self._agent: Agent = make_agent(module, checkpoint.path, explore=False, env_steps=checkpoint.env_steps())
        self.observation_space, self.action_space = self._agent.spaces
        self._is_ours = isinstance(self._agent, ContextAgent)
        self._reads_rewards = self._is_ours and module.network_config.encoder_reward
        width = module.acting.obs_dim if self._is_ours else 0
        self._obs = np.zeros((NUM_SLOTS, width), row_dtype(module.observation_space))
        self.reset()

    def reset(self, seed: int | None = None, *, skill: Any = None, goal: Any = None) -> None:
        """Starts a new episode; forgets the last one.

        Args:
            seed: Seed of the noise in ``act(..., explore=True)``, and of the skill that is drawn; None draws one from
                torch's generator.
            skill: For agents with skills: the one to play, ``[d]``; None draws one. Of skills that were learned from
                data, None draws another one whenever one is over.
            goal: For agents of skill discovery: an observation to reach. The skill that leads to it is chosen at each
                step.

        Raises:
            ValueError: The seed is not an integer >= 0, the skill has another width, or the agent has no skills, or
                cannot find those that lead to a goal.
        """
        given: Any = int(torch.randint(2**31, ())) if seed is None else seed
        if not isinstance(given, numbers.Integral) or given < 0:
            raise ValueError(f"seed={seed!r}: expected an integer >= 0, or None to draw one.")
        spec = EpisodeSpec("", None, 0, None, int(given) % 2**63)
        if skill is not None or goal is not None:
            spec = replace(spec, **self._aim(skill, goal))
        self._episode, self._steps = _Episode(self, spec), 0

    def _aim(self, skill: Any, goal: Any) -> dict[str, Any]:
        """Returns the fields of a spec for a skill or a goal."""
        if not isinstance(self._agent, SkillAgent):
            raise ValueError("This agent has no skills: call reset() without `skill` and `goal`.")
        if skill is not None and goal is not None:
            raise ValueError("reset() was given a skill and a goal, which chooses skills itself. Give one of them.")
        if goal is not None:
            if not isinstance(self._agent, GoalAgent):
                raise ValueError(
                    "goal: no skill leads this agent to a goal. An agent of `Skills/Control-v0` chooses skills for a "
                    "task; reset(skill=...) plays one."
                )
            flat = self._flatten(goal)
            if not np.isfinite(flat).all():
                raise ValueError(f"goal={short(goal)}: expected an observation of finite numbers.")
            return {"goal": Goal(flat, np.zeros(0))}
        width = self.module.network_config.skill_dim
        try:
            given = np.asarray(skill, np.float32)
        except (TypeError, ValueError):
            given = np.zeros(0, np.float32)
        if given.shape != (width,) or not np.isfinite(given).all():
            raise ValueError(f"skill={short(skill)}: expected {width} finite numbers.")
        return {"skill": given}

    def act(self, obs: Any, reward: float | None = None, *, explore: bool = False) -> Any:
        """Returns the action for an observation; to be called once in each step of an episode.

        Args:
            obs: Observation as the environment gives it. A ``Dict`` is flattened.
            reward: Reward of the last step, for encoders that read it (``encoder_reward=True``); others need none. It
                is ignored on an episode's first step.
            explore: Whether to sample the action, as in training, instead of taking the most likely one.

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
        episode, agent = self._episode, self._agent
        flat, last_reward = self._checked(obs, reward if self._steps else None)
        episode.obs, episode.reward = snapshot(obs), last_reward
        if self._is_ours:
            self._obs[0] = flat
        if self._steps == 0:  # connectors read the first observation at the reset
            agent.reset([episode], self._obs)
        agent.explore = explore
        self._steps += 1
        return agent.act([episode], [0])[0]

    @property
    def context(self) -> np.ndarray | None:
        """The encoder's context at the last ``act``, ``[D]``; None before the first one or without an encoder."""
        contexts = self._agent.contexts
        return contexts[0].copy() if contexts is not None and self._steps else None

    @property
    def skill(self) -> np.ndarray | None:
        """The skill at the last ``act``, ``[d]``; None before the first one or for agents without skills."""
        return self._agent.skills[0].copy() if isinstance(self._agent, SkillAgent) and self._steps else None

    def _checked(self, obs: Any, reward: Any) -> tuple[np.ndarray, float]:
        """Returns an observation as :meth:`_flatten` does, and a reward, if both are finite."""
        flat = self._flatten(obs)
        try:
            number = 0.0 if reward is None else reward_of(reward)
            check_finite(flat, number)
        except UnusableValue as error:
            raise ValueError(f"act() was given {error}") from error
        return flat, number

    def _flatten(self, obs: Any) -> np.ndarray:
        """Returns an observation as float32 ``[O]``, in the order of training; a Box keeps its shape."""
        space = self.observation_space
        if self._is_ours and isinstance(obs, Mapping):
            space = self._given_space = self._given_space or self._training_space()
        if space is None or not space.is_np_flattenable:
            return np.zeros(0, np.float32)  # only the agent's connectors know how to flatten it
        is_box = isinstance(space, gymnasium.spaces.Box)
        shape: Any = space.shape if is_box else (gymnasium.spaces.flatdim(space),)
        try:
            if image_shape(space) is not None:
                return image_bytes(obs, space.shape).reshape(-1)
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
        if self._is_ours:
            flat, shape = np.atleast_1d(flat), self._obs[0].shape  # spaces may be of shape ()
        if flat.shape != shape:
            raise ValueError(
                f"The observation has shape {list(flat.shape)}, but this agent reads {list(shape)}, one observation at "
                "a time."
            )
        return flat

    def _training_space(self) -> gymnasium.Space:
        """Returns the observation space of the training environment, which says how to flatten observations."""
        try:
            env = compat.env_creator(self._checkpoint.config, worker_index=0, slot=0)()
            with closing(env, self._checkpoint.config.env):
                return env.observation_space
        except Exception as error:  # whatever an environment's own code raises
            raise ValueError(
                f"How to flatten this observation is not known, since the environment of training cannot be made here "
                f"({error}). Say so: load(path, observation_space=env.observation_space)."
            ) from error


class PrimitiveActionAgent(TrainedAgent):
    """An agent of ``Skills/Control-v0`` that plays the skills which it chooses: it acts in the task itself.

    A skill is played for as many steps as in training. Everything else is as of :class:`TrainedAgent`.

    Raises:
        ValueError: The agent acts in another environment, or its skills cannot be loaded.
    """

    def __init__(self, checkpoint: Checkpoint | ExportedAgent, observation_space: gymnasium.Space | None = None):
        env, settings = checkpoint.config.env, checkpoint.config.env_config
        if isinstance(checkpoint, ExportedAgent):  # whether or not its environment can be made here
            env, settings = checkpoint.trained_on, checkpoint.env_config
        if env != CONTROL:
            raise ValueError(
                f"primitive_actions=True: this agent acts in {env!r}, not with skills in {CONTROL!r}. Leave it out."
            )
        if isinstance(checkpoint, ExportedAgent) and not is_exported(str(settings.get("skills"))):
            raise ValueError(
                f"primitive_actions=True: {checkpoint.path} has no skills in it, and those in its settings, "
                f"{settings.get('skills')!r}, could run code. Export the agent again."
            )
        self._played = load_skills(settings.get("skills"), settings.get("steps"), settings.get("continuous", False))
        super().__init__(checkpoint, observation_space)
        self.action_space = self._played.policy.action_space

    def reset(self, seed: int | None = None, *, skill: Any = None, goal: Any = None) -> None:
        """Starts a new episode; see :meth:`TrainedAgent.reset`."""
        super().reset(seed, skill=skill, goal=goal)
        self._played.policy.begin()
        self._steps_left, self._reward = 0, 0.0

    def act(self, obs: Any, reward: float | None = None, *, explore: bool = False) -> Any:
        """Returns an action of the task; see :meth:`TrainedAgent.act`."""
        flat, number = self._checked(obs, reward)
        self._reward += number
        if self._steps_left == 0:  # the reward of a skill is the sum of those of its steps
            chosen = super().act(obs, None if reward is None else self._reward, explore=explore)
            to_latent = self._played.to_latent
            self._latent = np.asarray(chosen if to_latent is None else to_latent(chosen, obs))
            self._steps_left, self._reward = self._played.steps, 0.0
        self._steps_left -= 1
        policy = self._played.policy
        return policy.act(flat[: policy.obs_dim], self._latent)

    @property
    def skill(self) -> np.ndarray | None:
        """The skill at the last ``act``, ``[d]``; None before the first one."""
        return self._latent.copy() if self._steps else None


@dataclass
class _Episode:
    """The current episode, a ``player.RunningEpisode``; its ``env`` has the spaces."""

    env: TrainedAgent
    spec: EpisodeSpec
    obs: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    reward: float = 0.0
