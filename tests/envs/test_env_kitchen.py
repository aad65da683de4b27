"""Kitchens whose sub-tasks count in their order: observation, noise, rewards, ends."""

import mujoco
import numpy as np
import pytest

from rllib_sami import envs
from rllib_sami.envs.kitchen import Light, Misaligned, Mixed
from rllib_sami.envs.kitchen import simulation as kitchen_model
from rllib_sami.envs.kitchen.simulation import ELEMENTS, INITIAL_POSITION, JOINTS
from rllib_sami.envs.ordered import OrderedSubtasks

theirs = pytest.importorskip("gymnasium_robotics.envs.franka_kitchen.kitchen_env")
NOTHING, REST = np.zeros(9), np.array(INITIAL_POSITION)
ORDER = ("microwave", "kettle", "bottom burner", "light switch")


@pytest.fixture
def kitchen():
    env = Mixed(noise_ratio=0.0)
    env.reset(seed=0)
    yield env
    env.close()


def put(env, name, share=1.0):
    """Moves an element some share of the way to its goal."""
    joints = ELEMENTS[name].joints
    env.qpos[joints] = REST[joints] + share * (np.array(ELEMENTS[name].goal) - REST[joints])
    env.qvel[:] = 0.0
    mujoco.mj_forward(env.model, env.data)


def rewards(env, *names):
    """Rewards of steps before which one element after the other is put to its goal."""
    found = []
    for name in names:
        put(env, name)
        found.append(env.step(NOTHING)[1])
    return found


def test_the_environments_have_their_sub_tasks():
    assert Mixed().subtasks == ORDER
    assert Misaligned().subtasks == ("microwave", "light switch", "slide cabinet", "hinge cabinet")
    assert Light().subtasks == ("microwave", "kettle", "light switch", "slide cabinet")
    assert {env_id for env_id in envs.ENVIRONMENTS if env_id.startswith("Kitchen/")} == {
        *("Kitchen/Mixed-v0", "Kitchen/Misaligned-v0", "Kitchen/Light-v0")
    }


class TestObservation:
    def test_it_has_the_positions_of_all_joints_by_name(self, kitchen):
        rng = np.random.default_rng(0)
        for _ in range(30):
            observation, *_ = kitchen.step(rng.uniform(-1, 1, 9))
        put(kitchen, "microwave")
        put(kitchen, "kettle")
        observation, *_ = kitchen.step(NOTHING)
        start = 0
        for name, width in JOINTS.items():
            np.testing.assert_allclose(
                observation[start : start + width], kitchen.data.joint(name).qpos, rtol=1e-6, atol=1e-6
            )
            start += width
        assert observation.shape == (start,) == (30,)
        names = [*JOINTS]
        assert names[:9] == [*(f"robot:panda0_joint{n}" for n in range(1, 8)), *names[7:9]]
        assert observation[names.index("microwave")] == pytest.approx(-0.75, abs=0.02)
        assert observation[names.index("kettle") + 1] == pytest.approx(0.75, abs=0.02)  # y

    def test_noise_has_its_size(self):
        env, errors = Mixed(), []
        env.reset(seed=0)
        for _ in range(300):
            errors.append(env.walk(NOTHING) - env.qpos)
        largest = np.abs(errors).max(0)
        config = theirs.KitchenEnv().robot_env.robot_pos_noise_amp  # of 29 numbers: theirs has none for the last
        np.testing.assert_allclose(largest[:29], 0.1 * config, rtol=0.05)
        assert largest[:7].max() <= 0.01 + 1e-6  # rad
        assert abs(np.mean(errors)) < 5e-4

    def test_noise_is_scaled_and_none_by_choice(self):
        env = Mixed(noise_ratio=1.0)
        env.reset(seed=0)
        assert 0.09 < max(np.abs(env.walk(NOTHING) - env.qpos)[:9].max() for _ in range(30)) <= 0.1
        env = Mixed(noise_ratio=0)
        np.testing.assert_array_equal(env.reset(seed=0)[0], env.qpos.astype(np.float32))

    def test_noise_disturbs_control(self):
        env, still = Mixed(noise_ratio=1.0), Mixed(noise_ratio=0.0)
        for one in (env, still):
            one.reset(seed=0)
            one.step(NOTHING)
        assert 0.01 < np.abs(env.ctrl - still.ctrl)[:7].max() < 0.11


@pytest.mark.filterwarnings("ignore")
def test_physics_is_that_of_franka_kitchen(kitchen):
    other = theirs.KitchenEnv(terminate_on_tasks_completed=False, object_noise_ratio=0.0, robot_noise_ratio=0.0)
    other.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = rng.uniform(-2, 2, 9)
        kitchen.step(action)
        other.step(action)
        np.testing.assert_allclose(kitchen.qpos, other.data.qpos, rtol=0, atol=1e-6)
    assert np.abs(kitchen.qpos - REST)[:9].max() > 0.1


class TestOrder:
    def test_in_the_order_each_is_rewarded_once(self, kitchen):
        found = []
        for name in ORDER:
            put(kitchen, name)
            for _ in range(2):
                if name == ORDER[-1] and sum(found) == 4:
                    break
                _, reward, terminated, truncated, info = kitchen.step(NOTHING)
                found.append(reward)
                assert terminated == (sum(found) == 4)
                assert not truncated
        assert found == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
        assert info["tasks_completed"] == ORDER
        assert info["is_success"] is True

    def test_one_that_is_done_too_early_counts_later(self, kitchen):
        assert rewards(kitchen, "light switch", "kettle") == [0.0, 0.0]
        assert rewards(kitchen, "microwave", "bottom burner") == [2.0, 2.0]
        assert kitchen.episode_info()["tasks_completed"] == ORDER

    def test_one_that_is_undone_before_its_turn_does_not_count(self, kitchen):
        assert rewards(kitchen, "kettle") == [0.0]
        put(kitchen, "kettle", share=0.0)
        assert rewards(kitchen, "microwave") == [1.0]
        assert rewards(kitchen, "kettle") == [1.0]

    def test_one_that_is_undone_afterwards_has_counted(self, kitchen):
        assert rewards(kitchen, "microwave") == [1.0]
        put(kitchen, "microwave", share=0.0)
        assert rewards(kitchen, "kettle") == [1.0]

    def test_other_elements_pay_nothing(self, kitchen):
        assert rewards(kitchen, "microwave", "slide cabinet", "hinge cabinet") == [1.0, 0.0, 0.0]

    def test_an_episode_without_success_is_truncated_and_says_what_was_done(self):
        env = Mixed(max_steps=3)
        _, info = env.reset(seed=0)
        assert "is_success" not in info
        put(env, "microwave")
        _, reward, _, _, info = env.step(NOTHING)
        assert (reward, set(info)) == (1.0, {"task_id"})
        env.step(NOTHING)
        *_, terminated, truncated, info = env.step(NOTHING)
        assert (terminated, truncated) == (False, True)
        assert info["tasks_completed"] == ("microwave",)
        assert info["is_success"] is False
        env.reset()
        assert env.episode_info().keys() == {"task_id", "task"}
        assert rewards(env, "microwave") == [1.0]  # again, in another episode

    def test_the_order_is_a_setting(self):
        env = Mixed(subtasks=["kettle", "hinge cabinet"])
        env.reset(seed=0)
        assert rewards(env, "hinge cabinet", "microwave") == [0.0, 0.0]
        put(env, "kettle")
        _, reward, terminated, *_ = env.step(NOTHING)
        assert (reward, terminated) == (2.0, True)

    def test_counting_begins_again(self):
        order = OrderedSubtasks(["a", "b"])
        assert order.count(lambda name: name == "b") == 0
        assert order.count(lambda name: True) == 2
        assert order.all_done
        order.reset()
        assert (order.num_done, order.done, order.all_done) == (0, (), False)


@pytest.mark.parametrize("name", ELEMENTS)
def test_a_sub_task_is_done_within_its_threshold(kitchen, name):
    element = ELEMENTS[name]
    first = element.joints.start + (name == "hinge cabinet")  # the goal of the left door is to stay closed
    for distance, done in ((0.25, True), (0.35, False)):
        kitchen.qpos[element.joints] = element.goal
        kitchen.qpos[first] += distance
        assert kitchen.is_done(name) is done
    assert not any(one for one in map(Mixed.is_done, [fresh()] * 6, ELEMENTS))


def fresh():
    env = Mixed(noise_ratio=0.0)
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subtasks": ["microwave", "ketle"]}, r"'ketle' is unknown. Did you mean 'kettle'\? Known: bottom burner"),
        ({"subtasks": ["kettle", "kettle"]}, "a name is there twice"),
        ({"subtasks": []}, r"subtasks=\[\]: expected a list of names"),
        ({"subtasks": "kettle"}, "subtasks='kettle': expected a list of names"),
        ({"noise_ratio": -0.1}, "noise_ratio=-0.1: expected a finite number >= 0"),
        ({"noise": 0.1}, r"noise=0.1.*Did you mean 'noise_ratio'"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Mixed(**settings)


def test_another_kitchen_is_refused(monkeypatch):
    kitchen_model.load.cache_clear()
    monkeypatch.setattr(kitchen_model, "JOINTS", {"microwave": 1})
    with pytest.raises(ValueError, match=r"expected \['microwave'\]. Install gymnasium-robotics 1.4.2"):
        kitchen_model.load()
    kitchen_model.load.cache_clear()
