"""Priors of the latent of a task: one that belongs to its posterior, or a mixture that follows the latents.

Shapes: ``N`` latents of ``L`` dimensions; ``P`` outputs of the encoder for each; ``K`` components of a mixture.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.task_inference.mixture import Average, DirichletProcessMixture
from rllib_sami.algorithms.task_inference.posteriors import POSTERIORS, gaussian_kl, moments


class FixedPrior(nn.Module):
    """The prior that belongs to a posterior.

    Args:
        kind: One of ``POSTERIORS``.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def kl(self, outputs: Tensor, latent: Tensor) -> Tensor:
        """Returns the divergence of posteriors ``[N, P]`` from the prior, ``[N]``."""
        return POSTERIORS[self.kind].kl(outputs)

    def follow(self, latent: Tensor, interval: int, average: Average | None) -> None:
        """Does nothing: this prior is fixed."""

    def clusters(self, latent: Tensor) -> Tensor | None:
        """Returns None: there are no clusters."""


class MixturePrior(nn.Module):
    """A mixture of Gaussians that follows the latents; at first the standard normal distribution.

    Args:
        latent_dim: ``L``.
    """

    age: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.mixture = DirichletProcessMixture(latent_dim)
        self.register_buffer("age", torch.zeros((), dtype=torch.int64))
        self._count: int | None = None  # the same on the host, read once

    def kl(self, outputs: Tensor, latent: Tensor) -> Tensor:
        """Returns ``Σ_k ρ_k(z) KL(q ‖ N(m_k, s²_k))`` ``[N]``, in which responsibilities ρ have no gradient."""
        mean, log_variance = (of[:, None] for of in moments(outputs))
        components = gaussian_kl(mean, log_variance, self.mixture.means, self.mixture.variances.log())  # [N, K]
        return (self.mixture.responsibilities(latent.detach()) * components).sum(dim=-1)

    def clusters(self, latent: Tensor) -> Tensor | None:
        """Returns the component that each of the latents ``[N, L]`` most likely belongs to, ``[N]``."""
        return self.mixture.responsibilities(latent).argmax(dim=1)

    def follow(self, latent: Tensor, interval: int, average: Average | None) -> None:
        """Fits the mixture to latents ``[N, L]`` if it is time to.

        Args:
            latent: Of the last update.
            interval: Updates between two fits.
            average: Averages tensors over several learners; None for a single one.
        """
        self._count = int(self.age) + 1 if self._count is None else self._count + 1
        self.age += 1
        if self._count % interval == 0:
            self.mixture.fit(latent, average)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._count = None


def make_prior(kind: str, latent_dim: int) -> FixedPrior | MixturePrior:
    """Makes the prior of one of the ``POSTERIORS``."""
    return MixturePrior(latent_dim) if kind == "dpmm" else FixedPrior(kind)
