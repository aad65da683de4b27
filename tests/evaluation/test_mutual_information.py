"""The K-sample bound of Gaussians, against integrals and limits known otherwise."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from rllib_sami.evaluation.mutual_information import correlation, density_ratio, gaussian_sweep


def test_correlation_gives_the_information_asked_for():
    covariance = np.array([[1.0, correlation(2.0, 4)], [correlation(2.0, 4), 1.0]])
    assert -4 / 2 * math.log(np.linalg.det(covariance)) == pytest.approx(2.0)


def test_density_ratio_is_that_of_the_densities():
    r, dim = 0.7, 3
    x, y = torch.randn((2, 5, dim), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    joint = multivariate_normal([0, 0], [[1, r], [r, 1]])
    for i in range(5):
        for j in range(5):
            pairs = np.stack([x[i], y[j]], axis=-1)
            expected = joint.logpdf(pairs).sum() - norm.logpdf(pairs).sum()
            assert float(density_ratio(x, y, r)[i, j]) == pytest.approx(expected)


@pytest.fixture(scope="module")
def sweep():
    return gaussian_sweep(information=(0.0, 1.0, 6.0), num_keys=(2, 16, 256), num_queries=2048)


def test_bound_stays_below_the_truth_and_below_log_k(sweep):
    slack = 4 * sweep["standard_error"]
    assert (sweep["bound"] <= np.minimum(sweep["information"], sweep["log_k"]) + slack + 1e-9).all()


def test_little_information_needs_few_keys_and_much_is_held_at_log_k(sweep):
    bound = sweep.set_index(["information", "num_keys"])["bound"]
    assert bound[0.0, 256] == pytest.approx(0.0, abs=1e-9)
    assert bound[1.0, 256] == pytest.approx(1.0, abs=0.1)
    assert bound[6.0, 256] < math.log(256) < 6.0
    assert (bound.unstack()[[2, 16, 256]].loc[[1.0, 6.0]].diff(axis=1).iloc[:, 1:] > 0).all(axis=None)


def test_same_seed_same_numbers():
    settings = {"information": (1.0,), "num_keys": (4,), "num_queries": 64}
    assert gaussian_sweep(**settings, seed=3).equals(gaussian_sweep(**settings, seed=3))
    assert not gaussian_sweep(**settings, seed=3).equals(gaussian_sweep(**settings, seed=4))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="num_keys"):
        gaussian_sweep(num_keys=(1, 2))
    with pytest.raises(ValueError, match="information"):
        gaussian_sweep(information=(-1.0,))
