"""Contrastive successor features (Zheng, Tuyls, Peng, Eysenbach, ICLR 2025, arXiv:2412.08021).

The representation maximises a contrastive lower bound of the mutual information I(S, S'; Z). The policy maximises only
the positive term ``(φ(s') - φ(s)) · z``, which is linear in z: the critics are successor features.

Shapes: ``N`` steps, ``K`` negatives, ``d`` skill dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps, dot, unit
from rllib_sami.core.networks import mlp
from rllib_sami.core.settings import ABOVE_0, SWITCH, integer, one_of, setting


def contrastive_scores(change: Tensor, skill: Tensor, negatives: Tensor, xi: float) -> Tensor:
    """The contrastive objective of each step, ``v · z - ξ log Σ_j exp(v · z'_j)``, ``[N]``.

    Args:
        change: ``v = φ(s') - φ(s)``, ``[N, d]``.
        skill: ``z``, ``[N, d]``.
        negatives: ``z'``, drawn from the prior and shared by all steps, ``[K, d]``; the positive is not among them.
        xi: Weight ξ of the negative term.
    """
    return dot(change, skill) - xi * torch.logsumexp(change @ negatives.T, dim=-1)


@dataclass(frozen=True)
class ContrastiveSettings:
    """Settings of the contrastive representation loss."""

    xi: float = setting(
        5.0,
        ABOVE_0,
        "Weight ξ of the negative term of the contrastive loss. It sets how far features move in a step: 0.41 with "
        "`skill_dim` 2 and 1.65 with 8, for ξ = 5.",
    )
    num_negatives: int = setting(256, integer(1), "Negative skills of an update, shared by its steps.")


@dataclass(frozen=True)
class CSFMethod(SkillMethod, ContrastiveSettings):
    """Contrastive successor features, and its ablations."""

    information_bottleneck: bool = setting(
        True,
        SWITCH,
        "Whether the policy maximises only `v · z`. False adds the negative term to its reward, with scalar critics.",
    )
    representation_type: str = setting(
        "difference",
        one_of(("difference", "mlp")),
        'Features of a step: `"difference"`, φ(s\') - φ(s), or `"mlp"`, a network f(s, s\').',
    )
    critic_type: str = setting(
        "successor",
        one_of(("successor", "scalar")),
        'Critics: `"successor"` features, or `"scalar"` values of `v · z` with an entropy bonus, as in SAC.',
    )
    metrics: ClassVar[tuple[str, ...]] = ("representation_loss", "feature_norm_squared")
    acting_settings: ClassVar[tuple[str, ...]] = ("representation_type",)

    @property
    def has_successor_features(self) -> bool:
        """Whether critics are successor features."""
        return self.critic_type == "successor" and self.information_bottleneck

    @property
    def has_state_features(self) -> bool:
        """Whether the representation gives features of single states; f(s, s') does not."""
        return self.representation_type == "difference"

    @property
    def num_prior_skills(self) -> int:
        """The negatives."""
        return self.num_negatives

    @property
    def without_effect(self) -> dict[str, str]:
        """Without the information bottleneck critics are scalar anyway."""
        reason = "Without the information bottleneck critics are scalar: set `information_bottleneck` to True"
        return {} if self.information_bottleneck else {"critic_type": reason}

    def make_representation(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes φ, or f(s, s')."""
        return mlp(obs_dim if self.representation_type == "difference" else 2 * obs_dim, hidden, skill_dim)

    def change(self, representation: nn.Module, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Features ``v`` of steps, ``[N, d]``."""
        if self.representation_type == "mlp":
            return representation(torch.cat([obs, next_obs], dim=-1))
        return representation(next_obs) - representation(obs)

    def representation_loss(
        self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """The negative contrastive bound."""
        change = self.change(representation, steps.obs, steps.next_obs)
        loss = -contrastive_scores(change, steps.skill, steps.prior_skills, self.xi).mean()
        norm = change.detach().square().sum(dim=-1).mean()
        return loss, {"representation_loss": loss.detach(), "feature_norm_squared": norm}

    def features(self, representation: nn.Module, steps: SkillSteps) -> Tensor:
        """``v``."""
        return self.change(representation, steps.obs, steps.next_obs)

    def reward(self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps) -> Tensor:
        """``v · z``; without the information bottleneck with the negative term."""
        change = self.change(representation, steps.obs, steps.next_obs)
        if self.information_bottleneck:
            return dot(change, steps.skill)
        return contrastive_scores(change, steps.skill, steps.prior_skills, self.xi)

    def skill_for_goal(self, representation: nn.Module, obs: Tensor, goal: Tensor) -> Tensor:
        """The direction from state to goal in feature space."""
        return unit(self.change(representation, obs, goal))
