"""Losses as pure functions.

Shapes: ``N`` transitions or queries, ``G`` groups of queries, ``K`` keys per query (one positive, ``K - 1``
negatives), ``A`` action and ``D`` context dimensions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SIMILARITIES = ("cosine", "bilinear")


# --- Soft actor-critic (arXiv:1812.05905) ---------------------------------------------------------------------------


def td_target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    """Bellman target ``r + gamma (1 - terminated) V'`` (Eq. 2).

    Truncated steps are not terminated, so they bootstrap.

    Args:
        reward: ``[N]``.
        terminated: ``[N]``, 1 where the episode ended in a terminal state.
        next_value: Value of the next state, ``[N]``.
        gamma: Discount.

    Returns:
        Targets ``[N]``, without gradient.
    """
    return (reward + gamma * (1.0 - terminated) * next_value).detach()


def soft_value(q: Tensor, penalty: Tensor, alpha: Tensor) -> Tensor:
    """Soft state value ``min_i Q_i - alpha * penalty`` ``[N]`` (Eq. 3).

    Args:
        q: Values of an action of the policy, ``[2, N]``.
        penalty: ``log pi`` of that action, or the policy's divergence from a prior, ``[N]``.
        alpha: Coefficient of the penalty, scalar.
    """
    return q.min(dim=0).values - alpha * penalty


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """``sum_i 1/2 E[(Q_i - target)^2]`` (Eq. 5) for ``q`` ``[2, N]`` and ``target`` ``[N]``."""
    return 0.5 * (q - target).square().mean(dim=-1).sum()


def actor_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """``E[alpha log pi(a|o, c) - min_i Q_i(o, a, c)]`` (Eq. 7) for ``q`` ``[2, N]`` and ``log_prob`` ``[N]``."""
    return (alpha * log_prob - q.min(dim=0).values).mean()


def alpha_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """``-log(alpha) E[log pi + target entropy]``, the usual form of Eq. 18; ``log_prob`` ``[N]`` gets no gradient."""
    return -log_alpha * (log_prob.detach() + target_entropy).mean()


# --- Contrastive mutual-information estimators ----------------------------------------------------------------------


def similarity_scores(
    query: Tensor,
    positive_keys: Tensor,
    negative_keys: Tensor,
    similarity: str = "cosine",
    similarity_map: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes the scores of each query with its positive key and with its negative keys.

    Args:
        query: ``[N, D]``, or ``[G, N, D]`` for ``G`` groups.
        positive_keys: One positive key for each query, of the same shape.
        negative_keys: ``[K-1, D]``, shared by all queries, or ``[N, K-1, D]``, different for each query; with groups
            ``[G, K-1, D]``, shared within a group.
        similarity: ``"cosine"`` (in [-1, 1]) or ``"bilinear"``, ``q' W k`` of the normalised vectors.
        similarity_map: ``W``, ``[D, D]``; needed by ``"bilinear"``.

    Returns:
        Positive scores ``[..., N]`` and negative scores ``[..., N, K-1]``. Keys receive no gradient.

    Raises:
        ValueError: A shape does not fit, or the similarity is unknown.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"`similarity` is {similarity!r}, but must be one of {list(SIMILARITIES)}.")
    if query.dim() not in (2, 3):
        raise ValueError(f"`query` has shape {tuple(query.shape)}, but must be [N, D] or [G, N, D].")
    if positive_keys.shape != query.shape:
        raise ValueError(f"`positive_keys` has shape {tuple(positive_keys.shape)}, `query` {tuple(query.shape)}.")
    grouped = query.dim() == 3
    own = not grouped and negative_keys.dim() == 3
    leading = query.shape[:1] if grouped or own else ()
    if negative_keys.dim() < 2 or negative_keys.shape != (*leading, negative_keys.shape[-2], query.shape[-1]):
        raise ValueError(f"`negative_keys` {tuple(negative_keys.shape)} do not fit `query` {tuple(query.shape)}.")

    query = F.normalize(query, dim=-1)
    positive_keys = F.normalize(positive_keys.detach(), dim=-1)
    negative_keys = F.normalize(negative_keys.detach(), dim=-1)
    if similarity == "bilinear":
        if similarity_map is None:
            raise ValueError("`similarity='bilinear'` needs the matrix `similarity_map`.")
        if similarity_map.shape != (query.shape[-1], query.shape[-1]):
            raise ValueError(
                f"`similarity_map` {tuple(similarity_map.shape)} does not fit `query` {tuple(query.shape)}."
            )
        query = query @ similarity_map
    positive = (query * positive_keys).sum(-1)
    negative = torch.einsum("nd,nkd->nk", query, negative_keys) if own else query @ negative_keys.transpose(-1, -2)
    return positive, negative


def sance_bound(
    query: Tensor,
    positive_keys: Tensor,
    negative_keys: Tensor,
    temperature: float = 0.1,
    similarity: str = "cosine",
    similarity_map: Tensor | None = None,
) -> Tensor:
    """The K-sample objective ``I_SaNCE`` of skill-aware mutual information.

        I = E[log K + s(q, k+)/b - logsumexp(s(q, k+)/b, s(q, k-_1)/b, ..., s(q, k-_{K-1})/b)]  <=  log K

    with the temperature ``b``. The choice of the keys' episodes makes it skill-aware (``pairing.py``).

    It is a lower bound of the mutual information of queries and keys if negative keys are independent of the query, so
    that some are of its own class. ``pairing.py`` draws them from other classes, as the authors do. Then it says how
    well one key among K is told apart, and may be above the mutual information: with two equally likely classes that is
    at most log 2, and the objective up to log K.

    Args:
        query: Contexts of the encoder, ``[N, D]`` or ``[G, N, D]``.
        positive_keys: Contexts of the key encoder, of the same shape.
        negative_keys: ``[K-1, D]``, ``[N, K-1, D]`` or ``[G, K-1, D]``; see :func:`similarity_scores`.
        temperature: ``b``; smaller is sharper. Typically 0.05 to 1.
        similarity: ``"cosine"`` or ``"bilinear"``.
        similarity_map: ``[D, D]``, for ``"bilinear"``.

    Returns:
        The objective in nats, a scalar <= ``log K``; only the queries (and ``similarity_map``) receive gradients.
    """
    positive, negative = similarity_scores(query, positive_keys, negative_keys, similarity, similarity_map)
    return sance_bound_from_scores(positive, negative, temperature)


def sance_bound_from_scores(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """:func:`sance_bound` for scores ``[..., N]`` and ``[..., N, K-1]``."""
    logits = torch.cat([positive.unsqueeze(-1), negative], dim=-1) / temperature
    return math.log(logits.shape[-1]) + (logits[..., 0] - torch.logsumexp(logits, dim=-1)).mean()


def binary_nce_from_scores(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Independent logistic terms, ``E[log sigmoid(s+/b)] + E[log(1 - sigmoid(s-/b))]``, to be maximised.

    This contrasts the same pairs as the softmax form. It is at most 0, and never a bound of the mutual information.
    """
    return F.logsigmoid(positive / temperature).mean() + F.logsigmoid(-negative / temperature).mean()
