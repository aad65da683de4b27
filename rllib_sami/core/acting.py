"""Acting on arrays: what ``ActorNetworks.act`` computes, in numpy.

A step of a few episodes is so little arithmetic that torch's cost per call outweighs it.
"""

from typing import Protocol

import numpy as np
import torch
from torch import nn

from .context_encoder import ContextEncoder
from .networks import LOG_STD_MAX, LOG_STD_MIN, Actor, ActorNetworks

NORM_EPSILON = 1e-12  # as torch.nn.functional.normalize has it
Layer = tuple[np.ndarray, np.ndarray]  # weights [I, O], bias [O]


class Policy(Protocol):
    """What acts on arrays."""

    def refresh(self) -> None:
        """Takes the networks' present weights."""

    def act(
        self,
        obs: np.ndarray,
        previous_action: np.ndarray,
        previous_reward: np.ndarray,
        state: np.ndarray,
        noise: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One acting step; arguments and results are those of ``ActorNetworks.act``, as float32 arrays."""


def make_policy(networks: ActorNetworks) -> Policy:
    """The fastest policy for ``networks``: numpy for ours, torch for networks of one's own."""
    parts = (type(networks), type(networks.encoder), type(networks.actor))
    return ArrayPolicy(networks) if parts == (ActorNetworks, ContextEncoder, Actor) else TorchPolicy(networks)


class TorchPolicy:
    """Acts with torch, on the device of the networks.

    Args:
        networks: What to act with.
    """

    def __init__(self, networks: ActorNetworks):
        self._networks = networks

    def refresh(self) -> None:
        """Nothing to do: these are the networks themselves."""

    def act(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`Policy.act`."""
        device = next(self._networks.parameters()).device
        tensors = [None if array is None else torch.from_numpy(array).to(device) for array in arrays]
        action, context, state = self._networks.act(*tensors)  # type: ignore[arg-type]
        return action.cpu().numpy(), context.cpu().numpy(), state.cpu().numpy()


class ArrayPolicy:
    """Acts with numpy, on the CPU.

    Holds copies of the weights in the layout that matrix products of few rows like best; :meth:`refresh` takes them
    anew.

    Args:
        networks: What to act with.
    """

    def __init__(self, networks: ActorNetworks):
        self._networks = networks
        self.refresh()

    def refresh(self) -> None:
        """Takes the networks' present weights."""
        encoder = self._networks.encoder
        rnn, hidden_dim = encoder.recurrent, encoder.hidden_dim
        weights = [_array(w) for w in (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0)]
        if encoder.encoder_type == "lstm":
            # sigmoid(x) = tanh(x / 2) / 2 + 1/2, so that one tanh serves all gates. Torch has them as i, f, g, o.
            scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), hidden_dim)
            stacked = np.concatenate([weights[0], weights[1]], axis=1)  # [4 H, I + H]
            self._gates = _transposed(stacked * scale[:, None], (weights[2] + weights[3]) * scale)
        else:
            # r and z; the new gate keeps its two halves apart. Torch has them as r, z, n.
            scale = np.repeat(np.array([0.5, 0.5, 1.0], np.float32), hidden_dim)
            self._from_input = _transposed(weights[0] * scale[:, None], weights[2] * scale)
            self._from_hidden = _transposed(weights[1] * scale[:, None], weights[3] * scale)
        self._head = _layer(encoder.head)
        *hidden, self._output = (_layer(layer) for layer in self._networks.actor.net if isinstance(layer, nn.Linear))
        self._hidden = hidden

    def act(
        self,
        obs: np.ndarray,
        previous_action: np.ndarray,
        previous_reward: np.ndarray,
        state: np.ndarray,
        noise: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :meth:`Policy.act`."""
        inputs = [obs, previous_action]
        if self._networks.config.encoder_reward:
            inputs.append(previous_reward)
        context, state = self._encode(inputs, state)
        hidden = np.concatenate([obs, context], axis=1)
        for layer in self._hidden:
            hidden = _linear(hidden, layer)
            np.maximum(hidden, 0.0, out=hidden)
        output = _linear(hidden, self._output)
        mean = output[:, : output.shape[1] // 2]
        if noise is not None:
            log_std = output[:, output.shape[1] // 2 :].clip(LOG_STD_MIN, LOG_STD_MAX)
            mean = mean + np.exp(log_std) * noise
        return np.tanh(mean), context, state

    def _encode(self, inputs: list[np.ndarray], state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contexts ``[B, D]`` and the next state ``[B, S]``."""
        encoder = self._networks.encoder
        size = encoder.hidden_dim
        if encoder.encoder_type == "lstm":
            gates = _linear(np.concatenate([*inputs, state[:, :size]], axis=1), self._gates)
            np.tanh(gates, out=gates)
            new = gates[:, 2 * size : 3 * size]
            remember = _sigmoid(gates[:, : 2 * size])  # input and forget gate
            next_state = np.empty_like(state)
            hidden, cell = next_state[:, :size], next_state[:, size:]
            np.multiply(remember[:, :size], new, out=cell)
            cell += remember[:, size:] * state[:, size:]
            np.multiply(_sigmoid(gates[:, 3 * size :]), np.tanh(cell), out=hidden)
        else:
            from_input = _linear(np.concatenate(inputs, axis=1), self._from_input)
            from_hidden = _linear(state, self._from_hidden)
            gates = _sigmoid(np.tanh(from_input[:, : 2 * size] + from_hidden[:, : 2 * size]))
            new = np.tanh(from_input[:, 2 * size :] + gates[:, :size] * from_hidden[:, 2 * size :])
            hidden = next_state = new + gates[:, size:] * (state - new)
        context = _linear(np.maximum(hidden, 0.0), self._head)
        if encoder.normalize_context:
            norm = np.sqrt(np.einsum("bd,bd->b", context, context))
            context /= np.maximum(norm, NORM_EPSILON)[:, None]
        return context, next_state


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().cpu().numpy()


def _transposed(weight: np.ndarray, bias: np.ndarray) -> Layer:
    return np.ascontiguousarray(weight.T), bias


def _layer(linear: nn.Linear) -> Layer:
    return _transposed(_array(linear.weight), _array(linear.bias).copy())


def _sigmoid(tanh_of_half: np.ndarray) -> np.ndarray:
    """``sigmoid(x)`` from ``tanh(x / 2)``."""
    result = tanh_of_half * np.float32(0.5)
    result += np.float32(0.5)
    return result


def _linear(inputs: np.ndarray, layer: Layer) -> np.ndarray:
    result = inputs @ layer[0]
    result += layer[1]
    return result
