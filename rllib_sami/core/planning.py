"""The cross-entropy method: planning by improving a distribution of action sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rllib_sami.core.settings import AT_LEAST_0, integer, number, setting

LIMIT = 0.999  # of actions
MAX_STD = 2.0  # of samples before the first iteration


@dataclass(frozen=True)
class CEMConfig:
    """Settings of the cross-entropy method."""

    num_plan_iterations: int = setting(6, integer(1), "Iterations of a plan.")
    num_plan_samples: int = setting(512, integer(2), "Sequences that are drawn in an iteration.")
    num_plan_policy_samples: int = setting(
        25, integer(1), "Sequences of the policy that are added to them, the same in all iterations."
    )
    num_plan_elites: int = setting(64, integer(2), "Best sequences, from which the next distribution is made.")
    plan_momentum: float = setting(
        0.1, number("a number from 0 to below 1", lambda x: 0 <= x < 1), "Share of the former mean that is kept."
    )
    plan_temperature: float = setting(
        0.5,
        AT_LEAST_0,
        "Factor of the predicted return in an elite's weight, exp(plan_temperature · return). With 0 all elites weigh "
        "alike; the larger it is, the more the best ones count.",
    )


class Plan(NamedTuple):
    """The result of planning for ``B`` states."""

    action: Tensor  # [B, A], the first one of an elite
    mean: Tensor  # [B, H, A]
    std: Tensor  # [B, H, A]


def cem(
    score: Callable[[Tensor, int], Tensor],
    of_policy: Tensor,
    policy_scores: Tensor,
    mean: Tensor,
    std: Tensor,
    min_std: float,
    config: CEMConfig,
    noise: Tensor,
    choice: Tensor,
) -> Plan:
    """Finds sequences of actions with a high score.

    In each iteration, samples are scored beside the policy's sequences. The elites are weighed with
    ``exp(τ (score - best))``; mean and standard deviation of the next samples are their weighted moments.

    Args:
        score: Returns scores ``[B, N]`` of an iteration's sequences ``[B, N, H, A]``.
        of_policy: Sequences of the policy, ``[B, P, H, A]``.
        policy_scores: Their scores, ``[B, P]``.
        mean: Mean of the first samples, ``[B, H, A]``.
        std: Their standard deviation, ``[B, H, A]``.
        min_std: Least standard deviation of later samples.
        config: Number of elites, their weights and momentum.
        noise: Standard normal numbers of all samples, ``[B, I, N, H, A]`` for ``I`` iterations.
        choice: Which elite is returned: uniform numbers in [0, 1), ``[B]``.

    Returns:
        The first action of an elite, drawn by weight, and the last distribution.
    """
    for iteration, drawn in enumerate(noise.unbind(dim=1)):
        samples = (mean[:, None] + std[:, None] * drawn).clamp(-LIMIT, LIMIT)
        candidates = torch.cat([samples, of_policy], dim=1)
        scores = torch.cat([score(samples, iteration), policy_scores], dim=1)
        best, index = scores.topk(config.num_plan_elites, dim=1)  # [B, E]
        elites = candidates.gather(1, index[..., None, None].expand(-1, -1, *mean.shape[1:]))
        weights = torch.softmax(config.plan_temperature * best, dim=1)
        elite_mean = torch.einsum("be,beha->bha", weights, elites)
        variance = torch.einsum("be,beha->bha", weights, (elites - elite_mean[:, None]).square())
        mean = config.plan_momentum * mean + (1 - config.plan_momentum) * elite_mean
        std = variance.sqrt().clamp(min_std, MAX_STD)
    chosen = (weights.cumsum(dim=1) <= choice[:, None]).sum(dim=1).clamp(max=elites.shape[1] - 1)
    action = elites[torch.arange(len(elites), device=elites.device), chosen, 0]
    return Plan(action, mean, std)
