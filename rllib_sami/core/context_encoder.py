"""The context encoder, a recurrent network that summarises the episode so far.

    c_t, h_t = encoder(o_t, a_{t-1}[, r_{t-1}], h_{t-1}),    h_{-1} = 0, a_{-1} = 0, r_{-1} = 0

Notation used throughout ``core``: ``B`` episodes, ``T`` steps, ``I`` encoder inputs, ``H`` hidden units, ``S`` numbers
in the recurrent state, ``D`` context dimensions.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.core.settings import SWITCH, integer, one_of, setting

ENCODER_TYPES = ("lstm", "gru")
NORM_EPSILON = 1e-8
NORM_LIMIT = 10.0  # in standard deviations, so that an input that hardly varied in training cannot dominate the others


@dataclass(frozen=True)
class EncoderConfig:
    """Settings of the context encoder."""

    context_dim: int = setting(6, integer(1), "Width of the context. 2 to 20; the paper uses 6.")
    encoder_hidden_dim: int = setting(128, integer(1), "Hidden units of the context encoder. 32 to 256.")
    encoder_type: str = setting("lstm", one_of(ENCODER_TYPES), "Recurrent layer of the encoder.")
    normalize_context: bool = setting(True, SWITCH, "Whether contexts are put on the unit sphere.")


@dataclass(frozen=True)
class EncoderInputConfig:
    """Settings of the context encoder's inputs."""

    encoder_reward: bool = setting(
        False, SWITCH, "Whether the encoder also reads the previous reward, for tasks that differ only in rewards."
    )
    normalize_inputs: bool = setting(
        True,
        SWITCH,
        "Whether the encoder standardises its inputs with the mean and standard deviation of the steps of all updates. "
        "Contexts then tell tasks apart several times sooner.",
    )
    encoder_obs_delta: bool = setting(
        True,
        SWITCH,
        "Whether the encoder also reads the change of the observation, `o_t - o_{t-1}`. The effect of an action is "
        "then an input, which matters most if observations lack velocities.",
    )


class RunningNorm(nn.Module):
    """Standardises inputs with the mean and standard deviation of all batches that it was updated with.

    Before the first update it only clips inputs to ``NORM_LIMIT``.

    Args:
        dim: Width ``I`` of the inputs.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardises inputs ``[..., I]`` and clips them to ``NORM_LIMIT``."""
        return ((inputs - self.mean) * (self.variance + NORM_EPSILON).rsqrt()).clamp(-NORM_LIMIT, NORM_LIMIT)

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Adds the statistics of one batch; all batches have the same weight.

        Args:
            mean: Mean of the batch's inputs, ``[I]``.
            variance: Variance of the batch's inputs, ``[I]``.
        """
        self.count += 1.0
        difference = mean - self.mean
        self.mean += difference / self.count
        # The first batch replaces the initial variance of 1; further ones also add the variance between the means.
        between = difference * (mean - self.mean)
        self.variance += (variance + between - self.variance) / self.count


class ContextEncoder(nn.Module):
    """One recurrent layer, a ReLU and a linear map to the context.

    There are two ways to compute the same contexts: :meth:`forward` reads whole episodes in one fused call, for
    learning, and :meth:`step` reads one time step of many episodes with a single cell evaluation, for acting.

    Args:
        input_dim: Width ``I`` of ``[o_t, a_{t-1}(, r_{t-1})]``.
        hidden_dim: Hidden units ``H`` of the recurrent layer.
        context_dim: Width ``D`` of the context.
        encoder_type: ``"lstm"`` or ``"gru"``.
        normalize_context: Whether contexts are put on the unit sphere.
        normalize_inputs: Whether inputs are standardised with the statistics in ``norm``. The updates of this package
            keep them up to date; your own learner has to call ``norm.update``. Tasks differ in small effects, which
            larger inputs would hide for a long time.
        delta_dim: Width of the observations, the first inputs, whose change ``o_t - o_{t-1}`` is read too (0 at an
            episode's first step). Then the recurrent layer need not learn to subtract before it can learn the effects
            of actions. 0 disables it.

    Raises:
        ValueError: ``encoder_type`` is unknown.
    """

    reads_actions = True

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int = 128,
        context_dim: int = 6,
        encoder_type: str = "lstm",
        normalize_context: bool = True,
        normalize_inputs: bool = False,
        delta_dim: int = 0,
    ):
        super().__init__()
        if encoder_type not in ENCODER_TYPES:
            raise ValueError(f"`encoder_type` is {encoder_type!r}, but must be one of {list(ENCODER_TYPES)}.")
        self.encoder_type = encoder_type
        self.normalize_context = normalize_context
        self.input_dim, self.hidden_dim, self.delta_dim = input_dim, hidden_dim, delta_dim
        self.norm = RunningNorm(input_dim + delta_dim) if normalize_inputs else None
        recurrent_class = nn.LSTM if encoder_type == "lstm" else nn.GRU
        self.recurrent = recurrent_class(input_dim + delta_dim, hidden_dim, batch_first=True)
        self.head = nn.Linear(hidden_dim, context_dim)

    @property
    def state_dim(self) -> int:
        """Width ``S`` of the recurrent state of one episode.

        It consists of the hidden units, an LSTM's cell, and with ``delta_dim`` the previous observation and a flag that
        there was one.
        """
        return self.recurrent_dim + (self.delta_dim + 1 if self.delta_dim else 0)

    @property
    def recurrent_dim(self) -> int:
        """Width of the state of the recurrent layer alone."""
        return 2 * self.hidden_dim if self.encoder_type == "lstm" else self.hidden_dim

    def features(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """Returns the inputs of the recurrent layer before they are standardised: inputs and change of observations.

        Args:
            inputs: ``[B, T, I]``.
            state: State before the first of these steps, ``[B, S]``; None at the start of episodes.

        Returns:
            ``[B, T, I + delta_dim]``.
        """
        if not self.delta_dim:
            return inputs
        obs = inputs[..., : self.delta_dim]
        before = obs[:, :1]
        if state is not None:
            before = torch.where(state[:, None, -1:] > 0, state[:, None, self.recurrent_dim : -1], before)
        return torch.cat([inputs, obs.diff(dim=1, prepend=before)], dim=-1)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """Reads whole episodes from their first step on, or continuations of them from a recurrent state.

        Args:
            inputs: ``[B, T, I]``. Padding after an episode's end may have any finite value, because no step depends on
                later ones.
            state: State before the first of these steps, ``[B, S]``; None at the start of episodes.

        Returns:
            Contexts ``[B, T, D]``.
        """
        inputs = self.features(inputs, state)
        inputs = inputs if self.norm is None else self.norm(inputs)
        initial: Any = None
        if state is not None:  # torch expects a leading axis of layers
            of_layer = state[None, :, : self.recurrent_dim]
            parts = tuple(part.contiguous() for part in of_layer.split(self.hidden_dim, dim=-1))
            initial = parts if self.encoder_type == "lstm" else parts[0]
        hidden, _ = self.recurrent(inputs, initial)
        return self._context(hidden)

    def step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one step.

        Args:
            inputs: ``[B, I]``.
            state: ``[B, S]``; zeros at the start of an episode.

        Returns:
            Context ``[B, D]`` and the next state ``[B, S]``.
        """
        memory = [inputs[:, : self.delta_dim], torch.ones_like(inputs[:, :1])] if self.delta_dim else []
        inputs = self.features(inputs[:, None], state)[:, 0]
        inputs = inputs if self.norm is None else self.norm(inputs)
        rnn = self.recurrent
        weights: Any = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0)
        of_layer = state[:, : self.recurrent_dim]
        if self.encoder_type == "lstm":
            # Views are enough, because the cell only reads them.
            hidden, cell = torch.lstm_cell(inputs, tuple(of_layer.split(self.hidden_dim, dim=-1)), *weights)
            return self._context(hidden), torch.cat([hidden, cell, *memory], dim=-1)
        hidden = torch.gru_cell(inputs, of_layer, *weights)
        return self._context(hidden), torch.cat([hidden, *memory], dim=-1)

    def _context(self, hidden: Tensor) -> Tensor:
        context = self.head(F.relu(hidden))
        return F.normalize(context, dim=-1) if self.normalize_context else context


class NoContext(nn.Module):
    """Replaces the encoder in an agent without memory: contexts of width 0, an empty state, no parameters."""

    state_dim = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns ``[B, T, 0]`` for inputs ``[B, T, I]``."""
        return inputs[..., :0]

    def step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``[B, 0]`` for inputs ``[B, I]``, and the unchanged state."""
        return inputs[..., :0], state


class HeldLatent(nn.Module):
    """Replaces the encoder in an agent that keeps one latent for a whole episode: the latent is its state.

    Args:
        latent_dim: Width ``D`` of the latent.
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.state_dim = latent_dim

    def step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the latent ``[B, D]`` as context, and as the unchanged state."""
        return state, state
