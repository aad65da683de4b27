"""Normal distributions that a tanh maps to (-1, 1), with a divergence in closed form."""

from typing import NamedTuple

import torch
from torch import Tensor

MEAN_LIMIT = 5.0
LOG_STD_MIN, LOG_STD_MAX, STD_MIN = -10.0, 2.0, 1e-4


class TanhNormal(NamedTuple):
    """``tanh(x)`` with ``x ~ N(mean, std²)``.

    Both are bounded, which keeps divergences finite.
    """

    mean: Tensor  # [..., Z]
    std: Tensor  # [..., Z]

    @classmethod
    def of(cls, output: Tensor) -> "TanhNormal":
        """The distribution that a network's output ``[..., 2 Z]`` stands for."""
        mean, log_std = output.chunk(2, dim=-1)
        return cls(MEAN_LIMIT * torch.tanh(mean / MEAN_LIMIT), log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp() + STD_MIN)

    def sample(self, noise: Tensor) -> Tensor:
        """Returns reparametrised samples ``[..., Z]`` from standard normal ``noise``."""
        return torch.tanh(self.mean + self.std * noise)

    @property
    def mode(self) -> Tensor:
        """``tanh(mean)``."""
        return torch.tanh(self.mean)

    def detach(self) -> "TanhNormal":
        """The same distribution, without gradient."""
        return TanhNormal(self.mean.detach(), self.std.detach())


def divergence(p: TanhNormal, q: TanhNormal) -> Tensor:
    """Returns ``KL(p ‖ q)``, ``[...]``, summed over dimensions.

    The tanh is the same bijection for both, so it is the divergence of the two Gaussians.
    """
    ratio = (p.std / q.std).square()
    return 0.5 * (ratio + ((p.mean - q.mean) / q.std).square() - 1.0 - ratio.log()).sum(dim=-1)


def divergence_from_standard(p: TanhNormal) -> Tensor:
    """Returns ``KL(p ‖ tanh N(0, 1))``, ``[...]``."""
    return divergence(p, TanhNormal(torch.zeros_like(p.mean), torch.ones_like(p.std)))
