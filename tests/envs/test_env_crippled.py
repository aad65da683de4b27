"""Crippled robots: dead actuators, and geometry against models edited as XML and compiled."""

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest
from mujoco_models import xml_model

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import ASSETS

MODES = ("torque", "shrink", "amputate")
# Per part: actuators, dofs and geoms.
PARTS = {
    envs.CrippledAnt: [
        ((2, 3), (6, 7), ("left_leg_geom", "left_ankle_geom")),
        ((4, 5), (8, 9), ("right_leg_geom", "right_ankle_geom")),
        ((6, 7), (10, 11), ("back_leg_geom", "third_ankle_geom")),
        ((0, 1), (12, 13), ("rightback_leg_geom", "fourth_ankle_geom")),
    ],
    envs.CrippledHalfCheetah: [
        ((index,), (3 + index,), (name,))
        for index, name in enumerate(("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"))
    ],
    envs.CrippledHopper: [
        ((index,), (3 + index,), (f"{name}_geom",)) for index, name in enumerate(("thigh", "leg", "foot"))
    ],
    envs.CrippledWalker: [
        ((index,), (3 + index,), (f"{name}_geom",))
        for index, name in enumerate(("thigh", "leg", "foot", "thigh_left", "leg_left", "foot_left"))
    ],
}
EVERY_PART = [(family, part) for family, parts in PARTS.items() for part in range(len(parts))]
SETS = [
    (envs.CrippledAnt, (0, 3)),
    (envs.CrippledHalfCheetah, (1, 4)),
    (envs.CrippledHopper, (0, 1, 2)),
    (envs.CrippledWalker, (0, 1, 2)),
    (envs.CrippledWalker, (2, 4)),
]


def numbers(element, key, default="0 0 0"):
    return np.array(element.get(key, default).split(), dtype=float)


def text(values):
    return " ".join(repr(float(value)) for value in np.atleast_1d(values))


def edited(family, parts, keep_inertia):
    """The crippled robot's model: its XML with the parts' capsules halved towards their joint, compiled."""
    names = {name for part in parts for name in PARTS[family][part][2]}
    root = ElementTree.parse(ASSETS / family.xml).getroot()
    whole = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
    bodies = list(root.find("worldbody").iter("body"))
    for body in bodies:
        for geom in body.findall("geom"):
            if geom.get("name") not in names:
                continue
            joint = numbers(body.find("joint"), "pos")
            if geom.get("fromto"):  # both ends, then the thickness
                ends = numbers(geom, "fromto").reshape(2, 3)
                geom.set("fromto", text(((ends + joint) / 2).ravel()))
            else:
                geom.set("pos", text((numbers(geom, "pos") + joint) / 2))
            geom.set("size", text(numbers(geom, "size") / 2))
    compiler = root.find("compiler")
    total = compiler.attrib.pop("settotalmass", None)
    if keep_inertia:
        compiler.set("inertiafromgeom", "false")
        for index, body in enumerate(bodies, start=1):
            inertial = {"pos": whole.body_ipos, "quat": whole.body_iquat, "diaginertia": whole.body_inertia}
            inertial = {key: text(values[index]) for key, values in inertial.items()}
            body.append(ElementTree.Element("inertial", mass=text(whole.body_mass[index]), **inertial))
    elif total:  # the density that makes up the whole robot's mass
        plain = ElementTree.parse(ASSETS / family.xml).getroot()
        del plain.find("compiler").attrib["settotalmass"]
        plain = mujoco.MjModel.from_xml_string(ElementTree.tostring(plain, encoding="unicode"))
        root.find("default/geom").set("density", text(1000.0 * float(total) / plain.body_mass.sum()))
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


def arrays(model):
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def task(parts, **others):
    return {"task": {"cripple": parts, **others}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("family", "part"), EVERY_PART)
def test_dead_actuators_never_give_force_and_cost_nothing(family, part, mode):
    actuators, dofs, _ = PARTS[family][part]
    env = family(cripple_mode=mode)
    env.reset(seed=0, options=task(part))
    action = np.full(env.model.nu, 0.8, dtype=np.float32)
    alive = np.delete(np.arange(env.model.nu), actuators)
    for _ in range(5):
        _, reward, *_ = env.step(action)
        np.testing.assert_array_equal(env.data.actuator_force[list(actuators)], 0.0)
        np.testing.assert_array_equal(env.data.qfrc_actuator[list(dofs)], 0.0)
        assert (env.data.actuator_force[alive] != 0.0).all()
    weight, bonus = {envs.CrippledAnt: (0.01, 1.0), envs.CrippledHalfCheetah: (0.1, 0.0)}.get(family, (1e-3, 1.0))
    cost = weight * float(np.float32(0.8)) ** 2 * alive.size
    assert reward == pytest.approx(env.x_velocity + bonus - cost, abs=1e-12)


@pytest.mark.parametrize("mode", ["shrink", "amputate"])
@pytest.mark.parametrize(("family", "parts"), [(family, (part,)) for family, part in EVERY_PART] + SETS)
def test_geometry_equals_an_edited_and_compiled_model(family, parts, mode):
    env = family(cripple_mode=mode)
    for previous in ((), tuple(range(len(PARTS[family]))), parts):  # coming from other shapes changes nothing
        env.reset(seed=0, options=task(previous))
    expected = edited(family, parts, keep_inertia=mode == "shrink")
    ours = arrays(env.model)
    for name, values in arrays(expected).items():
        # Colours are ours; the addresses and texts of the XML are not physics.
        if name not in ("geom_rgba", "names", "paths", "names_map", "text_data", "tex_data"):
            np.testing.assert_allclose(ours[name], values, rtol=1e-9, atol=1e-9, err_msg=name)

    # And both move alike, contacts included.
    expected.stat.meaninertia = env.model.stat.meaninertia
    data = mujoco.MjData(expected)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    contacts = 0
    for _ in range(30):
        for simulated, model in ((env.data, env.model), (data, expected)):
            simulated.ctrl[:] = 0.1
            mujoco.mj_step(model, simulated, 3)
        contacts += env.data.ncon
        assert env.data.ncon == data.ncon
        np.testing.assert_allclose(env.data.qpos, data.qpos, rtol=1e-6, atol=1e-6)
        data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel  # so that differences do not grow
        data.qacc_warmstart[:] = env.data.qacc_warmstart
    assert contacts > 0


@pytest.mark.parametrize("mode", ["shrink", "amputate"])
@pytest.mark.parametrize(("family", "part"), EVERY_PART)
def test_a_crippled_part_is_half_as_large_and_starts_at_its_joint(family, part, mode):
    env = family(cripple_mode=mode)
    whole, crippled = [], []
    for kept, parts in ((whole, ()), (crippled, part)):
        env.reset(seed=0, options=task(parts))
        np.copyto(env.data.qpos, env.model.qpos0)
        mujoco.mj_forward(env.model, env.data)
        for name in PARTS[family][part][2]:
            geom = env.model.geom(name)
            axis = env.data.geom_xmat[geom.id].reshape(3, 3)[:, 2]
            centre, half = env.data.geom_xpos[geom.id].copy(), geom.size[1]
            anchor = env.data.xanchor[env.model.body_jntadr[geom.bodyid[0]]].copy()
            kept.append((geom.size[0], half, centre, anchor, (centre - half * axis, centre + half * axis)))
    for (radius, half, centre, anchor, ends), (thin, short, moved, same_anchor, near) in zip(
        whole, crippled, strict=True
    ):
        assert (thin, short) == pytest.approx((radius / 2, half / 2))
        np.testing.assert_allclose(anchor, same_anchor)
        np.testing.assert_allclose(moved - anchor, (centre - anchor) / 2, atol=1e-12)
        # The gap between the joint and the nearest end is half of what it was: none where there was none.
        gaps = [min(np.linalg.norm(end - anchor) for end in pair) for pair in (ends, near)]
        assert gaps[1] == pytest.approx(gaps[0] / 2, abs=1e-12)


def test_what_the_modes_do_to_the_mass():
    fresh = xml_model(envs.CrippledWalker)
    leg = [fresh.body(name).id for name in ("thigh", "leg", "foot")]
    others = [index for index in range(fresh.nbody) if index not in leg]
    for mode, factor in (("torque", 1.0), ("shrink", 1.0), ("amputate", 1 / 8)):
        env = envs.CrippledWalker(cripple_mode=mode)
        env.reset(options=task((0, 1, 2), mass_scale=1.6, damping_scale=0.5))
        np.testing.assert_allclose(env.model.body_mass[leg], 1.6 * factor * fresh.body_mass[leg])
        np.testing.assert_allclose(env.model.body_mass[others], 1.6 * fresh.body_mass[others])
        # Half as large: an eighth of the mass, a quarter of the squared distances.
        np.testing.assert_allclose(
            env.model.body_inertia[leg], 1.6 * factor ** (5 / 3) * fresh.body_inertia[leg], rtol=1e-6
        )
        np.testing.assert_allclose(env.model.dof_damping, 0.5 * fresh.dof_damping)


def test_an_amputated_cheetah_is_lighter():
    env = envs.CrippledHalfCheetah(cripple_mode="amputate")
    fresh = xml_model(envs.CrippledHalfCheetah)
    env.reset(options=task((0, 3)))
    lost = sum(fresh.body(name).mass[0] for name in ("bthigh", "fthigh"))
    assert env.model.body_mass.sum() == pytest.approx(14.0 - 7 / 8 * lost)
    assert env.model.body("torso").mass[0] == pytest.approx(fresh.body("torso").mass[0])


@pytest.mark.parametrize("family", PARTS)
def test_the_mass_scale_multiplies_every_body(family):
    env = family(cripple_mode="torque")
    fresh = xml_model(family)
    env.reset(options=task((), mass_scale=0.4, damping_scale=2.0))
    np.testing.assert_array_equal(env.model.body_mass, 0.4 * fresh.body_mass)
    np.testing.assert_array_equal(env.model.body_inertia, 0.4 * fresh.body_inertia)
    np.testing.assert_array_equal(env.model.dof_damping, 2.0 * fresh.dof_damping)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", PARTS)
def test_exactly_the_crippled_parts_are_red(family, mode):
    env = family(cripple_mode=mode)
    fresh = xml_model(family)
    for part in (0, 2):
        env.reset(options=task(part))
        changed = np.flatnonzero((env.model.geom_rgba != fresh.geom_rgba).any(axis=1))
        assert {env.model.geom(index).name for index in changed} == set(PARTS[family][part][2])
        red, green, blue, _ = env.model.geom_rgba[changed[0]]
        assert red > 0.7 > 0.2 > max(green, blue)


def test_the_usual_modes_are_the_authors():
    modes = {family: family().cripple_mode for family in PARTS}
    assert modes == {
        envs.CrippledAnt: "shrink",
        envs.CrippledHalfCheetah: "torque",
        envs.CrippledHopper: "torque",
        envs.CrippledWalker: "shrink",
    }


def test_a_crippled_robot_is_compiled_once_per_process(monkeypatch):
    one, other = envs.CrippledWalker(), envs.CrippledWalker()
    one.reset(options=task((1, 5)))
    monkeypatch.setattr(mujoco.MjSpec, "from_file", lambda path: pytest.fail("compiled again"))
    other.reset(options=task((1, 5), mass_scale=2.0))
    one.reset(options=task((1, 5)))
    np.testing.assert_array_equal(one.model.geom_size, other.model.geom_size)
    np.testing.assert_array_equal(2.0 * one.model.body_mass, other.model.body_mass)
