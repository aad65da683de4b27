"""Networks that act without a context, and the random numbers that they draw themselves."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.core.inferred_tasks import InferredTask


class ContextlessConfig:
    """What configs of such networks have in common."""

    @property
    def context_dim(self) -> int:
        """0: the policy reads no context."""
        return 0

    @property
    def encoder_reward(self) -> bool:
        """Whether rewards are read."""
        return False


class Memory(nn.Module):
    """What is remembered between steps, in the place of a context encoder."""

    def __init__(self, state_dim: int):
        super().__init__()
        self.state_dim = state_dim
        self.reads_actions = False


class WithoutContext(nn.Module):
    """What networks that act without a context have in common, besides ``act`` as of ``ActorNetworks``.

    The state of an episode may end with a seed of its own, and with how often numbers were drawn from it.

    Args:
        obs_dim: Width ``O`` of observations.
        action_dim: Width of actions.
        config: Has ``context_dim`` and ``encoder_reward``.
        memory: Numbers that are remembered besides the seed.
        draws: Whether there is a seed.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: Any, memory: int = 0, draws: bool = False):
        super().__init__()
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        self.encoder_input_dim = obs_dim
        self.encoder, self.draws = Memory(memory + 2 * draws), draws

    def initial_state(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns the states that episodes begin with, ``[count, S]``: zeros, with a seed for each if there is one."""
        state = np.zeros((count, self.encoder.state_dim), np.float32)
        if self.draws:
            state[:, -2] = new_seeds(count, rng)
        return state

    def episode_fields(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Returns nothing to store with episodes."""
        return {}

    def masked_context(self) -> Tensor:
        """Returns an empty context."""
        return torch.zeros(0)

    def infer_tasks(self, obs: Tensor, context: Tensor) -> list[InferredTask]:
        """Returns that nothing is inferred of tasks."""
        return [InferredTask()] * len(obs)


# --- Random numbers of acting ---------------------------------------------------------------------------------------

_MOST_SEEDS = 2**24  # as many integers as float32 has without gaps


def new_seeds(count: int, rng: np.random.Generator | None) -> np.ndarray:
    """Returns a seed for each episode, ``[count]``; without ``rng``, always the same."""
    return np.zeros(count, np.float32) if rng is None else rng.integers(_MOST_SEEDS, size=count).astype(np.float32)


def seeded_noise(seed: Tensor, count: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draws standard normal numbers ``[B, *shape]``, for each episode from a stream of its own.

    Args:
        seed: Of the episodes, ``[B]``.
        count: How often each has drawn before, ``[B]``.
        shape: Of the numbers of one episode.
    """
    size = math.prod(shape)
    rows = [
        np.random.default_rng([int(one), int(number)]).standard_normal(size, np.float32)
        for one, number in zip(seed.tolist(), count.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(rows)).to(seed.device).reshape(len(rows), *shape)
