"""Task inference: windows of transitions, divergences from priors, the mixture, and who learns from what."""

import copy
import math
import threading

import numpy as np
import pytest
import torch
from core_helpers import make_episode, random_episode
from sklearn.mixture import BayesianGaussianMixture
from torch import nn
from torch.distributions import Beta, Independent, Normal, kl_divergence

from rllib_sami.algorithms.task_inference import update
from rllib_sami.algorithms.task_inference.losses import UNKNOWN_FAMILY, family_loss, prediction_loss
from rllib_sami.algorithms.task_inference.mixture import DirichletProcessMixture
from rllib_sami.algorithms.task_inference.networks import (
    InferenceNetworkConfig,
    InferenceNetworks,
    InferenceTrainingNetworks,
    WindowEncoder,
    transition_windows,
)
from rllib_sami.algorithms.task_inference.posteriors import (
    POSTERIORS,
    SMALLEST,
    gaussian_kl,
    standard_kl,
    stick_kl,
    width,
)
from rllib_sami.algorithms.task_inference.priors import MixturePrior
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


# --- Priors ---------------------------------------------------------------------------------------------------------


def posterior(number=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, number, LATENT_DIM, generator=generator)
    return mean, 0.5 * log_variance


def test_the_divergence_from_a_standard_normal_is_that_of_torch_and_of_samples():
    mean, log_variance = posterior()
    q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    p = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    kl = standard_kl(torch.cat([mean, log_variance], dim=1))
    torch.testing.assert_close(kl, kl_divergence(q, p))
    samples = q.sample((200_000,))
    torch.testing.assert_close(kl, (q.log_prob(samples) - p.log_prob(samples)).mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(gaussian_kl(mean, log_variance, mean, log_variance), torch.zeros(5))


def test_the_divergence_from_a_mixture_weighs_its_components_by_responsibility():
    prior = MixturePrior(LATENT_DIM, interval=1)
    mean, log_variance = posterior()
    outputs = torch.cat([mean, log_variance], dim=1)
    torch.testing.assert_close(prior.kl(outputs, mean), standard_kl(outputs))
    mixture = prior.mixture
    mixture.weights[:2], mixture.means[:2], mixture.variances[:2] = torch.tensor([0.3, 0.7]), posterior(2)[0], 0.5
    components = torch.stack(
        [gaussian_kl(mean, log_variance, mixture.means[k], mixture.variances[k].log()) for k in range(2)], dim=1
    )
    log_density = torch.stack(
        [Independent(Normal(mixture.means[k], mixture.variances[k].sqrt()), 1).log_prob(mean) for k in range(2)], dim=1
    )
    shares = (log_density + mixture.weights[:2].log()).softmax(dim=1)
    torch.testing.assert_close(prior.kl(outputs, mean), (shares * components).sum(dim=1))
    latent = mean.clone().requires_grad_()
    assert not prior.kl(outputs, latent).requires_grad  # responsibilities are constants


def test_a_mixture_of_gaussians_weighs_them_and_adds_up_their_divergences():
    kind, generator = POSTERIORS["gmm"], torch.Generator().manual_seed(0)
    outputs = torch.randn(6, width(kind.num_outputs, LATENT_DIM), generator=generator)
    noise = torch.randn(6, width(kind.num_noise, LATENT_DIM), generator=generator)
    gaussians, weights = outputs[:, :-8].reshape(6, 8, 2, LATENT_DIM), outputs[:, -8:].softmax(dim=1)
    latents = gaussians[:, :, 0] + (0.5 * gaussians[:, :, 1]).exp() * noise.reshape(6, 8, LATENT_DIM)
    torch.testing.assert_close(kind.latent(outputs, noise), (weights[..., None] * latents).sum(dim=1))
    zeros = torch.zeros_like(gaussians[:, :, 0])
    each = gaussian_kl(gaussians[:, :, 0], gaussians[:, :, 1], zeros, zeros)
    torch.testing.assert_close(kind.kl(outputs), each.sum(dim=1))


def test_broken_sticks_are_shares_of_kumaraswamy_distributions():
    kind = POSTERIORS["stick"]
    outputs = torch.tensor([[0.5, 1.0, 2.0, 0.2, 3.0, 1.0]]).expand(200_000, -1)
    shares = kind.latent(outputs, torch.randn(len(outputs), 3, generator=torch.Generator().manual_seed(0)))
    assert shares.shape == (len(outputs), LATENT_DIM)
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(outputs)))
    a, b = (nn.functional.softplus(outputs[0, part]) + SMALLEST for part in (slice(3), slice(3, 6)))
    # The mean of the first stick, and of the second one, which has what the first leaves.
    mean = b * (torch.lgamma(1 + 1 / a) + torch.lgamma(b) - torch.lgamma(1 + 1 / a + b)).exp()
    torch.testing.assert_close(shares[:, 0].mean(), mean[0], rtol=0.01, atol=0.0)
    torch.testing.assert_close(shares[:, 1].mean(), (1 - mean[0]) * mean[1], rtol=0.01, atol=0.0)
    middle = kind.latent(outputs[:1], torch.zeros(1, 3))
    torch.testing.assert_close(middle[0, 0], shares[:, 0].median(), rtol=0.01, atol=0.0)


def test_the_divergence_of_sticks_is_that_of_samples():
    outputs = torch.tensor([[1.0, 2.0, 0.3, 1.5, 2.5, 3.0]])
    a, b = (nn.functional.softplus(outputs[0, part]) + SMALLEST for part in (slice(3), slice(3, 6)))
    u = torch.rand(400_000, 3, generator=torch.Generator().manual_seed(0))
    stick = (1 - u ** (1 / b)) ** (1 / a)
    density = (a * b).log() + (a - 1) * stick.log() + (b - 1) * (1 - stick**a).log()
    expected = (density - Beta(1.0, 5.0).log_prob(stick)).mean(dim=0).sum()
    torch.testing.assert_close(stick_kl(outputs)[0], expected, rtol=0.05, atol=0.02)  # the series is cut off


def blobs(number, spread, width, seed, size=256):
    rng = np.random.default_rng(seed)
    centres, labels = spread * rng.normal(size=(number, LATENT_DIM)), rng.integers(number, size=size)
    return (centres[labels] + width * rng.normal(size=(size, LATENT_DIM))).astype(np.float32), labels


def purity(found, labels):
    return sum(np.bincount(labels[found == cluster]).max() for cluster in np.unique(found)) / len(labels)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("number", "spread", "width"), [(4, 2.0, 0.3), (4, 1.0, 0.1), (7, 2.5, 0.3), (1, 0.0, 1.0)])
def test_the_mixture_finds_clusters_as_scikit_learn_does(number, spread, width, seed):
    points, labels = blobs(number, spread, width, seed)
    mixture = DirichletProcessMixture(LATENT_DIM)
    for _ in range(6):  # each fit splits the components once
        mixture.fit(torch.from_numpy(points))
    found = mixture.responsibilities(torch.from_numpy(points)).argmax(dim=1).numpy()
    oracle = BayesianGaussianMixture(n_components=20, covariance_type="diag", max_iter=300, random_state=0)
    assert mixture.num_components == number
    assert purity(found, labels) >= 0.95
    assert purity(found, oracle.fit_predict(points)) >= 0.95
    for cluster in np.unique(found):
        inside = points[found == cluster]
        np.testing.assert_allclose(mixture.means[cluster], inside.mean(0), atol=0.02)
        np.testing.assert_allclose(mixture.variances[cluster], inside.var(0), atol=0.01, rtol=0.1)
    assert mixture.weights.sum().item() == pytest.approx(1.0)


def test_the_mixture_follows_points_that_move_and_forgets_clusters_that_are_gone():
    mixture = DirichletProcessMixture(LATENT_DIM)
    for number in (4, 4, 4, 2, 2, 2):
        mixture.fit(torch.from_numpy(blobs(number, 2.0, 0.3, seed=number)[0]))
    assert mixture.num_components == 2


@pytest.mark.parametrize("number", [12, 16])
def test_many_clusters_are_not_lost_again(number):
    points, labels = blobs(number, 4.0, 0.2, seed=0, size=1024)
    mixture = DirichletProcessMixture(LATENT_DIM)
    for _ in range(10):
        mixture.fit(torch.from_numpy(points))
    found = mixture.responsibilities(torch.from_numpy(points)).argmax(dim=1).numpy()
    assert mixture.num_components == number
    assert purity(found, labels) >= 0.95


def test_learners_that_average_find_the_same_mixture():
    """Two learners in lockstep, each with half of the points: a thread for each, and a mean of what they bring."""
    points = blobs(4, 2.0, 0.3, seed=0, size=512)[0]
    mixtures = [DirichletProcessMixture(LATENT_DIM) for _ in range(2)]
    barrier, brought = threading.Barrier(2), [None, None]

    def average_of(rank):
        def average(tensors):
            brought[rank] = tensors
            barrier.wait(60)
            mean = [torch.stack(pair).mean(dim=0) for pair in zip(*brought, strict=True)]
            barrier.wait(60)
            return mean

        return average

    def learn(rank):
        for _ in range(5):
            mixtures[rank].fit(torch.from_numpy(points[256 * rank :][:256]), average_of(rank))

    threads = [threading.Thread(target=learn, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = (mixture.state_dict() for mixture in mixtures)
    assert mixtures[0].num_components == 4
    for name in one:
        assert torch.equal(one[name], other[name]), name
    alone = DirichletProcessMixture(LATENT_DIM)
    for _ in range(5):
        alone.fit(torch.from_numpy(points[:256]))
    assert not torch.equal(alone.state_dict()["means"], one["means"])


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
        before = training.prior.mixture.means.clone()
        inference_update(acting, training, optimization, one(batch, index), CONFIG)
        fits.append(not torch.equal(before, training.prior.mixture.means))
    assert fits == [False, True, False, True]


def test_latents_that_are_not_finite_are_left_to_the_learner():
    prior = MixturePrior(LATENT_DIM, interval=1)
    before = copy.deepcopy(prior.mixture.state_dict())
    prior.follow(torch.full((8, LATENT_DIM), math.nan), None)
    assert not changed(before, prior.mixture.state_dict())


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
