"""Task inference: windows of transitions, divergences from priors, the mixture, and who learns from what."""

import copy
import math

import numpy as np
import pytest
import torch
from core_helpers import make_episode, random_episode
from torch import nn

from rllib_sami.algorithms.task_inference import update
from rllib_sami.algorithms.task_inference.losses import UNKNOWN_FAMILY, family_loss, prediction_loss
from rllib_sami.algorithms.task_inference.networks import (
    InferenceNetworkConfig,
    InferenceNetworks,
    InferenceTrainingNetworks,
    WindowEncoder,
    transition_windows,
)
from rllib_sami.algorithms.task_inference.posteriors import (
    POSTERIORS,
    width,
)
from rllib_sami.algorithms.task_inference.sampling import sample_inference
from rllib_sami.algorithms.task_inference.update import (
    InferenceUpdateConfig,
    inference_loss,
    inference_update,
    parameter_groups,
)
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodeStore
from rllib_sami.replay_buffers.samplers import gather_windows

OBS_DIM, ACTION_DIM, LATENT_DIM, WINDOW = 3, 2, 4, 5
FAMILIES = ("goal+", "goal-", "velocity+")
CONFIG = InferenceUpdateConfig(gamma=0.9, tau=0.1, target_entropy=-1.0)


def network_config(**changes):
    sizes = {"latent_dim": LATENT_DIM, "window": WINDOW, "actor_hidden": [16], "critic_hidden": [16]}
    return InferenceNetworkConfig(**sizes | {"families": FAMILIES} | changes)


def make_agent(prior="gauss", lr=1e-2, seed=0, **changes):
    torch.manual_seed(seed)
    acting = InferenceNetworks(OBS_DIM, ACTION_DIM, network_config(latent_prior=prior, **changes))
    given = {"initial_alpha": 0.2, "decoder_hidden": [16], "prior_interval": 2}
    training = InferenceTrainingNetworks(acting, given)
    groups = parameter_groups(acting, training)
    optimizers = {name: torch.optim.Adam(parameters, lr) for name, parameters in groups.items()}
    return acting, training, Optimization(groups, optimizers)


def make_batch(num_updates=1, batch_size=32, seed=0, noise=LATENT_DIM):
    rng = np.random.default_rng(seed)
    store = EpisodeStore(OBS_DIM, ACTION_DIM, 500)
    for number in range(6):
        store.add(random_episode(rng, 12, number % 3, obs_dim=OBS_DIM, action_dim=ACTION_DIM).piece(0))
    sizes = {"batch_size": batch_size, "window": WINDOW, "predicted_steps": 4, "noise_dim": noise}
    batch = sample_inference(store, **sizes, task_families=(0, 1, UNKNOWN_FAMILY), num_updates=num_updates, rng=rng)
    return {name: torch.from_numpy(values) for name, values in batch.items()}


# --- Windows --------------------------------------------------------------------------------------------------------


def by_hand(episode, step, length):
    """The transitions before a step, zeros where there are none, written out one after the other."""
    window = []
    for at in range(step - length, step):
        nothing = [0.0] * (2 * episode.obs.shape[1] + 1)
        window.append(nothing if at < 0 else [*episode.obs[at], episode.rewards[at], *episode.obs[at + 1]])
    return np.array(window, np.float32)


def test_windows_are_the_last_transitions_and_never_cross_an_episodes_start():
    store = EpisodeStore(2, 1, 100)
    episodes = [make_episode(number, length) for number, length in ((1, 4), (2, 9), (3, 3))]
    for episode in episodes:
        store.add(episode.piece(0))
    for line, episode in zip(store.finished, episodes, strict=True):
        for step in range(len(episode)):
            rows, missing = gather_windows(store, np.array([line]), np.array([step]), WINDOW)
            obs, reward = (torch.from_numpy(part) for part in (rows[..., :2], rows[..., -1]))
            lacking = torch.from_numpy(missing)
            now = transition_windows(obs[:, :-1], reward[:, :-1], lacking, 9.0)
            after = transition_windows(obs[:, 1:], reward[:, 1:], (lacking - 1).clamp(min=0), 9.0)
            np.testing.assert_array_equal(now[0], by_hand(episode, step, WINDOW))
            np.testing.assert_array_equal(after[0], by_hand(episode, step + 1, WINDOW))
            np.testing.assert_array_equal(rows[0, -2:], episode.rows[step : step + 2])


def test_a_batch_predicts_steps_of_the_windows_own_episodes_and_knows_their_families():
    store, rng = EpisodeStore(2, 1, 200), np.random.default_rng(0)
    for number in range(1, 7):
        store.add(make_episode(number, 3 + number, task_id=number % 3).piece(0))
    sizes = {"batch_size": 64, "window": WINDOW, "predicted_steps": 5, "noise_dim": 2}
    batch = sample_inference(store, **sizes, task_families=(1, 0, UNKNOWN_FAMILY), num_updates=3, rng=rng)
    number = np.floor(batch["rows"][..., -1, 0])  # of the episode
    assert batch["decoded"].shape == (3, 64, 5, 2, store.row_dim)
    np.testing.assert_array_equal(
        np.floor(batch["decoded"][..., 0]), np.broadcast_to(number[..., None, None], (3, 64, 5, 2))
    )
    time = np.rint((batch["decoded"][..., 0] - number[..., None, None]) * 1000)
    np.testing.assert_array_equal(time[..., 1] - time[..., 0], 1)
    assert len(np.unique(time[..., 0])) > 5
    np.testing.assert_allclose(batch["first"][..., 0], number)
    task = number.astype(int) % 3
    np.testing.assert_array_equal(batch["family"], np.choose(task, [1, 0, UNKNOWN_FAMILY]))


def test_without_families_none_is_known_and_a_task_beyond_them_is_an_error():
    store, rng = EpisodeStore(2, 1, 50), np.random.default_rng(0)
    store.add(make_episode(1, 5, task_id=2).piece(0))
    sizes = {"batch_size": 4, "window": WINDOW, "predicted_steps": 1, "noise_dim": 1, "num_updates": 1, "rng": rng}
    assert (sample_inference(store, task_families=(), **sizes)["family"] == UNKNOWN_FAMILY).all()
    with pytest.raises(ValueError, match=r"task_id 2, but .* families of 2 tasks"):
        sample_inference(store, task_families=(0, 1), **sizes)


@pytest.mark.parametrize("kind", ["gru", "mlp"])
def test_acting_step_by_step_and_reading_whole_episodes_agree(kind):
    torch.manual_seed(0)
    encoder = WindowEncoder(OBS_DIM, ACTION_DIM, network_config(window_encoder=kind, reward_limit=0.8))
    inputs = torch.randn(4, 3 * WINDOW, OBS_DIM + ACTION_DIM + 1)
    inputs[:, 0, OBS_DIM:] = 0.0  # no action and reward before the first step
    whole = encoder(inputs)
    state = torch.zeros(4, encoder.state_dim)
    for step in range(inputs.shape[1]):
        latent, state = encoder.step(inputs[:, step], state)
        torch.testing.assert_close(latent, whole[:, step], atol=1e-5, rtol=1e-5)
    # What happened before the window is forgotten, and the actions are not read.
    changed = inputs.clone()
    changed[:, : WINDOW - 1] += 1.0
    changed[..., OBS_DIM : OBS_DIM + ACTION_DIM] = 7.0
    again = encoder(changed)
    torch.testing.assert_close(again[:, 2 * WINDOW :], whole[:, 2 * WINDOW :])
    assert not torch.allclose(again[:, WINDOW], whole[:, WINDOW], atol=1e-3)


# --- Losses ---------------------------------------------------------------------------------------------------------


def test_prediction_losses_are_squared_errors_summed_over_the_numbers_of_an_observation():
    next_obs, reward = torch.randn(6, 3, OBS_DIM), torch.randn(6, 3)
    of_obs, of_reward = prediction_loss((next_obs + 0.5, reward - 2.0), next_obs, reward)
    assert of_obs.item() == pytest.approx(0.25 * OBS_DIM, rel=1e-5)
    assert of_reward.item() == pytest.approx(4.0, rel=1e-5)


def test_windows_without_a_family_do_not_count():
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [5.0, 5.0]])
    loss, accuracy = family_loss(logits, torch.tensor([0, 0, UNKNOWN_FAMILY]))
    expected = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(3.0))) / 2
    assert (loss.item(), accuracy.item()) == (pytest.approx(expected, rel=1e-5), 0.5)
    loss, accuracy = family_loss(logits, torch.full((3,), UNKNOWN_FAMILY))
    assert (loss.item(), accuracy.item()) == (0.0, 0.0)


# --- The update -----------------------------------------------------------------------------------------------------


def one(batch, index=0):
    return {name: values[index] for name, values in batch.items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def state_of(acting, training):
    return copy.deepcopy(nn.ModuleList([acting, training]).state_dict())


@pytest.mark.parametrize("prior", POSTERIORS)
def test_an_update_moves_everything_and_reports_finite_numbers(prior):
    acting, training, optimization = make_agent(prior)
    before = {name: value for name, value in state_of(acting, training).items() if "mixture" not in name}
    batch = make_batch(noise=width(POSTERIORS[prior].num_noise, LATENT_DIM))
    metrics = inference_update(acting, training, optimization, one(batch), CONFIG)
    assert changed(before, state_of(acting, training)) == before.keys()
    assert all(math.isfinite(value) for value in metrics.values())


def test_no_loss_of_actor_or_critics_reaches_the_encoder():
    acting, training, optimization = make_agent()
    batch = one(make_batch())
    copied = copy.deepcopy((acting, training))
    inference_update(acting, training, optimization, batch, CONFIG)
    # The encoder's step alone, without actor and critics.
    acting2, training2 = copied
    groups = parameter_groups(acting2, training2)["encoder"]
    optimizer = torch.optim.Adam(groups, 1e-2)
    rows = batch["rows"]
    windows = transition_windows(
        rows[:, :-1, :OBS_DIM], rows[:, :-1, -1], batch["num_missing"][0], acting2.config.reward_limit
    )
    given = (batch["decoded"], batch["first"], batch["family"], batch["latent_noise"][0])
    loss, _, _ = inference_loss(acting2, training2, acting2.encoder.posterior(windows), *given, CONFIG)
    loss.backward()
    optimizer.step()
    for mine, theirs in zip(optimization.groups["encoder"], groups, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_an_update_reads_the_windows_of_a_step_and_of_the_next_one(monkeypatch):
    acting, training, optimization = make_agent()
    store = EpisodeStore(OBS_DIM, ACTION_DIM, 200)
    episodes = [make_episode(number, 3 * number, obs_dim=OBS_DIM, action_dim=ACTION_DIM) for number in range(1, 5)]
    for episode in episodes:
        store.add(episode.piece(0))
    sizes = {"batch_size": 40, "window": WINDOW, "predicted_steps": 2, "noise_dim": LATENT_DIM}
    batch = sample_inference(store, **sizes, task_families=(), num_updates=1, rng=np.random.default_rng(0))
    windows, learned = [], []
    posterior = acting.encoder.posterior
    monkeypatch.setattr(acting.encoder, "posterior", lambda given: windows.append(given) or posterior(given))
    monkeypatch.setattr(update, "actor_critic_step", lambda *arguments: learned.append(arguments[3]) or {})
    inference_update(acting, training, optimization, one({k: torch.from_numpy(v) for k, v in batch.items()}), CONFIG)
    now, after = (given.numpy() for given in windows)
    steps = learned[0]
    for index, obs in enumerate(steps.obs.numpy()):
        episode = episodes[int(obs[0]) - 1]
        step = round(float(obs[0] - episode.number) * 1000)
        np.testing.assert_array_equal(now[index], by_hand(episode, step, WINDOW))
        np.testing.assert_array_equal(after[index], by_hand(episode, step + 1, WINDOW))
        np.testing.assert_array_equal(steps.next_obs[index], episode.obs[step + 1])
        np.testing.assert_array_equal(steps.action[index], episode.actions[step])
        assert steps.reward[index].item() == pytest.approx(float(episode.rewards[step]))
    assert not steps.context.requires_grad
    assert not torch.equal(steps.context, steps.next_context)


@pytest.mark.parametrize(("reads", "same"), [(False, True), (True, False)])
def test_the_classifier_reads_the_latent_alone_unless_it_is_told_otherwise(reads, same):
    acting, _, _ = make_agent(classify_observation=reads)
    latent = torch.randn(5, LATENT_DIM)
    scores = [acting.family_logits(torch.full((5, OBS_DIM), value), latent) for value in (0.0, 3.0)]
    assert scores[0].shape == (5, len(FAMILIES))
    assert torch.equal(*scores) == same


def test_without_families_there_is_no_classifier_and_no_metric_of_it():
    acting, training, optimization = make_agent(families=())
    metrics = inference_update(acting, training, optimization, one(make_batch()), CONFIG)
    assert acting.classifier is None
    assert not any("family" in name for name in metrics)


def test_a_mixture_is_fitted_at_its_interval_only():
    acting, training, optimization = make_agent("dpmm")
    batch, fits = make_batch(num_updates=4), []
    for index in range(4):
        before = acting.prior.mixture.means.clone()
        inference_update(acting, training, optimization, one(batch, index), CONFIG)
        fits.append(not torch.equal(before, acting.prior.mixture.means))
    assert fits == [False, True, False, True]


def test_the_spread_of_latents_is_that_of_what_is_acted_on():
    acting, training, optimization = make_agent()
    with torch.no_grad():
        acting.encoder.head[-1].weight.zero_()  # every window has the same posterior
    metrics = inference_update(acting, training, optimization, one(make_batch()), CONFIG)
    assert metrics["context_std"].item() == pytest.approx(0.0, abs=1e-6)


def test_a_latent_learns_to_tell_rewards_that_nothing_else_tells():
    """Two tasks differ only in the sign of the reward: the window has it, and predictions need it."""
    acting, training, optimization = make_agent(lr=3e-3)
    losses = []
    for seed in range(150):
        batch = one(make_batch(seed=seed))
        sign = torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0)
        batch["rows"][..., -1], batch["decoded"][..., -1] = sign[:, None], sign[:, None, None]
        batch["num_missing"] *= 0
        losses.append(inference_update(acting, training, optimization, batch, CONFIG)["reward_prediction_loss"].item())
    assert np.mean(losses[:5]) > 0.8
    assert np.mean(losses[-5:]) < 0.1
