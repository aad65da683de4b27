"""A checkpoint restored under other settings, as population-based training does: networks stay, settings change.

An optimiser's state has the learning rate that it was saved with; what counts is the rate that the config has now.
"""

import numpy as np
import pytest

from rllib_sami import SaPPOConfig

from .tiny import differences, recorded_constants, tiny, trained_until, weights_of

NONE = 1e-30  # a rate that changes nothing
RATES = ("encoder_lr", "critic_lr", "actor_lr", "alpha_lr")


def rates(algo) -> dict[str, float]:
    """The learning rates that the (local) learner's optimisers have."""
    learner = algo.learner_group._learner
    return {name: optimizer.param_groups[0]["lr"] for name, optimizer in learner._named_optimizers.items()}


@pytest.fixture(scope="module")
def checkpoint(ray_cluster, tmp_path_factory):
    """A checkpoint of SaCCM after some updates at ordinary rates."""
    algo = tiny().build_algo()
    algo.train()
    algo.train()
    path = str(tmp_path_factory.mktemp("donor"))
    algo.save_to_path(path)
    yield path, weights_of(algo), len(algo.replay_buffer.store.finished)
    algo.stop()


def restored(path, **changed):
    """An algorithm with other settings and the networks, optimisers and buffer of a checkpoint."""
    algo = tiny(**changed).build_algo()
    algo.restore_from_path(path)
    return algo


def trained_once(algo):
    """The algorithm after the first step that makes an update."""
    trained_until(algo, lambda result: np.isfinite(result["learners"]["default_policy"]["critic_loss"]))
    return algo


def test_networks_and_buffer_are_taken_over(checkpoint):
    path, weights, buffered = checkpoint
    algo = restored(path, encoder_lr=1e-3, contrast_coeff=0.7)
    assert differences(weights, weights_of(algo)) == []
    assert len(algo.replay_buffer.store.finished) == buffered > 0
    algo.stop()


def test_the_first_update_has_the_rates_of_the_config(checkpoint):
    path, weights, _ = checkpoint
    algo = trained_once(restored(path, **dict.fromkeys(RATES, NONE)))
    now = weights_of(algo)
    averaged = [name for name in now if "target" in name or "acting.encoder" in name or "query_encoder.norm" in name]
    trained = [name for name in now if name not in averaged]
    assert trained
    assert averaged
    for name in trained:  # at the checkpoint's rate of 3e-4 even one step would show
        np.testing.assert_allclose(now[name], weights[name], rtol=0, atol=1e-7, err_msg=name)
    assert set(rates(algo).values()) == {NONE}
    algo.stop()


def test_each_rate_reaches_its_own_optimiser(checkpoint):
    path, _, _ = checkpoint
    algo = trained_once(restored(path, encoder_lr=1e-4, critic_lr=2e-4, actor_lr=4e-4, alpha_lr=5e-4))
    expected = {"encoder": 1e-4, "critic": 2e-4, "actor": 4e-4, "alpha": 5e-4}
    assert {name.removeprefix("default_policy_"): rate for name, rate in rates(algo).items()} == expected
    algo.stop()


def test_other_settings_are_those_of_the_config(checkpoint, monkeypatch):
    path, _, _ = checkpoint
    updates = recorded_constants(monkeypatch)
    algo = trained_once(restored(path, gamma=0.5, contrast_coeff=0.7, temperature=0.3, updates_per_env_step=0.2))
    found = {(constants.gamma, constants.contrast_coeff, constants.temperature) for constants in updates}
    assert found == {(0.5, 0.7, 0.3)}
    assert algo.config.updates_per_env_step == 0.2
    algo.stop()


def test_sappo_too(ray_cluster, tmp_path):
    def config(rate):
        return (
            SaPPOConfig()
            .environment("SaMI/Pendulum-v0", env_config={"max_steps": 20})
            .env_runners(num_envs_per_env_runner=4)
            .training(encoder_hidden_dim=16, train_batch_size_per_learner=100, minibatch_size=50, num_epochs=1, lr=rate)
            .debugging(seed=0, log_level="ERROR")
        )

    algo = config(3e-3).build_algo()
    algo.train()
    algo.save_to_path(tmp_path)
    other = config(NONE).build_algo()
    other.restore_from_path(tmp_path)
    other.train()
    now = weights_of(other)
    for name, before in weights_of(algo).items():
        if "key_encoder" not in name:
            np.testing.assert_allclose(now[name], before, rtol=0, atol=1e-7, err_msg=name)
    for some in (algo, other):
        some.stop()
