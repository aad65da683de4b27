"""Quadruped and Humanoid that observe pictures: the same physics, stacks of pictures, a floor that tells the place."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.wrappers import FrameStackObservation

from rllib_sami.envs import rendering, skills
from rllib_sami.envs.vector import MetaTaskVectorEnv

pytest.importorskip("dm_control.suite", reason="needs dm_control: pip install 'rllib-sami[dm-control]'")
pytestmark = pytest.mark.usefixtures("opengl")

PAIRS = [(skills.QuadrupedPixels, skills.Quadruped), (skills.HumanoidPixels, skills.Humanoid)]
CLASSES = [pixels for pixels, _ in PAIRS]


@pytest.fixture(params=CLASSES)
def env(request):
    made = request.param(max_steps=6)
    yield made
    made.close()


def floor_of(picture):
    """Mean colour of the nearest row of the floor."""
    return picture[-1].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(("pixels", "state"), PAIRS)
def test_physics_rewards_and_coordinates_are_those_of_the_state_variant(pixels, state):
    one, other = pixels(), state()
    one.reset(seed=3), other.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(one.action_space.low, one.action_space.high)
        assert one.step(action)[1:4] == other.step(action)[1:4]
        np.testing.assert_array_equal(one.data.qpos, other.data.qpos)
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
    one.close()


def test_observations_are_stacks_of_the_last_three_pictures(env):
    observation, _ = env.reset(seed=0)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (3, 64, 64, 3), np.uint8)
    assert env.observation_space.contains(observation)
    assert (observation == observation[-1]).all()
    seen = [observation[-1]] * 3
    for _ in range(env.max_steps):
        observation, _, _, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        seen.append(observation[-1])
        np.testing.assert_array_equal(observation, seen[-3:])
        assert (seen[-1] != seen[-2]).any()
    assert truncated
    observation[:] = 0  # what a caller does with it changes nothing
    assert env.reset(seed=0)[0].any()


def test_the_layout_is_that_of_gymnasiums_wrapper(env):
    class Newest(gymnasium.ObservationWrapper):
        observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

        def observation(self, observation):
            return observation[-1]

    stacked, theirs = type(env)(max_steps=6), FrameStackObservation(Newest(env), 3)
    assert theirs.observation_space == stacked.observation_space
    np.testing.assert_array_equal(theirs.reset(seed=1)[0], stacked.reset(seed=1)[0])
    for _ in range(4):
        action = env.action_space.sample()
        np.testing.assert_array_equal(theirs.step(action)[0], stacked.step(action)[0])
    stacked.close()


def test_the_floor_tells_the_place(env):
    env.reset(seed=0)
    colours = {}
    for place in ((0.0, 0.0), (8.0, 0.0), (0.0, 8.0)):
        env.qpos[:2] = 0.0
        env._place(np.array(place))
        colours[place] = floor_of(env._picture())
    along_x, along_y = (colours[place] - colours[0.0, 0.0] for place in ((8.0, 0.0), (0.0, 8.0)))
    # One colour for each axis: red or green changes, and the other does not.
    assert np.abs(along_x[:2]).max() > 10 > 3 * np.abs(along_x[:2]).min()
    assert np.abs(along_y[:2]).max() > 10 > 3 * np.abs(along_y[:2]).min()
    assert np.abs(along_x[:2]).argmax() != np.abs(along_y[:2]).argmax()


def test_the_picture_of_a_goal_is_taken_there(env):
    observation, place = env.sample_goal(np.random.default_rng(0))
    assert env.observation_space.contains(observation)
    assert (observation == observation[-1]).all()
    np.testing.assert_array_equal(env.coordinates, place)
    assert (np.abs(place) <= env.goal_range).all()
    again, same_place = env.sample_goal(np.random.default_rng(0))
    np.testing.assert_array_equal(place, same_place)
    np.testing.assert_array_equal(observation, again)
    other, _ = env.sample_goal(np.random.default_rng(1))
    assert np.abs(floor_of(other[-1]) - floor_of(observation[-1])).max() > 10


def test_a_goals_humanoid_lies_and_so_can_be_reached():
    env = skills.HumanoidPixels()
    env.reset(seed=0)
    assert env.data.body("torso").xpos[2] > 1.0
    env.sample_goal(np.random.default_rng(0))
    assert env.data.body("torso").xpos[2] < 0.6
    env.close()


def test_large_pictures_for_people_show_the_same_scene(env):
    shown = type(env)(render_mode="rgb_array", width=96, height=80)
    shown.reset(seed=0)
    assert shown.render().shape == (80, 96, 3)
    np.testing.assert_array_equal(shown.reset(seed=0)[0], env.reset(seed=0)[0])
    shown.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_alike(env, copied):
    env.reset(seed=0)
    env.step(env.action_space.high)
    other = copied(env)
    for one, two in zip(env.step(env.action_space.low), other.step(env.action_space.low), strict=True):
        np.testing.assert_equal(one, two)
    other.close()


def test_gymnasium_makes_several(env):
    several = gymnasium.make_vec(f"Skills/{type(env).__name__}-v0", num_envs=2, vectorization_mode="sync", max_steps=3)
    observations, _ = several.reset(seed=0)
    assert observations.shape == (2, 3, 64, 64, 3)
    np.testing.assert_array_equal(observations[1], env.reset(seed=1)[0])
    several.close()
    with pytest.raises(ValueError, match=r"with gymnasium.vector.SyncVectorEnv"):
        MetaTaskVectorEnv(type(env), num_envs=2)


@pytest.mark.parametrize("cls", CLASSES)
def test_without_opengl_one_sentence_says_what_to_install(cls, monkeypatch):
    rendering._first_working.cache_clear()
    monkeypatch.setattr(rendering, "_works", lambda name: False)
    with pytest.raises(DependencyNotInstalled, match="apt-get install libegl1"):
        cls()
    rendering._first_working.cache_clear()
