"""Acting on arrays gives what the networks give."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rllib_sami.core.acting import ArrayStep, RecurrentPolicy, TorchStep, make_step
from rllib_sami.core.networks import Actor, ActorNetworks, NetworkConfig

OBS, ACTIONS = 5, 3

PLAIN = NetworkConfig(normalize_inputs=False, encoder_obs_delta=False)


def steps(num_steps, batch, seed=0):
    rng = np.random.default_rng(seed)
    widths = (OBS, ACTIONS, 1, ACTIONS)
    return [tuple(3 * rng.standard_normal((batch, width), np.float32) for width in widths) for _ in range(num_steps)]


@pytest.mark.parametrize("encoder_type", ["lstm", "gru"])
@pytest.mark.parametrize("encoder_reward", [False, True])
@pytest.mark.parametrize("normalize_context", [False, True])
@pytest.mark.parametrize("normalize_inputs", [False, True])
@pytest.mark.parametrize("encoder_obs_delta", [False, True])
@pytest.mark.parametrize("batch", [1, 7])
def test_numpy_acts_as_torch_over_many_steps(
    encoder_type, encoder_reward, normalize_context, normalize_inputs, encoder_obs_delta, batch
):
    torch.manual_seed(0)
    config = NetworkConfig(
        encoder_type=encoder_type,
        encoder_reward=encoder_reward,
        normalize_context=normalize_context,
        normalize_inputs=normalize_inputs,
        encoder_obs_delta=encoder_obs_delta,
        actor_hidden=(16, 8),
    )
    networks = ActorNetworks(OBS, ACTIONS, config)
    if normalize_inputs:
        width = len(networks.encoder.norm.mean)
        networks.encoder.norm.update(torch.linspace(-1, 1, width), torch.linspace(0.05, 9, width))
    policy = make_step(networks)
    assert isinstance(policy, ArrayStep)
    state = np.zeros((batch, networks.encoder.state_dim), np.float32)
    expected_state = torch.from_numpy(state)
    for index, (obs, action, reward, noise) in enumerate(steps(20, batch)):
        noise = None if index % 3 == 0 else noise
        result = policy.act(obs, action, reward, state, noise)
        arrays = [torch.from_numpy(array) for array in (obs, action, reward)]
        expected = networks.act(*arrays, expected_state, None if noise is None else torch.from_numpy(noise))
        for ours, theirs in zip(result, expected, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-6)
        state, expected_state = result[2], expected[2]


def test_steps_equal_a_pass_over_the_sequence():
    torch.manual_seed(1)
    networks = ActorNetworks(OBS, ACTIONS, NetworkConfig(normalize_inputs=False))
    policy, batch = ArrayStep(networks), 4
    state = np.zeros((batch, networks.encoder.state_dim), np.float32)
    inputs, contexts = [], []
    for obs, action, reward, _ in steps(50, batch):
        _, context, state = policy.act(obs, action, reward, state)
        inputs.append(np.concatenate([obs, action], axis=1))
        contexts.append(context)
    with torch.no_grad():
        expected = networks.encoder(torch.from_numpy(np.stack(inputs, axis=1)))
    np.testing.assert_allclose(np.stack(contexts, axis=1), expected.numpy(), atol=1e-5)


def test_the_given_state_is_left_alone_and_weights_are_copies_until_refreshed():
    networks = ActorNetworks(OBS, ACTIONS, PLAIN)
    policy = ArrayStep(networks)
    ((obs, action, reward, noise),) = steps(1, 2)
    state = np.full((2, networks.encoder.state_dim), 0.5, np.float32)
    before = policy.act(obs, action, reward, state, noise)
    assert (state == 0.5).all()
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(0.1)
    for first, second in zip(before, policy.act(obs, action, reward, state, noise), strict=True):
        np.testing.assert_array_equal(first, second)
    policy.refresh()
    expected = networks.act(*map(torch.from_numpy, (obs, action, reward, state, noise)))
    for ours, theirs in zip(policy.act(obs, action, reward, state, noise), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-6)


def test_extreme_spreads_are_clipped_as_in_the_actor():
    networks = ActorNetworks(OBS, ACTIONS, replace(PLAIN, actor_hidden=(4,)))
    with torch.no_grad():
        networks.actor.net[-1].bias[ACTIONS:] = 1e4
    ((obs, action, reward, noise),) = steps(1, 2)
    arrays = (obs, action, reward, np.zeros((2, networks.encoder.state_dim), np.float32), 0.1 * noise)
    ours, theirs = make_step(networks).act(*arrays)[0], networks.act(*map(torch.from_numpy, arrays))[0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-6)


def test_networks_of_ones_own_act_with_torch():
    class Bold(Actor):
        def mode(self, obs, context):
            return torch.ones_like(super().mode(obs, context))

    networks = ActorNetworks(OBS, ACTIONS, PLAIN)
    networks.actor = Bold(OBS + networks.config.context_dim, ACTIONS, (8,))
    policy = make_step(networks)
    assert isinstance(policy, TorchStep)
    ((obs, action, reward, _),) = steps(1, 2)
    assert (policy.act(obs, action, reward, np.zeros((2, 256), np.float32), None)[0] == 1.0).all()


def test_a_policy_remembers_each_episode_and_forgets_it_where_a_new_one_begins():
    networks = ActorNetworks(OBS, ACTIONS, replace(PLAIN, encoder_reward=True))
    policy, step = RecurrentPolicy(networks, 3), make_step(networks)
    rng = np.random.default_rng(0)
    action, reward, state = (np.zeros((3, size), np.float32) for size in (ACTIONS, 1, networks.encoder.state_dim))
    for number in range(6):
        obs = rng.standard_normal((3, OBS)).astype(np.float32)
        expected, context, state = step.act(obs, action, reward, state)
        taken = policy.act(obs)
        np.testing.assert_array_equal(taken, expected)
        np.testing.assert_array_equal(policy.context, context)
        action = rng.uniform(-1, 1, expected.shape).astype(np.float32)  # another action than the policy's
        reward = rng.standard_normal((3, 1)).astype(np.float32)
        policy.remember(reward[:, 0], action)
        if number == 2:  # the second episode is over; who was given its last action may keep it
            kept, policy_copy = action, action.copy()
            policy.begin(np.array([False, True, False]))
            np.testing.assert_array_equal(kept, policy_copy)
            action, state = action.copy(), state.copy()
            action[1] = reward[1] = state[1] = 0.0


def test_a_policy_leaves_the_memory_of_slots_that_do_not_go_on():
    policy = RecurrentPolicy(ActorNetworks(OBS, ACTIONS, PLAIN), 2)
    obs = np.ones((2, OBS), np.float32)
    policy.act(obs)
    frozen = policy.act(obs, slots=[0])[1]
    np.testing.assert_array_equal(policy.act(obs)[1], frozen)
    assert (policy.act(obs)[1] != frozen).any()
