"""VISR (Hansen et al., ICLR 2020, arXiv:1906.05030): successor features of states that tell the skill.

Shapes: ``N`` steps, ``d`` skill dimensions.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillMethod, SkillSteps, dot, unit
from rllib_sami.core.settings import SWITCH, setting


@dataclass(frozen=True)
class VISRMethod(SkillMethod):
    """Unit features of states, aligned with skills; critics are their successor features."""

    normalize_features: bool = setting(
        True,
        SWITCH,
        "Whether successor features add up unit features, as in the paper. CSF's reference adds up those of any length "
        "(False).",
    )
    metrics: ClassVar[tuple[str, ...]] = ("representation_loss", "feature_norm_squared")

    @property
    def has_successor_features(self) -> bool:
        """Whether critics are successor features."""
        return True

    def representation_loss(
        self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """``-E[φ(s) · z]`` of unit features."""
        features = representation(steps.obs)
        loss = -dot(unit(features), steps.skill).mean()
        norm = features.detach().square().sum(dim=-1).mean()
        return loss, {"representation_loss": loss.detach(), "feature_norm_squared": norm}

    def features(self, representation: nn.Module, steps: SkillSteps) -> Tensor:
        """φ(s)."""
        features = representation(steps.obs)
        return unit(features) if self.normalize_features else features

    def skill_for_goal(self, representation: nn.Module, obs: Tensor, goal: Tensor) -> Tensor:
        """The features of the goal."""
        return unit(representation(goal))
