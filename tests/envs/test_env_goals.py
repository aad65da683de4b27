"""Directions, speeds and places against raw MuJoCo and PEARL's formulas."""

import math

import mujoco
import numpy as np
import pytest
from mujoco_models import xml_model

from rllib_sami import envs

FAMILIES = [envs.HalfCheetahDir, envs.HalfCheetahVel, envs.AntDir, envs.AntGoal]


def cheetah_dir(before, qpos, qvel, action, direction):
    v = (qpos[0] - before[0]) / 0.05
    return np.concatenate([[v], qpos[1:], qvel]), direction * v - 0.05 * np.sum(action**2)


def cheetah_vel(before, qpos, qvel, action, velocity):
    v = (qpos[0] - before[0]) / 0.05
    return np.concatenate([[v], qpos[1:], qvel]), -abs(v - velocity) - 0.05 * np.sum(action**2)


def ant_dir(before, qpos, qvel, action, direction):
    v = (qpos[:2] - before[:2]) / 0.05
    return np.concatenate([v, qpos[2:], qvel]), np.dot(v, direction) - 0.5 * np.sum(action**2) + 1.0


def ant_goal(before, qpos, qvel, action, goal):
    return np.concatenate([qpos, qvel]), -np.sum(np.abs(qpos[:2] - goal)) - 0.1 * np.sum(action**2)


@pytest.mark.parametrize(
    ("family", "formula", "name", "value"),
    [
        (envs.HalfCheetahDir, cheetah_dir, "direction", 1.0),
        (envs.HalfCheetahDir, cheetah_dir, "direction", -1.0),
        (envs.HalfCheetahVel, cheetah_vel, "velocity", 0.0),
        (envs.HalfCheetahVel, cheetah_vel, "velocity", -0.7),
        (envs.AntDir, ant_dir, "direction", (1.0, 0.0)),
        (envs.AntDir, ant_dir, "direction", (-0.6, 0.8)),
        (envs.AntGoal, ant_goal, "goal", (0.02, -0.03)),  # near enough for both signs of the distance
        (envs.AntGoal, ant_goal, "goal", (-2.0, 1.5)),
    ],
)
def test_observation_and_reward_follow_the_formulas_on_raw_mujoco(family, formula, name, value):
    env = family()
    observation, _ = env.reset(seed=0, options={"task": {name: value}})
    assert env.task[name] == value
    model = xml_model(env)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    mujoco.mj_forward(model, data)
    expected, _ = formula(data.qpos, data.qpos, data.qvel, np.zeros(model.nu), value)
    np.testing.assert_array_equal(observation, expected.astype(np.float32))

    rng = np.random.default_rng(0)
    for step in range(1, 201):
        action = rng.uniform(-1.5, 1.5, model.nu).astype(np.float32)  # beyond the range: clamped, but paid for
        before = data.qpos.copy()
        data.ctrl[:] = action
        for _ in range(5):
            mujoco.mj_step(model, data)
        expected, reward = formula(before, data.qpos, data.qvel, action.astype(np.float64), value)
        observation, ours, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(observation, expected.astype(np.float32))
        assert ours == pytest.approx(reward, rel=1e-12, abs=1e-12)
        assert (terminated, truncated) == (False, step == 200)

    # A new episode begins at rest, also for the velocities that the last one left.
    observation, _ = env.reset()
    expected, _ = formula(env.data.qpos, env.data.qpos, env.data.qvel, np.zeros(model.nu), value)
    np.testing.assert_array_equal(observation, expected.astype(np.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_physics_does_not_depend_on_the_goal(family):
    plain = (envs.Ant if issubclass(family, envs.Ant) else envs.HalfCheetah)()
    physics = {"mass_scale": 1.75, "damping_scale": 0.25}
    env = family(split="extreme")
    goals = [dict(env.tasks[index].sample(np.random.default_rng(0))) for index in (0, -1)]
    for goal in goals:
        env.reset(seed=3, options={"task": goal | physics})
        plain.reset(seed=3, options={"task": physics})
        for k in range(20):
            action = np.sin(np.arange(plain.model.nu) + k)
            env.step(action)
            plain.step(action)
        np.testing.assert_array_equal(env.data.qpos, plain.data.qpos)
        np.testing.assert_array_equal(env.model.body_mass, plain.model.body_mass)


def test_ant_forward_is_ant_with_another_price_of_action():
    env, plain = envs.AntDir(), envs.Ant(ctrl_cost_weight=0.5)
    env.reset(seed=0, options={"task": {}})
    plain.reset(seed=0, options={"task": {}})
    action = np.linspace(-1, 1, 8, dtype=np.float32)
    assert [env.step(action)[1] for _ in range(10)] == pytest.approx([plain.step(action)[1] for _ in range(10)])


@pytest.mark.parametrize("family", [envs.AntDir, envs.AntGoal])
def test_ants_reward_weights_are_arguments(family):
    default = family(max_steps=5)
    other = family(max_steps=5, ctrl_cost_weight=0.25, healthy_reward=0.7)
    action = np.full(8, 0.5, dtype=np.float32)  # |a|^2 = 2
    cost, bonus = (0.5, 1.0) if family is envs.AntDir else (0.1, 0.0)
    for env in (default, other):
        env.reset(seed=0, options={"task": {}})
    difference = other.step(action)[1] - default.step(action)[1]
    assert difference == pytest.approx(2 * (cost - 0.25) + 0.7 - bonus)


def test_reference_physics_takes_both_velocities_from_the_body_frame():
    env = envs.AntDir(reference_physics=True, direction=(0.0, 1.0))
    env.reset(seed=0)
    action = np.linspace(-1, 1, 8, dtype=np.float32)
    for _ in range(3):
        before = env.data.xpos[1, :2].copy()
        observation, reward, *_ = env.step(action)
        velocity = (env.data.xpos[1, :2] - before) / 0.05
        np.testing.assert_array_equal(observation[:2], velocity.astype(np.float32))
        assert reward == pytest.approx(velocity[1] - 0.5 * float(action.astype(float) @ action) + 1.0)
    assert (env.data.xpos[1, :2] != env.data.qpos[:2]).any()  # so it does matter which


def test_directions_are_scaled_to_length_one_and_read_back_the_same():
    for given in [(1, 1), (-0.3, 0.4), (0, -0.001), (1.0, 1e-12)]:
        env = envs.AntDir(direction=given)
        _, info = env.reset()
        x, y = info["task"]["direction_x"], info["task"]["direction_y"]
        assert math.hypot(x, y) == pytest.approx(1.0, abs=1e-9)
        assert math.atan2(y, x) == pytest.approx(math.atan2(given[1], given[0]))
        assert env.reset(options={"task": info["task"]})[1] == info


def test_the_oracle_sees_directions_without_a_jump():
    angles = np.radians(np.arange(0, 361))
    env = envs.AntDir(observe_task=True)
    seen = [env.reset(options={"task": {"direction": (np.cos(a), np.sin(a))}})[0][-2:] for a in angles]
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).max() < 0.02
    assert len({tuple(pair) for pair in np.round(seen[:-1], 5).tolist()}) == 360


def values(family, split, name):
    """The one value of a factor in each meta-task of a split."""
    allowed = [task[name] for task in family(split=split).tasks]
    assert {len(each) for each in allowed} == {1}
    return [each[0] for each in allowed]


def physics(family, split):
    return {(task["mass_scale"], task["damping_scale"]) for task in family(split=split).tasks}


NEUTRAL = {((1.0,), (1.0,))}
MODERATE = {(mass, damping) for mass in ((0.4, 0.5), (1.5, 1.6)) for damping in ((0.4, 0.5), (1.5, 1.6))}
EXTREME = {((mass,), (damping,)) for mass in (0.25, 1.75) for damping in (0.25, 1.75)}


def test_splits_of_half_cheetah_dir():
    family = envs.HalfCheetahDir
    assert set(family.splits) == {"train", "moderate", "extreme"}
    assert values(family, "train", "direction") == [1.0, -1.0]
    assert values(family, "moderate", "direction") == values(family, "extreme", "direction") == [1.0] * 4 + [-1.0] * 4
    assert [physics(family, split) for split in family.splits] == [NEUTRAL, MODERATE, EXTREME]
    assert len(set(family(split="moderate").tasks)) == len(set(family(split="extreme").tasks)) == 8


def test_splits_of_half_cheetah_vel():
    family = envs.HalfCheetahVel
    assert set(family.splits) == {"train", "moderate", "extreme"}
    np.testing.assert_allclose(values(family, "train", "velocity"), np.linspace(0.0, 3.0, 16), atol=1e-15)
    np.testing.assert_allclose(values(family, "moderate", "velocity"), np.linspace(0.1, 2.9, 15))
    np.testing.assert_allclose(values(family, "extreme", "velocity"), [3.2, 3.4, 3.6, 3.8, 4.0])
    assert [physics(family, split) for split in family.splits] == [NEUTRAL] * 3


def on_circle(radius, start, step, count):
    angles = np.radians(start + step * np.arange(count))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_splits_of_ant_dir():
    family, h = envs.AntDir, math.sqrt(0.5)
    assert set(family.splits) == {"train", "moderate", "extreme"}
    train = [(1, 0), (h, h), (0, 1), (-h, h), (-1, 0), (-h, -h), (0, -1), (h, -h)]
    np.testing.assert_allclose(values(family, "train", "direction"), train, atol=1e-11)
    np.testing.assert_allclose(values(family, "moderate", "direction"), on_circle(1, 22.5, 45, 8), atol=1e-11)
    extreme = np.repeat(on_circle(1, 22.5, 90, 4), 4, axis=0)
    np.testing.assert_allclose(values(family, "extreme", "direction"), extreme, atol=1e-11)
    assert [physics(family, split) for split in family.splits] == [NEUTRAL, NEUTRAL, EXTREME]
    assert len(set(family(split="extreme").tasks)) == 16


def test_splits_of_ant_goal():
    family = envs.AntGoal
    assert set(family.splits) == {"train", "moderate", "extreme"}
    for split, radii, start in [("train", (1, 2, 3), 0), ("moderate", (1.5, 2.5), 22.5), ("extreme", (4,), 0)]:
        expected = np.concatenate([on_circle(radius, start, 45, 8) for radius in radii])
        np.testing.assert_allclose(values(family, split, "goal"), expected, atol=1e-11)
        assert physics(family, split) == NEUTRAL
