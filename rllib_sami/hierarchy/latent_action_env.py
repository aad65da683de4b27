"""An environment for a higher level: its action is a latent, with which a frozen policy acts for several steps."""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from rllib_sami.core.acting import SPHERE_EPSILON
from rllib_sami.core.env_values import flat_observation, reward_of
from rllib_sami.core.settings import is_integer
from rllib_sami.hierarchy.frozen_policy import FrozenPolicy


class LatentActionEnv(gym.Wrapper, RecordConstructorArgs):
    """One step is up to ``steps`` steps of the wrapped environment, in which ``policy`` acts with the action as latent.

    .. code-block:: python

        env = LatentActionEnv(gymnasium.make("Ant-v5"), policy, steps=25, to_latent=unit_sphere)

    The reward is the undiscounted sum of the inner rewards. A step ends early where the episode ends; observation,
    ``terminated``, ``truncated`` and info are those of the last inner step, and so is ``is_success``: as without this
    wrapper, what counts is what it says at the end of the episode. The info also has

    * ``env_steps``: the number ``n`` of inner steps;
    * ``inner``, with ``store_steps``: ``obs`` ``[n + 1, O]``, the flat observations from the one that the step began
      with to the one that it returns, normalised ``actions`` ``[n, A]`` and ``rewards`` ``[n]``, all float32.

    Everything else (spaces of observations, seeding, rendering, the attributes of meta-tasks) is the wrapped
    environment's. Its time limits count inner steps, and a video with every inner step is recorded inside:
    ``LatentActionEnv(RecordVideo(env, ...), ...)``.

    The stride may depend on the action, and the latent on the inner step: subclasses override :meth:`num_steps` and
    :meth:`latent`.

    Args:
        env: The environment that the policy acts in.
        policy: Acts in it. Each environment takes a copy, which remembers its episode from reset to reset.
        steps: The most inner steps of one step.
        to_latent: Maps an action and the observation that it was chosen for to the latent; None: the action is the
            latent. :func:`unit_sphere` is one.
        to_obs: Maps an observation to what the policy reads of it, ``[O]``, where that is not all of it: a task may
            add a goal that the policy knows nothing of. None: the flat observation.
        store_steps: Whether infos have ``inner``.

    Attributes:
        action_space: ``Box(-1, 1)`` as wide as the latent. Where ``to_latent`` takes actions of another width, set it
            to another Box.
        obs: The newest observation, as the wrapped environment gave it; None where it needs a reset.
        on_inner_step: Called after each inner step, such as to film it; None: nothing is.

    Raises:
        ValueError: ``steps`` is no integer >= 1, or the environment's spaces are not those of the policy.
    """

    def __init__(
        self,
        env: gym.Env,
        policy: FrozenPolicy,
        *,
        steps: int,
        to_latent: Callable[[np.ndarray, Any], np.ndarray] | None = None,
        to_obs: Callable[[Any], np.ndarray] | None = None,
        store_steps: bool = False,
    ):
        given = {"policy": policy, "steps": steps, "to_latent": to_latent, "to_obs": to_obs, "store_steps": store_steps}
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **given)
        gym.Wrapper.__init__(self, env)
        if not (is_integer(steps) and steps >= 1):
            raise ValueError(f"steps={steps!r}: expected an integer >= 1.")
        if env.action_space != policy.action_space:
            raise ValueError(f"The policy acts in {policy.action_space}, but the environment has {env.action_space}.")
        self._flat_shape = (gym.spaces.flatdim(env.observation_space),)
        if to_obs is None and self._flat_shape != (policy.obs_dim,):
            raise ValueError(
                f"The policy reads observations of {policy.obs_dim} numbers, but the environment gives "
                f"{self._flat_shape[0]}. Say with to_obs what it reads of them, such as "
                f"to_obs=lambda obs: obs[:{policy.obs_dim}]."
            )
        self.policy, self.steps = copy.deepcopy(policy), int(steps)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (policy.latent_dim,), np.float32)
        self.obs: Any = None
        self.on_inner_step: Callable[[], None] | None = None
        self._to_latent, self._to_obs, self._store_steps = to_latent, to_obs, store_steps

    def num_steps(self, action: np.ndarray) -> int:
        """The most inner steps of this action; at least one is taken."""
        return self.steps

    def latent(self, action: np.ndarray, obs: Any) -> np.ndarray:
        """The latent of the next inner step, for an action and the observation that it was chosen for."""
        return action if self._to_latent is None else self._to_latent(action, obs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the wrapped environment; the policy begins an episode."""
        self.obs, info = self.env.reset(seed=seed, options=options)
        self.policy.begin()
        return self.obs, info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs the inner steps of an action.

        Raises:
            ResetNeeded: The episode is over or has not begun.
            ValueError: The latent does not fit the policy.
        """
        if self.obs is None:
            raise ResetNeeded("The episode is over or has not begun. Call reset() before step().")
        chosen_for = self.obs
        inner_obs, inner_actions, inner_rewards = [self._flat()], [], []
        for _ in range(max(1, self.num_steps(action))):
            latent = self.latent(action, chosen_for)
            policy_obs = inner_obs[-1] if self._to_obs is None else self._to_obs(self.obs)
            self.obs, reward, terminated, truncated, info = self.env.step(self.policy.act(policy_obs, latent))
            inner_obs.append(self._flat())
            inner_actions.append(self.policy.normalized_action)
            inner_rewards.append(reward_of(reward))
            if self.on_inner_step is not None:
                self.on_inner_step()
            if terminated or truncated:
                break
        info = {**info, "env_steps": len(inner_rewards)}
        if self._store_steps:
            stored = {"obs": inner_obs, "actions": inner_actions, "rewards": inner_rewards}
            info["inner"] = {name: np.asarray(values, np.float32) for name, values in stored.items()}
        obs, self.obs = self.obs, None if terminated or truncated else self.obs
        return obs, sum(inner_rewards), terminated, truncated, info

    def _flat(self) -> np.ndarray:
        """The newest observation as float32, in memory of its own."""
        return flat_observation(self.obs, self.env.observation_space, self._flat_shape).copy()


def unit_sphere(action: np.ndarray, obs: Any = None) -> np.ndarray:
    """Puts an action on the unit sphere, where many skill policies have their latents; zeros stay zeros."""
    return action / max(float(np.linalg.norm(action)), SPHERE_EPSILON)
