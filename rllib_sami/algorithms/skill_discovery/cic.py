"""CIC (Laskin et al., NeurIPS 2022, arXiv:2202.00161): contrastive features, and a reward for rarely visited ones.

Shapes: ``N`` steps, ``d`` skill dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps, unit
from rllib_sami.algorithms.skill_discovery.priors import GAUSSIAN
from rllib_sami.core.context_encoder import RunningNorm
from rllib_sami.core.networks import mlp
from rllib_sami.core.settings import ABOVE_0, AT_LEAST_0, integer, setting


def contrastive_predictive_loss(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """InfoNCE of unit vectors ``[N, d]``: each query has the key of its own step among those of the batch."""
    logits = unit(query) @ unit(key).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def nearest_distances(source: Tensor, target: Tensor, neighbours: int) -> Tensor:
    """Distances ``[N, k]`` of each of ``source`` ``[N, d]`` to its nearest among ``target`` ``[N, d]``."""
    return torch.cdist(source, target).topk(min(neighbours, len(target)), largest=False).values


@dataclass(frozen=True)
class CICMethod(SkillMethod):
    """Features in which steps tell their skill; the reward is an estimate of their entropy from nearest neighbours."""

    cic_temperature: float = setting(0.5, ABOVE_0, "What scores of the contrast are divided by.")
    neighbours: int = setting(16, integer(1), "Nearest neighbours whose distance is the reward.")
    distance_clip: float = setting(5e-4, AT_LEAST_0, "What is subtracted from distances, relative to their mean.")
    metrics: ClassVar[tuple[str, ...]] = ("representation_loss", "neighbour_distance")
    finds_skills_for_goals: ClassVar[bool] = False

    @property
    def prior(self) -> str:
        """Standard normal."""
        return GAUSSIAN

    def make_auxiliary(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes the networks of queries and keys, and the statistics of distances."""
        return _Contrast(skill_dim, hidden)

    def normalized(
        self, representation: nn.Module, auxiliary: Any, steps: SkillSteps
    ) -> list[tuple[RunningNorm, Tensor]]:
        """The distances of neighbours, whose mean is the unit of the reward."""
        with torch.no_grad():
            distances = self.distances(representation, steps)
        return [(auxiliary.distance, distances.reshape(-1, 1))]

    def distances(self, representation: nn.Module, steps: SkillSteps) -> Tensor:
        """Distances ``[N, k]`` of each step's beginning to the nearest ends of steps, in feature space."""
        return nearest_distances(representation(steps.obs), representation(steps.next_obs), self.neighbours)

    def representation_loss(
        self, representation: nn.Module, auxiliary: Any, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """The contrast between skills and steps."""
        pair = torch.cat([representation(steps.obs), representation(steps.next_obs)], dim=-1)
        loss = contrastive_predictive_loss(auxiliary.query(steps.skill), auxiliary.key(pair), self.cic_temperature)
        return loss, {"representation_loss": loss.detach(), "neighbour_distance": auxiliary.distance.mean[0].clone()}

    def reward(self, representation: nn.Module, auxiliary: Any, steps: SkillSteps) -> Tensor:
        """``log(1 + mean distance of the nearest neighbours)``."""
        distances = self.distances(representation, steps)
        relative = (distances / auxiliary.distance.mean.clamp(min=1e-8) - self.distance_clip).clamp(min=0.0)
        return torch.log1p(relative.mean(dim=-1))


class _Contrast(nn.Module):
    """Queries of skills, keys of steps, and the mean of the neighbours' distances."""

    def __init__(self, skill_dim: int, hidden: Sequence[int]):
        super().__init__()
        self.query, self.key = mlp(skill_dim, hidden, skill_dim), mlp(2 * skill_dim, hidden, skill_dim)
        self.distance = RunningNorm(1)
