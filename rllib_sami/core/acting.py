"""Acting in several episodes at once, and ``ActorNetworks.act`` in NumPy.

A step of a few episodes is so little arithmetic that torch's overhead per call would outweigh it.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from rllib_sami.core.context_encoder import NORM_EPSILON, NORM_LIMIT, ContextEncoder, HeldLatent, NoContext
from rllib_sami.core.networks import LOG_STD_MAX, Actor, ActorNetworks

SPHERE_EPSILON = 1e-12  # that of torch.nn.functional.normalize


class RecurrentPolicy:
    """The policy in ``n`` episodes, with everything that it remembers of them.

    Args:
        networks: Encoder and actor.
        num_slots: ``n``. Each slot has one episode at a time.

    Attributes:
        action_dim: Action width ``A``.
        context: Contexts at the last :meth:`act`, ``[n, D]``.
    """

    def __init__(self, networks: ActorNetworks, num_slots: int):
        self._networks, self._step = networks, make_step(networks)
        self.action_dim = networks.action_dim
        self._state = np.zeros((num_slots, networks.encoder.state_dim), np.float32)
        self._action = np.zeros((num_slots, networks.action_dim), np.float32)
        self._reward = np.zeros((num_slots, 1), np.float32)
        self.context = np.zeros((num_slots, networks.config.context_dim), np.float32)

    def refresh(self) -> None:
        """Uses the networks' present weights from now on."""
        self._step.refresh()

    def begin(self, slots: Any = slice(None), rng: np.random.Generator | None = None) -> None:
        """Begins new episodes and forgets the former ones.

        Args:
            slots: The slots, as an index into the first axis of arrays.
            rng: For policies that draw a latent for each episode.
        """
        self._action = self._action.copy()  # callers of `act` may keep the last actions
        self._action[slots] = self._reward[slots] = 0.0
        self.set_state(self._networks.initial_state(len(self._state[slots]), rng), slots)

    @property
    def state(self) -> np.ndarray:
        """Recurrent states ``[n, S]``."""
        return self._state

    def set_state(self, state: np.ndarray, slots: Any = slice(None)) -> None:
        """Replaces recurrent states, such as the latents of episodes: ``state`` ``[n, S]`` of ``slots``."""
        self._state = self._state.copy()  # it may be the context that callers of `act` keep
        self._state[slots] = state

    def act(self, obs: np.ndarray, noise: np.ndarray | None = None, slots: Any = slice(None)) -> np.ndarray:
        """Returns normalised actions ``[n, A]``; the resulting rewards must be passed to :meth:`remember`.

        Args:
            obs: ``[n, O]``.
            noise: Standard normal ``[n, A]`` to sample actions; None for the deterministic policy.
            slots: The slots that take this step; the memory of the others does not change.
        """
        action, self.context, state = self._step.act(obs, self._action, self._reward, self._state, noise)
        if isinstance(slots, slice):
            self._action, self._state = action, state
        else:
            self._action[slots], self._state[slots] = action[slots], state[slots]
        return action

    def remember(self, reward: np.ndarray, action: np.ndarray | None = None, slots: Any = slice(None)) -> None:
        """Stores the rewards of the last step for the next one.

        Args:
            reward: ``[n]``.
            action: The actions that were taken, ``[n, A]``, if they are not those of :meth:`act`.
            slots: The slots that took the step.
        """
        self._reward[slots] = reward[slots, None]
        if action is not None:
            self._action = action

    def episode_fields(self, slot: int) -> dict[str, np.ndarray]:
        """Data to store with a slot's episode, such as its skill."""
        return self._networks.episode_fields(self._state[slot])


def make_step(networks: Any) -> Any:
    """Returns the fastest implementation for ``networks``: NumPy for this package's, torch for your own.

    Networks with another way to act may bring their own implementation, ``array_step()``.
    """
    if hasattr(networks, "array_step"):
        return networks.array_step()
    is_ours = type(networks).act is ActorNetworks.act and type(networks.actor) is Actor
    is_ours = is_ours and type(networks.encoder) in (ContextEncoder, NoContext, HeldLatent)
    return ArrayStep(networks) if is_ours else TorchStep(networks)


class TorchStep:
    """Acts with torch, on the device of the networks.

    Args:
        networks: Encoder and actor.
    """

    def __init__(self, networks: ActorNetworks):
        self._networks = networks

    def refresh(self) -> None:
        """Does nothing, because the networks are used directly."""

    def act(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`ArrayStep.act`."""
        device = next(self._networks.parameters()).device
        tensors = [None if array is None else torch.from_numpy(array).to(device) for array in arrays]
        action, context, state = self._networks.act(*tensors)  # type: ignore[arg-type]
        return action.cpu().numpy(), context.cpu().numpy(), state.cpu().numpy()


class ArrayStep:
    """Acts with NumPy, on the CPU.

    It has copies of the weights in the layout that is fastest for matrix products of few rows. The bias is the last
    row, so every input ends with a one. :meth:`refresh` copies the weights again.

    Args:
        networks: Encoder and actor.
    """

    def __init__(self, networks: ActorNetworks):
        self._networks = networks
        encoder = networks.encoder
        self._encoder: ContextEncoder | None = encoder if isinstance(encoder, ContextEncoder) else None
        if self._encoder is not None:
            self._is_lstm, self._hidden_dim = self._encoder.encoder_type == "lstm", self._encoder.hidden_dim
            # sigmoid(x) = tanh(x / 2) / 2 + 1/2, so a single tanh computes all gates (LSTM: i, f, g, o; GRU: r, z, n).
            halves = [0.5, 0.5, 1.0, 0.5] if self._is_lstm else [0.5, 0.5, 1.0]
            self._gate_scale = torch.tensor(halves).repeat_interleave(self._hidden_dim)[:, None]
        self._layers = [layer for layer in networks.actor.net if isinstance(layer, nn.Linear)]
        self._is_relu, self._log_std_min = networks.actor.activation == "relu", networks.actor.log_std_min
        self.refresh()

    def refresh(self) -> None:
        """Copies the networks' present weights."""
        if self._encoder is not None:
            self._refresh_encoder(self._encoder)
        *self._hidden, self._output = (_product([layer.weight], layer.bias) for layer in self._layers)

    def act(
        self,
        obs: np.ndarray,
        previous_action: np.ndarray,
        previous_reward: np.ndarray,
        state: np.ndarray,
        noise: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Like ``ActorNetworks.act``, with float32 arrays."""
        ones = np.ones((len(obs), 1), np.float32)
        # Without an encoder the state is empty, or a latent that is held.
        context = next_state = state
        if self._encoder is not None:
            inputs = [obs, previous_action]
            if self._networks.config.encoder_reward:
                inputs.append(previous_reward)
            memory: list[np.ndarray] = []
            if self._encoder.delta_dim:
                state, before, begun = np.split(state, [self._encoder.recurrent_dim, -1], axis=1)
                inputs.append((obs - before) * begun)
                memory = [obs, ones]
            if self._encoder.norm is not None:
                standardized = (np.concatenate(inputs, axis=1) - self._mean) * self._inverse_deviation
                inputs = [standardized.clip(-NORM_LIMIT, NORM_LIMIT, out=standardized)]
            inputs.append(ones)
            hidden, next_state = self._lstm(inputs, state) if self._is_lstm else self._gru(inputs, state, ones)
            if memory:
                next_state = np.concatenate([next_state, *memory], axis=1)
            context = np.concatenate([np.maximum(hidden, 0.0), ones], axis=1) @ self._head
            if self._encoder.normalize_context:
                norm = np.sqrt(np.einsum("bd,bd->b", context, context))
                context /= np.maximum(norm, SPHERE_EPSILON)[:, None]

        units = np.concatenate([obs, context, ones], axis=1)
        for weights in self._hidden:
            product = units @ weights
            product = np.maximum(product, 0.0, out=product) if self._is_relu else np.tanh(product, out=product)
            units = np.concatenate([product, ones], axis=1)
        output = units @ self._output
        size = output.shape[1] // 2
        raw = output[:, :size]
        if noise is not None:
            raw = raw + np.exp(output[:, size:].clip(self._log_std_min, LOG_STD_MAX)) * noise
        return np.tanh(raw), context, next_state

    def _refresh_encoder(self, encoder: ContextEncoder) -> None:
        if encoder.norm is not None:
            self._mean = encoder.norm.mean.cpu().numpy().copy()
            self._inverse_deviation = (encoder.norm.variance + NORM_EPSILON).rsqrt().cpu().numpy()
        rnn: Any = encoder.recurrent
        if self._is_lstm:
            bias = rnn.bias_ih_l0 + rnn.bias_hh_l0
            self._gates = _product([rnn.weight_hh_l0, rnn.weight_ih_l0], bias, self._gate_scale)
        else:  # the new gate needs its two parts separately
            self._from_input = _product([rnn.weight_ih_l0], rnn.bias_ih_l0, self._gate_scale)
            self._from_hidden = _product([rnn.weight_hh_l0], rnn.bias_hh_l0, self._gate_scale)
        self._head = _product([encoder.head.weight], encoder.head.bias)

    def _lstm(self, inputs: list[np.ndarray], state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns hidden units ``[B, H]`` and the next state ``[B, 2 H]``, hidden units and cell."""
        size = self._hidden_dim
        gates = np.concatenate([state[:, :size], *inputs], axis=1) @ self._gates
        np.tanh(gates, out=gates)
        keep = _sigmoid(gates[:, : 2 * size])
        next_state = np.empty_like(state)
        hidden, cell = next_state[:, :size], next_state[:, size:]
        np.multiply(keep[:, :size], gates[:, 2 * size : 3 * size], out=cell)
        cell += keep[:, size:] * state[:, size:]
        np.multiply(_sigmoid(gates[:, 3 * size :]), np.tanh(cell), out=hidden)
        return hidden, next_state

    def _gru(self, inputs: list[np.ndarray], state: np.ndarray, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns hidden units ``[B, H]`` twice, because they are also the next state."""
        size = self._hidden_dim
        from_input = np.concatenate(inputs, axis=1) @ self._from_input
        from_hidden = np.concatenate([state, ones], axis=1) @ self._from_hidden
        gates = _sigmoid(np.tanh(from_input[:, : 2 * size] + from_hidden[:, : 2 * size]))
        new = np.tanh(from_input[:, 2 * size :] + gates[:, :size] * from_hidden[:, 2 * size :])
        hidden = new + gates[:, size:] * (state - new)
        return hidden, hidden


@torch.no_grad()
def _product(weights: list[torch.Tensor], bias: torch.Tensor, scale: torch.Tensor | float = 1.0) -> np.ndarray:
    """Joins weights ``[O, I]`` and bias to a matrix ``[I + 1, O]``, with outputs multiplied by ``scale`` ``[O, 1]``."""
    return (torch.cat([*weights, bias[:, None]], dim=1).cpu() * scale).t().contiguous().numpy()


def _sigmoid(tanh_of_half: np.ndarray) -> np.ndarray:
    """Returns ``sigmoid(x)`` for ``tanh(x / 2)``."""
    result = tanh_of_half * np.float32(0.5)
    result += np.float32(0.5)
    return result
