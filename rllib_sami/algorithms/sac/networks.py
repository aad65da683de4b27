"""The networks that a soft actor-critic needs only for learning."""

import copy
import math

import torch
from torch import nn

from rllib_sami.core.networks import ActorNetworks, TwinCritics


class SACTrainingNetworks(nn.Module):
    """Twin critics, their moving average (the target critics), and the entropy coefficient.

    Args:
        acting: Encoder and actor, whose sizes and settings the critics share.
        initial_alpha: Entropy coefficient at the start.
    """

    def __init__(self, acting: ActorNetworks, initial_alpha: float):
        super().__init__()
        config = acting.config
        self.critics = TwinCritics(acting.obs_dim + acting.action_dim + config.context_dim, config.critic_hidden)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_alpha)))
