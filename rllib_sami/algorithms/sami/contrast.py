"""The contrast that makes a context encoder skill-aware: its loss, its key encoder, its settings.

Any agent can use it with four lines::

    contrast = SkillContrast(encoder, ContrastConfig())              # once, with its context encoder
    batch = sample_contrast(store, ContrastSampling(pairing="skill_task"), num_updates=1, rng=rng)
    loss, metrics = contrast(encoder, {name: torch.as_tensor(value[0]) for name, value in batch.items()})
    contrast.follow(encoder)                                         # after each step of the optimiser
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from rllib_sami.core import losses
from rllib_sami.core.context_encoder import ContextEncoder
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.settings import ABOVE_0, AT_LEAST_0, RATE, SWITCH, one_of, setting

OBJECTIVES = ("sance", "binary_nce")
# Arrays of a contrast; see `sampling.sample_contrast`.
CONTRAST_ARRAYS = ("contrast_rows", "query_index", "positive_index", "negative_index", "return_gap")
BOUNDS_OF_BOTH = ("skill_bound", "task_bound")  # only if both skills and tasks are contrasted
CONTRAST_METRICS = ("contrast_loss", "sance_bound", "log_k", "contrast_accuracy", *BOUNDS_OF_BOTH)


@dataclass(frozen=True)
class ContrastConfig:
    """Settings of the contrastive loss."""

    contrast_coeff: float = setting(
        0.1,
        AT_LEAST_0,
        "Weight of the contrastive loss relative to others. 0.01 to 1. With Adam it matters only if another loss "
        "trains the encoder too.",
    )
    skill_weight: float = setting(
        1.0,
        AT_LEAST_0,
        'Weight of the contrast between skills relative to that between tasks, for `"skill_task"`, which has both; '
        "`sance_bound` is the weighted mean of `skill_bound` and `task_bound`. As the policy learns, it changes which "
        "returns are high, and contexts change with them: a large weight disturbs actor and critics. 0.05 to 1.",
    )
    return_gap_weight: bool = setting(
        False,
        SWITCH,
        "Multiply `contrast_coeff` by the gap in mean reward between high- and low-return episodes and clip to [0, 1], "
        "as the authors' code does.",
    )
    objective: str = setting(
        "sance",
        one_of(OBJECTIVES),
        '`"sance"`, the K-sample softmax objective, or `"binary_nce"`, independent logistic terms.',
    )
    temperature: float = setting(0.1, ABOVE_0, "Divisor of the contrast's scores. 0.05 to 1.")
    similarity: str = setting(
        "cosine",
        one_of(losses.SIMILARITIES),
        '`"cosine"` or `"bilinear"` (a trained matrix between query and key).',
    )
    key_encoder_tau: float = setting(0.05, RATE, "Rate of the key encoder's moving average. 0.005 to 0.1.")


def unweighted_contrast_loss(
    query: Tensor, positive_keys: Tensor, negative_keys: Tensor, config: ContrastConfig, similarity_map: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes the contrastive loss ``-I`` of contexts.

    As negative keys are of other skills or tasks, ``I`` is no lower bound of the mutual information; see
    :func:`~rllib_sami.core.losses.sance_bound`.

    Args:
        query: ``[G, n, D]``.
        positive_keys: ``[G, S, n, D]``; ``S`` sets of keys with an objective each: skills, tasks, or both in this
            order.
        negative_keys: ``[G, S, K-1, D]``.
        config: Constants.
        similarity_map: ``W`` of the bilinear similarity, ``[D, D]``.

    Returns:
        The loss, and scalar tensors by metric name, without gradient.
    """
    parts = [
        losses.similarity_scores(query, positive, negative, config.similarity, similarity_map)
        for positive, negative in zip(positive_keys.unbind(dim=1), negative_keys.unbind(dim=1), strict=True)
    ]  # [G, n] and [G, n, K-1] for each set
    weights = [config.skill_weight, 1.0] if len(parts) == 2 else [1.0]  # skills come before tasks
    softmax = [losses.sance_bound_from_scores(*scores, config.temperature) for scores in parts]
    objectives = softmax
    if config.objective == "binary_nce":
        objectives = [losses.binary_nce_from_scores(*scores, config.temperature) for scores in parts]
    loss = -_weighted_mean(objectives, weights)
    accuracies = [(one > others.max(dim=-1).values).float().mean() for one, others in parts]
    metrics = {
        "contrast_loss": loss.detach(),
        "sance_bound": _weighted_mean(softmax, weights).detach(),
        "log_k": loss.new_full((), math.log(negative_keys.shape[2] + 1)),
        "contrast_accuracy": _weighted_mean(accuracies, weights),
    }
    if len(parts) == 2:
        metrics |= {"skill_bound": softmax[0].detach(), "task_bound": softmax[1].detach()}
    return loss, metrics


def _weighted_mean(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return cast(Tensor, total) / sum(weights)


def contrast_loss(
    encoder: ContextEncoder,
    key_encoder: ContextEncoder,
    batch: dict[str, Tensor],
    config: ContrastConfig,
    similarity_map: Tensor,
    terms: Callable = unweighted_contrast_loss,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes the weighted contrastive loss of one update, ``-contrast_coeff * I``.

    Args:
        encoder: The context encoder, which makes the queries and receives the gradient.
        key_encoder: Its moving average, which makes the keys.
        batch: One update of ``sampling.sample_contrast``, as tensors without the leading ``U``.
        config: Constants.
        similarity_map: ``W`` of the bilinear similarity, ``[D, D]``.
        terms: :func:`unweighted_contrast_loss`, or its compiled version.

    Returns:
        The loss, and scalar tensors by metric name, without gradient.
    """
    rows = batch["contrast_rows"][..., : encoder.input_dim]
    queries = encoder(rows).flatten(0, 1)  # [E R, D]
    with torch.no_grad():
        keys = key_encoder(rows).flatten(0, 1)
    loss, metrics = terms(
        queries[batch["query_index"]],
        keys[batch["positive_index"]],
        keys[batch["negative_index"]],
        config,
        similarity_map,
    )
    weight: float | Tensor = config.contrast_coeff
    if config.return_gap_weight:
        weight = (config.contrast_coeff * batch["return_gap"]).clamp(0.0, 1.0)
    return weight * loss, metrics


class SkillContrast(nn.Module):
    """Key encoder, similarity and loss for one context encoder.

    Args:
        encoder: The context encoder; the key encoder starts as its copy. The encoder itself is not stored here, so that
            it belongs to one module only.
        config: Constants.
    """

    def __init__(self, encoder: ContextEncoder, config: ContrastConfig | None = None):
        super().__init__()
        self.config = config or ContrastConfig()
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        # W of the bilinear similarity q'Wk; it starts as the dot product.
        self.similarity_map = nn.Parameter(
            torch.eye(encoder.head.out_features), requires_grad=self.config.similarity == "bilinear"
        )

    def forward(self, encoder: ContextEncoder, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss and its metrics; see :func:`contrast_loss`."""
        return contrast_loss(encoder, self.key_encoder, batch, self.config, self.similarity_map)

    @torch.no_grad()
    def follow(self, encoder: ContextEncoder) -> None:
        """Moves the key encoder towards the encoder; to be called after each optimiser step."""
        polyak_update(self.key_encoder, encoder, self.config.key_encoder_tau)
