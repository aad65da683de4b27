"""Scales per part against models scaled by hand and recompiled ones, and the distribution they are drawn from."""

import hashlib

import mujoco
import numpy as np
import pytest
from mujoco_models import assert_same_accelerations, assert_same_arrays, float_arrays, xml_model

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import ASSETS

FAMILIES = [envs.HopperRandParams, envs.WalkerRandParams]
PARTS = {
    envs.HopperRandParams: ("thigh", "leg", "foot"),
    envs.WalkerRandParams: ("thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left"),
}


def some_task(family, seed=7):
    """Scales by the model's names, drawn here, and the same as a task."""
    rng, parts = np.random.default_rng(seed), PARTS[family]
    names = {
        "mass_scales": ["torso", *parts],
        "damping_scales": [f"{part}_joint" for part in parts],
        "friction_scales": ["floor", *(f"{part}_geom" for part in ("torso", *parts))],
    }
    scales = {factor: dict(zip(keys, rng.uniform(0.2, 4.0, len(keys)), strict=True)) for factor, keys in names.items()}
    return scales, {factor: tuple(values.values()) for factor, values in scales.items()}


def recompiled(family, scales):
    """The task's model, compiled from a specification with other densities, dampings and frictions."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / family.xml))
    for name, scale in scales["mass_scales"].items():
        for geom in spec.body(name).geoms:
            geom.density *= scale
    for name, scale in scales["damping_scales"].items():
        joint = spec.joint(name)
        joint.damping = np.array(joint.damping) * scale
    for name, scale in scales["friction_scales"].items():
        geom = spec.geom(name)
        geom.friction = np.array(geom.friction) * scale
    return spec.compile()


@pytest.mark.parametrize("family", FAMILIES)
def test_each_scale_acts_on_the_part_of_its_name_and_no_other(family):
    env = family()
    fresh = xml_model(family)
    scales, task = some_task(family)
    for _ in range(2):  # not scaled twice
        env.reset(seed=0, options={"task": task})
        model = env.model
        for name, scale in scales["mass_scales"].items():
            np.testing.assert_allclose(model.body(name).mass, scale * fresh.body(name).mass, rtol=1e-15)
            np.testing.assert_allclose(model.body(name).inertia, scale * fresh.body(name).inertia, rtol=1e-15)
        for name, scale in scales["damping_scales"].items():
            np.testing.assert_allclose(model.joint(name).damping, scale * fresh.joint(name).damping, rtol=1e-15)
        for name, scale in scales["friction_scales"].items():
            np.testing.assert_allclose(model.geom(name).friction, scale * fresh.geom(name).friction, rtol=1e-15)
        np.testing.assert_array_equal(model.dof_damping[:3], 0.0)
    # Every body but the world, every damped joint and every geom has a scale.
    sizes = [model.nbody - 1, np.count_nonzero(fresh.dof_damping), model.ngeom]
    assert [len(values) for values in task.values()] == sizes
    assert [len(factor.components) for factor in family.factors] == sizes


@pytest.mark.parametrize("family", FAMILIES)
def test_scaling_equals_a_recompiled_model_and_moves_alike(family):
    env = family()
    scales, task = some_task(family)
    env.reset(seed=0, options={"task": task})
    other = recompiled(family, scales)
    assert_same_arrays(env.model, other, float_arrays(other))
    assert_same_accelerations(env, other, 0.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_observation_and_reward_follow_the_formulas_on_raw_mujoco(family):
    env = family()
    scales, task = some_task(family, seed=1)
    observation, _ = env.reset(seed=0, options={"task": task})
    model = xml_model(family)
    for index in range(1, model.nbody):
        scale = scales["mass_scales"][model.body(index).name]
        model.body_mass[index] *= scale
        model.body_inertia[index] *= scale
    for name, scale in scales["damping_scales"].items():
        model.dof_damping[model.joint(name).dofadr[0]] *= scale
    for name, scale in scales["friction_scales"].items():
        model.geom(name).friction[:] *= scale
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    mujoco.mj_forward(model, data)
    np.testing.assert_array_equal(observation, np.concatenate([data.qpos[1:], data.qvel]).astype(np.float32))

    rng = np.random.default_rng(0)
    touched = 0
    for step in range(1, 201):
        action = rng.uniform(-1.5, 1.5, model.nu).astype(np.float32)
        x = data.qpos[0]
        data.ctrl[:] = action
        for _ in range(4):
            mujoco.mj_step(model, data)
        observation, reward, terminated, truncated, _ = env.step(action)
        expected = np.concatenate([data.qpos[1:], data.qvel.clip(-10, 10)])
        np.testing.assert_array_equal(observation, expected.astype(np.float32))
        velocity = (data.qpos[0] - x) / 0.008
        assert reward == pytest.approx(velocity + 1.0 - 1e-3 * float(np.sum(action.astype(float) ** 2)), rel=1e-12)
        assert (terminated, truncated) == (False, step == 200)
        for contact in env.data.contact:  # MuJoCo takes the larger friction of the two
            pair = [env.model.geom_friction[geom, 0] for geom in contact.geom]
            assert contact.friction[0] == pytest.approx(max(pair)) or contact.dim == 1
            touched += 1
    assert touched > 10


def test_reference_physics_leaves_inertias_and_what_follows_from_masses_alone():
    env = envs.HopperRandParams(reference_physics=True)
    _, task = some_task(envs.HopperRandParams)
    env.reset(seed=0, options={"task": task})
    fresh = xml_model(env)
    np.testing.assert_array_equal(env.model.body_mass[1:], fresh.body_mass[1:] * task["mass_scales"])
    for name in ("body_inertia", "body_invweight0", "dof_invweight0", "body_subtreemass"):
        np.testing.assert_array_equal(getattr(env.model, name), getattr(fresh, name))


@pytest.mark.parametrize("family", FAMILIES)
def test_splits_follow_the_law(family):
    assert {split: len(tasks) for split, tasks in family.splits.items()} == {"train": 40, "moderate": 10, "extreme": 10}
    drawn = {
        split: [task.sample(np.random.default_rng(0)) for task in family(split=split).tasks] for split in family.splits
    }
    assert len({task for tasks in drawn.values() for task in tasks}) == 60
    for name, base in [("mass_scales", 1.5), ("damping_scales", 1.3), ("friction_scales", 1.5)]:
        exponents = {split: np.log([task[name] for task in tasks]) / np.log(base) for split, tasks in drawn.items()}
        rounding = 0.01  # of scales to three decimals
        assert np.abs(exponents["train"]).max() < 3 + rounding
        assert np.abs(exponents["moderate"]).max() < 3 + rounding
        assert np.abs(exponents["extreme"]).min() > 3 - rounding
        assert np.abs(exponents["extreme"]).max() < 4 + rounding
        # Uniform on ±3: mean 0 and variance 3, within five standard errors; both ends are reached.
        train = exponents["train"]
        assert abs(train.mean()) < 5 * np.sqrt(3 / train.size)
        assert train.var() == pytest.approx(3.0, abs=5 * np.sqrt((81 / 5 - 9) / train.size))
        assert train.min() < -2.8
        assert train.max() > 2.8
        # And each component by itself, not all of them together.
        assert np.abs(np.corrcoef(train.T) - np.eye(train.shape[1])).max() < 0.6


def test_the_published_draws():
    """Other draws would be another benchmark: the numbers must not change with numpy or the code."""
    assert dict(envs.HopperRandParams.splits["train"][0]) == {
        "mass_scales": (1.051, 1.02, 2.689, 0.329),
        "damping_scales": (1.534, 2.088, 1.901),
        "friction_scales": (1.042, 2.429, 0.808, 0.35, 1.932),
    }
    digests = {
        family.__name__: hashlib.sha256(repr(sorted(family.splits.items())).encode()).hexdigest()[:16]
        for family in FAMILIES
    }
    assert digests == {"HopperRandParams": "f493c9a36ad7fa33", "WalkerRandParams": "7e75e4e8e827951e"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_oracle_sees_logarithms_of_order_one(family):
    for split, low, high in [("train", 0.0, 1.0), ("moderate", 0.0, 1.0), ("extreme", 1.0, 4 / 3)]:
        env = family(split=split, observe_task=True)
        width = sum(len(factor.components) for factor in family.factors)
        seen = np.abs([env.reset(seed=0 if k == 0 else None)[0][-width:] for k in range(env.num_tasks)])
        assert seen.shape == (env.num_tasks, width)
        assert seen.min() > low - 0.004
        assert seen.max() < high + 0.004
        assert seen.max() > 0.95 * high
