"""Skill discovery with several learners, and one warning where coordinates are missing."""

import copy
import logging

import numpy as np
import pytest

from rllib_sami import CICConfig, CSFConfig, DADSConfig, compat

from .test_skill_discovery import differences, tiny_skills, weights_of_each
from .tiny import flat_state

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_without_coordinates_there_is_one_warning(caplog, monkeypatch):
    monkeypatch.setattr("ray.util.debug._logged", set())
    config = tiny_skills(env="Pendulum-v1", env_config={}).evaluation(evaluation_interval=1, evaluation_duration=1)
    with caplog.at_level(logging.WARNING, logger="rllib_sami"):
        algo = config.build_algo()
        for _ in range(2):
            algo.train()
        algo.stop()
    assert len([record for record in caplog.records if "coordinates" in record.getMessage()]) == 1


@pytest.mark.parametrize("config_class", [CICConfig, pytest.param(DADSConfig, marks=pytest.mark.repeated)])
def test_two_learners_agree_on_statistics_too(config_class):
    two = tiny_skills(config_class).learners(num_learners=2).build_algo()
    for _ in range(2):
        two.train()
    first, second = weights_of_each(two)
    two.stop()
    assert differences(first, second) == []


def test_restored_moments_of_adam_share_no_memory_with_the_saved_state():
    """Several learners get the same memory of Ray's object store, and torch updates moments in place."""
    algo = tiny_skills(CSFConfig).build_algo()
    for _ in range(2):
        algo.train()
    learner = algo.learner_group._learner
    state = learner.get_state()["optimizer"]
    before = copy.deepcopy(state)
    learner.set_state({"optimizer": state})
    compat.update_learners(algo, [algo.replay_buffer.sample(2)])
    assert differences(flat_state(state), flat_state(before)) == []
    assert any(np.any(leaf) for path, leaf in flat_state(before).items() if path.endswith("exp_avg"))
    algo.stop()
