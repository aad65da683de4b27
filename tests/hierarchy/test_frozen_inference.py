"""The agent of a toy where nothing trains it: its weights, memory, noise, and what is left of it without its latent."""

import numpy as np
import torch

from rllib_sami.algorithms.task_inference.networks import InferenceNetworkConfig, InferenceNetworks
from rllib_sami.algorithms.task_inference.process import ProcessNetworkConfig, ProcessNetworks
from rllib_sami.hierarchy.frozen_inference import FrozenInference


def test_the_toy_s_agent_is_frozen_and_forgets_its_episode():
    config = InferenceNetworkConfig(latent_dim=3, window=4, encoder_hidden_dim=8, actor_hidden=[8], families=("goal+",))
    networks = InferenceNetworks(2, 1, config)
    inference, obs = FrozenInference(networks), np.array([0.1, 1.0], np.float32)
    actions = []
    for changed in (False, False, True):
        if changed:
            with torch.no_grad():
                for parameter in networks.parameters():
                    parameter.add_(1.0)
        inference.begin()
        actions.append([inference.act(obs), inference.act(obs, -0.5), inference.latent])
    for other in actions[1:]:
        for one, same in zip(actions[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
    assert (inference.family, inference.quantity, inference.quantities) == ("goal+", "goal", ("goal",))


def test_latents_with_noise_are_drawn_from_the_posterior():
    config = InferenceNetworkConfig(latent_dim=3, window=4, encoder_hidden_dim=8, actor_hidden=[8], families=("goal+",))
    torch.manual_seed(0)
    networks, obs = InferenceNetworks(2, 1, config), np.array([0.1, 1.0], np.float32)

    def drawn(noise, seed):
        inference = FrozenInference(networks, latent_noise=noise)
        inference.begin(seed)
        inference.act(obs)
        action = inference.act(obs, -0.5)  # the window has a transition now
        read = torch.from_numpy(obs)[None], torch.from_numpy(inference.latent)[None]
        np.testing.assert_allclose(action, networks.actor.mode(*read)[0].detach(), atol=1e-6)
        np.testing.assert_array_equal(inference.inferred.latent, inference.latent)
        return inference

    centre = drawn(0.0, 0)
    np.testing.assert_array_equal(drawn(2.0, 3).latent, drawn(2.0, 3).latent)
    latents = np.stack([drawn(2.0, seed).latent for seed in range(400)])
    window = networks.encoder.window_of(torch.from_numpy(centre._policy.state))
    std = (0.5 * networks.encoder.posterior(window)[0, 3:]).exp().detach().numpy()
    np.testing.assert_allclose(latents.mean(axis=0), centre.latent, atol=0.3 * std.min())
    np.testing.assert_allclose(latents.std(axis=0), 2.0 * std, rtol=0.15)


def test_a_masked_neural_process_reads_its_prior_and_its_own_masked_actions():
    config = ProcessNetworkConfig(latent_dim=2, window=3, encoder_hidden_dim=8, actor_hidden=[8])
    torch.manual_seed(0)
    networks = ProcessNetworks(1, 1, config)
    inference, obs = FrozenInference(networks, masked=True), np.array([2.0], np.float32)
    inference.begin()
    np.testing.assert_array_equal(inference.latent, [0.0, 0.0, 1.0, 1.0])
    action = inference.act(obs)
    expected = networks.actor.mode(torch.from_numpy(obs)[None], torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(action, expected[0].detach(), rtol=1e-6)
    inference.act(obs, -1.0)
    window = inference._policy.state[0][: networks.encoder.window * networks.encoder.transition_dim]
    newest = window.reshape(3, -1)[-1]
    np.testing.assert_allclose(newest[1:2], action)  # (o, a, r, o', 1)
    assert inference.inferred.latent is None
