"""Kitchen for skill discovery: FrankaKitchen's physics, tasks, coordinates, goals."""

import mujoco
import numpy as np
import pytest

from rllib_sami.envs.kitchen.simulation import ELEMENTS, INITIAL_POSITION
from rllib_sami.envs.skills import Kitchen

theirs = pytest.importorskip("gymnasium_robotics.envs.franka_kitchen.kitchen_env")
REST = np.array(INITIAL_POSITION)


@pytest.fixture
def their_kitchen():
    return theirs.KitchenEnv(terminate_on_tasks_completed=False)


def actions_of(env, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, *env.action_space.shape))


def unscaled(env, observation):
    return observation * np.array(env.observation_std) + np.array(env.observation_mean)


@pytest.mark.filterwarnings("ignore")
def test_kitchen_is_franka_kitchen(their_kitchen):
    env = Kitchen(normalize_observation=False)
    env.reset(seed=0)
    their_kitchen.reset(seed=1)
    their_kitchen.robot_env.np_random.bit_generator.state = env.np_random.bit_generator.state
    observation, _ = env.reset()
    expected, _ = their_kitchen.reset()
    assert env.dt == pytest.approx(their_kitchen.robot_env.dt)
    np.testing.assert_allclose(observation, expected["observation"], rtol=1e-6, atol=1e-6)
    for action in 2.0 * actions_of(env, 50):  # also beyond the range
        observation, *_ = env.step(action)
        expected, *_ = their_kitchen.step(action)
        np.testing.assert_allclose(env.qpos, their_kitchen.data.qpos, rtol=0, atol=1e-6)
        np.testing.assert_allclose(observation, expected["observation"], rtol=1e-6, atol=1e-6)
    assert np.abs(env.qpos - REST)[:9].max() > 0.1


def test_tasks_are_franka_kitchens():
    assert set(ELEMENTS) == set(theirs.OBS_ELEMENT_GOALS) - {"top burner"}
    assert Kitchen.goal_radius == theirs.BONUS_THRESH
    for name, element in ELEMENTS.items():
        np.testing.assert_array_equal(element.goal, theirs.OBS_ELEMENT_GOALS[name])
        np.testing.assert_array_equal(np.arange(30)[element.joints], theirs.OBS_ELEMENT_INDICES[name])


@pytest.fixture
def kitchen():
    env = Kitchen()
    yield env
    env.close()


def test_kitchen_without_noise_observes_the_state():
    env = Kitchen(robot_noise_ratio=0.0, object_noise_ratio=0, normalize_observation=False)
    env.reset(seed=0)
    for action in actions_of(env, 5):
        observation, *_ = env.step(action)
        state = (env.qpos[:9], env.qvel[:9], env.qpos[9:], env.qvel[9:])
        np.testing.assert_allclose(observation, np.concatenate(state), rtol=1e-6, atol=1e-6)


def move(env, name, share=1.0):
    """Moves an element some way to its goal."""
    joints = ELEMENTS[name].joints
    env.qpos[joints] = REST[joints] + share * (np.array(ELEMENTS[name].goal) - REST[joints])
    env.qvel[:] = 0.0
    mujoco.mj_forward(env.model, env.data)


@pytest.mark.parametrize("name", ELEMENTS)
def test_a_task_is_done_once_its_element_is_near_its_goal(kitchen, name):
    env = kitchen
    env.reset(seed=0)
    nothing = np.zeros(9)
    assert env.step(nothing)[1] == 0.0
    cell = np.floor(env.coordinates / env.cell_size)
    np.testing.assert_array_equal(cell, 0.0)
    move(env, name)
    _, reward, terminated, _, info = env.step(nothing)
    assert (reward, terminated) == (1.0, False)
    assert "tasks_completed" not in info
    index = [*ELEMENTS].index(name)
    moved = np.floor(env.coordinates / env.cell_size)
    assert moved[index] >= 1.0  # in another cell
    assert not np.delete(moved, index).any()
    assert env.step(nothing)[1] == 0.0  # not twice
    move(env, name, share=0.0)
    for _ in range(47):
        *_, truncated, info = env.step(nothing)
    assert truncated
    assert info["tasks_completed"] == (name,)  # at any time of the episode
    assert info["coordinates"].shape == (6,)
    env.reset()
    assert env._done == set()


def test_goals_of_the_kitchen_are_the_start_with_one_task_done(kitchen):
    env, rng = kitchen, np.random.default_rng(0)
    assert (env.goal_radius, env.cell_size, env.max_steps) == (0.3, 0.3, 50)
    seen = set()
    for _ in range(40):
        observation, coordinates = env.sample_goal(rng)
        assert observation.shape == (59,)
        assert coordinates.shape == (6,)
        [index] = np.flatnonzero(coordinates > 0.01)
        name = [*ELEMENTS][index]
        seen.add(name)
        state = unscaled(env, observation)[18:39]  # what can be moved
        expected = REST[9:].copy()
        joints = ELEMENTS[name].joints
        expected[joints.start - 9 : joints.stop - 9] = ELEMENTS[name].goal
        np.testing.assert_allclose(state, expected, atol=0.02)  # the quaternion is normalised
        assert env._reward() == 1.0
    assert seen == set(ELEMENTS)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.coordinates, 0.0)


@pytest.mark.parametrize("name", ["robot_noise_ratio", "object_noise_ratio"])
@pytest.mark.parametrize("value", [-0.1, "no", True, float("nan"), float("inf")])
def test_a_bad_ratio_of_noise_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: expected a finite number >= 0"):
        Kitchen(**{name: value})
