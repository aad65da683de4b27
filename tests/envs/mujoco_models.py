"""MuJoCo models to compare environments with."""

import hashlib

import mujoco
import numpy as np

from rllib_sami.envs.mujoco.base import ASSETS


def xml_model(env):
    """The model of an environment, or of its class, as its XML has it."""
    return mujoco.MjModel.from_xml_path(str(ASSETS / env.xml))


def model_digest(model):
    """A hash of everything in a model."""
    buffer = np.empty(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return hashlib.sha256(buffer).hexdigest()


def float_arrays(model):
    """The names of a model's arrays of floats."""
    arrays = {name: getattr(model, name) for name in dir(model)}
    return [name for name, array in arrays.items() if isinstance(array, np.ndarray) and array.dtype == np.float64]


def assert_same_arrays(model, other, names, rtol=1e-9, atol=1e-12):
    for name in names:
        np.testing.assert_allclose(getattr(model, name), getattr(other, name), rtol=rtol, atol=atol, err_msg=name)


def assert_same_accelerations(env, other, control):
    """In the same state the same forces give the same accelerations."""
    data = mujoco.MjData(other)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    env.data.ctrl[:] = data.ctrl[:] = control
    mujoco.mj_forward(other, data)
    mujoco.mj_forward(env.model, env.data)
    np.testing.assert_allclose(env.data.qacc, data.qacc, rtol=1e-6, atol=1e-6)
