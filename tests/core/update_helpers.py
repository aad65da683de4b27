"""What the tests of the update share: a batch, the constants, and what an update changed."""

import numpy as np
import torch
from core_helpers import as_tensors, constants, make_agent, optimization, random_store

from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.algorithms.sami.update import sami_update as update

SAMPLING = SamplingConfig(
    train_episodes=4,
    loss_timesteps=20,
    pairing="skill_task",
    contrast_episodes=8,
    contrast_timesteps=3,
    num_negatives=9,
)
CONFIG = constants(contrast_coeff=0.3, critics_train_encoder=False, target_entropy=-2.0, key_encoder_tau=0.1)
TRAINED = ("encoder", "similarity_map", "critics", "actor", "log_alpha")
AVERAGED = ("target_critics", "key_encoder")


def make_batch(seed: int = 0, sampling: SamplingConfig = SAMPLING) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return as_tensors(sample_updates(random_store(rng), sampling, 1, rng))


def parts(agent) -> dict[str, list[torch.Tensor]]:
    """All parameters, by network."""
    acting, training, _ = agent
    modules = {"encoder": acting.encoder, "actor": acting.actor, "critics": training.critics}
    modules |= {name: getattr(training, name) for name in AVERAGED}
    lists = {name: list(module.parameters()) for name, module in modules.items()}
    return lists | {"similarity_map": [training.similarity_map], "log_alpha": [training.log_alpha]}


def snapshot(agent) -> dict[str, list[torch.Tensor]]:
    return {name: [p.detach().clone() for p in parameters] for name, parameters in parts(agent).items()}


def differing(first: dict, second: dict) -> set[str]:
    """Names of the networks that are not the same to the last bit."""
    return {name for name in first if any((a != b).any() for a, b in zip(first[name], second[name], strict=True))}


def run(batch, config=CONFIG, agent=None, **network):
    """One update of a fresh agent (or the given one): metrics, parameters before and after."""
    agent = make_agent(**network) if agent is None else agent
    before = snapshot(agent)
    metrics = update(*agent, batch, config)
    return metrics, before, snapshot(agent)


def encoder_step(batch, config, **options) -> torch.Tensor:
    """How plain gradient descent with rate 1 moves the encoder."""
    agent = make_agent()
    agent = (*agent[:2], optimization(*agent[:2], lr=1.0, kind=torch.optim.SGD, **options))
    _, before, after = run(batch, config, agent)
    return torch.cat([(b - a).flatten() for a, b in zip(before["encoder"], after["encoder"], strict=True)])
