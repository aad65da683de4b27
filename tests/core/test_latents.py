"""Latents of tasks: how they are drawn from posteriors, divergences from priors, and the mixture that follows them."""

import copy
import math
import threading

import numpy as np
import pytest
import torch
from sklearn.mixture import BayesianGaussianMixture
from torch import nn
from torch.distributions import Beta, Independent, Normal, kl_divergence

from rllib_sami.algorithms.task_inference.mixture import DirichletProcessMixture
from rllib_sami.algorithms.task_inference.posteriors import (
    POSTERIORS,
    SMALLEST,
    gaussian_kl,
    standard_kl,
    stick_kl,
    width,
)
from rllib_sami.algorithms.task_inference.priors import MixturePrior

LATENT_DIM = 4


# --- Posteriors and their priors --------------------------------------------------------------------------------------


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
    prior = MixturePrior(LATENT_DIM)
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


# --- The mixture ------------------------------------------------------------------------------------------------------


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


def test_latents_that_are_not_finite_are_left_to_the_learner():
    prior = MixturePrior(LATENT_DIM)
    before = copy.deepcopy(prior.mixture.state_dict())
    prior.follow(torch.full((8, LATENT_DIM), math.nan), 1, None)
    assert all(torch.equal(before[name], value) for name, value in prior.mixture.state_dict().items())
