"""Soft actor-critic: the losses against hand-made numbers, the actor against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from rllib_sami.core.losses import actor_loss, alpha_loss, critic_loss, soft_value, td_target
from rllib_sami.core.networks import LOG_STD_MAX, LOG_STD_MIN, Actor, TwinCritics

ALPHA = torch.tensor(0.5)


def test_td_target_is_the_hand_calculation_and_a_terminal_state_has_no_value():
    reward, terminated = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, 1.0])
    next_q = torch.tensor([[3.0, 5.0, 5.0], [4.0, 2.0, 2.0]])
    next_log_prob = torch.tensor([-1.0, 2.0, 2.0])
    # 1 + 0.9 (3 + 0.5), 2 + 0.9 (2 - 1), 2
    target = td_target(reward, terminated, soft_value(next_q, next_log_prob, ALPHA), gamma=0.9)
    torch.testing.assert_close(target, torch.tensor([4.15, 2.9, 2.0]))


def test_td_target_has_no_gradient():
    next_q = torch.ones(2, 3, requires_grad=True)
    next_value = soft_value(next_q, torch.ones(3, requires_grad=True), ALPHA)
    target = td_target(torch.ones(3), torch.zeros(3), next_value, 0.9)
    assert not target.requires_grad


def test_critic_loss_sums_both_critics_half_mean_squares():
    q = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)
    loss = critic_loss(q, torch.tensor([0.0, 4.0]))
    assert loss.item() == pytest.approx(0.5 * (1 + 4) / 2 + 0.5 * (9 + 16) / 2)
    loss.backward()
    torch.testing.assert_close(q.grad, torch.tensor([[0.5, -1.0], [1.5, -2.0]]))  # (q - target) / N


def test_actor_loss_takes_the_lesser_critic():
    q = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    loss = actor_loss(q, torch.tensor([-1.0, 3.0]), ALPHA)
    assert loss.item() == pytest.approx(((-0.5 - 1.0) + (1.5 - 0.0)) / 2)


@pytest.mark.parametrize(("log_prob", "direction"), [([0.0, 1.0], 1), ([-3.0, -4.0], -1)])
def test_alpha_rises_when_the_policy_is_too_certain_and_falls_otherwise(log_prob, direction):
    log_alpha = torch.tensor(0.3, requires_grad=True)
    log_prob = torch.tensor(log_prob, requires_grad=True)
    loss = alpha_loss(log_alpha, log_prob, target_entropy=-0.25)
    error = log_prob.detach().mean().item() - 0.25
    assert loss.item() == pytest.approx(-0.3 * error)
    loss.backward()
    assert log_alpha.grad.item() == pytest.approx(-error)
    assert math.copysign(1, -log_alpha.grad.item()) == direction  # the direction of descent
    assert log_prob.grad is None


def test_actor_log_prob_is_that_of_a_tanh_transformed_normal():
    actor = Actor(3 + 2, 4, hidden=(16,))
    obs, context, noise = torch.randn(50, 3), torch.randn(50, 2), torch.randn(50, 4)
    with torch.no_grad():
        mean, log_std = actor(obs, context)
        action, log_prob = actor.sample(obs, context, noise)
    torch.testing.assert_close(action, torch.tanh(mean + log_std.exp() * noise))
    normal = Independent(TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1)), 1)
    torch.testing.assert_close(log_prob, normal.log_prob(action), atol=1e-4, rtol=1e-4)


def test_actor_density_over_actions_sums_to_one():
    actor = Actor(1 + 1, 1, hidden=(8,))
    noise = torch.linspace(-9, 9, 20_001)[:, None]
    inputs = torch.full((len(noise), 1), 0.4)
    with torch.no_grad():
        action, log_prob = actor.sample(inputs, inputs, noise)
    assert torch.trapezoid(log_prob.exp(), action[:, 0]).item() == pytest.approx(1.0, abs=1e-4)


def test_actor_log_prob_stays_finite_at_the_ends_and_has_a_gradient():
    actor = Actor(2, 1, hidden=())
    with torch.no_grad():
        actor.net[0].weight.zero_()
        actor.net[0].bias.copy_(torch.tensor([40.0, 1.0]))  # a mean of 40: tanh is 1 in single precision
    inputs = torch.zeros(3, 1)
    action, log_prob = actor.sample(inputs, inputs, torch.randn(3, 1))
    assert (action == 1).all()
    assert torch.isfinite(log_prob).all()
    log_prob.sum().backward()
    assert torch.isfinite(actor.net[0].bias.grad).all()
    assert actor.net[0].bias.grad[0] > 1.0  # d/dx of -log(1 - tanh(x)^2) is 2 there, for each of three


def test_actor_clamps_its_standard_deviation():
    actor = Actor(2, 1, hidden=())
    inputs = torch.zeros(1, 1)
    for value, expected in [(1e3, LOG_STD_MAX), (-1e3, LOG_STD_MIN), (0.5, 0.5)]:
        with torch.no_grad():
            actor.net[0].bias.copy_(torch.tensor([0.0, value]))
        assert actor(inputs, inputs)[1].item() == expected


def test_actor_mode_is_the_sample_without_noise():
    actor = Actor(3 + 2, 4, hidden=(16,))
    obs, context = torch.randn(5, 3), torch.randn(5, 2)
    torch.testing.assert_close(actor.mode(obs, context), actor.sample(obs, context, torch.zeros(5, 4))[0])


def test_twin_critics_are_two_separate_networks():
    critics = TwinCritics(3 + 2 + 4, hidden=(16, 8))
    obs, action, context = torch.randn(70, 3), torch.randn(70, 2), torch.randn(70, 4)
    values = critics(obs, action, context)
    for net, value in zip(critics.nets, values, strict=True):
        hidden = torch.cat([obs, action, context], dim=-1)
        for layer in (net[0], net[2]):
            hidden = (hidden @ layer.weight.T + layer.bias).relu()
        torch.testing.assert_close(value, (hidden @ net[4].weight.T + net[4].bias)[:, 0])
    assert (values[0] - values[1]).abs().median() > 1e-2  # initialised differently
    own, other = (
        torch.autograd.grad(values[0].sum(), list(net.parameters()), retain_graph=True) for net in critics.nets
    )
    assert all((gradient != 0).any() for gradient in own)
    assert all((gradient == 0).all() for gradient in other)
