"""The loss of task inference: what a latent predicts of its episode, and how far its posterior is from the prior.

Shapes: ``N`` windows; ``S`` steps of each one's episode; ``O`` observation dimensions; ``C`` families of tasks.
"""

import torch.nn.functional as F
from torch import Tensor

UNKNOWN_FAMILY = -1


def prediction_loss(predicted: tuple[Tensor, Tensor], next_obs: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean squared errors of next observations and of rewards.

    Args:
        predicted: Next observations ``[N, S, O]`` and rewards ``[N, S]``.
        next_obs: ``[N, S, O]``.
        reward: ``[N, S]``.
    """
    of_obs = (predicted[0] - next_obs).square().sum(dim=-1).mean()
    return of_obs, (predicted[1] - reward).square().mean()


def family_loss(logits: Tensor, family: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the cross-entropy of the task's family, and the share of windows whose family is recognised.

    Args:
        logits: ``[N, C]``.
        family: ``[N]``, integers; ``UNKNOWN_FAMILY`` does not count.
    """
    known = family != UNKNOWN_FAMILY
    number = known.sum().clamp(min=1)
    loss = F.cross_entropy(logits, family, ignore_index=UNKNOWN_FAMILY, reduction="sum") / number
    return loss, ((logits.argmax(dim=-1) == family) & known).sum() / number
