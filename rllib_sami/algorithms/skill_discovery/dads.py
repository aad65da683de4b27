"""DADS (Sharma et al., ICLR 2020, arXiv:1907.01657): skills whose outcomes a model of their dynamics predicts.

Shapes: ``N`` steps, ``O`` observation and ``d`` skill dimensions, ``L`` alternative skills.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps
from rllib_sami.algorithms.skill_discovery.priors import UNIFORM
from rllib_sami.core.context_encoder import RunningNorm
from rllib_sami.core.networks import mlp
from rllib_sami.core.settings import integer, setting

LIMIT = 50.0  # of differences of log-probabilities


def predictability_reward(log_prob: Tensor, alternatives: Tensor) -> Tensor:
    """``log q(s' | s, z) - log mean q(s' | s, z_l)`` over the skill and its alternatives, ``[N]``.

    Args:
        log_prob: Log-probability of the next state with the skill, ``[N]``.
        alternatives: Those with alternative skills, ``[N, L]``.
    """
    differences = (alternatives - log_prob[:, None]).clamp(-LIMIT, LIMIT)
    return math.log(alternatives.shape[1] + 1) - torch.log1p(differences.exp().sum(dim=-1))


@dataclass(frozen=True)
class DADSMethod(SkillMethod):
    """A Gaussian model of skills' dynamics, q(s' - s | s, z) with standard deviation 1 of normalised changes."""

    num_alternatives: int = setting(100, integer(1), "Alternative skills that a step is compared with.")
    metrics: ClassVar[tuple[str, ...]] = ("representation_loss",)
    finds_skills_for_goals: ClassVar[bool] = False

    @property
    def prior(self) -> str:
        """Uniform in [-1, 1]."""
        return UNIFORM

    @property
    def has_state_features(self) -> bool:
        """There are none."""
        return False

    @property
    def num_prior_skills(self) -> int:
        """The alternatives."""
        return self.num_alternatives

    def make_representation(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """There are no features of states."""
        return nn.Module()

    def make_auxiliary(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes the model."""
        return SkillDynamics(obs_dim, skill_dim, hidden)

    def normalized(
        self, representation: nn.Module, auxiliary: Any, steps: SkillSteps
    ) -> list[tuple[RunningNorm, Tensor]]:
        """States and changes."""
        return [(auxiliary.obs_norm, steps.obs), (auxiliary.change_norm, steps.next_obs - steps.obs)]

    def representation_loss(
        self, representation: nn.Module, auxiliary: Any, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """``-E[log q(s' - s | s, z)]``."""
        loss = -auxiliary(steps.obs, steps.next_obs - steps.obs, steps.skill).mean()
        return loss, {"representation_loss": loss.detach()}

    def reward(self, representation: nn.Module, auxiliary: Any, steps: SkillSteps) -> Tensor:
        """How much better the skill predicts the change than others would."""
        change, (number, count) = steps.next_obs - steps.obs, (len(steps.obs), len(steps.prior_skills))
        log_prob = auxiliary(steps.obs, change, steps.skill)
        repeated = [part.repeat_interleave(count, dim=0) for part in (steps.obs, change)]
        alternatives = auxiliary(*repeated, steps.prior_skills.repeat(number, 1)).view(number, count)
        return predictability_reward(log_prob, alternatives)


class SkillDynamics(nn.Module):
    """Log-probability of a change of state; states and changes are standardised with the statistics of all batches."""

    def __init__(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]):
        super().__init__()
        self.obs_norm, self.change_norm = (RunningNorm(obs_dim) for _ in range(2))
        self.mean = mlp(obs_dim + skill_dim, hidden, obs_dim)

    def forward(self, obs: Tensor, change: Tensor, skill: Tensor) -> Tensor:
        """Returns ``log q(change | obs, skill)`` up to a constant, ``[N]``."""
        mean = self.mean(torch.cat([self.obs_norm(obs), skill], dim=-1))
        return -0.5 * (self.change_norm(change) - mean).square().sum(dim=-1)
