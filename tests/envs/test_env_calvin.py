"""CALVIN's adapter, on a made-up simulator with the interface of ``calvin_env``."""

import sys
import warnings

import gymnasium
import made_up_calvin
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rllib_sami.envs  # noqa: F401, registers it
from rllib_sami.envs.calvin import ENV_ID, Calvin

ORDER = ("open_drawer", "turn_on_lightbulb", "move_slider_left", "turn_on_led")
NOTHING = np.zeros(7, np.float32)


@pytest.fixture
def calvin(monkeypatch, tmp_path):
    made_up_calvin.install(monkeypatch, tmp_path / "training")
    env = Calvin(folder=tmp_path / "training")
    env.reset(seed=0)
    return env


def do(env, name):
    """Does a sub-task, a little further than it has to be."""
    simulator = env._simulator
    if name == "open_drawer":
        simulator.doors["base__drawer"] = 0.13
    elif name == "move_slider_left":
        simulator.doors["base__slide"] = 0.16
    else:
        simulator.lights[name.removeprefix("turn_on_")] = 1


def test_it_observes_robot_and_furniture_and_no_block(calvin):
    do(calvin, "turn_on_led")
    calvin._simulator.doors["base__slide"] = 0.05
    observation, *_ = calvin.step(np.array([1, 0, 0, 0, 0, 0, -1], np.float32))
    robot = [0.02, 0, 0, 0, 0, 0, 0.08, *np.arange(7) / 10, -1]
    np.testing.assert_allclose(observation, [*robot, 0.05, 0, 0, 0, 0, 1], rtol=1e-6)
    assert calvin.observation_space.shape == (21,)
    assert calvin.action_space.shape == (7,)


@pytest.mark.parametrize(("given", "taken"), [(-1.0, -1), (-0.01, -1), (0.0, 1), (0.3, 1), (1.0, 1)])
def test_the_gripper_opens_or_closes(calvin, given, taken):
    action = np.array([0.5, -3.0, 0, 0, 0, 0, given], np.float32)
    kept = action.copy()
    calvin.step(action)
    np.testing.assert_array_equal(action, kept)  # the simulator changes what it is given
    np.testing.assert_array_equal(calvin._simulator.given[-1], [0.5, -1, 0, 0, 0, 0, taken])


def test_sub_tasks_count_in_their_order_and_end_the_episode(calvin):
    for name in ("turn_on_lightbulb", "turn_on_led"):
        do(calvin, name)
        assert calvin.step(NOTHING)[1] == 0.0
    do(calvin, "open_drawer")
    _, reward, terminated, _, info = calvin.step(NOTHING)
    assert (reward, terminated, set(info)) == (2.0, False, {"task_id"})
    assert calvin.step(NOTHING)[1] == 0.0
    do(calvin, "move_slider_left")
    _, reward, terminated, truncated, info = calvin.step(NOTHING)
    assert (reward, terminated, truncated) == (2.0, True, False)
    assert info["tasks_completed"] == ORDER
    assert info["is_success"] is True


@pytest.mark.parametrize(("door", "enough"), [("base__drawer", 0.12), ("base__slide", 0.15)])
def test_doors_have_to_move_further_than_from_where_they_were(calvin, door, enough):
    name = {"base__drawer": "open_drawer", "base__slide": "move_slider_left"}[door]
    env = type(calvin)(folder=calvin.folder, subtasks=[name])
    reset = env._simulator.reset

    def half_open(*arguments):
        observed = reset(*arguments)
        env._simulator.doors[door] = 0.05
        return observed

    env._simulator.reset = half_open
    for moved, reward in ((enough - 0.001, 0.0), (enough + 0.001, 1.0)):
        env.reset()
        env._simulator.doors[door] = 0.05 + moved
        assert env.step(NOTHING)[1] == reward


def test_an_episode_has_360_steps(calvin):
    for step in range(1, 361):
        *_, terminated, truncated, info = calvin.step(NOTHING)
        assert (terminated, truncated) == (False, step == 360)
    assert info["is_success"] is False
    assert info["tasks_completed"] == ()


def test_gymnasium_makes_and_checks_it(calvin):
    folder = str(calvin.folder)
    env = gymnasium.make(f"rllib_sami:{ENV_ID}", folder=folder, subtasks=["turn_on_led"])
    assert env.unwrapped.subtasks == ("turn_on_led",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
    simulator = env.unwrapped._simulator
    env.close()
    assert not simulator.connected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"folder='': it has no .hydra/merged_config.yaml. Give a split of CALVIN's data"),
        ({"folder": "nowhere"}, "folder='nowhere': it has no"),
        ({"subtasks": ["open_door"]}, "'open_door' is unknown. Did you mean 'open_drawer'"),
    ],
)
def test_mistakes_are_named(calvin, settings, message):
    with pytest.raises(ValueError, match=message):
        Calvin(**settings)


def test_without_calvin_one_message_says_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "calvin_env", None)
    with pytest.raises(ImportError, match=r"Calvin needs calvin_env.*not on PyPI; https://github.com/mees/calvin_env"):
        Calvin(folder=tmp_path)
