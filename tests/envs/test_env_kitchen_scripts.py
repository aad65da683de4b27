"""Scripts that do the kitchen's sub-tasks: the hand, each script, sequences of them."""

import numpy as np
import pytest

from rllib_sami.envs.kitchen import Mixed
from rllib_sami.envs.kitchen.demonstration import demonstrate, random_order
from rllib_sami.envs.kitchen.hand import Hand, Pose
from rllib_sami.envs.kitchen.scripts import SCRIPTS
from rllib_sami.envs.kitchen.simulation import ELEMENTS

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def kitchen():
    return Mixed()


class TestHand:
    def test_it_gets_to_a_pose_and_stays_there(self):
        kitchen = Mixed(noise_ratio=0.0)
        kitchen.reset(seed=0)
        hand, pose = Hand(kitchen), Pose(np.array([-0.35, 0.25, 2.2]), yaw=0.3, pitch=-0.2)
        for _ in range(40):
            action = hand.action(pose)
            assert np.abs(action).max() <= 1.0
            kitchen.walk(action)
        np.testing.assert_allclose(hand.position, pose.position, atol=0.002)  # its weight is allowed for
        ahead = kitchen.data.site("end_effector").xmat.reshape(3, 3)[:, 2]
        expected = [-np.sin(0.3) * np.cos(0.2), np.cos(0.3) * np.cos(0.2), -np.sin(0.2)]
        np.testing.assert_allclose(ahead, expected, atol=0.03)
        assert kitchen.qpos[7:9].max() < 0.005  # closed
        for _ in range(5):
            kitchen.walk(hand.action(Pose(pose.position, closed=False)))
        assert kitchen.qpos[7:9].min() > 0.03

    def test_it_goes_back_to_the_beginning(self, kitchen):
        kitchen.reset(seed=0)
        hand = Hand(kitchen)
        for _ in range(20):
            kitchen.walk(hand.action(Pose(np.array([-0.2, 0.4, 2.5]))))
        away = hand.from_start
        for _ in range(40):
            kitchen.walk(hand.action(None))
        assert hand.from_start < 0.05 < 0.5 < away

    def test_joints_stay_within_their_limits(self, kitchen):
        kitchen.reset(seed=0)
        hand = Hand(kitchen)
        for _ in range(60):
            kitchen.walk(hand.action(Pose(np.array([-1.5, -1.0, 1.9]))))  # out of reach
        low, high = kitchen.model.jnt_range[:7].T
        assert (kitchen.qpos[:7] > low - 0.05).all()
        assert (kitchen.qpos[:7] < high + 0.05).all()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_does_its_sub_task_and_no_other(kitchen, name):
    one = demonstrate(kitchen, np.random.default_rng(5), subtasks=[name])
    assert one.tried == one.done == (name,)
    assert [other for other in ELEMENTS if kitchen.is_done(other)] == [name]
    assert 30 < len(one.actions) < 130


def test_all_sub_tasks_have_a_script():
    assert set(SCRIPTS) == set(ELEMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Mixed", "Misaligned", "Light"])
def test_scripts_solve_the_tasks_within_an_episode(name):
    from rllib_sami.envs import make

    env = make(f"Kitchen/{name}-v0")
    actions = demonstrate(env, np.random.default_rng(0), subtasks=env.subtasks, max_steps=env.max_steps).actions
    rng = np.random.default_rng(0)
    env.reset(seed=int(rng.integers(2**31)))
    total, ended = 0.0, False
    for action in actions:
        _, reward, ended, _, info = env.step(action)
        total += reward
        if ended:
            break
    assert (total, ended) == (4.0, True)
    assert info["tasks_completed"] == env.subtasks


class TestDemonstrations:
    def test_they_repeat_and_observations_follow_from_actions(self, kitchen):
        one = demonstrate(kitchen, np.random.default_rng(3), max_steps=60)
        again = demonstrate(kitchen, np.random.default_rng(3), max_steps=60)
        np.testing.assert_array_equal(one.observations, again.observations)
        np.testing.assert_array_equal(one.actions, again.actions)
        assert (one.observations.shape, one.actions.shape) == ((61, 30), (60, 9))
        assert one.observations.dtype == one.actions.dtype == np.float32
        rng = np.random.default_rng(3)
        random_order(rng)
        observations = [kitchen.reset(seed=int(rng.integers(2**31)))[0], *map(kitchen.walk, one.actions)]
        np.testing.assert_array_equal(observations, one.observations)

    def test_noise_has_its_size(self, kitchen):
        exact, noisy = (
            demonstrate(kitchen, np.random.default_rng(3), ["kettle"], action_noise=noise, max_steps=1).actions[0]
            for noise in (0.0, 0.05)
        )
        assert 0.01 < np.abs(noisy - exact)[:7].std() < 0.1
        np.testing.assert_array_equal(noisy[7:], exact[7:])  # not on the fingers

    def test_what_is_cut_off_is_not_done(self, kitchen):
        one = demonstrate(kitchen, np.random.default_rng(3), ["microwave", "kettle"], max_steps=20)
        assert (one.tried, one.done, len(one.actions)) == (("microwave",), (), 20)

    def test_orders_are_random_and_the_hinge_cabinet_comes_after_the_slide_cabinet(self):
        orders = [random_order(np.random.default_rng(seed)) for seed in range(300)]
        assert len(set(orders)) > 100
        for order in orders:
            assert len(order) == len(set(order)) == 4
            assert set(order) <= set(SCRIPTS)
            if {"slide cabinet", "hinge cabinet"} <= set(order):
                assert order.index("slide cabinet") < order.index("hinge cabinet")
        firsts = [order[0] for order in orders]
        assert {firsts.count(name) > 15 for name in SCRIPTS} == {True}
