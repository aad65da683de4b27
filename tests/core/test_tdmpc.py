"""TD-MPC's update against its equations, and its policy's noise."""

import copy
from dataclasses import replace

import pytest
import torch
from skimo_helpers import optimization

from rllib_sami.algorithms.tdmpc import update
from rllib_sami.algorithms.tdmpc.networks import (
    ImaginedReturns,
    NoisyAction,
    TargetNetworks,
    TDMPCNetworkConfig,
    TDMPCNetworks,
)
from rllib_sami.algorithms.tdmpc.update import ModelUpdateConfig

BATCH, OBS, ACTION, STEPS = 6, 4, 2, 3
CONFIG = ModelUpdateConfig(gamma=0.9)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    config = TDMPCNetworkConfig(plan_horizon=STEPS, num_units=16, latent_state_dim=8)
    acting = TDMPCNetworks(OBS, ACTION, config, 0.9)
    training = TargetNetworks(acting)
    for parameter in training.parameters():
        parameter.data.add_(0.05)
    return acting, training


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return {
        "obs": torch.randn(BATCH, STEPS + 1, OBS),
        "actions": torch.rand(BATCH, STEPS, ACTION) * 2 - 1,
        "rewards": torch.randn(BATCH, STEPS),
        "terminated": torch.tensor([[0.0, 0.0, 1.0]]).repeat(BATCH, 1),
        "weights": torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).repeat(BATCH // 2, 1),
        "noise": torch.randn(BATCH, STEPS, ACTION),
        "next_noise": torch.randn(BATCH, STEPS, ACTION),
    }


def test_losses_are_those_of_their_definitions(networks, batch):
    acting, training = networks
    obs, a, r, d, w = (batch[name] for name in ("obs", "actions", "rewards", "terminated", "weights"))
    imagined, model, actor = acting.state_encoder(obs[:, 0]), 0.0, 0.0
    for t in range(STEPS):
        own = acting.distribution(imagined.detach()).sample(batch["noise"][:, t])
        actor = actor - (w[:, t] * 0.5**t * acting.predicted_values(imagined.detach(), own).amin(0)).mean() / STEPS
        after = acting.state_encoder(obs[:, t + 1])
        chosen = acting.distribution(after).sample(batch["next_noise"][:, t])
        y = (r[:, t] + (1 - d[:, t]) * 0.9 * training.target_of(after, chosen)).detach()
        of_reward = (acting.predicted_reward(imagined, a[:, t]) - r[:, t]).square()
        of_values = (acting.predicted_values(imagined, a[:, t]) - y).square().sum(0)
        imagined = acting.step_latent(imagined, a[:, t])
        consistency = (imagined - training.target_encoder(obs[:, t + 1]).detach()).square().mean(-1)
        errors = 2 * consistency + 0.5 * of_reward + 0.1 * of_values
        model = model + (w[:, t] * 0.5**t * errors).mean() / STEPS
    torch.testing.assert_close(update.model_loss(acting, training, batch, CONFIG)[0], model)
    torch.testing.assert_close(update.actor_loss(acting, batch, CONFIG), actor)


def test_an_update_moves_each_network_with_its_own_loss_and_targets_slowly(networks, batch):
    acting, training = networks
    groups = update.parameter_groups(acting)
    assert {id(p) for group in groups.values() for p in group} == {id(p) for p in acting.parameters()}
    before = copy.deepcopy(training.state_dict()), copy.deepcopy(acting.state_dict())
    update.tdmpc_update(acting, training, optimization(groups), batch, CONFIG)
    now = acting.state_dict()
    assert {name for name in now if torch.equal(now[name], before[1][name])} == {"horizon", "plan_std"}
    for name, source in (("target_encoder", "state_encoder"), ("target_values", "values")):
        key = next(key for key in before[0] if key.startswith(name))
        expected = before[0][key].lerp(now[key.replace(name, source)], 0.005)
        torch.testing.assert_close(training.state_dict()[key], expected)


def test_mixed_precision_rounds_hidden_layers_alone(networks, batch):
    results = {}
    for mixed in (False, True):
        acting, training = copy.deepcopy(networks)
        optimizer, config = optimization(update.parameter_groups(acting)), replace(CONFIG, mixed_precision=mixed)
        results[mixed] = update.tdmpc_update(acting, training, optimizer, batch, config)
    for name, value in results[True].items():
        assert value != results[False][name], name
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, results[False][name], atol=2e-2, rtol=2e-2, msg=name)
    acting, seen = networks[0], []
    hidden, losses = acting.policy[0], replace(CONFIG, mixed_precision=True)
    hidden.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    update.tdmpc_update(acting, networks[1], optimization(update.parameter_groups(acting)), batch, losses)
    assert seen == [torch.bfloat16] * 2  # in the loss of the model and in that of the policy
    with torch.no_grad():
        for net in acting.values:
            net[-1].bias.fill_(1000.5)  # bfloat16 would make it 1000
    with replace(CONFIG, mixed_precision=True).precision(torch.device("cpu")):
        values = acting.predicted_values(acting.state_encoder(batch["obs"])[:, 1:], batch["actions"])
    torch.testing.assert_close(values, torch.full_like(values, 1000.5), atol=0.2, rtol=0.0)


def test_noise_is_bounded_and_lets_gradients_through():
    mode = torch.tensor([0.99, 0.0, -0.5], requires_grad=True)
    sample = NoisyAction(mode, 0.1).sample(torch.tensor([1.0, 100.0, -1.0]))
    torch.testing.assert_close(sample, torch.tensor([0.999, 0.3, -0.6]))
    sample.sum().backward()
    assert mode.grad.tolist() == [1.0, 1.0, 1.0]


def test_returns_of_sequences_are_those_of_the_networks_one_after_the_other(networks):
    acting, _ = networks
    for parameter in acting.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    latent, actions, noise = torch.randn(2, 8), torch.rand(2, 7, STEPS, ACTION) * 2 - 1, torch.randn(2, 7, ACTION)
    states, expected = latent[:, None].expand(-1, 7, -1), 0.0
    for t in range(STEPS):
        expected = expected + 0.9**t * acting.predicted_reward(states, actions[:, :, t])
        states = acting.step_latent(states, actions[:, :, t])
    last = acting.distribution(states).sample(noise)
    expected = expected + 0.9**STEPS * acting.predicted_values(states, last).amin(0)
    with torch.no_grad():
        torch.testing.assert_close(ImaginedReturns(acting, latent)(actions, noise), expected)


def test_a_plan_finds_the_action_that_pays(networks, monkeypatch):
    acting, _ = networks
    best = torch.tensor([0.6, -0.3])

    def returns(self, actions, noise):
        return -40 * (actions - best).square().sum((-2, -1))

    monkeypatch.setattr(ImaginedReturns, "__call__", returns)
    acting.horizon.fill_(STEPS)
    acting.plan_std.fill_(0.05)
    state = torch.from_numpy(acting.initial_state(5))
    obs, previous = torch.randn(5, OBS), torch.zeros(5, ACTION)
    planned, _, state = acting.act(obs, previous, torch.zeros(5, 1), state)
    assert (planned - best).abs().max() < 0.15
    noisy, _, _ = acting.act(
        obs, previous, torch.zeros(5, 1), torch.from_numpy(acting.initial_state(5)), torch.ones(5, 2)
    )
    assert (noisy > planned).all()


def test_without_a_plan_the_policy_acts_with_the_present_noise(networks):
    acting, _ = networks
    acting.plan_std.fill_(0.25)
    obs = torch.randn(5, OBS)
    state = torch.from_numpy(acting.initial_state(5))
    arguments = (obs, torch.zeros(5, ACTION), torch.zeros(5, 1), state)
    mode, noisy = acting.act(*arguments)[0], acting.act(*arguments, torch.ones(5, ACTION))[0]
    torch.testing.assert_close(noisy - mode, torch.full((5, ACTION), 0.25))
