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


def test_rewards_may_be_errors_that_are_not_relative():
    for settings, scale in (({}, 5.0), ({"relative_reward": False}, 1.0)):
        env = envs.make(TOY, noise=0.0, **settings)
        (_, reward, *_) = play(env, [[0.4]], goal=5.0)[0]
        assert reward == pytest.approx(-(5.0 - env.state[0]) / scale)
        assert env._errors == [pytest.approx((5.0 - env.state[0]) / 5.0)]


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
    assert envs.make(TOY, tasks=[{"goal": (0.0, 3.0)}, {"goal": (-1.0, 0.0)}]).task_families == (-1, -1)


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
    ("name", "value", "words"),
    [("noise", -0.1, "noise=-0.1"), ("scale_position", 2, "True or False"), ("task_steps", 0, "task_steps=0")],
)
def test_wrong_arguments_are_named(name, value, words):
    with pytest.raises(ValueError, match=words):
        envs.make(TOY, **{name: value})


# --- Bodies ---------------------------------------------------------------------------------------------------------

ROBOTS = {"HalfCheetah": 9, "Walker": 9, "Hopper": 6}  # numbers of positions


def robot(name, **settings):
    env = envs.make(f"Reuse/{name}-v0", **settings)
    env.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (30, env.action_space.shape[0])):
        env.step(action.astype(np.float32))
    return env


@pytest.mark.parametrize("name", ROBOTS)
def test_quantities_are_those_of_the_root_s_joints(name):
    """Not of numbers in a state: the hopper's have other places."""
    env = robot(name)
    data = env.data
    expected = {"goal": data.joint("rootx").qpos, "stand": data.joint("rooty").qpos}
    expected |= {"velocity": data.joint("rootx").qvel, "turn": data.joint("rooty").qvel}
    expected |= {"rise": data.joint("rootz").qvel, "jump": np.abs(data.joint("rootz").qvel)}
    assert {quantity: env.quantity(quantity) for quantity in expected} == {k: v.item() for k, v in expected.items()}
    assert env.quantity("height") == data.joint("rootz").qpos.item() - env.model.joint("rootz").qpos0.item()
    before = env.quantity("goal")
    env.step(np.zeros(env.action_space.shape, np.float32))
    assert env.quantity("velocity") == pytest.approx((env.quantity("goal") - before) / 0.05, abs=1.5)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_observes_its_state_and_proprioception_does_not_tell_the_place(name):
    env = robot(name)
    obs = env._observation()
    assert obs[0] == pytest.approx(env.qpos[0] / 10.0)
    np.testing.assert_allclose(obs[1:], env.proprioception.astype(np.float32))
    assert len(env.proprioception) == 2 * ROBOTS[name] - 1
    state = env.proprioception.copy()
    env.qpos[0] += 7.0
    np.testing.assert_array_equal(env.proprioception, state)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_step_of_a_robot_lasts_a_twentieth_of_a_second(name):
    env = envs.make(f"Reuse/{name}-v0")
    env.reset(seed=0)
    assert (env.model.opt.timestep, env.frame_skip) == (0.01, 5)
    env.step(env.action_space.sample())
    assert env.data.time == pytest.approx(0.05)


def test_bodies_that_have_fallen_are_not_healthy_and_go_on():
    for name, pitch in (("HalfCheetah", -2.1), ("Walker", 1.2), ("Hopper", 0.3)):
        env = envs.make(f"Reuse/{name}-v0")
        env.reset(seed=0)
        assert env.is_healthy
        env.qpos[2] = pitch
        assert not env.is_healthy
        assert not env.step(env.action_space.sample())[2]


def test_a_point_mass_gets_to_the_velocity_where_drag_and_force_are_equal():
    env = envs.make("Reuse/PointMass-v0", velocity=2.0)
    ends = []
    for seed in range(20):
        env.reset(seed=seed)
        for _ in range(100):
            before = env.quantity("goal")
            env.step(np.array([0.5], np.float32))
        assert env.quantity("velocity") == pytest.approx((env.quantity("goal") - before) / 0.05)
        ends.append(env.quantity("velocity"))
    assert 7.5 / 5.0 <= min(ends) < 1.8
    assert 3.0 < max(ends) <= 7.5 / 2.0


def test_the_grid_has_three_tasks_of_each_family():
    env = envs.make("Reuse/HalfCheetah-v0", split="grid")
    assert np.bincount(env.task_families).tolist() == [3, 3, 3, 3]
    assert [task["goal"] for task in env.tasks[6:9]] == [(3.7,), (5.5,), (9.1,)]


def test_success_is_a_small_error_over_the_last_quarter_of_an_episode():
    env = envs.make(TOY, noise=0.0, velocity=1.0, max_steps=40)
    for late, success in ((0.24, True), (0.2 * 1.3, False)):
        env.reset(seed=0)
        for step in range(40):
            action = 0.2 if late == 0.24 else late  # 0.2 is 1 m/s
            info = env.step(np.array([action if step >= 30 else -1.0]))[4]
            assert ("is_success" in info) == (step == 39)
        assert info["is_success"] is success
        assert info["tracking_error"] == pytest.approx(0.0 if success else 0.3)


def test_a_task_may_change_within_an_episode():
    env = envs.make(TOY, noise=0.0, tasks=[{"velocity": 1.0}, {"goal": -2.0}], observe_task=True)
    env.reset(seed=0, options={"task_id": 0})
    before, reward, *_ = env.step(np.array([0.2]))
    assert reward == pytest.approx(0.0)
    env.change_task(1)
    obs, reward, *_, info = env.step(np.array([-0.2]))
    assert reward == pytest.approx(-abs(env.state[0] + 2.0) / 2.0)
    assert info["task_id"] == 1
    assert (before[2:] != obs[2:]).any()
    with pytest.raises(ValueError, match="task_id=2"):
        env.change_task(2)


def test_with_task_steps_another_task_is_drawn_again_and_again_and_infos_tell_the_first():
    env = envs.make("Reuse/PointMass-v0", split="grid", task_steps=20, max_steps=100, observe_task=True)
    env.reset(seed=0, options={"task_id": 4})
    first, tasks, families = env.task, [], []
    for _ in range(100):
        family, value, wanted = env.tracked_quantity()
        assert family.rstrip("+-") in ("goal", "velocity")
        assert value == env.quantity(family.rstrip("+-"))
        assert wanted == env.task.as_floats()[family.rstrip("+-")]
        tasks.append(env.task)
        families.append(family)
        obs, *_, truncated, info = env.step(np.ones(1, np.float32))
        np.testing.assert_allclose(obs[2:], env.task.features(), rtol=1e-6)
        assert info["task_id"] == 4
    assert truncated
    assert info["task"] == first.as_floats()
    assert [step for step in range(1, 100) if tasks[step] is not tasks[step - 1]] == [20, 40, 60, 80]
    assert all(tasks[step] != tasks[step - 20] for step in (20, 40, 60, 80))
    assert len(set(families)) > 1
    with pytest.raises(ValueError, match="no other meta-task"):
        envs.make(TOY, velocity=1.0, task_steps=10)


def test_tasks_of_several_quantities_have_no_track():
    env = envs.make(TOY)
    env.reset(options={"task": {"velocity": -1.0, "goal": 2.0}})
    assert env.tracked_quantity()[0] is None
    env.reset(options={"task": {"velocity": -1.0}})
    assert env.tracked_quantity() == ("velocity-", env.quantity("velocity"), -1.0)


def test_a_toy_sees_a_body_as_itself():
    toy, body = envs.make(TOY), robot("Hopper")
    x, v = body.qpos[0], body.qvel[0]
    np.testing.assert_allclose(toy.observe_body(body.quantity), [x / 10.0, v], rtol=1e-6)
    assert toy.command_of(body.quantity, np.array([0.4]), "goal") == pytest.approx(x + 0.2)
    assert toy.command_of(body.quantity, np.array([0.4]), "velocity") == pytest.approx(2.0)
    multi = envs.make(MULTI, scale_position=False)
    seen = {"goal": 50.0, "height": 0.1, "stand": 0.3, "velocity": -9.0, "rise": -1.0, "turn": 2.0}
    np.testing.assert_allclose(multi.observe_body(seen.get), [30.0, 0.1, 0.3, -5.0, -1.0, 2.0], rtol=1e-6)
    expected = move_multi(np.array([30.0, 0.1, 0.3, -5.0, -1.0, 2.0]), np.array([0.4, 0.2, 0.9]))
    action = np.array([0.4, 0.2, 0.9])
    assert multi.command_of(seen.get, action, "goal") == pytest.approx(50.2)  # beyond the toy's world
    assert multi.command_of(seen.get, action, "stand") == pytest.approx(expected[2])
    assert multi.command_of(seen.get, action, "jump") == pytest.approx(abs(expected[4]))


def test_the_toy_with_goals_alone_sees_a_body_as_itself():
    toy = envs.make("Reuse/ToyGoal-v0", max_move=0.5)
    np.testing.assert_array_equal(toy.observe_body({"goal": 3.0}.get), [3.0])
    np.testing.assert_array_equal(toy.observe_body({"goal": -2.0}.get), [0.0])
    assert toy.command_of({"goal": 3.0}.get, np.array([0.4]), "goal") == pytest.approx(3.2)
    assert toy.command_of({"goal": 9.9}.get, np.array([1.0]), "goal") == pytest.approx(10.0)
