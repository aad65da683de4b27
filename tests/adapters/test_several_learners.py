"""Several learners: one agent, whose update is that of one learner on all the data."""

import copy

import numpy as np
import pytest
import torch

from rllib_sami import compat

from .tiny import differences, flat_state, tiny

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.slow]
SETTINGS = {
    "env": "test/Walker",
    "env_config": {"end_probability": 0.1},
    "encoder_loss": "both",
    "acting_encoder": "online",
}


def weights_of_each(algo):
    """Weights of every learner."""
    results = algo.learner_group.foreach_learner(lambda learner: learner.module["default_policy"].get_state())
    return [copy.deepcopy(flat_state(result.get())) for result in results.result_or_errors]


def merge(first, second):
    """The batches ``[U, ...]`` of two learners as one: episodes side by side, indices shifted to where they went."""
    num_rows = first["rows"].shape[2]
    episodes, contrasted = (first[name].shape[1] * num_rows for name in ("rows", "contrast_rows"))
    merged = {
        name: np.concatenate([first[name], second[name]], axis=1) for name in ("rows", "contrast_rows", "terminated")
    }
    merged["noise"] = np.concatenate([first["noise"], second["noise"]], axis=2)
    merged["return_gap"] = (first["return_gap"] + second["return_gap"]) / 2
    merged["step_index"] = np.concatenate([first["step_index"], second["step_index"] + episodes], axis=1)
    for name in ("query_index", "positive_index", "negative_index"):
        merged[name] = np.concatenate([first[name], second[name] + contrasted], axis=1)
    return merged


def largest_difference(one, other):
    return max(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max() for name in one)


def build(num_learners):
    return tiny(**SETTINGS).learners(num_learners=num_learners).build_algo()


@pytest.mark.repeated
def test_without_a_seed_two_learners_begin_alike():
    two = tiny(seed=None, **SETTINGS).learners(num_learners=2).build_algo()
    first, second = weights_of_each(two)
    two.stop()
    assert differences(first, second) == []


def stop_averaging(_):
    torch.distributed.all_reduce = lambda gradients: None  # in the process of the learner


def test_two_learners_end_identical_and_make_the_update_of_one_on_all_the_data():
    two, one = build(2), build(0)
    initial_alpha = two.config.initial_alpha
    for _ in range(3):
        result = two.train()
    first, second = weights_of_each(two)
    assert differences(first, second) == []
    assert abs(first["/learning.log_alpha"] - np.log(initial_alpha)) > 1e-3
    assert result["learners"]["default_policy"]["num_updates_lifetime"] == 21  # in step, so they count once

    # Two learners on a half each and one on both, from the same state.
    state, before = two.learner_group.get_state(), weights_of_each(two)[0]
    samples = [two.replay_buffer.sample(3) for _ in range(2)]
    assert not np.array_equal(samples[0]["rows"], samples[1]["rows"])
    compat.update_learners(two, samples)
    after, second = weights_of_each(two)
    assert differences(after, second) == []
    assert largest_difference(before, after) > 1e-3
    one.learner_group.set_state(copy.deepcopy(state))
    compat.update_learners(one, [merge(*samples)])
    assert largest_difference(after, weights_of_each(one)[0]) < 1e-5

    # Controls: half of the data leads elsewhere, and so do learners that do not average.
    one.learner_group.set_state(copy.deepcopy(state))
    compat.update_learners(one, [samples[0]])
    assert largest_difference(after, weights_of_each(one)[0]) > 1e-4
    two.learner_group.foreach_learner(stop_averaging)
    compat.update_learners(two, samples)
    assert largest_difference(*weights_of_each(two)) > 1e-4
    for algo in (two, one):
        algo.stop()


def test_one_remote_learner_does_what_the_local_one_does():
    remote, local = build(1), build(0)
    local.learner_group.set_state(remote.learner_group.get_state())
    compat.sync_weights(local)
    for algo in (remote, local):
        for _ in range(2):
            result = algo.train()
        assert result["learners"]["default_policy"]["num_updates_lifetime"] > 0
    assert differences(weights_of_each(remote), weights_of_each(local)) == []
    for algo in (remote, local):
        algo.stop()


def test_two_learners_agree_on_averaged_contexts_and_on_what_inputs_are_standardised_by():
    two = tiny(env="test/Walker").learners(num_learners=2).build_algo()
    for _ in range(3):
        two.train()
    first, second = weights_of_each(two)
    two.stop()
    assert differences(first, second) == []
    assert first["/acting.encoder.norm.count"] == first["/learning.query_encoder.norm.count"] > 0
    assert largest_difference(
        {"mean": first["/acting.encoder.norm.mean"]}, {"mean": np.zeros_like(first["/acting.encoder.norm.mean"])}
    )
