"""The floor of an update: its matrix products and recurrent calls, forward and backward, and nothing else.

Left out are optimisers, averages, losses, activations (ReLU, tanh), biases of the networks, normalisation, and the
gathering of transitions and keys: every product reads an array of the right shape that lies ready. Autograd runs the
backward pass, started from arrays that lie ready too.
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.sami.update import UpdateConfig
from rllib_sami.core.networks import ActorNetworks, NetworkConfig


class Floor:
    """Calling it does the products of all updates on a batch.

    Args:
        acting: Encoder and actor, for their sizes.
        batch: ``B`` episodes of ``R`` rows, and for each of its updates ``N`` transitions in the losses. Its contrast
            has ``G`` groups of ``n`` queries; each of ``S`` sets gives every query a positive key and every group
            ``K - 1`` negative ones.
        config: Constants of the update.
        with_contrast: Whether the batch's contrast is a part of it; soft actor-critic alone needs none.
    """

    def __init__(
        self, acting: ActorNetworks, batch: Mapping[str, Tensor], config: UpdateConfig, with_contrast: bool = True
    ):
        self.config, self.obs_dim, self.action_dim = config, acting.obs_dim, acting.action_dim
        self.transitions = len(batch["step_index"]) // config.updates_per_batch  # N
        sizes, inputs = acting.config, acting.encoder_input_dim + getattr(acting.encoder, "delta_dim", 0)
        self.encoder, self.key_encoder = (_Encoder(inputs, sizes) for _ in range(2))
        actor_input = self.obs_dim + sizes.context_dim
        critic_input = actor_input + self.action_dim
        self.actor = weights([actor_input, *sizes.actor_hidden, 2 * self.action_dim])
        # Two products are faster than one batched product of two.
        self.critics, self.targets = (
            [weights([critic_input, *sizes.critic_hidden, 1]) for _ in range(2)] for _ in range(2)
        )

        self.has_contrast = with_contrast and config.has_contrast and "contrast_rows" in batch
        if self.has_contrast:
            groups, sets, queries = batch["positive_index"].shape[-3:]
            negatives = batch["negative_index"].shape[-1]
            self.contrast_rows = torch.randn(*batch["contrast_rows"].shape[-3:-1], inputs)
            self.positive_score = torch.ones(groups, sets, queries)
            self.negative_score = torch.ones(groups, queries, sets * negatives)
        self.rows = torch.randn(*batch["rows"].shape[:2], inputs)
        self.actor_inputs = torch.randn(self.transitions, actor_input)
        self.critic_inputs = torch.randn(self.transitions, critic_input)
        self.q_gradients = [torch.ones(self.transitions, 1)] * 2

    def __call__(self) -> None:
        drawn = self.transitions * self.config.updates_per_batch
        # Contexts of a transition's two ends; where all steps are used, they are mostly the same rows.
        used = min(2 * drawn, self.rows[..., 0].numel())
        with torch.set_grad_enabled(self.config.critics_train_encoder):
            context = self.encoder(self.rows, used)
        with torch.no_grad():
            self.key_encoder(self.rows, drawn)
        for index in range(self.config.updates_per_batch):
            self._update(context)
            if self.has_contrast and index % self.config.contrast_interval == 0:
                self._contrast()

    def _update(self, context: Tensor) -> None:
        """Products of critics and actor."""
        has_gradient = self.config.critics_train_encoder
        with torch.no_grad():
            product(self.actor_inputs, self.actor)  # the target's actions
            for target in self.targets:
                product(self.critic_inputs, target)

        critic_inputs = self.critic_inputs.detach().requires_grad_(has_gradient)
        wanted = [weight for critic in self.critics for weight in critic]
        if has_gradient:
            wanted.append(critic_inputs)
        values = [product(critic_inputs, critic) for critic in self.critics]
        gradients = torch.autograd.grad(values, wanted, self.q_gradients)
        if has_gradient:
            context_gradient = torch.zeros_like(context)
            context_gradient[: self.transitions] = gradients[-1][:, -context.shape[-1] :]
            torch.autograd.grad(context, self.encoder.trained, context_gradient)
        output = product(self.actor_inputs, self.actor)
        critic_inputs = self.critic_inputs.detach().requires_grad_()
        values = [product(critic_inputs, critic) for critic in self.critics]
        (gradient,) = torch.autograd.grad(values, critic_inputs, self.q_gradients)
        action_gradient = gradient[:, self.obs_dim : self.obs_dim + self.action_dim]
        torch.autograd.grad(output, self.actor, torch.cat([action_gradient, action_gradient], dim=1))

    def _contrast(self) -> None:
        groups, sets, num_queries = self.positive_score.shape
        num_negatives = self.negative_score.shape[-1]  # of all sets
        positives = self.positive_score.numel()
        with torch.no_grad():
            keys = self.key_encoder(self.contrast_rows, positives + groups * num_negatives)
        queries = self.encoder(self.contrast_rows, groups * num_queries).view(groups, num_queries, -1)
        positive_keys = keys[:positives].view(groups, sets, num_queries, -1)
        negative_keys = keys[positives:].view(groups, num_negatives, -1)
        positive = torch.linalg.vecdot(queries[:, None], positive_keys)
        negative = torch.bmm(queries, negative_keys.transpose(1, 2))
        torch.autograd.grad([positive, negative], self.encoder.trained, [self.positive_score, self.negative_score])


class _Encoder:
    """The recurrent call on whole episodes and the product that makes contexts of some of their rows."""

    def __init__(self, input_dim: int, sizes: NetworkConfig):
        recurrent = nn.LSTM if sizes.encoder_type == "lstm" else nn.GRU
        self.recurrent = recurrent(input_dim, sizes.encoder_hidden_dim, batch_first=True)
        (self.head,) = weights([sizes.encoder_hidden_dim, sizes.context_dim])
        self.trained = [*self.recurrent.parameters(), self.head]

    def __call__(self, rows: Tensor, used: int) -> Tensor:
        hidden, _ = self.recurrent(rows)
        hidden = hidden.flatten(0, 1)
        # More keys than rows: some are drawn twice, but each is computed once.
        context = hidden[:used] @ self.head
        return context if used <= len(hidden) else context[torch.arange(used) % len(hidden)]


def weights(sizes: Sequence[int]) -> list[Tensor]:
    """Weights of a network of these layer sizes."""
    return [
        (torch.randn(fan_in, fan_out) / fan_in**0.5).requires_grad_() for fan_in, fan_out in itertools.pairwise(sizes)
    ]


def product(inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """The products of a network's layers."""
    for weight in layers:
        inputs = inputs @ weight
    return inputs
