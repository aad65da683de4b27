"""Kitchen and BinPicking for skill discovery: what their tests share."""

import copy
import pickle

import numpy as np
import pytest

from rllib_sami.envs.skills import BinPicking, Kitchen
from rllib_sami.envs.vector import EnvBatch


def actions_of(env, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, *env.action_space.shape))


@pytest.mark.parametrize("cls", [Kitchen, BinPicking])
def test_statistics_are_those_of_random_rollouts(cls):
    env, rows = cls(max_steps=50), []
    for episode in range(20):
        env.reset(seed=episode)
        rows += [env.step(action)[0] for action in actions_of(env, 50, episode)]
    assert min(env.observation_std) >= 0.05
    assert np.abs(np.mean(rows, axis=0)).max() < 0.6
    assert np.std(rows, axis=0).max() < 1.7


@pytest.mark.parametrize("cls", [Kitchen, BinPicking])
def test_copies_and_batches_go_on_like_the_original(cls):
    env, batch = cls(), EnvBatch([cls(), cls()], num_threads=2)
    env.reset(seed=1)
    for index, one in enumerate(batch.envs):
        one.reset(seed=index)
    actions = actions_of(env, 24)
    rewards, terminated, truncated = np.zeros(2), *np.zeros((2, 2), bool)
    for action in actions[:12]:
        observation, reward, *_ = env.step(action)
        assert not batch.step(np.stack([-action, action]), rewards, terminated, truncated)
        np.testing.assert_array_equal(batch.rows[1], observation)
        assert rewards[1] == reward
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for action in actions[12:]:
        observation = env.step(action)[0]
        for one in copies:
            np.testing.assert_array_equal(one.step(action)[0], observation)
            np.testing.assert_array_equal(one.coordinates, env.coordinates)


@pytest.mark.parametrize("cls", [Kitchen, BinPicking])
def test_pictures_show_the_scene(cls, opengl):
    env = cls(render_mode="rgb_array", width=96, height=96)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (96, 96, 3)
    assert picture.std() > 20
    for _ in range(10):
        env.step(env.action_space.high)
    assert (env.render() != picture).mean() > 0.01  # the arm has moved
    env.close()
