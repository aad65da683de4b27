"""The networks of SkiMo on a task: a world model whose actions are skills, and the prior that its policy begins as.

Shapes: ``O`` observation, ``Z`` skill, ``S`` latent state.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skimo.networks import HIDDEN_LAYERS, SkillModelConfig
from rllib_sami.algorithms.tdmpc.networks import PlannerConfig, TargetNetworks, WorldModel
from rllib_sami.core.elu_networks import elu_mlp
from rllib_sami.core.tanh_normal import TanhNormal

OF_MODEL = {"state_encoder": "state_encoder", "dynamics": "dynamics", "policy": "prior"}  # here -> in the SkillModel


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

    def make_policy(self) -> nn.Module:
        """Returns the network of the policy."""
        config = self.config
        return elu_mlp(config.latent_state_dim, [config.num_units] * HIDDEN_LAYERS, 2 * self.action_dim)

    def load_model(self, state: Mapping[str, Tensor]) -> None:
        """Takes encoder, dynamics and prior from the state of a :class:`SkillModel`."""
        for mine, theirs in OF_MODEL.items():
            prefix = f"{theirs}."
            part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            getattr(self, mine).load_state_dict(part)

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

    def load_prior(self, learned: SkillTaskNetworks) -> None:
        """Takes the prior from networks that have what was learned from data."""
        self.prior_encoder.load_state_dict(learned.state_encoder.state_dict())
        self.prior.load_state_dict(learned.policy.state_dict())

    def prior_of(self, obs: Tensor) -> TanhNormal:
        """Returns the prior's distribution of skills for observations ``[..., O]``."""
        return TanhNormal.of(self.prior(self.prior_encoder(obs)))
