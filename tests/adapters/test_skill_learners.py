"""Skill discovery with several learners, and one warning where coordinates are missing."""

import copy
import logging

import pytest

from rllib_sami import CICConfig, CSFConfig, DADSConfig, compat

from .test_skill_discovery import differences, tiny_skills, weights_of_each

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


@pytest.mark.parametrize("config_class", [CICConfig, DADSConfig])
def test_two_learners_agree_on_statistics_too(config_class):
    two = tiny_skills(config_class).learners(num_learners=2).build_algo()
    for _ in range(2):
        two.train()
    first, second = weights_of_each(two)
    two.stop()
    assert differences(first, second) == []


def test_two_learners_go_on_from_a_restored_state_as_they_did_before():
    """RLlib puts the state into the object store: both learners' moments of Adam are views of the same memory."""
    two = tiny_skills(CSFConfig).learners(num_learners=2).build_algo()
    for _ in range(2):
        two.train()
    state, sample, ends = copy.deepcopy(two.learner_group.get_state()), two.replay_buffer.sample(3), []
    for _ in range(2):
        compat.update_learners(two, [sample] * 2)
        ends.append(weights_of_each(two)[0])
        two.learner_group.set_state(copy.deepcopy(state))
    two.stop()
    assert differences(*ends) == []
