"""Small networks of SkiMo, and their optimisers."""

import torch

from rllib_sami.core.optimization import Optimization

SMALL = {"skill_dim": 3, "skill_length": 4, "num_skills": 3, "num_units": 16, "latent_state_dim": 6, "lstm_units": 5}
OBS, ACTION, BATCH = 4, 2, 8


def optimization(groups, rate=1e-3):
    optimizers = {name: torch.optim.Adam(parameters, lr=rate) for name, parameters in groups.items()}
    return Optimization(groups, optimizers, 100.0)
