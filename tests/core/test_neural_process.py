"""The neural process: what its encoder reads, its loss against torch's distributions, and who learns from what."""

import copy

import numpy as np
import pytest
import torch
from core_helpers import make_episode, random_episode
from torch.distributions import Normal, kl_divergence

from rllib_sami.algorithms.task_inference import process
from rllib_sami.algorithms.task_inference.process import (
    ProcessEncoder,
    ProcessNetworkConfig,
    ProcessNetworks,
    ProcessTrainingNetworks,
    ProcessUpdateConfig,
    parameter_groups,
    process_loss,
    process_update,
)
from rllib_sami.algorithms.task_inference.sampling import sample_process
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodeStore

OBS_DIM, ACTION_DIM, LATENT_DIM, WINDOW, TARGET, SAMPLES = 3, 2, 2, 5, 4, 3
SIZES = {"window": WINDOW, "predicted_steps": TARGET, "latent_samples": SAMPLES, "latent_dim": LATENT_DIM}
CONFIG = ProcessUpdateConfig(gamma=0.9, tau=0.1, target_entropy=-1.0, predicted_std=0.3, latent_kl_coeff=0.7)


def network_config(**changes):
    sizes = {"latent_dim": LATENT_DIM, "window": WINDOW, "encoder_hidden_dim": 8, "encoder_layers": 2}
    return ProcessNetworkConfig(**sizes | {"actor_hidden": [16], "critic_hidden": [16], "reward_limit": 2.0} | changes)


def make_agent(lr=1e-2):
    torch.manual_seed(0)
    acting = ProcessNetworks(OBS_DIM, ACTION_DIM, network_config())
    training = ProcessTrainingNetworks(acting, {"initial_alpha": 0.2, "decoder_hidden": [16]})
    groups = parameter_groups(acting, training)
    optimizers = {name: torch.optim.Adam(parameters, lr) for name, parameters in groups.items()}
    return acting, training, Optimization(groups, optimizers)


def sample(episodes, batch_size, num_updates=1, seed=0):
    store = EpisodeStore(OBS_DIM, ACTION_DIM, 500)
    for episode in episodes:
        store.add(episode.piece(0))
    return sample_process(store, batch_size, **SIZES, num_updates=num_updates, rng=np.random.default_rng(seed))


def make_batch(batch_size=32, seed=0):
    rng = np.random.default_rng(seed)
    episodes = [random_episode(rng, 12, number % 3, obs_dim=OBS_DIM, action_dim=ACTION_DIM) for number in range(6)]
    return {name: torch.from_numpy(values[0]) for name, values in sample(episodes, batch_size, seed=seed).items()}


def transition(episode, at, limit=2.0):
    """(o, a, r, o', 1), zeros where there is none."""
    if at < 0:
        return np.zeros(2 * OBS_DIM + ACTION_DIM + 2, np.float32)
    reward = np.clip(episode.rewards[at], -limit, limit)
    return np.array([*episode.obs[at], *episode.actions[at], reward, *episode.obs[at + 1], 1.0], np.float32)


# --- Encoder --------------------------------------------------------------------------------------------------------


def test_acting_step_by_step_and_reading_whole_episodes_agree_and_actions_are_read():
    torch.manual_seed(0)
    encoder = ProcessEncoder(OBS_DIM, ACTION_DIM, network_config())
    inputs = torch.randn(4, 3 * WINDOW, OBS_DIM + ACTION_DIM + 1)
    whole, state = encoder(inputs), torch.zeros(4, encoder.state_dim)
    for step in range(inputs.shape[1]):
        latent, state = encoder.step(inputs[:, step], state)
        torch.testing.assert_close(latent, whole[:, step], atol=1e-5, rtol=1e-5)
    changed = inputs.clone()
    changed[:, :2, :OBS_DIM] += 1.0  # before the window of the last steps
    torch.testing.assert_close(encoder(changed)[:, WINDOW + 2 :], whole[:, WINDOW + 2 :])
    changed[:, -1, OBS_DIM : OBS_DIM + ACTION_DIM] += 1.0
    assert not torch.allclose(encoder(changed)[:, -1], whole[:, -1], atol=1e-4)


def test_without_a_transition_the_posterior_is_the_prior_and_with_one_it_is_not():
    torch.manual_seed(0)
    encoder = ProcessEncoder(OBS_DIM, ACTION_DIM, network_config())
    windows = torch.zeros(2, WINDOW, encoder.transition_dim)
    windows[1, -1, -1] = 1.0  # a transition of zeros
    nothing, something = encoder.posterior(windows)
    assert not nothing.any()  # N(0, 1)
    assert something.all()
    mean, log_variance = something.chunk(2)
    wanted = [[0.0, 0.0, 1.0, 1.0], [*mean.tolist(), *(0.5 * log_variance).exp().tolist()]]  # what the policy reads
    torch.testing.assert_close(encoder.latents(windows), torch.tensor(wanted))


# --- Batches --------------------------------------------------------------------------------------------------------


def test_the_encoder_reads_contexts_and_all_of_context_and_target_of_one_episode_in_any_order(monkeypatch):
    episodes = [make_episode(n, 3 * n, obs_dim=OBS_DIM, action_dim=ACTION_DIM) for n in range(1, 5)]
    acting, training, optimization = make_agent()
    batch = {name: torch.from_numpy(values[0]) for name, values in sample(episodes, 40).items()}
    before = copy.deepcopy(acting.encoder)
    read, learned, posterior = [], [], acting.encoder.posterior
    monkeypatch.setattr(acting.encoder, "posterior", lambda given: read.append(given) or posterior(given))
    monkeypatch.setattr(process, "actor_critic_step", lambda *arguments: learned.append(arguments[3]) or {})
    process_update(acting, training, optimization, batch, CONFIG)
    context, both, after = (given.numpy() for given in read)
    shuffled, steps_of_targets = 0, set()
    for index, obs in enumerate(learned[0].obs.numpy()):
        episode = episodes[int(obs[0]) - 1]
        step = round(float(obs[0] - episode.number) * 1000)
        wanted = [transition(episode, at) for at in range(step - WINDOW, step)]
        np.testing.assert_array_equal(context[index], wanted)
        np.testing.assert_array_equal(after[index], [*wanted[1:], transition(episode, step)])
        targets = [round(float(first[0] - episode.number) * 1000) for first in batch["decoded"][index, :, 0].numpy()]
        assert all(0 <= at < len(episode) for at in targets)
        steps_of_targets |= {at - step for at in targets}
        unordered = [*wanted, *(transition(episode, at) for at in targets)]
        np.testing.assert_array_equal(sorted(map(tuple, both[index])), sorted(map(tuple, unordered)))
        shuffled += not np.array_equal(both[index], unordered)
    assert shuffled > 30
    assert min(steps_of_targets) < -WINDOW
    assert max(steps_of_targets) > 0
    # The policy reads posteriors of the encoder that made the batch's.
    torch.testing.assert_close(learned[0].context, before.latents(read[0]))
    torch.testing.assert_close(learned[0].next_context, before.latents(read[2]))
    assert not learned[0].context.requires_grad


# --- Loss and update ------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_torchs_distributions():
    acting, training, _ = make_agent()
    batch = make_batch(batch_size=6)
    of_context, of_both = (torch.randn(6, 2 * LATENT_DIM, requires_grad=True) for _ in range(2))
    noise, target = batch["latent_noise"], batch["decoded"]
    loss, metrics = process_loss(acting, training, of_context, of_both, target, noise, CONFIG)
    priors, posteriors = (Normal(of[:, :LATENT_DIM], (0.5 * of[:, LATENT_DIM:]).exp()) for of in (of_context, of_both))
    log_likelihood = torch.zeros(())
    for sampled in noise:
        latents = posteriors.loc + posteriors.scale * sampled
        for number in range(6):
            for now, after in target[number]:
                action = after[OBS_DIM : OBS_DIM + ACTION_DIM]
                next_obs, reward = training.decoders(now[:OBS_DIM], action, latents[number])
                log_likelihood += Normal(next_obs, 0.3).log_prob(after[:OBS_DIM]).sum() / (6 * SAMPLES)
                log_likelihood += Normal(reward, 0.3).log_prob(after[-1].clamp(-2.0, 2.0)) / (6 * SAMPLES)
    kl = kl_divergence(posteriors, priors).sum(dim=1).mean()
    assert target[..., -1].abs().max() > 2.0
    assert loss.item() == pytest.approx((0.7 * kl - log_likelihood).item(), rel=1e-4)
    assert metrics["latent_kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    of_distributions = torch.autograd.grad(0.7 * kl - log_likelihood, (of_context, of_both))
    for mine, theirs in zip(torch.autograd.grad(loss, (of_context, of_both)), of_distributions, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)  # both posteriors learn


def test_no_loss_of_actor_or_critics_reaches_the_encoder(monkeypatch):
    batch = make_batch()
    acting, training, optimization = make_agent()
    alone = make_agent()
    process_update(acting, training, optimization, batch, CONFIG)
    monkeypatch.setattr(process, "actor_critic_step", lambda *_: {})
    process_update(*alone, batch, CONFIG)
    for mine, theirs in zip(optimization.groups["encoder"], alone[2].groups["encoder"], strict=True):
        torch.testing.assert_close(mine, theirs)
    for name in ("actor", "critic"):
        for mine, theirs in zip(optimization.groups[name], alone[2].groups[name], strict=True):
            assert not torch.equal(mine, theirs)


def test_a_latent_learns_to_tell_rewards_that_nothing_else_tells():
    """Two tasks differ only in the sign of the reward: the context has it, and the target needs it."""
    acting, training, optimization = make_agent(lr=1e-2)
    losses = []
    for seed in range(100):
        batch = make_batch(seed=seed)
        sign = torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0)
        batch["rows"][..., -1], batch["decoded"][..., -1] = sign[:, None], sign[:, None, None]
        batch["num_missing"] *= 0
        losses.append(process_update(acting, training, optimization, batch, CONFIG)["reward_prediction_loss"].item())
    assert np.mean(losses[:3]) > 0.8
    assert np.mean(losses[-5:]) < 0.1
