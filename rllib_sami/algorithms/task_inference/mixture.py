"""A Dirichlet process mixture of diagonal Gaussians: variational inference that finds the number of components itself.

The posterior is the usual factorised one (Blei & Jordan, 2006), truncated at a number of components: a Beta
distribution for each stick, a normal-gamma distribution for mean and precision of each component and dimension. A fit
splits components, the heaviest first, improves all, and removes those without which the evidence bound is higher.

Shapes: ``N`` points of ``L`` dimensions, ``K`` components.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Gamma, kl_divergence

MAX_COMPONENTS = 20
CONCENTRATION = 5.0  # γ of the Dirichlet process
SHAPE, VARIANCE, STRENGTH = 2.0, 0.1, 0.01  # a0 of the precision, expected variance, β0 of the mean
TOLERANCE = 1e-3  # of the evidence bound
NUM_STEPS, NUM_STEPS_REMOVED = 30, 5  # improvements of all components, and after one was removed

Average = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Components:
    """The variational posterior of all components, the largest first.

    Attributes:
        first: First parameter of the sticks' Beta distributions, ``[K]``.
        second: Their second parameter, ``[K]``.
        mean: ``[K, L]``.
        strength: β of the means, ``[K, 1]``.
        shape: a of the precisions, ``[K, 1]``.
        rate: b of the precisions, ``[K, L]``.
    """

    first: Tensor
    second: Tensor
    mean: Tensor
    strength: Tensor
    shape: Tensor
    rate: Tensor

    @classmethod
    def from_statistics(cls, count: Tensor, total: Tensor, squares: Tensor) -> "Components":
        """The posterior given the points' shares ``[K]``, and their sums and sums of squares ``[K, L]``.

        The prior of means is centred at 0, as that of latents.
        """
        order = count.argsort(descending=True)
        count, total, squares = count[order, None], total[order], squares[order]
        strength = STRENGTH + count
        mean = total / strength
        rate = SHAPE_RATE + 0.5 * (squares - strength * mean.square()).clamp(min=0.0)
        flat = count[:, 0]
        after = flat.sum() - flat.cumsum(0)
        return cls(1.0 + flat, CONCENTRATION + after.clamp(min=0.0), mean, strength, SHAPE + 0.5 * count, rate)

    def scores(self, points: Tensor) -> Tensor:
        """Returns ``E[log π_k + log N(x_n; μ_k, τ_k)]``, ``[N, K]``."""
        both = (self.first + self.second).digamma()
        stick, rest = self.first.digamma() - both, self.second.digamma() - both
        log_weight = stick + rest.cumsum(0) - rest
        log_precision = self.shape.digamma() - self.rate.log()  # [K, L]
        distance = 1.0 / self.strength + self.shape / self.rate * (points[:, None] - self.mean).square()
        return log_weight + 0.5 * (log_precision - LOG_2PI - distance).sum(dim=-1)

    def divergence(self) -> Tensor:
        """Returns the KL divergence from the prior, a scalar."""
        sticks = kl_divergence(
            Beta(self.first, self.second),
            Beta(torch.ones_like(self.first), torch.full_like(self.first, CONCENTRATION)),
        )
        shape = self.shape.expand_as(self.rate)
        prior = Gamma(torch.full_like(shape, SHAPE), torch.full_like(shape, SHAPE_RATE))
        precisions = kl_divergence(Gamma(shape, self.rate), prior)
        ratio = STRENGTH / self.strength
        means = 0.5 * (STRENGTH * shape / self.rate * self.mean.square() + ratio - ratio.log() - 1.0)
        return sticks.sum() + (precisions + means).sum()


SHAPE_RATE = VARIANCE * (SHAPE - 1.0)  # b0
LOG_2PI = 1.8378770664093453


def improve(components: Components, points: Tensor, steps: int, average: Average) -> tuple[Components, Tensor]:
    """Takes steps of coordinate ascent; returns the components and their evidence bound.

    Args:
        components: ``K`` components.
        points: ``[N, L]``.
        steps: How many.
        average: Averages tensors over several learners, so that all find the same components.
    """
    for _ in range(steps):
        shares = components.scores(points).softmax(dim=1).T  # [K, N]
        statistics = average([shares.sum(dim=1), shares @ points, shares @ points.square()])
        components = Components.from_statistics(*statistics)
    (evidence,) = average([components.scores(points).logsumexp(dim=1).sum()])
    return components, evidence - components.divergence()


class DirichletProcessMixture(nn.Module):
    """A mixture that is fitted again and again to points that move; at first the standard normal distribution.

    Args:
        dim: ``L``.
        max_components: Most components.

    Attributes:
        weights: Share of each component, ``[K]``; 0 for those that are not used.
        means: ``[K, L]``.
        variances: ``[K, L]``.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def __init__(self, dim: int, max_components: int = MAX_COMPONENTS):
        super().__init__()
        self.register_buffer("weights", torch.eye(1, max_components)[0])
        self.register_buffer("means", torch.zeros(max_components, dim))
        self.register_buffer("variances", torch.ones(max_components, dim))

    @property
    def num_components(self) -> int:
        """Components in use."""
        return int((self.weights > 0).sum())

    def responsibilities(self, points: Tensor) -> Tensor:
        """Returns the share of each component in each point, ``[N, K]``."""
        distance = (points[:, None] - self.means).square() / self.variances + self.variances.log()
        return (self.weights.log() - 0.5 * distance.sum(dim=-1)).softmax(dim=1)

    @torch.no_grad()
    def fit(self, points: Tensor, average: Average | None = None) -> None:
        """Fits the mixture to points ``[N, L]``, from the present components on.

        Points that are not finite change nothing: once learning has diverged, the learner says so.
        """
        average = average or (lambda tensors: tensors)
        points = points.double()
        (are_finite,) = average([points.isfinite().all().double()])  # all learners must go on, or none
        if are_finite < 1.0:
            return
        used = self.weights > 0
        present = [of[used].double() for of in (self.weights, self.means, self.variances)]
        split = _split(len(self.weights) - len(present[0]), *present)
        start = Components.from_statistics(*_statistics(*split, len(points)))
        best, bound = improve(start, points, NUM_STEPS, average)
        for index in reversed(range(len(best.first))):  # the smallest component first
            others = [k for k in range(len(best.first)) if k != index]
            if others and index < len(best.first):
                fewer, without = improve(_take(best, others), points, NUM_STEPS_REMOVED, average)
                if without > bound - TOLERANCE:  # one that has no points changes nothing
                    best, bound = fewer, without
        best, _ = improve(best, points, NUM_STEPS, average)
        self._take_over(best)

    def _take_over(self, components: Components) -> None:
        number = len(components.first)
        stick = components.first / (components.first + components.second)
        left = torch.cat([stick.new_ones(1), (1.0 - stick).cumprod(0)[:-1]])
        weights = stick * left
        self.weights.zero_()
        self.weights[:number] = weights / weights.sum()
        self.means.zero_()
        self.means[:number] = components.mean
        self.variances.fill_(1.0)
        self.variances[:number] = components.rate / (components.shape - 1.0)  # E[1 / τ]


def _take(components: Components, index: list[int]) -> Components:
    return Components(*(getattr(components, name)[index] for name in Components.__dataclass_fields__))


def _split(number: int, weights: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Splits the ``number`` heaviest components in two, half as wide and moved apart along their widest dimension."""
    order = weights.argsort(descending=True)
    heavy, others = order[:number], order[number:]
    mean, variance = means[heavy], variances[heavy]
    widest = variance.argmax(dim=1, keepdim=True)
    shift = torch.zeros_like(mean).scatter(1, widest, variance.gather(1, widest).sqrt())
    smaller = variance.scatter(1, widest, 0.25 * variance.gather(1, widest))
    half = 0.5 * weights[heavy]
    return (
        torch.cat([half, half, weights[others]]),
        torch.cat([mean - shift, mean + shift, means[others]]),
        torch.cat([smaller, smaller, variances[others]]),
    )


def _statistics(weights: Tensor, means: Tensor, variances: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """The statistics of ``number`` points that have the given moments."""
    count = number * weights
    return count, count[:, None] * means, count[:, None] * (variances + means.square())
