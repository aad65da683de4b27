"""Actor, twin critics and the container that holds every network of one agent."""

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.core.context_encoder import ContextEncoder, NoContext

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class OutputLayer(nn.Linear):
    """A linear layer that stays in full precision under autocast, which hidden layers do not.

    Values are as large as returns, of which bfloat16 keeps three digits.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """``[..., O]`` of ``inputs`` ``[..., I]``."""
        if inputs.dtype == self.weight.dtype:
            outputs = super().forward(inputs)
            if outputs.dtype == inputs.dtype:  # else there is autocast, and no hidden layer before this one
                return outputs
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.to(self.weight.dtype))


def mlp(input_dim: int, hidden: Sequence[int], output_dim: int) -> nn.Sequential:
    """A ReLU network with a linear output layer."""
    sizes = [input_dim, *hidden]
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, OutputLayer(sizes[-1], output_dim))


class Actor(nn.Module):
    """Tanh-Gaussian policy over normalised actions in ``(-1, 1)`` (Eq. 21 of arXiv:1812.05905)."""

    def __init__(self, input_dim: int, action_dim: int, hidden: Sequence[int]):
        super().__init__()
        self.net = mlp(input_dim, hidden, 2 * action_dim)

    def forward(self, obs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation ``[N, A]`` of the Gaussian before the tanh."""
        mean, log_std = self.net(torch.cat([obs, context], dim=-1)).chunk(2, dim=-1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def sample(self, obs: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparametrised action and its log-probability.

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
        # log(1 - tanh(x)^2), written so that it does not overflow for large |x|.
        log_prob = log_prob - (2 * (math.log(2) - raw - F.softplus(-2 * raw))).sum(-1)
        return torch.tanh(raw), log_prob

    def mode(self, obs: Tensor, context: Tensor) -> Tensor:
        """Deterministic action ``[N, A]``."""
        return torch.tanh(self(obs, context)[0])


class TwinCritics(nn.Module):
    """Two action-value networks ``Q_i(o, a, c)``."""

    def __init__(self, input_dim: int, hidden: Sequence[int]):
        super().__init__()
        # One after the other: on CPUs faster than batched products, whose biases are copied out first.
        self.nets = nn.ModuleList(mlp(input_dim, hidden, 1) for _ in range(2))

    def forward(self, obs: Tensor, action: Tensor, context: Tensor) -> Tensor:
        """Values ``[2, N]`` of ``obs`` ``[N, O]``, ``action`` ``[N, A]`` and ``context`` ``[N, D]``."""
        inputs = torch.cat([obs, action, context], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.nets])


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and kinds of the networks.

    Attributes:
        context_dim: Width of the context; 0 for an agent without encoder.
        encoder_hidden_dim: Hidden units of the context encoder.
        encoder_type: ``"lstm"`` or ``"gru"``.
        encoder_reward: Whether the encoder reads the previous reward too.
        normalize_context: Whether contexts lie on the unit sphere.
        normalize_inputs: Whether the encoder standardises what it reads.
        encoder_obs_delta: Whether the encoder reads the change of the observation too.
        actor_hidden: Hidden layer sizes of the actor.
        critic_hidden: Hidden layer sizes of each critic.
        initial_alpha: Entropy coefficient at the start.
        key_encoder: Whether there is a key encoder, which a contrast needs. Without one the target critics read the
            encoder's own contexts.
        averaged_context: Whether the encoder that acts is the key encoder, the moving average of one that is trained.
    """

    context_dim: int = 6
    encoder_hidden_dim: int = 128
    encoder_type: str = "lstm"
    encoder_reward: bool = False
    normalize_context: bool = True
    normalize_inputs: bool = False
    encoder_obs_delta: bool = False
    actor_hidden: tuple[int, ...] = (256, 256)
    critic_hidden: tuple[int, ...] = (256, 256)
    initial_alpha: float = 1.0
    key_encoder: bool = True
    averaged_context: bool = False


class ActorNetworks(nn.Module):
    """The part of an agent that acts: context encoder and actor."""

    def __init__(self, obs_dim: int, action_dim: int, config: NetworkConfig):
        super().__init__()
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        self.encoder_input_dim = obs_dim + action_dim + int(config.encoder_reward)
        self.encoder: Any = NoContext()
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

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        previous_action: Tensor,
        previous_reward: Tensor,
        state: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One acting step of ``B`` episodes.

        Args:
            obs: ``[B, O]``.
            previous_action: ``[B, A]``, zeros at an episode's start.
            previous_reward: ``[B, 1]``, zeros at an episode's start; read only with ``encoder_reward``.
            state: Recurrent state ``[B, S]``, zeros at an episode's start.
            noise: Standard normal ``[B, A]`` to sample actions, or None for the deterministic policy.

        Returns:
            Normalised actions ``[B, A]``, contexts ``[B, D]`` and the next state ``[B, S]``.
        """
        inputs = [obs, previous_action, previous_reward] if self.config.encoder_reward else [obs, previous_action]
        context, state = self.encoder.step(torch.cat(inputs, dim=-1), state)
        action = self.actor.mode(obs, context) if noise is None else self.actor.sample(obs, context, noise)[0]
        return action, context, state


class TrainingNetworks(nn.Module):
    """The part of an agent that only learning needs."""

    def __init__(self, acting: ActorNetworks):
        super().__init__()
        config = acting.config
        self.critics = TwinCritics(acting.obs_dim + acting.action_dim + config.context_dim, config.critic_hidden)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        # Beside the encoder that acts: its moving average, or what it is the moving average of.
        self.key_encoder = self.query_encoder = None
        if config.averaged_context:
            self.query_encoder = copy.deepcopy(acting.encoder)
        elif config.key_encoder:
            self.key_encoder = copy.deepcopy(acting.encoder).requires_grad_(False)
        # W of the bilinear similarity q'Wk; it starts as the dot product.
        self.similarity_map = nn.Parameter(torch.eye(config.context_dim))
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.initial_alpha)))


def query_and_key_encoder(acting: ActorNetworks, training: TrainingNetworks) -> tuple[Any, Any]:
    """The encoder that is trained, and its moving average; None for the latter if there is none."""
    if training.query_encoder is not None:
        return training.query_encoder, acting.encoder
    return acting.encoder, training.key_encoder
