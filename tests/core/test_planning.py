"""Tanh-Gaussians with their divergences, and the cross-entropy method."""

import math

import pytest
import torch

from rllib_sami.core.planning import LIMIT, CEMConfig, cem
from rllib_sami.core.tanh_normal import TanhNormal, divergence, divergence_from_standard


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class TestDistribution:
    def test_divergences_are_those_of_samples(self):
        p = TanhNormal(torch.tensor([0.3, -0.5]), torch.tensor([0.4, 0.7]))
        q = TanhNormal(torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.5]))
        x = p.mean + p.std * torch.randn(400_000, 2)
        # The tanh's Jacobian is the same in both densities.
        log = [torch.distributions.Normal(one.mean, one.std).log_prob(x).sum(-1) for one in (p, q)]
        torch.testing.assert_close(divergence(p, q), (log[0] - log[1]).mean(), atol=0.01, rtol=0.0)
        of_standard = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
        torch.testing.assert_close(divergence_from_standard(p), (log[0] - of_standard).mean(), atol=0.01, rtol=0.0)

    def test_the_head_is_bounded(self):
        wild = TanhNormal.of(torch.tensor([[1e6, -1e6, 1e6, -1e6]]))
        torch.testing.assert_close(wild.mean, torch.tensor([[5.0, -5.0]]))
        torch.testing.assert_close(wild.std, torch.tensor([[math.exp(2.0) + 1e-4, math.exp(-10.0) + 1e-4]]))


class TestPlanner:
    def plan(self, score, **settings):
        noise = torch.Generator().manual_seed(0)
        config = CEMConfig(**settings)
        of_policy = torch.zeros(2, 4, 3, 2)
        return cem(
            lambda sequences, iteration: score(sequences),
            of_policy,
            score(of_policy),
            torch.zeros(2, 3, 2),
            torch.full((2, 3, 2), 2.0),
            0.01,
            config,
            torch.randn(2, config.num_plan_iterations, config.num_plan_samples, 3, 2, generator=noise),
            torch.tensor([0.2, 0.7]),
        )

    def test_it_finds_the_best_sequence(self):
        wanted = torch.tensor([[[0.3, -0.8], [0.9, 0.1], [-0.5, 0.5]], [[0.0, 0.2], [-0.9, -0.9], [0.7, 0.0]]])
        score = lambda x: -10.0 * (x - wanted[:, None]).square().sum((-2, -1))  # noqa: E731
        plan = self.plan(score, num_plan_iterations=12, num_plan_samples=1024)
        torch.testing.assert_close(plan.mean, wanted, atol=0.05, rtol=0.0)
        torch.testing.assert_close(plan.action, wanted[:, 0], atol=0.1, rtol=0.0)
        assert (plan.std >= 0.01).all()

    def test_actions_stay_within_their_bounds(self):
        plan = self.plan(lambda x: x.sum((-2, -1)))
        assert (plan.mean > 0.9).all()
        assert plan.action.abs().max() <= LIMIT

    def test_what_the_policy_suggests_is_considered(self):
        best = torch.full((2, 3, 2), 0.123)

        def score(x):
            return 1e6 * (x - best[:, None]).abs().amax((-2, -1)).lt(1e-4).float()

        plan = cem(
            lambda sequences, iteration: score(sequences),
            best[:, None].clone(),
            score(best[:, None]),
            torch.zeros(2, 3, 2),
            torch.ones(2, 3, 2),
            0.01,
            CEMConfig(),
            torch.randn(2, 1, 512, 3, 2),
            torch.zeros(2),
        )
        torch.testing.assert_close(plan.action, best[:, 0])
