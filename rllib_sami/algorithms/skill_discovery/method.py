"""What skill discovery methods have in common: the interface through which the update calls them.

Shapes: ``N`` steps; ``O`` observation, ``A`` action and ``d`` skill dimensions; ``K`` further skills of the prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.priors import SPHERE
from rllib_sami.core.context_encoder import RunningNorm
from rllib_sami.core.networks import mlp

Metrics = dict[str, Tensor]  # scalars by name


class SkillSteps(NamedTuple):
    """The transitions of an update, each with the skill of its episode."""

    obs: Tensor  # [N, O]
    action: Tensor  # [N, A], normalised
    next_obs: Tensor  # [N, O]
    terminated: Tensor  # [N], 1 where the next state has no future
    skill: Tensor  # [N, d]
    noise: Tensor  # [2, N, A], standard normal, for the next action and for the actor's action
    prior_skills: Tensor  # [K, d], drawn from the prior for this update


@dataclass(frozen=True)
class SkillMethod:
    """A method: the loss of its representation, and what it gives the policy to maximise.

    A subclass is a frozen dataclass, whose fields are the method's own settings. Either it has successor features, and
    the policy maximises the discounted sum of ``features · z``, or it has a scalar ``reward``.
    """

    metrics: ClassVar[tuple[str, ...]] = ("representation_loss",)
    finds_skills_for_goals: ClassVar[bool] = True
    acting_settings: ClassVar[tuple[str, ...]] = ()  # those that the acting networks are made from

    @property
    def prior(self) -> str:
        """Kind of the skills' distribution, see ``SkillPrior``."""
        return SPHERE

    @property
    def has_successor_features(self) -> bool:
        """Whether critics are successor features, rather than values of a scalar reward."""
        return False

    @property
    def has_state_features(self) -> bool:
        """Whether the representation gives features of single states."""
        return True

    @property
    def num_prior_skills(self) -> int:
        """Number ``K`` of skills that an update draws from the prior."""
        return 0

    @property
    def groups(self) -> tuple[str, ...]:
        """Optimisers that :meth:`representation_loss` is for."""
        return ("representation",)

    @property
    def without_effect(self) -> dict[str, str]:
        """Names of settings that change nothing in combination with the others, with the reason for each."""
        return {}

    def make_representation(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes the features φ of states, ``[N, O]`` to ``[N, d]``, which also find the skill for a goal."""
        return mlp(obs_dim, hidden, skill_dim)

    def make_auxiliary(self, obs_dim: int, skill_dim: int, hidden: Sequence[int]) -> nn.Module:
        """Makes the further networks that only learning needs; here none."""
        return nn.Module()

    def normalized(
        self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps
    ) -> list[tuple[RunningNorm, Tensor]]:
        """Returns inputs ``[n, I]`` whose statistics the method keeps, with the norm that keeps them; here none."""
        return []

    def representation_loss(
        self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps
    ) -> tuple[Tensor, Metrics]:
        """Returns the loss of the representation and of the auxiliary networks, and its metrics."""
        raise NotImplementedError

    def features(self, representation: nn.Module, steps: SkillSteps) -> Tensor:
        """Returns what successor features add up, ``[N, d]``."""
        raise NotImplementedError

    def reward(self, representation: nn.Module, auxiliary: nn.Module, steps: SkillSteps) -> Tensor:
        """Returns the intrinsic reward of each step, ``[N]``."""
        raise NotImplementedError

    def skill_for_goal(self, representation: nn.Module, obs: Tensor, goal: Tensor) -> Tensor:
        """Returns the skills ``[N, d]`` that lead from ``obs`` to ``goal``, ``[N, O]`` each."""
        raise NotImplementedError


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products ``[..., N]`` of vectors ``[..., N, d]``."""
    return (left * right).sum(dim=-1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors ``[..., d]`` scaled to length 1."""
    return F.normalize(vectors, dim=-1)
