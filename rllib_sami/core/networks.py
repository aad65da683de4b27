"""Actor, twin critics, and the networks with which an agent acts."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.core.context_encoder import ContextEncoder, EncoderConfig, EncoderInputConfig, NoContext
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.core.settings import LAYER_SIZES, setting

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
ACTIVATIONS = ("relu", "tanh")


class OutputLayer(nn.Linear):
    """A linear layer that keeps full precision under autocast, unlike hidden layers.

    Values are as large as returns, of which bfloat16 would keep only three digits.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns ``[..., O]`` for inputs ``[..., I]``."""
        if inputs.dtype == self.weight.dtype:
            outputs = super().forward(inputs)
            if outputs.dtype == inputs.dtype:  # differs under autocast if there is no hidden layer before this one
                return outputs
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.to(self.weight.dtype))


def mlp(input_dim: int, hidden: Sequence[int], output_dim: int, activation: str = "relu") -> nn.Sequential:
    """A network of fully connected layers; the output layer is linear, the others have ``activation``."""
    sizes = [input_dim, *hidden]
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True) if activation == "relu" else nn.Tanh()]
    return nn.Sequential(*layers, OutputLayer(sizes[-1], output_dim))


class Actor(nn.Module):
    """Tanh-Gaussian policy over normalised actions in ``(-1, 1)`` (Eq. 21 of arXiv:1812.05905).

    Args:
        input_dim: Width of observation and context together.
        action_dim: Action width ``A``.
        hidden: Hidden layer sizes.
        activation: That of the hidden layers, one of ``ACTIVATIONS``.
        log_std_min: Least log standard deviation.
    """

    def __init__(
        self,
        input_dim: int,
        action_dim: int,
        hidden: Sequence[int],
        activation: str = "relu",
        log_std_min: float = LOG_STD_MIN,
    ):
        super().__init__()
        self.activation, self.log_std_min = activation, log_std_min
        self.net = mlp(input_dim, hidden, 2 * action_dim, activation)

    def forward(self, obs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation ``[N, A]`` of the Gaussian before the tanh."""
        mean, log_std = self.net(torch.cat([obs, context], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(self.log_std_min, LOG_STD_MAX)

    def sample(self, obs: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples reparametrised actions and their log-probabilities.

        Args:
            obs: ``[N, O]``.
            context: ``[N, D]``.
            noise: ``[N, A]``, standard normal.

        Returns:
            Actions ``[N, A]`` in ``(-1, 1)`` and log-probabilities ``[N]``.
        """
        mean, log_std = self(obs, context)
        raw = mean + log_std.exp() * noise
        log_prob = (-0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
        # log(1 - tanh(x)^2), in a form that does not overflow for large |x|.
        log_prob = log_prob - (2 * (math.log(2) - raw - F.softplus(-2 * raw))).sum(-1)
        return torch.tanh(raw), log_prob

    def mode(self, obs: Tensor, context: Tensor) -> Tensor:
        """Returns deterministic actions ``[N, A]``."""
        return torch.tanh(self(obs, context)[0])


class TwinCritics(nn.Module):
    """Two action-value networks ``Q_i(o, a, c)``."""

    def __init__(self, input_dim: int, hidden: Sequence[int]):
        super().__init__()
        # One after the other: on CPUs this is faster than batched products, which copy the biases.
        self.nets = nn.ModuleList(mlp(input_dim, hidden, 1) for _ in range(2))

    def forward(self, obs: Tensor, action: Tensor, context: Tensor) -> Tensor:
        """Returns values ``[2, N]`` for ``obs`` ``[N, O]``, ``action`` ``[N, A]`` and ``context`` ``[N, D]``."""
        inputs = torch.cat([obs, action, context], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.nets])


@dataclass(frozen=True)
class ActorCriticConfig:
    """Settings of actor and critics."""

    actor_hidden: list[int] = setting([256, 256], LAYER_SIZES, "Hidden layer sizes of the actor.")
    critic_hidden: list[int] = setting(
        [256, 256], LAYER_SIZES, "Hidden layer sizes of each critic (or of the value function)."
    )


@dataclass(frozen=True)
class NetworkConfig(EncoderInputConfig, EncoderConfig, ActorCriticConfig):
    """Sizes and kinds of all networks of an agent; with ``context_dim`` 0 there is no encoder."""


# Values of settings that networks saved by earlier versions lack.
FORMER_NETWORK: dict[str, Any] = {"normalize_inputs": False, "encoder_obs_delta": False}
# The settings of an agent that has no encoder.
WITHOUT_ENCODER: dict[str, Any] = {"context_dim": 0, **FORMER_NETWORK}


class ActorNetworks(nn.Module):
    """The networks with which an agent acts: context encoder and actor.

    Another actor or encoder may be given in a subclass, whose ``config`` then needs ``context_dim`` and
    ``encoder_reward`` only.
    """

    config: Any
    encoder: Any

    def __init__(self, obs_dim: int, action_dim: int, config: NetworkConfig):
        super().__init__()
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        self.encoder_input_dim = obs_dim + action_dim + int(config.encoder_reward)
        self.encoder = NoContext()
        if config.context_dim > 0:
            self.encoder = ContextEncoder(
                self.encoder_input_dim,
                config.encoder_hidden_dim,
                config.context_dim,
                config.encoder_type,
                config.normalize_context,
                config.normalize_inputs,
                obs_dim if config.encoder_obs_delta else 0,
            )
        self.actor = Actor(obs_dim + config.context_dim, action_dim, config.actor_hidden)

    def initial_state(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns the states ``[count, S]`` that episodes begin with: zeros, or drawn where it is a latent."""
        return np.zeros((count, self.encoder.state_dim), np.float32)

    def episode_fields(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Data to store with an episode whose state is ``state`` ``[S]``: none, or the latent of the episode."""
        return {}

    def masked_context(self) -> Tensor:
        """Returns a context ``[D]`` that tells nothing of the task: zeros."""
        return torch.zeros(self.config.context_dim)

    def infer_tasks(self, obs: Tensor, context: Tensor) -> list[InferredTask]:
        """Returns what is inferred of tasks from ``obs`` ``[N, O]`` and contexts ``[N, D]``: here the contexts."""
        if self.config.context_dim == 0:
            return [InferredTask()] * len(obs)
        return [InferredTask(latent=latent) for latent in context.cpu().numpy()]

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        previous_action: Tensor,
        previous_reward: Tensor,
        state: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Acts one step in ``B`` episodes.

        Args:
            obs: ``[B, O]``.
            previous_action: ``[B, A]``; zeros at an episode's start.
            previous_reward: ``[B, 1]``; zeros at an episode's start. Read only with ``encoder_reward``.
            state: Recurrent state ``[B, S]``; zeros at an episode's start.
            noise: Standard normal ``[B, A]`` to sample actions; None for the deterministic policy.

        Returns:
            Normalised actions ``[B, A]``, contexts ``[B, D]`` and the next state ``[B, S]``.
        """
        inputs = [obs, previous_action, previous_reward] if self.config.encoder_reward else [obs, previous_action]
        context, state = self.encoder.step(torch.cat(inputs, dim=-1), state)
        action = self.actor.mode(obs, context) if noise is None else self.actor.sample(obs, context, noise)[0]
        return action, context, state


@torch.no_grad()
def polyak_update(average: nn.Module, source: nn.Module, rate: float) -> None:
    """Sets ``average <- (1 - rate) average + rate source`` for all parameters; copies buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), rate)
    for mine, theirs in zip(average.buffers(), source.buffers(), strict=True):
        mine.copy_(theirs)
