"""BinPicking for skill discovery: Meta-World's physics, initial states, coordinates, goals."""

import numpy as np
import pytest

from rllib_sami.envs.skills import BinPicking

theirs = pytest.importorskip("metaworld.envs.sawyer_bin_picking_v3")
KEPT = [*range(11), *range(18, 29)]  # numbers of Meta-World's observation that are not always 0


@pytest.fixture
def their_bins():
    env = theirs.SawyerBinPickingEnvV3()
    env._set_task_called, env._freeze_rand_vec = True, True
    return env


def actions_of(env, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, *env.action_space.shape))


def unscaled(env, observation):
    return observation * np.array(env.observation_std) + np.array(env.observation_mean)


@pytest.mark.filterwarnings("ignore")
def test_bins_are_meta_worlds(their_bins):
    env = BinPicking(normalize_observation=False)
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        their_bins._last_rand_vec = np.array([*env.qpos[9:11], 0.02, 0.12, 0.7, 0.02])
        expected, _ = their_bins.reset()
        np.testing.assert_allclose(env.qpos, their_bins.data.qpos, rtol=0, atol=1e-6)
        np.testing.assert_allclose(observation, expected[KEPT], rtol=1e-6, atol=1e-6)
        assert env.dt == pytest.approx(their_bins.dt)
        for action in actions_of(env, 200) - np.array([0.2, -0.1, 0.5, 0.0]):  # down to the object
            observation, *_ = env.step(action)
            expected, *_ = their_bins.step(action)
            np.testing.assert_allclose(env.qpos, their_bins.data.qpos, rtol=0, atol=1e-6)
            np.testing.assert_allclose(observation, expected[KEPT], rtol=1e-6, atol=1e-6)


def test_the_object_begins_anywhere_in_the_left_bin():
    env = BinPicking()
    env.reset(seed=0)
    places = []
    for seed in range(100):
        env.reset(seed=seed)
        places.append(env.coordinates[3:].copy())
        np.testing.assert_allclose(env.coordinates[:3], [0.0, 0.6, 0.2], atol=0.01)  # the hand
        np.testing.assert_array_equal(env.qvel[9:], 0.0)  # the object's
    low, high = np.min(places, axis=0), np.max(places, axis=0)
    np.testing.assert_allclose(low[:2], [-0.21, 0.65], atol=0.01)
    np.testing.assert_allclose(high[:2], [-0.03, 0.75], atol=0.01)
    assert ((low[:2] >= [-0.21, 0.65]) & (high[:2] <= [-0.03, 0.75])).all()


def test_coordinates_reward_and_goals_of_the_bins():
    env = BinPicking()
    assert (env.goal_radius, env.cell_size, env.max_steps) == (0.1, 0.1, 200)
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(info["coordinates"], env.coordinates)
    np.testing.assert_array_equal(env.coordinates[3:], env.data.body("obj").xpos)
    start = env.coordinates
    before = np.linalg.norm(env.coordinates[3:] - env.data.body("bin_goal").xpos)
    env.step(np.zeros(4))
    env.qpos[9] += 0.05
    _, reward, *_ = env.step(np.zeros(4))
    after = np.linalg.norm(env.coordinates[3:] - env.data.body("bin_goal").xpos)
    assert reward == pytest.approx(before - after, abs=1e-3)
    assert reward > 0.03
    rng = np.random.default_rng(0)
    for _ in range(10):
        observation, coordinates = env.sample_goal(rng)
        state = unscaled(env, observation)
        np.testing.assert_allclose(state[[0, 1, 2, 4, 5, 6]], coordinates, atol=1e-5)
        np.testing.assert_allclose(state[:11], state[11:], atol=1e-5)
        np.testing.assert_allclose(coordinates[:3], start[:3], atol=1e-6)
        assert np.abs(coordinates[3:5] - [0.12, 0.7]).max() <= 0.06
        for _ in range(20):
            env.step(np.zeros(4))
        np.testing.assert_allclose(env.coordinates[3:], coordinates[3:], atol=0.02)  # it lies there
    env.reset(seed=0)
    np.testing.assert_array_equal(env.coordinates, start)


def test_the_hand_goes_where_actions_move_it():
    env = BinPicking()
    env.reset(seed=0)
    start = env.coordinates
    for _ in range(20):
        *_, terminated, truncated, _ = env.step(np.array([1.0, 0.5, 0.5, 0.0]))
        assert not terminated
    assert not truncated
    for _ in range(30):  # it lags behind
        env.step(np.zeros(4))
    np.testing.assert_allclose(env.coordinates[:3] - start[:3], [0.2, 0.1, 0.1], atol=0.03)  # 1 cm per step
