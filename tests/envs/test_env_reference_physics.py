"""``reference_physics``: the quirks of the authors' code, each against a calculation by hand, and only where wanted."""

import mujoco
import numpy as np
import pytest
from mujoco_models import xml_model

from rllib_sami import envs

SHRUNK = {"body_mass", "dof_damping", "geom_rgba", "geom_size"}


def changed(env):
    """Names of the model's arrays that are not as in the XML."""
    ours, whole = env.model, xml_model(env)
    names = [name for name in dir(whole) if isinstance(getattr(whole, name), np.ndarray)]
    return {name for name in names if not np.array_equal(getattr(ours, name), getattr(whole, name))}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (envs.CrippledAnt, SHRUNK),
        (envs.CrippledHalfCheetah, SHRUNK - {"geom_size"}),
        (envs.CrippledHopper, SHRUNK - {"geom_size"}),
        (envs.CrippledWalker, SHRUNK),
        (envs.Hopper, {"body_mass", "dof_damping"}),
        (envs.Walker, {"body_mass", "dof_damping"}),
        (envs.SlimHumanoid, {"body_mass", "dof_damping"}),
        (envs.HumanoidStandup, {"body_mass", "dof_damping"}),
    ],
)
def test_masses_are_scaled_alone_and_shrunk_geoms_keep_their_bounds(family, expected):
    env = family(reference_physics=True)
    task = {"mass_scale": 0.25, "damping_scale": 1.5, **({"cripple": 1} if "geom_rgba" in expected else {})}
    for _ in range(2):
        env.reset(seed=0, options={"task": task})
        assert changed(env) == expected
        np.testing.assert_array_equal(env.model.body_mass, 0.25 * xml_model(env).body_mass)
        np.testing.assert_array_equal(env.model.dof_damping, 1.5 * xml_model(env).dof_damping)
    env.reset(options={"task": {}})
    assert not changed(env)


@pytest.mark.parametrize(
    ("family", "parts", "geoms"),
    [
        (envs.CrippledAnt, (0,), (3, 4)),
        (envs.CrippledAnt, (1, 3), (6, 7, 12, 13)),
        (envs.CrippledAnt, (2,), (9, 10)),
        (envs.CrippledWalker, (0,), (2,)),
        (envs.CrippledWalker, (3, 4, 5), (5, 6, 7)),
    ],
)
def test_shrunk_geoms_are_halved_about_their_own_centres(family, parts, geoms):
    env, usual = family(reference_physics=True), family()
    whole = xml_model(env)
    for one in (env, usual):
        one.reset(seed=0, options={"task": {"cripple": parts}})
        one.data.qpos[:] = whole.qpos0
        mujoco.mj_forward(one.model, one.data)
    sizes = whole.geom_size.copy()
    sizes[list(geoms)] /= 2
    np.testing.assert_array_equal(env.model.geom_size, sizes)
    np.testing.assert_allclose(usual.model.geom_size, sizes, atol=1e-15)
    # Their copies of local positions from geom to geom would change nothing: MuJoCo does not read these.
    places = env.data.geom_xpos.copy()
    env.model.geom_pos[list(geoms[1:])] = env.model.geom_pos[geoms[0]]
    mujoco.mj_forward(env.model, env.data)
    np.testing.assert_array_equal(env.data.geom_xpos, places)
    assert (np.abs(usual.data.geom_xpos - places)[list(geoms)].max(axis=1) > 0.01).all()


def test_crippled_ant_observes_its_absolute_place():
    env = envs.CrippledAnt(reference_physics=True)
    observation, _ = env.reset(seed=0, options={"task": {"cripple": 2}})
    assert env.observation_space.shape == observation.shape == (41,)
    action = np.full(8, 0.7)
    for _ in range(3):
        before = env.data.xpos[1, 0]
        observation, reward, *_ = env.step(action)
        data = env.data
        expected = np.concatenate([data.qpos, data.qvel, data.xmat[1], data.xpos[1]])
        np.testing.assert_array_equal(observation, expected.astype(np.float32))
        assert reward == pytest.approx((data.xpos[1, 0] - before) / 0.05 - 0.01 * 6 * 0.49 + 1.0)
    w, x, y, z = data.qpos[3:7]
    assert observation[29] == pytest.approx(1 - 2 * (y * y + z * z), abs=0.02)  # row by row
    assert observation[30] == pytest.approx(2 * (x * y - w * z), abs=0.02)


@pytest.mark.parametrize(
    ("parts", "dead"),
    [((0,), (0,)), ((4,), (4,)), ((0, 3), (0, 3)), ((0, 1, 2), ()), ((3, 4, 5), ())],
)
def test_a_whole_leg_of_the_crippled_walker_keeps_its_torques(parts, dead):
    for env, none in (
        (envs.CrippledWalker(reference_physics=True), dead),
        (envs.CrippledWalker(), parts),
    ):
        env.reset(seed=0, options={"task": {"cripple": parts}})
        _, reward, *_ = env.step(np.full(6, 0.5))
        expected = np.full(6, 0.5)
        expected[list(none)] = 0.0
        np.testing.assert_array_equal(env.data.actuator_force, expected)
        np.testing.assert_array_equal(env.data.qfrc_actuator[3:], 100.0 * expected)
        assert reward == pytest.approx(env.x_velocity + 1.0 - 1e-3 * 0.25 * (6 - len(none)))
        assert (env.model.geom_rgba[[2 + part for part in parts]] == env.model.geom_rgba[2 + parts[0]]).all()
    assert envs.CrippledWalker(split="train").tasks[0]["cripple"] == ((0, 1, 2),)


def test_slim_humanoid_is_paid_for_the_speed_before_the_step():
    env, usual = envs.SlimHumanoid(reference_physics=True), envs.SlimHumanoid()
    rng = np.random.default_rng(0)
    for one in (env, usual):
        one.reset(seed=0, options={"task": {}})
    differences = []
    for _ in range(40):
        action = rng.uniform(-0.4, 0.4, 17)
        speed, x = env.data.qvel[0], usual.data.qpos[0]
        reward, usual_reward = env.step(action)[1], usual.step(action)[1]
        rest = -0.1 * np.sum(action**2) + 5.0 * (1.0 <= env.data.qpos[2] <= 2.0)
        assert reward == pytest.approx(0.25 / 0.015 * speed + rest)
        assert usual_reward == pytest.approx(0.25 / 0.015 * (usual.data.qpos[0] - x) / 0.015 + rest)
        differences.append(abs(reward - usual_reward))
    assert max(differences) > 0.1
    first, second = envs.SlimHumanoid(reference_physics=True), envs.SlimHumanoid(reference_physics=True)
    first.reset(seed=0)
    first.step(action)
    first.reset(seed=1)
    second.reset(seed=1)
    second.reset(seed=1)
    assert first.step(action)[1] == second.step(action)[1]  # nothing is left of an earlier episode


@pytest.mark.parametrize("family", [envs.Ant, envs.CrippledAnt])
def test_reference_physics_keeps_the_episode_length_of_ants(family):
    env = family(reference_physics=True, max_steps=30)
    env.reset(seed=0)
    ends = [env.step(np.zeros(8))[3] for _ in range(30)]
    assert ends == [False] * 29 + [True]


def test_what_reference_physics_does_not_change():
    for family in (envs.Hopper, envs.Walker, envs.HumanoidStandup):
        env, usual = family(reference_physics=True), family()
        rng = np.random.default_rng(0)
        one, other = (e.reset(seed=0, options={"task": {"damping_scale": 1.5}})[0] for e in (env, usual))
        np.testing.assert_array_equal(one, other)
        for _ in range(20):
            action = rng.uniform(env.action_space.low, env.action_space.high)
            one, other = env.step(action), usual.step(action)
            np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-5)
            assert one[1] == pytest.approx(other[1], rel=1e-5, abs=1e-5)
