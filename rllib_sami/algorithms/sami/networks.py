"""The networks that a SaMI agent needs only for learning."""

import copy
from typing import Any

import torch
from torch import nn

from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.core.networks import ActorNetworks

ACTING_ENCODERS = ("online", "average")


class SaMITrainingNetworks(SACTrainingNetworks):
    """Critics and entropy coefficient, the encoder that does not act, and the contrast's similarity.

    An agent has two encoders: the *query encoder*, which is trained, and the *key encoder*, its moving average.

    Args:
        acting: The encoder that acts, and the actor.
        initial_alpha: Entropy coefficient at the start.
        acting_encoder: Whether the query encoder (``"online"``) or the key encoder (``"average"``) acts.
    """

    def __init__(self, acting: ActorNetworks, initial_alpha: float, acting_encoder: str):
        super().__init__(acting, initial_alpha)
        self.acting_encoder = acting_encoder
        # The encoder that acts is in `acting`; the other one is here.
        self.key_encoder = self.query_encoder = None
        if acting_encoder == "average":
            self.query_encoder = copy.deepcopy(acting.encoder)
        else:
            self.key_encoder = copy.deepcopy(acting.encoder).requires_grad_(False)
        # W of the bilinear similarity q'Wk; it starts as the dot product.
        self.similarity_map = nn.Parameter(torch.eye(acting.config.context_dim))

    def query_and_key_encoder(self, acting: ActorNetworks) -> tuple[Any, Any]:
        """Returns the trained encoder and its moving average."""
        if self.acting_encoder == "average":
            return self.query_encoder, acting.encoder
        return acting.encoder, self.key_encoder
