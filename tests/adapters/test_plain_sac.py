"""PlainSAC: the family's soft actor-critic without context."""

import numpy as np
import pytest
import torch

from rllib_sami import PlainSAC, PlainSACConfig
from rllib_sami.core.acting import ArrayStep, make_step
from rllib_sami.core.networks import ActorNetworks, NetworkConfig

from .tiny import differences, snapshot, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")


def trained(env="test/Point", env_config=None, iterations=2, **training):
    algo = tiny(PlainSACConfig, env, env_config, context_dim=0, **training).build_algo()
    results = [algo.train() for _ in range(iterations)]
    return algo, results[-1]


def test_it_trains_without_encoder_contrast_or_state():
    algo, result = trained()
    module = algo.learner_group._learner.module["default_policy"]
    learned = result["learners"]["default_policy"]
    assert list(module.acting.encoder.parameters()) == []
    assert not hasattr(module.learning, "key_encoder")
    assert module.acting.actor.net[0].in_features == module.acting.obs_dim
    assert np.isfinite(learned["critic_loss"])
    assert not {"sance_bound", "context_std"} & learned.keys()
    algo.stop()


def test_an_environment_of_gymnasiums_trains():
    config = tiny(PlainSACConfig, "Pendulum-v1", context_dim=0, num_steps_sampled_before_learning_starts=60)
    config.env_config = {}
    algo = config.build_algo()
    assert np.isfinite(algo.train()["learners"]["default_policy"]["actor_loss"])
    algo.stop()


def test_its_steps_come_with_what_came_of_them():
    algo, _ = trained()
    store = algo.replay_buffer.store
    batch = algo.replay_buffer.sample(3)
    rows, index = batch["rows"], batch["step_index"]
    assert rows.shape[2] == 2
    assert index.shape == rows.shape[:2]
    flat = rows.reshape(3, -1, store.row_dim)
    stored = {store.rows[i].tobytes() + store.rows[i + 1].tobytes() for i in range(len(store.rows) - 1)}
    for update in range(3):
        for step in index[update]:
            assert flat[update, step].tobytes() + flat[update, step + 1].tobytes() in stored
    algo.stop()


def test_acting_in_numpy_and_torch_agree():
    networks = ActorNetworks(3, 2, NetworkConfig(context_dim=0, normalize_inputs=False, encoder_obs_delta=False))
    policy = make_step(networks)
    assert isinstance(policy, ArrayStep)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((5, width), dtype=np.float32) for width in (3, 2, 1, 0, 2)]
    action, context, state = policy.act(*arrays)
    expected = networks.act(*(torch.from_numpy(array) for array in arrays))
    np.testing.assert_allclose(action, expected[0].numpy(), atol=1e-6)
    assert context.shape == state.shape == (5, 0)


def test_two_restores_go_on_alike(tmp_path):
    algo, _ = trained()
    path = algo.save_to_path(tmp_path / "checkpoint")
    one, other = (PlainSAC.from_checkpoint(path) for _ in range(2))
    assert differences(weights_of(algo), weights_of(one)) == []
    results = [restored.train() for restored in (one, other)]
    assert differences(snapshot(one, results[0]), snapshot(other, results[1])) == []
    for algorithm in (algo, one, other):
        algorithm.stop()


@pytest.mark.parametrize(
    "setting",
    [
        {"pairing": "task"},
        {"encoder_loss": "both"},
        {"encoder_critic_gradient": True},
        {"encoder_reward": True},
        {"key_encoder": True},
        {"context_dim": 6},
    ],
)
def test_settings_of_a_context_are_refused(setting):
    ((key, value),) = setting.items()
    for give in (
        lambda c: c.training(**setting),
        lambda c: c.update_from_dict(setting),
        lambda c: setattr(c, key, value),
        lambda c: c.__setitem__(key, value),
    ):
        with pytest.raises(ValueError, match=f"`{key}` is {value!r}, but has no effect here. PlainSAC has no context"):
            give(PlainSACConfig())
