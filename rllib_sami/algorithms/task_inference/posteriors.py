"""Posteriors of the latent of a task: how it is made from the encoder's outputs, and how far that is from a prior.

Shapes: ``N`` latents of ``L`` dimensions; ``P`` outputs of the encoder and ``E`` random numbers for each; ``K``
components of a mixture.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_VARIANCE_MIN, LOG_VARIANCE_MAX = -12.0, 4.0  # far from where training leads; they keep exp() finite
NUM_COMPONENTS = 8  # of a mixture of Gaussians, as in the reference
STICK_PRIOR = (1.0, 5.0)  # of the Beta distribution of each stick, as in the reference
SERIES_TERMS = 10  # of the divergence from it
SMALLEST = 1e-2  # parameter of a stick's distribution
EULER = 0.5772156649015329


class Posterior(NamedTuple):
    """One kind of posterior.

    Attributes:
        num_outputs: ``P`` as a multiple of ``L``, plus a constant.
        num_noise: ``E`` as a multiple of ``L``, plus a constant.
        latent: Outputs ``[N, P]`` and noise ``[N, E]``, standard normal, to latents ``[N, L]``. With noise 0 it is the
            latent to act on.
        kl: Outputs ``[N, P]`` to the divergence from the kind's own prior, ``[N]``.
    """

    num_outputs: tuple[int, int]
    num_noise: tuple[int, int]
    latent: Callable[[Tensor, Tensor], Tensor]
    kl: Callable[[Tensor], Tensor]


# --- One Gaussian ---------------------------------------------------------------------------------------------------


def moments(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and log variance ``[..., L]`` of Gaussians."""
    mean, log_variance = outputs.chunk(2, dim=-1)
    return mean, log_variance.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)


def gaussian_latent(outputs: Tensor, noise: Tensor) -> Tensor:
    """``z = μ + σ ε``."""
    mean, log_variance = moments(outputs)
    return mean + (0.5 * log_variance).exp() * noise


def gaussian_kl(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """``KL(N(μ, σ²) ‖ N(m, s²))`` of diagonal Gaussians, ``[...]`` for arguments ``[..., L]``."""
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1.0 - log_variance + prior_log_variance).sum(dim=-1)


def standard_kl(outputs: Tensor) -> Tensor:
    """``KL(N(μ, σ²) ‖ N(0, 1))``, ``[...]`` for outputs ``[..., 2 L]``."""
    mean, log_variance = moments(outputs)
    return gaussian_kl(mean, log_variance, torch.zeros_like(mean), torch.zeros_like(mean))


# --- A weighted mean of several Gaussians -----------------------------------------------------------------------------


def _components(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Splits outputs into those of each Gaussian, ``[N, K, 2 L]``, and their weights ``[N, K]``."""
    gaussians, gate = outputs.split([outputs.shape[-1] - NUM_COMPONENTS, NUM_COMPONENTS], dim=-1)
    return gaussians.unflatten(-1, (NUM_COMPONENTS, -1)), gate.softmax(dim=-1)


def mixture_latent(outputs: Tensor, noise: Tensor) -> Tensor:
    """``z = Σ_k γ_k (μ_k + σ_k ε_k)``."""
    gaussians, weights = _components(outputs)
    latents = gaussian_latent(gaussians, noise.unflatten(-1, (NUM_COMPONENTS, -1)))
    return (weights[..., None] * latents).sum(dim=-2)


def mixture_kl(outputs: Tensor) -> Tensor:
    """``Σ_k KL(N(μ_k, σ²_k) ‖ N(0, 1))``."""
    return standard_kl(_components(outputs)[0]).sum(dim=-1)


# --- Broken sticks --------------------------------------------------------------------------------------------------


def _stick_parameters(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a and b ``[N, L - 1]`` of the sticks' Kumaraswamy distributions."""
    a, b = (F.softplus(outputs) + SMALLEST).chunk(2, dim=-1)
    return a, b


def stick_latent(outputs: Tensor, noise: Tensor) -> Tensor:
    """``z_k = v_k Π_j<k (1 - v_j)`` with ``v = (1 - u^(1/b))^(1/a)``, the last v being 1: shares that add up to 1.

    u is uniform: the standard normal distribution function of the noise.
    """
    a, b = _stick_parameters(outputs)
    log_u = torch.special.log_ndtr(noise)
    stick = (-torch.expm1(log_u / b)).clamp(1e-6, 1.0 - 1e-6) ** (1.0 / a)
    left = (1.0 - stick).cumprod(dim=-1)
    whole = torch.ones_like(stick[..., :1])
    return torch.cat([stick, whole], dim=-1) * torch.cat([whole, left], dim=-1)


def stick_kl(outputs: Tensor) -> Tensor:
    """``Σ_k KL(Kumaraswamy(a_k, b_k) ‖ Beta(α, β))`` (Nalisnick & Smyth, arXiv:1605.06197), its series cut off."""
    a, b = _stick_parameters(outputs)
    alpha, beta = STICK_PRIOR
    term = torch.arange(1, SERIES_TERMS + 1, device=outputs.device, dtype=outputs.dtype)
    ratio, of_b = term / a[..., None], b[..., None]
    log_beta = ratio.lgamma() + of_b.lgamma() - (ratio + of_b).lgamma()
    series = (log_beta.exp() / (term + a[..., None] * of_b)).sum(dim=-1)
    constant = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
    kl = (a - alpha) / a * (-EULER - b.digamma() - 1.0 / b) + (a * b).log() + constant
    return (kl - (b - 1.0) / b + (beta - 1.0) * b * series).sum(dim=-1)


_GAUSSIAN = Posterior((2, 0), (1, 0), gaussian_latent, standard_kl)
POSTERIORS = {
    "gauss": _GAUSSIAN,
    "gmm": Posterior((2 * NUM_COMPONENTS, NUM_COMPONENTS), (NUM_COMPONENTS, 0), mixture_latent, mixture_kl),
    "stick": Posterior((2, -2), (1, -1), stick_latent, stick_kl),
    "dpmm": _GAUSSIAN,  # its prior is fitted, see `priors.MixturePrior`
}
"""The posteriors by the name of their prior."""


def width(of: tuple[int, int], latent_dim: int) -> int:
    """Returns ``num_outputs`` or ``num_noise`` of a posterior for a latent of width ``L``."""
    times, plus = of
    return times * latent_dim + plus
