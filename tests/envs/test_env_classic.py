"""Pendulum and CartPole against hand-evaluated numbers and Gymnasium's own, PointGoal against geometry."""

import math

import gymnasium
import numpy as np
import pytest

from rllib_sami import envs


def act(value):
    return np.array([value], dtype=np.float32)


def test_pendulum_by_hand():
    env = envs.Pendulum()
    env.reset(options={"task": {"mass": 2.0, "length": 0.5}})
    env.theta, env.theta_dot = math.pi / 2, 1.0
    observation, reward, *_ = env.step(act(1.0))
    # θ̈ = 3·10·1/(2·0.5) + 3·1/(2·0.25) = 30 + 6; θ̇ = 1 + 36·0.05 = 2.8; θ = π/2 + 2.8·0.05
    theta = math.pi / 2 + 0.14
    np.testing.assert_allclose(observation, [math.cos(theta), math.sin(theta), 2.8], rtol=1e-6)
    assert reward == pytest.approx(-((math.pi / 2) ** 2 + 0.1 + 0.001 * 0.25))


def test_pendulum_wraps_the_angle_and_clips_torque_and_speed():
    env = envs.Pendulum()
    env.reset(options={"task": {}})
    env.theta, env.theta_dot = 2 * math.pi - 0.5, 0.0
    _, reward, *_ = env.step(act(9.0))
    # Torque clipped to 2: θ̈ = 15·sin(-0.5) + 6
    assert reward == pytest.approx(-(0.25 + 0.001))
    assert env.theta_dot == pytest.approx(0.05 * (15 * math.sin(-0.5) + 6))

    for reference, travelled in ((False, 8.0), (True, 7.9 + 0.05 * 21)):
        env = envs.Pendulum(reference_physics=reference)
        env.reset(options={"task": {}})
        env.theta, env.theta_dot = math.pi / 2, 7.9
        env.step(act(2.0))
        assert env.theta_dot == 8.0
        assert env.theta == pytest.approx(math.pi / 2 + 0.05 * travelled)


@pytest.mark.parametrize(("mass", "length"), [(1.0, 1.0), (0.75, 1.25), (1.6, 0.4)])
def test_pendulum_moves_like_gymnasiums(mass, length):
    ours, theirs = envs.Pendulum(), gymnasium.make("Pendulum-v1").unwrapped
    theirs.m, theirs.l = mass, length
    ours.reset(seed=0, options={"task": {"mass": mass, "length": length}})
    theirs.reset(seed=0)
    theirs.state = np.array([ours.theta, ours.theta_dot])
    rng = np.random.default_rng(0)
    for _ in range(200):
        torque = rng.uniform(-2, 2, 1).astype(np.float32)
        observation, reward, *_ = ours.step(torque)
        expected, their_reward, *_ = theirs.step(torque)
        np.testing.assert_allclose(observation, expected, atol=1e-4)
        # They charge u², we (u/2)².
        assert reward == pytest.approx(their_reward + 0.00075 * float(torque[0]) ** 2, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "state", "low", "high"),
    [
        (envs.Pendulum, lambda env: (env.theta, env.theta_dot), (7 / 8 * math.pi, -0.2), (9 / 8 * math.pi, 0.2)),
        (envs.CartPole, lambda env: env.state, (-0.05,) * 4, (0.05,) * 4),
        (envs.PointGoal, lambda env: env.position, (-0.2,) * 2, (0.2,) * 2),
    ],
)
def test_initial_states_are_uniform(family, state, low, high):
    env, low, high = family(), np.array(low), np.array(high)
    env.reset(seed=0)
    states = np.array([state(env) for _ in range(500) if env.reset()])
    margin = 0.01 * (high - low)
    assert (low <= states.min(axis=0)).all()
    assert (states.min(axis=0) < low + margin).all()
    assert (high - margin < states.max(axis=0)).all()
    assert (states.max(axis=0) <= high).all()


def test_cart_pole_by_hand():
    env = envs.CartPole()
    env.reset(options={"task": {"force": 11.0, "length": 0.5}})
    env.state = (0.1, 0.2, 0.0, 0.3)
    observation, reward, *_ = env.step(act(1.0))
    # sin θ = 0, cos θ = 1: push = 11/1.1 = 10; θ̈ = -10/(0.5(4/3 - 1/11)); ẍ = 10 - 0.05 θ̈/1.1
    theta_acc = -10.0 / (0.5 * (4.0 / 3.0 - 1.0 / 11.0))
    expected = [0.1 + 0.02 * 0.2, 0.2 + 0.02 * (10.0 - 0.05 * theta_acc / 1.1), 0.02 * 0.3, 0.3 + 0.02 * theta_acc]
    np.testing.assert_allclose(observation, expected, rtol=1e-6)
    assert reward == 1.0


@pytest.mark.filterwarnings("ignore:.*even though this environment has already")
@pytest.mark.parametrize(("force", "length"), [(10.0, 0.5), (5.0, 0.6), (18.0, 0.15)])
def test_cart_pole_moves_like_gymnasiums(force, length):
    ours, theirs = envs.CartPole(), gymnasium.make("CartPole-v1").unwrapped
    theirs.force_mag, theirs.length, theirs.polemass_length = force, length, 0.1 * length
    ours.reset(seed=0, options={"task": {"force": force, "length": length}})
    theirs.reset(seed=0)
    theirs.state = np.array(ours.state)
    rng = np.random.default_rng(0)
    for _ in range(200):
        right = int(rng.integers(2))
        observation, *_ = ours.step(act(2.0 * right - 1.0))
        expected, *_ = theirs.step(right)
        np.testing.assert_allclose(observation, expected, rtol=1e-5, atol=1e-6)


def test_cart_pole_force_is_proportional_to_the_action_and_clipped():
    speeds = []
    for action in (0.5, 1.0, 3.0):
        env = envs.CartPole(force=8.0, length=0.5)
        env.reset()
        env.state = (0.0, 0.0, 0.0, 0.0)
        speeds.append(env.step(act(action))[0][1])
    assert speeds[1] == pytest.approx(2 * speeds[0])
    assert speeds[2] == speeds[1]


@pytest.mark.parametrize(
    "state", [(2.5, 0.0, 0.0, 0.0), (-2.5, 0.0, 0.0, 0.0), (0.0, 0.0, 0.22, 0.0), (0, 0, -0.22, 0)]
)
def test_cart_pole_pays_for_the_first_failure_then_only_inside(state):
    inside, limit_angle = (0.0, 0.0, 0.0, 0.0), math.radians(12.0)
    assert 0.2 < limit_angle < 0.22
    env = envs.CartPole()
    env.reset(seed=0, options={"task": {}})
    rewards = []
    for start in (inside, state, state, inside, state, (2.39, 0.0, 0.2, 0.0)):
        env.state = start
        _, reward, terminated, *_ = env.step(act(0.0))
        rewards.append(reward)
        assert not terminated
    assert rewards == [1.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    env.reset()
    env.state = state
    assert env.step(act(0.0))[1] == 1.0  # the failure is forgotten


def test_point_goal_by_hand():
    env = envs.PointGoal()
    env.reset(options={"task": {"direction": (0.6, 0.8)}})
    env.position = (0.1, -0.2)
    observation, reward, *_ = env.step(np.array([0.5, -1.0]))
    np.testing.assert_allclose(observation, [0.2, -0.4], rtol=1e-6)
    assert reward == pytest.approx(-math.hypot(0.6 - 0.2, 0.8 + 0.4))
    observation, reward, *_ = env.step(np.array([-7.0, 3.0]))  # clipped to ±1
    np.testing.assert_allclose(observation, [0.0, -0.2], atol=1e-7)
    assert reward == pytest.approx(-math.hypot(0.6, 1.0))


def test_point_goal_splits_lie_on_the_circle():
    degrees = {"train": range(0, 181, 30), "moderate": range(15, 166, 30), "extreme": range(210, 331, 30)}
    assert set(envs.PointGoal.splits) == set(degrees)
    for split, expected in degrees.items():
        allowed = [task["direction"] for task in envs.PointGoal(split=split).tasks]
        assert {len(values) for values in allowed} == {1}
        angles = np.radians(np.array(expected))
        np.testing.assert_allclose([v for (v,) in allowed], np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-11)


def test_point_goal_observes_nothing_of_the_goal_and_is_paid_by_it():
    observations, rewards = [], []
    for direction in ((0.0, 1.0), (1.0, 0.0)):
        env = envs.PointGoal(direction=direction)
        steps = [(env.reset(seed=0)[0], 0.0)]
        steps += [env.step(np.array([math.sin(k), math.cos(k)]))[:2] for k in range(25)]
        observations.append([observation for observation, _ in steps])
        rewards.append([reward for _, reward in steps[1:]])
    np.testing.assert_array_equal(*observations)
    assert (np.array(rewards[0]) != rewards[1]).all()
    assert envs.PointGoal.reward_tells_task


def test_point_goal_oracle_sees_directions_without_a_jump():
    env = envs.PointGoal(observe_task=True)
    angles = np.radians(np.arange(0, 361))
    seen = [env.reset(options={"task": {"direction": (np.cos(a), np.sin(a))}})[0][2:] for a in angles]
    np.testing.assert_allclose(seen, np.stack([np.cos(angles), np.sin(angles) - 1.0], axis=1), atol=1e-6)


def test_point_goal_succeeds_only_by_where_the_last_step_ends():
    env = envs.PointGoal(direction=(1.0, 0.0), max_steps=2)
    for first, last, expected in [
        ((1.0, 0.0), (1.19, 0.0), True),
        ((0.0, 0.0), (0.9, -0.17), True),
        ((1.0, 0.0), (1.21, 0.0), False),
        ((1.0, 0.0), (0.85, 0.15), False),
    ]:
        _, info = env.reset()
        assert "is_success" not in info
        for position in (first, last):
            env.position = position
            *_, truncated, info = env.step(np.zeros(2))
            assert ("is_success" in info) == truncated
        assert info["is_success"] is expected


def point_goal_returns(split, target_of):
    """Returns of 20 episodes of each meta-task of who goes straight to ``target_of(goal)``, ``[episodes]``."""
    env, returns = envs.PointGoal(split=split), []
    for episode in range(20 * env.num_tasks):
        position, info = env.reset(seed=episode, options={"task_id": episode % env.num_tasks})
        target = target_of(np.array([info["task"]["direction_x"], info["task"]["direction_y"]]))
        rewards = []
        for _ in range(env.max_steps):
            position, reward, *_, info = env.step((target - position) / 0.2)
            rewards.append(reward)
        assert rewards[6:] == pytest.approx([rewards[-1]] * 19, abs=1e-6)  # it is there in six steps
        assert info["is_success"] == (rewards[-1] >= -0.2)
        returns.append(sum(rewards))
    return returns


@pytest.mark.parametrize(("split", "knows"), [("train", -1.8), ("moderate", -1.7), ("extreme", -1.7)])
def test_returns_of_an_agent_that_knows_the_goal_of_point_goal(split, knows):
    assert np.mean(point_goal_returns(split, lambda goal: goal)) == pytest.approx(knows, abs=0.1)


def test_best_return_on_point_goal_without_using_rewards():
    goals = np.array([task["direction"][0] for task in envs.PointGoal().tasks])
    # Goals lie symmetrically about the y axis, so on it lies the point with the least mean distance from them.
    heights = np.linspace(0, 1, 101)
    distances = [np.linalg.norm(goals - (0.0, y), axis=1).mean() for y in heights]
    best = np.array([0.0, heights[np.argmin(distances)]])
    assert np.mean(point_goal_returns("train", lambda goal: best)) == pytest.approx(-20.1, abs=0.2)


def test_point_goal_pictures_show_point_and_goal():
    env = envs.PointGoal(render_mode="rgb_array")

    def picture(direction, position):
        env.reset(options={"task": {"direction": direction}})
        env.position = position
        return env.render()

    start = picture((1.0, 0.0), (0.0, 0.0))
    for other in (picture((0.0, 1.0), (0.0, 0.0)), picture((1.0, 0.0), (0.5, 0.5))):
        assert (other != start).any()
    far = picture((1.0, 0.0), (9.0, -9.0))
    np.testing.assert_array_equal(far, picture((1.0, 0.0), (1.5, -1.5)))  # at the edge, but not lost
