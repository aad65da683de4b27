"""The floor of an update: its matrix products and recurrent calls, forward and backward, and nothing else.

Left out are optimisers, averages, losses, activations (ReLU, tanh), biases of the networks, normalisation, and the
gathering of transitions and keys: every product reads an array of the right shape that lies ready. Autograd runs the
backward pass, started from arrays that lie ready too.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.sami.update import UpdateConfig
from rllib_sami.core.networks import ActorNetworks


@dataclass(frozen=True)
class Contrast:
    """Sizes of the contrast: ``G`` groups of ``n`` queries.

    Each of ``S`` sets gives every query a positive key and every group ``K - 1`` negative ones.
    """

    episodes: int
    groups: int
    sets: int
    queries: int
    negatives: int


@dataclass(frozen=True)
class Shapes:
    """Sizes of one batch: ``B`` episodes of ``R`` rows, and for each of its updates ``N`` transitions in the losses."""

    episodes: int
    rows: int
    transitions: int
    obs_dim: int
    action_dim: int
    input_dim: int
    context_dim: int
    encoder_hidden: int
    encoder_type: str
    actor_hidden: tuple[int, ...]
    critic_hidden: tuple[int, ...]
    encoder_gradient: bool
    updates: int
    contrast_interval: int
    contrast: Contrast | None

    @classmethod
    def of(
        cls, acting: ActorNetworks, batch: Mapping[str, Tensor], config: UpdateConfig, with_contrast: bool = True
    ) -> "Shapes":
        """Those of a batch; without its contrast, what soft actor-critic alone needs."""
        contrast = None
        if with_contrast and "contrast_rows" in batch and config.has_contrast:
            contrast = Contrast(
                batch["contrast_rows"].shape[-3],
                *batch["positive_index"].shape[-3:],
                batch["negative_index"].shape[-1],
            )
        networks = acting.config
        return cls(
            *batch["rows"].shape[:2],
            len(batch["step_index"]) // config.updates_per_batch,
            acting.obs_dim,
            acting.action_dim,
            acting.encoder_input_dim + getattr(acting.encoder, "delta_dim", 0),
            networks.context_dim,
            networks.encoder_hidden_dim,
            networks.encoder_type,
            tuple(networks.actor_hidden),
            tuple(networks.critic_hidden),
            config.critics_train_encoder,
            config.updates_per_batch,
            config.contrast_interval,
            contrast,
        )


class Floor:
    """Calling it does the products of one update."""

    def __init__(self, shapes: Shapes):
        self.shapes = s = shapes
        self.encoder, self.key_encoder = (_Encoder(s) for _ in range(2))
        self.actor = _weights([s.obs_dim + s.context_dim, *s.actor_hidden, 2 * s.action_dim])
        critic_sizes = [s.obs_dim + s.action_dim + s.context_dim, *s.critic_hidden, 1]
        # Two products are faster than one batched product of two.
        self.critics, self.targets = ([_weights(critic_sizes) for _ in range(2)] for _ in range(2))

        if s.contrast:
            c = s.contrast
            self.contrast_rows = torch.randn(c.episodes, s.rows, s.input_dim)
            self.positive_score = torch.ones(c.groups, c.sets, c.queries)
            self.negative_score = torch.ones(c.groups, c.queries, c.sets * c.negatives)
        self.rows = torch.randn(s.episodes, s.rows, s.input_dim)
        self.actor_inputs = torch.randn(s.transitions, s.obs_dim + s.context_dim)
        self.critic_inputs = torch.randn(s.transitions, critic_sizes[0])
        self.q_gradients = [torch.ones(s.transitions, 1)] * 2

    def __call__(self) -> None:
        s = self.shapes
        # Contexts of a transition's two ends; where all steps are used, they are mostly the same rows.
        used = min(2 * s.transitions * s.updates, s.episodes * s.rows)
        with torch.set_grad_enabled(s.encoder_gradient):
            context = self.encoder(self.rows, used)
        with torch.no_grad():
            self.key_encoder(self.rows, s.transitions * s.updates)
        for index in range(s.updates):
            self._update(context)
            if s.contrast and index % s.contrast_interval == 0:
                self._contrast(s.contrast)

    def _update(self, context: Tensor) -> None:
        """Products of critics and actor."""
        s = self.shapes
        with torch.no_grad():
            _product(self.actor_inputs, self.actor)  # the target's actions
            for target in self.targets:
                _product(self.critic_inputs, target)

        critic_inputs = self.critic_inputs.detach().requires_grad_(s.encoder_gradient)
        wanted = [weight for critic in self.critics for weight in critic]
        if s.encoder_gradient:
            wanted.append(critic_inputs)
        values = [_product(critic_inputs, critic) for critic in self.critics]
        gradients = torch.autograd.grad(values, wanted, self.q_gradients)
        if s.encoder_gradient:
            context_gradient = torch.zeros_like(context)
            context_gradient[: s.transitions] = gradients[-1][:, -s.context_dim :]
            torch.autograd.grad(context, self.encoder.trained, context_gradient)
        output = _product(self.actor_inputs, self.actor)
        critic_inputs = self.critic_inputs.detach().requires_grad_()
        values = [_product(critic_inputs, critic) for critic in self.critics]
        (gradient,) = torch.autograd.grad(values, critic_inputs, self.q_gradients)
        action_gradient = gradient[:, s.obs_dim : s.obs_dim + s.action_dim]
        torch.autograd.grad(output, self.actor, torch.cat([action_gradient, action_gradient], dim=1))

    def _contrast(self, c: Contrast) -> None:
        with torch.no_grad():
            keys = self.key_encoder(self.contrast_rows, c.groups * c.sets * (c.queries + c.negatives))
        queries = self.encoder(self.contrast_rows, c.groups * c.queries).view(c.groups, c.queries, -1)
        positives = c.groups * c.sets * c.queries
        positive_keys = keys[:positives].view(c.groups, c.sets, c.queries, -1)
        negative_keys = keys[positives:].view(c.groups, c.sets * c.negatives, -1)
        positive = torch.linalg.vecdot(queries[:, None], positive_keys)
        negative = torch.bmm(queries, negative_keys.transpose(1, 2))
        torch.autograd.grad([positive, negative], self.encoder.trained, [self.positive_score, self.negative_score])


class _Encoder:
    """The recurrent call on whole episodes and the product that makes contexts of some of their rows."""

    def __init__(self, s: Shapes):
        recurrent = nn.LSTM if s.encoder_type == "lstm" else nn.GRU
        self.recurrent = recurrent(s.input_dim, s.encoder_hidden, batch_first=True)
        (self.head,) = _weights([s.encoder_hidden, s.context_dim])
        self.trained = [*self.recurrent.parameters(), self.head]

    def __call__(self, rows: Tensor, used: int) -> Tensor:
        hidden, _ = self.recurrent(rows)
        hidden = hidden.flatten(0, 1)
        # More keys than rows: some are drawn twice, but each is computed once.
        context = hidden[:used] @ self.head
        return context if used <= len(hidden) else context[torch.arange(used) % len(hidden)]


def _weights(sizes: Sequence[int]) -> list[Tensor]:
    return [
        (torch.randn(fan_in, fan_out) / fan_in**0.5).requires_grad_() for fan_in, fan_out in itertools.pairwise(sizes)
    ]


def _product(inputs: Tensor, weights: Sequence[Tensor]) -> Tensor:
    for weight in weights:
        inputs = inputs @ weight
    return inputs
