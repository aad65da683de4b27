"""Which task each slot gets, and which random numbers."""

from collections import Counter

import numpy as np
import pytest
import torch

from rllib_sami import TESACConfig

from .envs import NUM_TASKS
from .tiny import runner_of, tiny


def make_runner(index=0, *, seed=3, env="test/Walker", evaluation=False, remote=False, **settings):
    config = tiny(env=env, seed=seed, **settings)
    config.in_evaluation = evaluation
    return runner_of(config, index=index, remote=remote)


def tasks_by_slot(episodes, slots):
    """Task ids of the episodes that begin in each slot, in order."""
    begun = [episode.custom_data for episode in episodes if episode.t_started == 0]
    return [[data["task_id"] for data in begun if data["slot"][1] == slot] for slot in range(slots)]


# --- Tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["test/Walker", "SaMI/Pendulum-v0"])
def test_slot_j_of_runner_i_walks_on_from_task_i_times_slots_plus_j(env):
    num_tasks = NUM_TASKS if env == "test/Walker" else 4
    for index in range(3):
        episodes = make_runner(index, env=env).sample(num_timesteps=3 * 20 * 12, explore=False)
        for slot, tasks in enumerate(tasks_by_slot(episodes, 3)):
            assert tasks == [(index * 3 + slot + step) % num_tasks for step in range(12)]


def test_all_tasks_are_visited_equally_by_fragments_that_end_anywhere():
    runner = make_runner(env_config={"end_probability": 0.2})
    episodes = [episode for _ in range(60) for episode in runner.sample(explore=False)]
    for tasks in tasks_by_slot(episodes, 3):
        visits = Counter(tasks)
        assert set(visits) == set(range(NUM_TASKS))
        assert max(visits.values()) - min(visits.values()) <= 1


def test_all_tasks_are_visited_equally_when_whole_episodes_are_sampled():
    # Each call resets all slots; with 3 slots and 5 tasks, beginning again with the same ones would leave two out.
    runner = make_runner()
    episodes = [episode for _ in range(20) for episode in runner.sample(num_episodes=3, explore=False)]
    visits = Counter(episode.custom_data["task_id"] for episode in episodes)
    assert set(visits) == set(range(NUM_TASKS))
    assert max(visits.values()) - min(visits.values()) <= 3


def test_an_environment_with_its_own_choice_of_tasks_keeps_it():
    episodes = make_runner(env="test/Point").sample(num_timesteps=3 * 20 * 40, explore=False)
    visits = Counter(episode.custom_data["task_id"] for episode in episodes)
    assert set(visits) == set(range(NUM_TASKS))
    assert len({tuple(tasks[:5]) for tasks in tasks_by_slot(episodes, 3)}) == 3


def test_an_environment_without_tasks_counts_as_task_0():
    runner = runner_of(tiny(TESACConfig, env="test/Point", env_config={"task_id": "none"}))
    episodes = runner.sample(explore=False)
    assert {episode.custom_data["task_id"] for episode in episodes} == {0}


# --- Random streams -------------------------------------------------------------------------------------------------


def fingerprint(runner, num_fragments=6):
    """Everything that a runner sampled, at first with random actions."""
    torch.seed()  # the processes' own generators are not to matter
    np.random.seed(None)  # noqa: NPY002
    fragments = [runner.sample(explore=True, random_actions=number < 2) for number in range(num_fragments)]
    episodes = [episode for fragment in fragments for episode in fragment]
    return [(episode.get_observations(), episode.get_actions(), episode.get_rewards()) for episode in episodes]


def same(one, other):
    return all(
        np.array_equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_no_two_slots_share_a_random_stream():
    first_obs, noise, streams = [], [], []
    for settings in ({"index": 0}, {"index": 1}, {"index": 2}, {"index": 0, "evaluation": True}):
        runner = make_runner(**settings)
        episodes = runner.sample(num_timesteps=3 * 20, random_actions=True)
        first_obs += [tuple(episode.get_observations(0)[:2]) for episode in episodes]
        noise += [tuple(episode.get_actions(0)) for episode in episodes]
        streams += [env.np_random.random() for env in runner.env.envs]
        runner.sample(force_reset=True)  # again, with other numbers
        streams += [env.np_random.random() for env in runner.env.envs]
    for values in (first_obs, noise, streams):
        assert len(set(values)) == len(values) >= 12


@pytest.mark.parametrize("env", ["test/Walker", "test/Point", "SaMI/HalfCheetah-v0"])
def test_the_same_seed_samples_the_same_and_another_seed_does_not(env):
    sampled = fingerprint(make_runner(env=env))
    assert same(sampled, fingerprint(make_runner(env=env)))
    assert not same(sampled, fingerprint(make_runner(env=env, seed=4)))
    assert not same(sampled, fingerprint(make_runner(1, env=env)))


def test_without_a_seed_no_two_runners_sample_the_same():
    one, other = (make_runner(seed=None) for _ in range(2))
    assert not same(fingerprint(one), fingerprint(other))


# --- Random streams after faults and restores -----------------------------------------------------------------------


def test_a_runners_state_takes_another_one_of_the_same_index_on_the_same_streams():
    runner = make_runner(seed=None)
    runner.sample(explore=True)
    state = runner.get_state()
    copies = []
    for _ in range(2):
        copy = make_runner(seed=None)
        copy.set_state(state)
        copies.append(fingerprint(copy))
    assert same(*copies)
    assert not same(copies[0], fingerprint(make_runner(seed=None)))


def test_a_restored_runner_samples_anew_and_walks_on_over_the_tasks():
    runner = make_runner()
    before = runner.sample(num_timesteps=3 * 45)
    copy = make_runner()
    copy.set_state(runner.get_state())
    after = copy.sample(num_timesteps=3 * 45)
    # Two episodes of each slot are over; the third, cut short, begins again.
    assert tasks_by_slot(after, 3) == [[(slot + 2 + step) % NUM_TASKS for step in range(3)] for slot in range(3)]
    observations = [tuple(episode.get_observations(0)[:2]) for episode in before + after]
    assert len(set(observations)) == len(observations)


def test_the_local_runners_state_does_not_put_remote_ones_on_one_stream():
    # RLlib sends it to every remote runner that was lost and comes back.
    local = make_runner()
    local.sample(explore=True)
    state = local.get_state()
    noise = []
    for index in range(3):
        runner = make_runner(index, remote=True)
        runner.set_state(state)
        episodes = runner.sample(num_timesteps=3, random_actions=True)
        noise += [tuple(episode.get_actions(0)) for episode in episodes]
    assert len(set(noise)) == 9
