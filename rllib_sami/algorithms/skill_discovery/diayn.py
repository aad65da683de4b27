"""DIAYN (Eysenbach, Gupta, Ibarz, Levine, ICLR 2019, arXiv:1802.06070): skills that a classifier tells apart.

Shapes: ``N`` steps, ``d`` skills.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps, dot
from rllib_sami.algorithms.skill_discovery.priors import ONE_HOT


@dataclass(frozen=True)
class DIAYNMethod(SkillMethod):
    """A discriminator q(z | s') of one-hot skills, whose log-probability is the reward."""

    metrics: ClassVar[tuple[str, ...]] = ("representation_loss", "discriminator_accuracy")

    @property
    def prior(self) -> str:
        """One-hot."""
        return ONE_HOT

    def representation_loss(
        self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """``-E[log q(z | s')]``."""
        logits, skill = representation(steps.next_obs), steps.skill.argmax(dim=-1)
        loss = F.cross_entropy(logits, skill)
        accuracy = (logits.argmax(dim=-1) == skill).float().mean()
        return loss, {"representation_loss": loss.detach(), "discriminator_accuracy": accuracy}

    def reward(self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps) -> Tensor:
        """``log q(z | s') - log p(z)``."""
        log_q = F.log_softmax(representation(steps.next_obs), dim=-1)
        return dot(log_q, steps.skill) + math.log(steps.skill.shape[-1])

    def skill_for_goal(self, representation: nn.Module, obs: Tensor, goal: Tensor) -> Tensor:
        """The skill that most likely visits the goal."""
        logits = representation(goal)
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
