"""Bodies of the DeepMind Control Suite for skill discovery; they need the extra ``dm-control``.

The models are the suite's, of its tasks ``quadruped run`` and ``humanoid run``, stepped by MuJoCo itself. A step of the
environment is two control steps of the suite (an action repeat of 2, as in METRA and CSF).
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..tasks import Task
from .mujoco import SkillMujocoEnv

INSTALL = "pip install 'rllib-sami[dm-control]'"
MAX_ATTEMPTS = 10_000  # to find an initial state without contacts


def _xml_of(body: str) -> tuple[str | bytes, dict[str, Any]]:
    """Returns a body's XML and the files that it includes.

    Raises:
        ImportError: dm_control is missing; the message says how to install it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of GLFW without a display, which nothing here needs
            from dm_control.suite import common, humanoid, quadruped
    except ImportError as error:
        raise ImportError(
            f"{body.capitalize()} needs dm_control, which cannot be imported ({error}): {INSTALL}"
        ) from error
    if body == "quadruped":
        return quadruped.make_model(floor_size=200.0), common.ASSETS
    return humanoid.get_model_and_assets()


def spec_of(body: str) -> mujoco.MjSpec:
    """Returns a body's specification, which may be changed before it is compiled."""
    xml, assets = _xml_of(body)
    return mujoco.MjSpec.from_string(xml.decode() if isinstance(xml, bytes) else xml, include=assets)


@functools.cache
def _compile(body: str) -> mujoco.MjModel:
    """Compiles a body once per process; callers copy it."""
    return spec_of(body).compile()


class ControlSuiteEnv(SkillMujocoEnv):
    """A body of the suite, which observes its whole state: qpos, qvel and the activations of its actuators.

    Attributes:
        body: Name of the suite's domain.
    """

    body: ClassVar[str]
    reset_noise = 0.0
    num_coordinates = 2

    @classmethod
    def _body_spec(cls) -> mujoco.MjSpec:
        return spec_of(cls.body)

    @classmethod
    def _pristine_model(cls) -> mujoco.MjModel:
        return _compile(cls.body)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel, self.data.act

    def _begin_episode(self, task: Task) -> None:
        for _ in range(MAX_ATTEMPTS):
            mujoco.mj_resetData(self.model, self.data)
            self._draw_posture()
            mujoco.mj_forward(self.model, self.data)
            if self._settle():
                break
        self.x_velocity = self._velocity[0] = 0.0

    def _draw_posture(self) -> None:
        """Draws the initial positions of joints."""
        raise NotImplementedError

    def _settle(self) -> bool:
        """Makes the initial state one without contacts if it can; returns whether it is."""
        return self.data.ncon == 0

    def _reward(self) -> float:
        return self.x_velocity


class Quadruped(ControlSuiteEnv):
    """The suite's quadruped, which observes where it is and does not stop when it falls.

    It begins in a random orientation.

    Observation ``[57]``: qpos (23), qvel (22), activations (12), standardised. Action ``[12]``: yaw, lift and extension
    of front left, front right, back right and back left, within the suite's ranges. Reward: velocity along x, in m/s,
    which skill discovery does not use. dt = 0.04 s.
    """

    body = "quadruped"
    frame_skip = 8
    goal_range = 15.0
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (0.0,) * 57
    observation_std: ClassVar[Sequence[float]] = (1.0,) * 57
    # fmt: on
    camera: ClassVar[dict[str, float]] = {"distance": 8.0, "azimuth": 90.0, "elevation": -25.0}

    def _draw_posture(self) -> None:
        orientation = self.np_random.standard_normal(4)
        self.qpos[2], self.qpos[3:7] = 0.0, orientation / np.linalg.norm(orientation)

    def _settle(self) -> bool:
        while self.data.ncon:  # up from the floor by steps of 1 cm, as the suite does
            self.qpos[2] += 0.01
            mujoco.mj_forward(self.model, self.data)
        return True


class Humanoid(ControlSuiteEnv):
    """The suite's humanoid, which observes where it is and does not stop when it falls.

    It begins in a random posture.

    Observation ``[55]``: qpos (28), qvel (27), standardised. Action ``[21]`` in ±1: torques of its joints. Reward:
    velocity along x, in m/s, which skill discovery does not use. dt = 0.05 s.
    """

    body = "humanoid"
    frame_skip = 10
    goal_range = 10.0
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (0.0,) * 55
    observation_std: ClassVar[Sequence[float]] = (1.0,) * 55
    # fmt: on
    camera: ClassVar[dict[str, float]] = {"distance": 5.0, "azimuth": 90.0, "elevation": -20.0}

    def _draw_posture(self) -> None:
        model, rng = self.model, self.np_random
        for joint in range(model.njnt):
            at, (low, high) = model.jnt_qposadr[joint], model.jnt_range[joint]
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
                orientation = rng.uniform(size=4)  # not a uniform orientation, but the suite's
                self.qpos[at + 3 : at + 7] = orientation / np.linalg.norm(orientation)
            else:
                self.qpos[at] = rng.uniform(low, high)  # all of them are limited hinges
