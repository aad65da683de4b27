"""METRA (Park, Rybkin, Levine, ICLR 2024, arXiv:2310.08887): skills that spread in a metric of temporal distances.

Shapes: ``N`` steps, ``d`` skill dimensions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.csf import ContrastiveSettings, contrastive_scores
from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps, dot, unit
from rllib_sami.algorithms.skill_discovery.priors import ONE_HOT, SPHERE
from rllib_sami.core.settings import ABOVE_0, SWITCH, one_of, setting


def constraint_penalty(change: Tensor, slack: float) -> Tensor:
    """How far each step is from violating ``‖φ(s') - φ(s)‖² <= 1``: ``min(slack, 1 - ‖v‖²)``, ``[N]``."""
    return (1.0 - change.square().sum(dim=-1)).clamp(max=slack)


def direction(skill: Tensor, one_hot: bool) -> Tensor:
    """The direction in feature space that a skill stands for; one-hot skills are centred and scaled, ``[N, d]``."""
    width = skill.shape[-1]
    return (skill - 1.0 / width) * (width / max(width - 1, 1)) if one_hot else skill


@dataclass(frozen=True)
class METRAMethod(SkillMethod, ContrastiveSettings):
    """METRA, with the dual constraint or CSF's contrastive loss (METRA-C)."""

    skill_prior: str = setting(
        SPHERE, one_of((SPHERE, ONE_HOT)), "Skills are directions on the sphere, or `skill_dim` different ones."
    )
    representation_objective: str = setting(
        "dual",
        one_of(("dual", "contrastive")),
        "Loss of the representation: with a constraint and its dual variable, or CSF's contrastive one (METRA-C).",
    )
    initial_dual: float = setting(30.0, ABOVE_0, "The constraint's dual variable λ at the start.")
    dual_slack: float = setting(1e-3, ABOVE_0, "Slack of the constraint `‖φ(s') - φ(s)‖² <= 1`.")
    information_bottleneck: bool = setting(
        True,
        SWITCH,
        "Whether the policy maximises only `v · z`. False adds the constraint's penalty (or the contrast's negative "
        "term) to its reward.",
    )
    metrics: ClassVar[tuple[str, ...]] = ("representation_loss", "feature_norm_squared", "dual")
    acting_settings: ClassVar[tuple[str, ...]] = ("skill_prior",)

    @property
    def prior(self) -> str:
        """Sphere or one-hot."""
        return self.skill_prior

    @property
    def is_contrastive(self) -> bool:
        """Whether this is METRA-C."""
        return self.representation_objective == "contrastive"

    @property
    def num_prior_skills(self) -> int:
        """The negatives of METRA-C."""
        return self.num_negatives if self.is_contrastive else 0

    @property
    def groups(self) -> tuple[str, ...]:
        """The representation, and the dual variable if there is a constraint."""
        return ("representation",) if self.is_contrastive else ("representation", "dual")

    @property
    def without_effect(self) -> dict[str, str]:
        """Settings of the other objective."""
        if self.is_contrastive:
            reason = "The contrastive objective has no constraint: set `representation_objective` to 'dual'"
            return dict.fromkeys(("initial_dual", "dual_slack", "dual_lr"), reason)
        reason = "The dual objective has no negatives: set `representation_objective` to 'contrastive'"
        return dict.fromkeys(("xi", "num_negatives"), reason)

    def make_auxiliary(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes the dual variable of the constraint."""
        return nn.Module() if self.is_contrastive else DualVariable(self.initial_dual)

    def change(self, representation: nn.Module, steps: SkillSteps) -> Tensor:
        """Features ``v = φ(s') - φ(s)``, ``[N, d]``."""
        return representation(steps.next_obs) - representation(steps.obs)

    def representation_loss(
        self, representation: nn.Module, auxiliary: Any, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """``-E[v · z + λ penalty]``, and ``log λ E[penalty]`` for the dual variable."""
        change = self.change(representation, steps)
        norm = change.detach().square().sum(dim=-1).mean()
        toward = direction(steps.skill, self.prior == ONE_HOT)
        if self.is_contrastive:
            negatives = direction(steps.prior_skills, self.prior == ONE_HOT)
            loss = -contrastive_scores(change, toward, negatives, self.xi).mean()
            return loss, {"representation_loss": loss.detach(), "feature_norm_squared": norm}
        log_dual, penalty = auxiliary.log_value, constraint_penalty(change, self.dual_slack)
        loss = -(dot(change, toward) + log_dual.exp().detach() * penalty).mean()
        metrics = {"representation_loss": loss.detach(), "feature_norm_squared": norm, "dual": log_dual.detach().exp()}
        return loss + log_dual * penalty.detach().mean(), metrics

    def reward(self, representation: nn.Module, auxiliary: Any, steps: SkillSteps) -> Tensor:
        """``v · z``; without the information bottleneck with the penalty."""
        change = self.change(representation, steps)
        toward = direction(steps.skill, self.prior == ONE_HOT)
        if self.information_bottleneck:
            return dot(change, toward)
        if self.is_contrastive:
            negatives = direction(steps.prior_skills, self.prior == ONE_HOT)
            return contrastive_scores(change, toward, negatives, self.xi)
        return dot(change, toward) + auxiliary.log_value.exp() * constraint_penalty(change, self.dual_slack)

    def skill_for_goal(self, representation: nn.Module, obs: Tensor, goal: Tensor) -> Tensor:
        """The direction from state to goal in feature space, or the one-hot skill nearest to it."""
        toward = representation(goal) - representation(obs)
        if self.prior == SPHERE:
            return unit(toward)
        return nn.functional.one_hot(toward.argmax(dim=-1), toward.shape[-1]).to(toward.dtype)


class DualVariable(nn.Module):
    """The dual variable λ, as its logarithm."""

    def __init__(self, initial: float):
        super().__init__()
        self.log_value = nn.Parameter(torch.tensor(math.log(initial)))
