"""The MuJoCo families against raw MuJoCo: formulas, task physics, restoration of the model."""

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest
from mujoco_models import assert_same_accelerations, assert_same_arrays, model_digest, xml_model

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import ASSETS

CRIPPLED = [envs.CrippledAnt, envs.CrippledHalfCheetah, envs.CrippledHopper, envs.CrippledWalker]
WHOLE = [envs.Ant, envs.HalfCheetah, envs.Hopper, envs.Walker, envs.SlimHumanoid, envs.HumanoidStandup]
COMPILED_ARRAYS = (
    *("body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "body_ipos", "body_iquat"),
    *("dof_invweight0", "dof_M0", "dof_damping", "dof_armature", "actuator_acc0", "jnt_stiffness"),
    *("geom_rbound", "geom_aabb", "geom_size", "geom_pos"),
)
FRONT, BACK = ("front_left_leg", "front_right_leg"), ("back_leg", "right_back_leg")


def raw_task_model(env, mass, damping):
    """The task's model by hand: leg by leg for Ant, all bodies else."""
    model = xml_model(env)
    if type(env) is envs.Ant:
        body_scale = np.array([1, 1] + [mass] * 6 + [1 / mass] * 6)
        dof_scale = np.array([1] * 6 + [damping] * 4 + [1 / damping] * 4)
    else:
        body_scale, dof_scale = np.full(model.nbody, mass), np.full(model.nv, damping)
    model.body_mass[:] = model.body_mass * body_scale
    model.body_inertia[:] = model.body_inertia * body_scale[:, None]
    model.dof_damping[:] = model.dof_damping * dof_scale
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def cheetah_formula(qpos, qvel, velocity, action):
    return np.concatenate([[velocity], qpos[1:], qvel]), velocity - 0.1 * np.sum(action**2)


def ant_formula(qpos, qvel, velocity, action):
    return np.concatenate([[velocity], qpos[2:], qvel]), velocity - 0.01 * np.sum(action**2) + 1.0


def crippled_ant_formula(qpos, qvel, velocity, action):
    w, x, y, z = qpos[3:7]
    rotation = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return np.concatenate([qpos[2:], qvel, rotation]), velocity - 0.01 * np.sum(action**2) + 1.0


def planar_formula(weight):
    def formula(qpos, qvel, velocity, action):
        return np.concatenate([qpos[1:], np.clip(qvel, -10, 10)]), velocity + 1.0 - weight * np.sum(action**2)

    return formula


def slim_humanoid_formula(qpos, qvel, velocity, action):
    upright = 1.0 <= qpos[2] <= 2.0
    return np.concatenate([qpos[2:], qvel]), 0.25 / 0.015 * velocity - 0.1 * np.sum(action**2) + 5.0 * upright


def standup_formula(qpos, qvel, velocity, action):
    return np.concatenate([qpos[2:], qvel]), qpos[2] / 0.003 - 0.1 * np.sum(action**2) + 1.0


@pytest.mark.parametrize(
    ("family", "formula", "steps", "dt", "parts", "dead"),
    [
        (envs.Ant, ant_formula, 5, 0.05, None, ()),
        (envs.CrippledAnt, crippled_ant_formula, 5, 0.05, (0, 3), (0, 1, 2, 3)),
        (envs.HalfCheetah, cheetah_formula, 5, 0.05, None, ()),
        (envs.CrippledHalfCheetah, cheetah_formula, 5, 0.05, (1, 4), (1, 4)),
        (envs.Hopper, planar_formula(0.1), 4, 0.008, None, ()),
        (envs.CrippledHopper, planar_formula(1e-3), 4, 0.008, (1,), (1,)),
        (envs.Walker, planar_formula(1e-3), 4, 0.008, None, ()),
        (envs.CrippledWalker, planar_formula(1e-3), 4, 0.008, (0, 1, 2), (0, 1, 2)),
        (envs.SlimHumanoid, slim_humanoid_formula, 5, 0.015, None, ()),
        (envs.HumanoidStandup, standup_formula, 5, 0.015, None, ()),
    ],
)
def test_observation_and_reward_follow_the_formulas_on_raw_mujoco(family, formula, steps, dt, parts, dead):
    env = family() if parts is None else family(cripple_mode="torque")
    task = {"mass_scale": 1.6, "damping_scale": 0.4, **({"cripple": parts} if parts else {})}
    observation, _ = env.reset(seed=0, options={"task": task})
    model = raw_task_model(env, 1.6, 0.4)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    mujoco.mj_forward(model, data)
    expected, _ = formula(data.qpos, data.qvel, 0.0, np.zeros(model.nu))
    np.testing.assert_allclose(observation, expected.astype(np.float32), rtol=1e-7, atol=1e-7)
    assert env.dt == pytest.approx(dt)

    rng = np.random.default_rng(0)
    paid = set()
    for _ in range(200):
        # Beyond the range: clamped, but paid for.
        action = (rng.uniform(-1.5, 1.5, model.nu) * env.action_space.high).astype(np.float32)
        applied = action.astype(np.float64)
        applied[list(dead)] = 0.0
        x = data.qpos[0]
        data.ctrl[:] = applied
        for _ in range(steps):
            mujoco.mj_step(model, data)
        expected, reward = formula(data.qpos, data.qvel, (data.qpos[0] - x) / dt, applied)
        observation, ours, _, _, _ = env.step(action)
        np.testing.assert_allclose(observation, expected.astype(np.float32), rtol=1e-7, atol=1e-7)
        assert ours == pytest.approx(reward, rel=1e-12, abs=1e-11)
        paid.add(1.0 <= data.qpos[2] <= 2.0)
    if family is envs.SlimHumanoid:
        assert paid == {True, False}  # it fell


def test_initial_states_have_the_published_noise():
    def draws(env, count=400):
        states = []
        for _ in range(count):
            env.reset()
            states.append(np.concatenate([env.data.qpos, env.data.qvel]))
        return np.array(states)

    cheetah = envs.HalfCheetah()
    cheetah.reset(seed=0)
    states = draws(cheetah) - np.concatenate([cheetah.model.qpos0, np.zeros(9)])
    np.testing.assert_allclose(states.std(axis=0), 0.001, rtol=0.2)
    assert np.abs(states.mean(axis=0)).max() < 0.0003

    ant = envs.Ant()
    ant.reset(seed=0)
    states = draws(ant)
    np.testing.assert_allclose(np.linalg.norm(states[:, 3:7], axis=1), 1.0, atol=1e-12)
    position = np.delete(states[:, :15] - ant.model.qpos0, range(3, 7), axis=1)
    assert -0.1 <= position.min() < -0.0985
    assert 0.0985 < position.max() <= 0.1
    np.testing.assert_allclose(position.std(axis=0), 0.1 / np.sqrt(3), rtol=0.15)
    np.testing.assert_allclose(states[:, 15:].std(axis=0), 0.1, rtol=0.2)
    # w = 1 ± 0.1 and x = ± 0.1 before normalisation
    assert 0.085 < np.abs(states[:, 4]).max() < 0.112

    for family, spread in ((envs.Hopper, 0.005), (envs.CrippledWalker, 0.005), (envs.HumanoidStandup, 0.01)):
        env = family()
        env.reset(seed=0)
        nq = env.model.nq
        noise = draws(env, 300) - np.concatenate([env.model.qpos0, np.zeros(env.model.nv)])
        if family is envs.HumanoidStandup:
            noise = np.delete(noise, range(3, 7), axis=1)  # the root's quaternion, made a unit one
            nq -= 4
        for part in (noise[:, :nq], noise[:, nq:]):
            assert -spread <= part.min() < -0.98 * spread
            assert 0.98 * spread < part.max() <= spread
            np.testing.assert_allclose(part.std(axis=0), spread / np.sqrt(3), rtol=0.15)


SCALES = [{"mass_scale": mass, "damping_scale": damping} for mass in (0.25, 1.7, 4.0) for damping in (0.3, 1.75)]


def crippling_tasks(family):
    """Each part alone, each with the first one, and none: two tasks per part."""
    parts = range(len(family.factors[-1].parts))
    alone = [{"mass_scale": 0.25, "cripple": part} for part in parts]
    return alone + [{"damping_scale": 1.75, "cripple": [(0, part)]} for part in parts[1:]] + [{"mass_scale": 4.0}]


@pytest.mark.parametrize(
    ("family", "arguments", "models"),
    [
        *((family, {"tasks": SCALES}, len(SCALES)) for family in WHOLE),
        *(
            (family, {"tasks": crippling_tasks(family), "cripple_mode": mode}, len(crippling_tasks(family)))
            for family in CRIPPLED
            for mode in ("torque", "shrink", "amputate")
        ),
        (envs.HalfCheetahDir, {"split": "extreme"}, 4),
        (envs.HalfCheetahVel, {"split": "extreme"}, 1),
        (envs.AntDir, {"split": "extreme"}, 4),
        (envs.AntGoal, {"split": "extreme"}, 1),
        (envs.HopperRandParams, {"split": "extreme"}, 10),
        (envs.WalkerRandParams, {"split": "extreme"}, 10),
        (envs.HalfCheetahFlipped, {"split": "extreme"}, 8),
    ],
)
def test_the_model_is_pristine_after_hundreds_of_task_changes(family, arguments, models):
    env = family(**arguments)
    neutral = {"task": {}}
    env.reset(seed=0, options=neutral)
    before, fresh = model_digest(env.model), xml_model(env)
    for name in env.task_arrays:
        np.testing.assert_array_equal(getattr(env.model, name), getattr(fresh, name))
    derived = ("body_invweight0", "dof_invweight0", "body_subtreemass", "dof_M0", "actuator_acc0")
    assert_same_arrays(env.model, fresh, derived, rtol=1e-12, atol=1e-15)

    digests = {}
    for index in np.random.default_rng(0).integers(env.num_tasks, size=300).tolist():
        env.reset(options={"task_id": index})
        if len(digests) < env.num_tasks or index == 0:
            assert digests.setdefault(index, model_digest(env.model)) == model_digest(env.model)
    assert len(digests) == env.num_tasks
    assert len(set(digests.values())) == models
    assert (before in digests.values()) == (models == 1)  # a goal alone leaves the model as it is
    env.reset(options=neutral)
    assert model_digest(env.model) == before


def test_the_same_task_twice_is_not_scaled_twice():
    env = envs.HalfCheetah()
    fresh = xml_model(env)
    for _ in range(3):
        env.reset(options={"task": {"mass_scale": 4.0, "damping_scale": 0.5}})
        np.testing.assert_array_equal(env.model.body_mass, 4.0 * fresh.body_mass)
        np.testing.assert_array_equal(env.model.body_inertia, 4.0 * fresh.body_inertia)
        np.testing.assert_array_equal(env.model.dof_damping, 0.5 * fresh.dof_damping)


def test_environments_do_not_share_a_model():
    one, other = envs.HalfCheetah(), envs.HalfCheetah()
    one.reset(options={"task": {"mass_scale": 4.0}})
    other.reset(options={"task": {}})
    assert one.model.body_mass.sum() == pytest.approx(4 * 14.0)
    assert other.model.body_mass.sum() == pytest.approx(14.0)


def recompiled(env, mass, damping):
    """The task's model from an edited XML: densities (total mass for the half cheetah) and joint dampings."""
    tree = ElementTree.parse(ASSETS / env.xml)
    root = tree.getroot()
    if isinstance(env, envs.Ant):
        for names, mass_factor, damping_factor in ((FRONT, mass, damping), (BACK, 1 / mass, 1 / damping)):
            for leg in root.iter("body"):
                if leg.get("name") in names:
                    for geom in leg.iter("geom"):
                        geom.set("density", repr(5.0 * mass_factor))
                    for joint in leg.iter("joint"):
                        joint.set("damping", repr(1.0 * damping_factor))
    else:
        if root.find("compiler").get("settotalmass"):
            root.find("compiler").set("settotalmass", repr(14.0 * mass))
        else:
            root.find("default/geom").set("density", repr(1000.0 * mass))
        for joint in root.iter("joint"):
            if joint.get("damping"):
                joint.set("damping", repr(float(joint.get("damping")) * damping))
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


@pytest.mark.parametrize("mass", [0.25, 1.75])
@pytest.mark.parametrize("family", WHOLE)
def test_scaling_equals_a_recompiled_model(family, mass):
    env = family()
    env.reset(seed=0, options={"task": {"mass_scale": mass, "damping_scale": 1.6}})
    other = recompiled(env, mass, 1.6)
    assert_same_arrays(env.model, other, COMPILED_ARRAYS)
    # The mean inertia only scales the solver's tolerance, and setting the task does not change it.
    other.stat.meaninertia = env.model.stat.meaninertia
    assert_same_accelerations(env, other, 0.3)


@pytest.mark.parametrize("dead", [(), (3,), (0, 3), (4, 5)])
def test_dead_joints_have_no_torque_cost_nothing_and_keep_their_spring(dead):
    env = envs.CrippledHalfCheetah()
    env.reset(seed=0, options={"task": {"cripple": dead}})
    action = np.linspace(-1.0, 1.0, 6, dtype=np.float32)
    _, reward, *_ = env.step(action)
    alive = [joint for joint in range(6) if joint not in dead]
    assert (env.data.actuator_force[list(dead)] == 0.0).all()
    np.testing.assert_allclose(env.data.actuator_force[alive], action[alive])
    assert reward == pytest.approx(env.x_velocity - 0.1 * float(np.sum(action[alive].astype(float) ** 2)))
    fresh = xml_model(env)
    np.testing.assert_array_equal(env.model.jnt_stiffness, fresh.jnt_stiffness)
    np.testing.assert_array_equal(env.model.dof_damping, fresh.dof_damping)
    # Seen in videos: exactly the parts behind the dead joints change colour.
    names = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
    changed = np.flatnonzero((env.model.geom_rgba != fresh.geom_rgba).any(axis=1))
    assert {env.model.geom(index).name for index in changed} == {names[joint] for joint in dead}


def test_published_splits_never_scale_a_crippled_robots_damping():
    env = envs.CrippledHalfCheetah()
    for _ in range(8):
        _, info = env.reset()
        assert info["task"]["damping_scale"] == 1.0
        assert sum(info["task"][f"cripple_{joint}"] for joint in range(6)) == 1.0


def test_reference_physics_scales_mass_alone():
    env = envs.HalfCheetah(reference_physics=True)
    env.reset(seed=0, options={"task": {"mass_scale": 0.25, "damping_scale": 1.5}})
    fresh = xml_model(env)
    np.testing.assert_array_equal(env.model.body_mass, 0.25 * fresh.body_mass)
    np.testing.assert_array_equal(env.model.dof_damping, 1.5 * fresh.dof_damping)
    for name in ("body_inertia", "body_invweight0", "dof_invweight0", "body_subtreemass"):
        np.testing.assert_array_equal(getattr(env.model, name), getattr(fresh, name))


def test_reference_physics_damps_ants_dofs_by_body_index():
    task = {"task": {"damping_scale": 2.0}}
    env = envs.Ant(reference_physics=True)
    env.reset(seed=0, options=task)
    np.testing.assert_array_equal(env.model.dof_damping, [0] * 6 + [2, 2] + [0.5] * 6)
    env = envs.Ant()
    env.reset(seed=0, options=task)
    np.testing.assert_array_equal(env.model.dof_damping, [0] * 6 + [2] * 4 + [0.5] * 4)


def test_reference_physics_reads_ants_velocity_from_the_body_frame():
    env = envs.Ant(reference_physics=True)
    env.reset(seed=0, options={"task": {}})
    np.testing.assert_array_equal(env.data.xpos[1], env.data.qpos[:3])  # up to date, also for the first image
    action = np.full(8, 0.7, dtype=np.float32)
    for _ in range(3):
        before = env.data.xpos[1, 0]
        observation, *_ = env.step(action)
        frame_velocity = (env.data.xpos[1, 0] - before) / 0.05
        assert observation[0] == np.float32(frame_velocity)
    assert env.data.xpos[1, 0] != env.data.qpos[0]  # so the two definitions do differ


def test_ants_reward_weights():
    weights = {"ctrl_cost_weight": 0.005, "healthy_reward": 0.05, "contact_cost_weight": 5e-4}
    env, plain = envs.Ant(**weights), envs.Ant()
    action = np.linspace(-1.0, 1.0, 8, dtype=np.float32)
    squared = float(np.sum(action.astype(float) ** 2))
    env.reset(seed=0, options={"task": {}})
    plain.reset(seed=0, options={"task": {}})
    touched = 0.0
    for _ in range(40):
        _, reward, *_ = env.step(action)
        _, plain_reward, *_ = plain.step(action)
        forces = np.sum(np.clip(env.data.cfrc_ext, -1, 1) ** 2)
        assert reward == pytest.approx(env.x_velocity - 0.005 * squared + 0.05 - 5e-4 * forces, abs=1e-12)
        assert plain_reward == pytest.approx(plain.x_velocity - 0.01 * squared + 1.0, abs=1e-12)
        touched = max(touched, forces)
    assert touched > 1.0  # the ant did land
