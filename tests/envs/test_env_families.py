"""The MuJoCo families at a glance: sizes, timing, caps, weights, what they do when nothing is done."""

import mujoco
import numpy as np
import pytest

from rllib_sami import envs

# Observation, action, the action's limit, dt in s, usual cap.
TABLE = {
    "HalfCheetah": (18, 6, 1.0, 0.05, 1000),
    "CrippledHalfCheetah": (18, 6, 1.0, 0.05, 1000),
    "Ant": (28, 8, 1.0, 0.05, 1000),
    "CrippledAnt": (36, 8, 1.0, 0.05, 2000),
    "Hopper": (11, 3, 1.0, 0.008, 500),
    "CrippledHopper": (11, 3, 1.0, 0.008, 1000),
    "Walker": (17, 6, 1.0, 0.008, 2000),
    "CrippledWalker": (17, 6, 1.0, 0.008, 2000),
    "SlimHumanoid": (45, 17, 0.4, 0.015, 1000),
    "HumanoidStandup": (45, 17, 0.4, 0.015, 2000),
}


@pytest.mark.parametrize("name", TABLE)
def test_sizes_timing_and_caps(name):
    observation, action, limit, dt, cap = TABLE[name]
    env = envs.make(f"SaMI/{name}-v0")
    assert env.observation_space.shape == (observation,)
    assert env.observation_space.dtype == np.float32
    assert env.action_space.shape == (action,)
    np.testing.assert_array_equal(env.action_space.high, np.float32(limit))
    np.testing.assert_array_equal(env.action_space.low, -np.float32(limit))
    assert env.dt == pytest.approx(dt)
    assert env.metadata["render_fps"] == round(1 / dt)
    assert env.max_steps == cap
    assert env.reset(seed=0)[0].shape == (observation,)
    before = env.data.time
    env.step(env.action_space.low)
    assert env.data.time - before == pytest.approx(dt)


@pytest.mark.parametrize(
    ("family", "expected", "tolerance"),
    # Measured over 1000 steps elsewhere; the start is random.
    [
        (envs.Ant, 999, 20),
        (envs.HalfCheetah, 0, 2),
        (envs.Hopper, 946, 120),
        (envs.Walker, 963, 150),
        (envs.SlimHumanoid, -384, 80),
        (envs.HumanoidStandup, 29_800, 300),
    ],
)
def test_returns_of_doing_nothing(family, expected, tolerance):
    env = family(max_steps=1000)
    env.reset(seed=0, options={"task": {}})
    nothing = np.zeros(env.action_space.shape, dtype=np.float32)
    assert sum(env.step(nothing)[1] for _ in range(1000)) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("family", [envs.Hopper, envs.CrippledWalker])
def test_observed_speeds_are_clipped_and_true_ones_are_not(family):
    env = family()
    env.reset(seed=0, options={"task": {}})
    env.qvel[3:] = 30.0
    observation, reward, *_ = env.step(np.zeros(env.model.nu))
    qpos, qvel = env.data.qpos, env.data.qvel
    assert np.abs(qvel).max() > 11.0
    np.testing.assert_array_equal(observation, np.concatenate([qpos[1:], qvel.clip(-10, 10)]).astype(np.float32))
    env.qpos[0] += 1.0  # a metre in no time
    env.qvel[0] = 20.0
    before = env.qpos[0]
    _, reward, *_ = env.step(np.zeros(env.model.nu))
    assert reward == pytest.approx((env.qpos[0] - before) / 0.008 + 1.0)
    assert reward > 11.0


@pytest.mark.parametrize(
    ("family", "usual"),
    [(envs.Hopper, 0.1), (envs.CrippledHopper, 1e-3), (envs.Walker, 1e-3), (envs.CrippledWalker, 1e-3)],
)
def test_ctrl_cost_weights(family, usual):
    for arguments, weight in (({}, usual), ({"ctrl_cost_weight": 0.5}, 0.5)):
        env = family(**arguments)
        env.reset(seed=0, options={"task": {}})
        action = np.linspace(-1.0, 1.0, env.model.nu)
        _, reward, *_ = env.step(action)
        assert reward == pytest.approx(env.x_velocity + 1.0 - weight * np.sum(action**2))


def test_slim_humanoids_bonus_needs_the_torso_between_one_and_two_metres():
    env = envs.SlimHumanoid()
    env.reset(seed=0, options={"task": {}})
    assert env.model.qpos0[2] == 1.4
    for height, bonus in ((0.9, 0.0), (1.1, 5.0), (1.9, 5.0), (2.1, 0.0)):
        env.qpos[2], env.qvel[:] = height, 0.0
        _, reward, *_ = env.step(np.zeros(17))
        assert reward - 0.25 / 0.015 * env.x_velocity == pytest.approx(bonus)


def test_slim_humanoid_may_lie_at_the_start():
    env = envs.SlimHumanoid(model="humanoidstandup")
    assert env.model.qpos0[2] == pytest.approx(0.105)
    assert envs.SlimHumanoid(model="humanoid").model.qpos0[2] == 1.4


def test_impact_cost_of_standing_up():
    env, plain = envs.HumanoidStandup(impact_cost_weight=5e-7), envs.HumanoidStandup()
    greedy = envs.HumanoidStandup(impact_cost_weight=1.0)
    rng = np.random.default_rng(0)
    for one in (env, plain, greedy):
        one.reset(seed=0, options={"task": {}})
    impacts = []
    for _ in range(60):
        action = rng.uniform(-0.4, 0.4, 17)
        rewards = [one.step(action)[1] for one in (env, plain, greedy)]
        mujoco.mj_rnePostConstraint(plain.model, plain.data)
        impact = np.sum(plain.data.cfrc_ext**2)
        impacts.append(impact)
        assert rewards[1] - rewards[0] == pytest.approx(5e-7 * impact, abs=1e-12)
        assert rewards[1] - rewards[2] == pytest.approx(min(impact, 10.0))
    assert max(impacts) > 1000.0  # it lies on the floor


def test_crippled_ant_has_ants_reward_weights():
    env = envs.CrippledAnt(ctrl_cost_weight=0.5, healthy_reward=2.0, contact_cost_weight=5e-4)
    env.reset(seed=0, options={"task": {"cripple": 1}})
    touched = 0.0
    for _ in range(40):
        _, reward, *_ = env.step(np.ones(8))
        forces = np.sum(np.clip(env.data.cfrc_ext, -1, 1) ** 2)
        assert reward == pytest.approx(env.x_velocity - 0.5 * 6 + 2.0 - 5e-4 * forces)
        touched = max(touched, forces)
    assert touched > 1.0


def test_crippled_ant_observes_no_absolute_position():
    env = envs.CrippledAnt()
    observation, _ = env.reset(seed=0, options={"task": {}})
    env.qpos[:2] += 100.0
    env._write_observation()
    np.testing.assert_array_equal(env._buffer, observation)


def test_walkers_feet_differ_in_friction():
    model = envs.CrippledWalker().model
    assert model.geom("foot_geom").friction[0] == 0.9
    assert model.geom("foot_left_geom").friction[0] == 1.9
