"""The networks of SkiMo on a task: a world model whose actions are skills, and the prior that its policy begins as.

Shapes: ``O`` observation, ``Z`` skill, ``S`` latent state.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skimo.networks import HIDDEN_LAYERS, SkillModel, SkillModelConfig
from rllib_sami.algorithms.tdmpc.networks import PlannerConfig, TargetNetworks, WorldModel
from rllib_sami.core.tanh_normal import TanhNormal


@dataclass(frozen=True)
class DownstreamNetworkConfig(PlannerConfig, SkillModelConfig):
    """Sizes of all networks, and the planner; the sizes are those of the pre-trained networks."""

    @property
    def plan_horizon(self) -> int:
        """Skills that are planned ahead at most."""
        return self.num_skills


class SkillTaskNetworks(WorldModel):
    """The networks with which SkiMo acts; its action is a skill."""

    hidden_layers = HIDDEN_LAYERS
    policy_outputs = 2

    def load_model(self, model: SkillModel) -> None:
        """Makes encoder, dynamics and policy equal to the model's encoder, dynamics and prior."""
        self.state_encoder.load_state_dict(model.state_encoder.state_dict())
        self.dynamics.load_state_dict(model.dynamics.state_dict())
        self.policy.load_state_dict(model.prior.state_dict())

    def distribution(self, latent: Tensor) -> TanhNormal:
        """Returns the policy's distribution of skills for latent states ``[..., S]``."""
        return TanhNormal.of(self.policy(latent))


class SkillTaskTrainingNetworks(TargetNetworks):
    """What only learning needs: target networks, the prior, and the coefficient of the divergence from it."""

    def __init__(self, acting: SkillTaskNetworks, initial_alpha: float):
        super().__init__(acting)
        # The prior reads latent states of its own encoder, which nothing changes.
        self.prior_encoder = copy.deepcopy(acting.state_encoder).requires_grad_(False)
        self.prior = copy.deepcopy(acting.policy).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(float(np.log(initial_alpha))))

    def load_prior(self, model: SkillModel) -> None:
        """Makes the prior equal to the model's."""
        self.prior_encoder.load_state_dict(model.state_encoder.state_dict())
        self.prior.load_state_dict(model.prior.state_dict())

    def prior_of(self, obs: Tensor) -> TanhNormal:
        """Returns the prior's distribution of skills for observations ``[..., O]``."""
        return TanhNormal.of(self.prior(self.prior_encoder(obs)))
