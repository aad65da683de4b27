"""The K-sample bound on data of known mutual information.

Pairs ``x, y`` of ``d``-dimensional Gaussians with correlation ``r`` in each dimension have the mutual information

    I = -d/2 log(1 - r²)    nats,

and the best possible score of a pair is its log density ratio ``log p(y|x) / p(y)``. With those scores, only the number
of keys separates ``I_SaNCE`` from ``I``: it stays below ``log K``. A contrast within one task has less information to
find than one over all tasks, so it needs fewer keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from rllib_sami.core.losses import sance_bound_from_scores

KEYS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
INFORMATION = (1.0, 2.0, 4.0, 8.0)


def correlation(information: float, dim: int) -> float:
    """Returns the correlation per dimension at which ``dim``-dimensional Gaussians share ``information`` nats."""
    if not information >= 0:
        raise ValueError(f"information={information!r}: expected nats, 0 or more.")
    return math.sqrt(-math.expm1(-2.0 * information / dim))


def density_ratio(x: torch.Tensor, y: torch.Tensor, r: float) -> torch.Tensor:
    """Returns ``log p(y_j | x_i) / p(y_j)`` of all pairs, ``[..., N, N]``, of ``x`` and ``y`` ``[..., N, d]``."""
    rest = 1.0 - r * r
    squares = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
    exponent = (2.0 * r * x @ y.transpose(-1, -2) - r * r * squares) / (2.0 * rest)
    return exponent - 0.5 * x.shape[-1] * math.log(rest)


def gaussian_sweep(
    information: Sequence[float] = INFORMATION,
    num_keys: Sequence[int] = KEYS,
    dim: int = 8,
    num_queries: int = 4096,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimates known mutual informations by the K-sample bound, with the best possible scores.

    Args:
        information: True values, in nats.
        num_keys: Numbers of keys ``K`` (one positive, ``K - 1`` negatives), each at least 2.
        dim: Dimension ``d`` of the Gaussians.
        num_queries: Minimum number of queries per point, in batches of ``K`` that are each other's negatives.
        seed: Seed of the samples.

    Returns:
        One row per value and K: ``information``, ``num_keys``, ``log_k``, ``bound`` and its ``standard_error`` (over
        batches), all in nats.
    """
    if min(num_keys) < 2:
        raise ValueError(f"num_keys={list(num_keys)}: expected 2 or more each (one positive key and a negative one).")
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for true in information:
        r = correlation(true, dim)
        for keys in num_keys:
            x, noise = torch.randn((2, max(8, -(-num_queries // keys)), keys, dim), generator=generator)
            scores = density_ratio(x, r * x + math.sqrt(1.0 - r * r) * noise, r)  # [batches, K, K]
            # Each batch's bound is the mean over its queries: one positive on the diagonal, the rest negatives.
            positive = scores.diagonal(dim1=-2, dim2=-1)
            negative = scores[:, ~torch.eye(keys, dtype=torch.bool)].view(-1, keys, keys - 1)
            batches = zip(positive, negative, strict=True)
            bounds = [float(sance_bound_from_scores(*batch, temperature=1.0)) for batch in batches]
            rows.append((true, keys, math.log(keys), np.mean(bounds), stats.sem(bounds)))
    return pd.DataFrame(rows, columns=["information", "num_keys", "log_k", "bound", "standard_error"])
