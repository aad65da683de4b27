"""The toys of task inference: their kinematics, rewards, families and splits."""

import numpy as np
import pytest

from rllib_sami import envs
from rllib_sami.envs.reuse.toy import move, move_multi
from rllib_sami.envs.reuse.toy_goal import move_goal

TOY, MULTI, GOAL = "Reuse/Toy-v0", "Reuse/ToyMulti-v0", "Reuse/ToyGoal-v0"


def play(env, actions, **task):
    env.reset(seed=0, options={"task": task})
    return [env.step(np.asarray(action, np.float32)) for action in actions]


@pytest.mark.parametrize("action", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_a_step_of_the_toy_depends_on_nothing_but_place_and_action(action):
    states = np.random.default_rng(0).normal(size=(20, 2))
    moved = move(states, np.full((20, 1), action))
    np.testing.assert_allclose(moved[:, 1], 5.0 * action)
    np.testing.assert_allclose(moved[:, 0], states[:, 0] + 0.5 * action)


def test_places_end_at_30_m():
    np.testing.assert_array_equal(move(np.array([29.9, 0.0]), np.ones(1)), [30.0, 5.0])


def test_the_highest_jump_rises_at_2_117_m_per_s_and_lands():
    state, rises = np.zeros(6), []
    for _ in range(40):
        state = move_multi(state, np.array([0.0, 0.0, -1.0]))  # the sign of the lift does not count
        rises.append(state[4])
        assert state[1] >= 0.0
    assert max(rises) == pytest.approx(2.117, abs=1e-9)
    state = move_multi(np.array([0.0, 0.05, 0.0, 0.0, -2.0, 0.0]), np.zeros(3))
    assert (state[1], state[4]) == (0.0, 0.0)


def test_it_is_not_lifted_in_the_air_nor_while_it_rises():
    for z, vz in ((0.4, 0.0), (0.1, 0.5)):
        assert move_multi(np.array([0.0, z, 0.0, 0.0, vz, 0.0]), np.ones(3))[4] == pytest.approx(vz - 0.981)


def test_turning_has_drag_and_pitch_ends_upright():
    state = move_multi(np.array([0.0, 0.0, 0.1, 0.0, 0.0, 2.0]), np.array([0.0, 0.5, 0.0]))
    assert state[5] == pytest.approx(0.6021 * 2.0 + 2.5)
    assert state[2] == pytest.approx(0.1 + 0.1 * state[5])
    for _ in range(20):
        state = move_multi(state, np.array([0.0, 1.0, 0.0]))
    assert state[2] == pytest.approx(np.pi / 2)


@pytest.mark.parametrize(
    ("task", "number"), [({"goal": -7.0}, 0), ({"velocity": 2.0}, 3), ({"stand": 1.2}, 2), ({"jump": 1.5}, 4)]
)
def test_rewards_are_relative_errors_of_one_quantity(task, number):
    env = envs.make(MULTI, noise=0.0, scale_position=False)
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, (30, 3))
    (value,) = task.values()
    for obs, reward, *_ in play(env, actions, **task):
        reached = abs(obs[number]) if "jump" in task else obs[number]
        assert reward == pytest.approx(-abs(reached - value) / abs(value), abs=1e-6)


def test_tasks_of_several_quantities_add_up_and_no_task_pays_nothing():
    env = envs.make(TOY, noise=0.0)
    both, goal, velocity, none = (
        np.array([reward for _, reward, *_ in play(env, [[0.4]] * 5, **task)])
        for task in ({"goal": 3.0, "velocity": -1.0}, {"goal": 3.0}, {"velocity": -1.0}, {})
    )
    np.testing.assert_allclose(both, goal + velocity)
    assert not none.any()


@pytest.mark.parametrize(("env_id", "families", "train", "test"), [(TOY, 4, 20, 10), (MULTI, 7, 11, 5)])
def test_families_have_equally_many_tasks_which_are_all_different(env_id, families, train, test):
    cls = envs.ENVIRONMENTS[env_id]
    assert len(cls.families) == families
    seen = set()
    for split, number in (("train", train), ("test", test)):
        env = cls(split=split)
        assert np.bincount(env.task_families).tolist() == [number] * families
        seen |= {tuple(task.items()) for task in cls.splits[split]}
        for task_id, family in enumerate(env.task_families):
            env.reset(options={"task_id": task_id})
            of, value = cls.families[family], next(value for value in env.task.as_floats().values() if value)
            assert env.task.as_floats()[of.quantity] == value
            assert of.low <= of.sign * value <= of.high
    assert len(seen) == families * (train + test)


def test_tasks_of_several_families_or_none_belong_to_none():
    env = envs.make(
        TOY, tasks=[{"goal": 3.0}, {"goal": (-3.0, -4.0)}, {"goal": (3.0, -3.0)}, {"goal": 1.0, "velocity": 1.0}, {}]
    )
    assert env.task_families == (2, 3, -1, -1, -1)
    assert envs.make(MULTI, jump=-2.0).task_families == (-1,)


def test_noise_is_added_to_place_and_velocity():
    env = envs.make(TOY, noise=0.2, scale_position=False)
    env.reset(seed=0)
    errors = []
    for _ in range(200):
        before, action = env.state.copy(), np.array([0.1])
        env.step(action)
        errors.append(env.state - move(before, action))
    assert np.std(errors, axis=0) == pytest.approx([0.2, 0.2], rel=0.15)
    assert abs(np.corrcoef(np.transpose(errors))[0, 1]) < 0.3


# --- ToyGoal ---------------------------------------------------------------------------------------------------------


def test_a_move_ends_at_the_ends_of_the_line():
    np.testing.assert_array_equal(move_goal(np.array([0.3, 5.0, 9.5]), np.array([-0.5, 0.25, 1.0])), [0.0, 5.25, 10.0])


def test_distances_to_the_goal_are_rewards_and_places_are_observed_in_m():
    env = envs.make(GOAL, max_move=0.5)
    for goal in (0.0, 7.3):
        obs, _ = env.reset(seed=0, options={"task": {"goal": goal}})
        x = obs[0]
        for action in (0.2, -0.5, 3.0, -3.0, 0.0):
            x = min(max(x + min(max(action, -0.5), 0.5), 0.0), 10.0)
            obs, reward, terminated, _, _ = env.step(np.array([action], np.float32))
            assert (obs[0], env.quantity("goal")) == (pytest.approx(x, abs=1e-5), pytest.approx(x, abs=1e-5))
            assert reward == pytest.approx(-abs(x - goal), abs=1e-5)
            assert not terminated
    with pytest.raises(ValueError, match="'velocity'"):
        env.quantity("velocity")


def test_goals_and_first_places_fill_the_line():
    env = envs.make(GOAL)
    goals = {split: [task["goal"] for task in env.splits[split]] for split in ("train", "test")}
    assert [len(of) for of in goals.values()] == [100, 25]
    np.testing.assert_allclose(sorted(goals["train"] + goals["test"]), 0.08 * np.arange(1, 126))
    places = [env.reset(seed=seed)[0][0] for seed in range(100)]
    assert np.std(places) == pytest.approx(10.0 / np.sqrt(12.0), rel=0.15)
    assert np.mean(places) == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, True, "far"])
def test_a_wrong_length_of_moves_is_named(value):
    with pytest.raises(ValueError, match="max_move="):
        envs.make(GOAL, max_move=value)


@pytest.mark.parametrize(
    ("name", "value", "words"), [("noise", -0.1, "noise=-0.1"), ("scale_position", 2, "True or False")]
)
def test_wrong_arguments_are_named(name, value, words):
    with pytest.raises(ValueError, match=words):
        envs.make(TOY, **{name: value})
