"""RecurrentSAC: any Box environment, no tasks, no contrast, no key encoder."""

import numpy as np
import pytest
import torch

from rllib_sami import RecurrentSAC, RecurrentSACConfig, SaCCMConfig

from .tiny import differences, refusal, snapshot, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")


def trained(env="test/Point", env_config=None, iterations=2, **training):
    algo = tiny(RecurrentSACConfig, env, env_config, **training).build_algo()
    results = [algo.train() for _ in range(iterations)]
    return algo, results[-1]


@pytest.mark.parametrize("task_id", ["none", "text", "int"])
def test_whatever_an_environment_calls_its_task_it_trains(task_id):
    algo, result = trained(env_config={"task_id": task_id})
    learned = result["learners"]["default_policy"]
    assert np.isfinite(learned["critic_loss"])
    assert "sance_bound" not in learned
    assert len(algo.replay_buffer.store.finished) > 0
    algo.stop()


def test_an_environment_of_gymnasiums_trains():
    config = tiny(RecurrentSACConfig, "Pendulum-v1", num_steps_sampled_before_learning_starts=60)
    config.env_config = {}
    algo = config.build_algo()
    result = algo.train()
    assert np.isfinite(result["learners"]["default_policy"]["actor_loss"])
    algo.stop()


def test_there_is_no_key_encoder_and_the_critics_train_the_encoder():
    algo = tiny(RecurrentSACConfig, num_steps_sampled_before_learning_starts=60).build_algo()
    module = algo.learner_group._learner.module["default_policy"]
    assert not hasattr(module.learning, "key_encoder")
    before = [parameter.detach().clone() for parameter in module.acting.encoder.parameters()]
    algo.train()
    after = list(module.acting.encoder.parameters())
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    algo.stop()


def test_two_restores_go_on_alike(tmp_path):
    algo, _ = trained()
    path = algo.save_to_path(tmp_path / "checkpoint")
    one, other = (RecurrentSAC.from_checkpoint(path) for _ in range(2))
    assert differences(weights_of(algo), weights_of(one)) == []
    results = [restored.train() for restored in (one, other)]
    assert differences(snapshot(one, results[0]), snapshot(other, results[1])) == []
    for algorithm in (algo, one, other):
        algorithm.stop()


def test_a_contrast_without_its_keys_is_refused():
    with pytest.raises(ValueError, match=r"`pairing` is 'skill', but has no effect here.*take SaCCM"):
        RecurrentSACConfig().training(pairing="skill")
    with pytest.raises(ValueError, match="`key_encoder` is False, but every SaMI agent has a key encoder now"):
        SaCCMConfig().training(key_encoder=False)
    with pytest.raises(ValueError, match=r"`key_encoder` is 0, but was True or False in.*`acting_encoder`"):
        SaCCMConfig().training(key_encoder=0)


def test_spaces_that_it_cannot_use_are_named():
    assert "only continuous actions" in refusal(tiny(RecurrentSACConfig, "test/Discrete"))
    assert "only flat ones are supported" in refusal(tiny(RecurrentSACConfig, "test/Image"))
