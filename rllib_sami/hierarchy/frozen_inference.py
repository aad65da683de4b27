"""An agent of a toy, with the task inference that it has learned, which acts where nothing trains it."""

import copy
from typing import Any

import numpy as np
import torch

from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.core.env_values import check_finite
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.envs.reuse.families import quantity_of
from rllib_sami.hierarchy.commands import PLACE


class FrozenInference:
    """An agent of task inference that acts where nothing trains it, one episode at a time.

    The weights are copies, as in ``FrozenPolicy``.

    Args:
        networks: Its networks, such as ``module.acting`` of ``TaskInference``.
        masked: Whether policy and classifier read a latent that tells nothing, which shows what the latent is worth.
        latent_noise: How far latents are drawn from the posterior's mean, in its standard deviations. An agent whose
            latents do not change may come to rest, and then sees nothing new of its task.

    Attributes:
        masked: Likewise.
        obs_dim: Width ``O`` of the toy's observation.
        latent_dim: Width ``L`` of latents.
        latent: The latent at the last :meth:`act`, ``[L]``.
        families: Names of the families that it knows; empty if its tasks are all about places.
        inferred: What it inferred of the task at the last :meth:`act`; no latent if ``masked``.
    """

    def __init__(self, networks: Any, masked: bool = False, latent_noise: float = 0.0):
        networks = copy.deepcopy(networks).cpu().eval().requires_grad_(False)
        self._networks, self.masked = networks, masked
        self._policy = RecurrentPolicy(networks, num_slots=1)
        self.obs_dim, self.latent_dim = networks.obs_dim, networks.config.context_dim
        self._nothing = networks.masked_context().numpy()
        self._num_noise = 0 if masked or not latent_noise else getattr(networks.encoder, "num_noise", 0)
        self._latent_noise, self._rng = latent_noise, np.random.default_rng()
        self.latent = self._nothing.copy()
        self._action = np.zeros(networks.action_dim, np.float32)
        self.families: tuple[str, ...] = tuple(getattr(networks.config, "families", ()))
        self.inferred = InferredTask()

    @property
    def family(self) -> str | None:
        """Name of the most likely family of the task at the last :meth:`act`; None without families."""
        return self.inferred.family

    @property
    def reads_actions(self) -> bool:
        """Whether the encoder reads the agent's own actions, so that it infers nothing of what others do."""
        return self._networks.encoder.reads_actions

    @property
    def quantities(self) -> tuple[str, ...]:
        """What the agent's tasks are about."""
        return tuple(dict.fromkeys(map(quantity_of, self.families))) or (PLACE,)

    @property
    def quantity(self) -> str:
        """What the present task is most likely about."""
        return PLACE if self.family is None else quantity_of(self.family)

    def begin(self, seed: int | None = None) -> None:
        """Begins an episode.

        Args:
            seed: Seed of the latents' noise; None: any.
        """
        self._rng = np.random.default_rng(seed)
        self._policy.begin()

    def act(self, obs: np.ndarray, reward: float | None = None) -> np.ndarray:
        """Returns the agent's most likely action, ``[A]`` in ±1.

        Args:
            obs: The toy's observation, ``[O]``.
            reward: That of the step before; None at an episode's start.

        Raises:
            UnusableValue: After a step, the observation or the reward is not finite.
        """
        if reward is not None:
            check_finite(obs, reward)
            self._policy.remember(np.array([reward], np.float32), self._action[None])
        self._action = self._policy.act(obs[None])[0]
        self.latent = self._nothing.copy() if self.masked else self._drawn_latent()
        read = torch.from_numpy(obs)[None], torch.from_numpy(self.latent)[None]
        if self.masked or self._num_noise:
            with torch.no_grad():
                self._action = self._networks.actor.mode(*read)[0].numpy()
        (inferred,) = self._networks.infer_tasks(*read)
        self.inferred = InferredTask(inferred.family) if self.masked else inferred
        return self._action

    @torch.no_grad()
    def _drawn_latent(self) -> np.ndarray:
        """Returns the latent of the present window, with noise if there is any."""
        if not self._num_noise:
            return self._policy.context[0].copy()
        window = self._networks.encoder.window_of(torch.from_numpy(self._policy.state))
        noise = self._latent_noise * self._rng.standard_normal((1, self._num_noise), np.float32)
        return self._networks.encoder.latents(window, torch.from_numpy(noise))[0].numpy()
