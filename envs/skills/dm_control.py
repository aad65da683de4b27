"""Bodies of the DeepMind Control Suite for skill discovery; they need the extra ``dm-control``.

The models are the suite's, of its tasks ``quadruped run`` and ``humanoid run``, stepped by MuJoCo itself. A step of the
environment is two control steps of the suite (an action repeat of 2, as in METRA and CSF).
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..models import model_folder
from ..tasks import Task
from .mujoco import SkillMujocoEnv

MAX_ATTEMPTS = 10_000  # to find an initial state without contacts
FLOOR = (100.0, 100.0, 0.5)  # half of its extent along x and y and the distance of its lines in m, for pictures
OF_OTHER_TASKS = ("wall_px", "wall_nx", "wall_py", "wall_ny", "terrain")  # geoms of the quadruped's model


def spec_of(body: str) -> mujoco.MjSpec:
    """Returns the specification of a body on a floor, as in the suite's task ``run``; it may be changed.

    Raises:
        MissingPackageError: dm_control is missing; the message says how to install it.
    """
    folder = model_folder("dm_control", "dm-control", body.capitalize())
    spec = mujoco.MjSpec.from_file(str(folder / "suite" / f"{body}.xml"))
    if body == "quadruped":
        for sensor in [one for one in spec.sensors if one.type == mujoco.mjtSensor.mjSENS_RANGEFINDER]:
            spec.delete(sensor)
        for name in OF_OTHER_TASKS:
            spec.delete(spec.geom(name))
        for rest in (spec.hfield("terrain"), spec.body("ball"), spec.site("target")):
            spec.delete(rest)
        spec.geom("floor").size = FLOOR
    return spec


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

    def _pristine_model(self) -> mujoco.MjModel:
        return _compile(self.body)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel, self.data.act

    def _begin_episode(self, task: Task) -> None:
        for _ in range(MAX_ATTEMPTS):
            mujoco.mj_resetData(self.model, self.data)
            self._draw_posture()
            if self._settle():
                break
        mujoco.mj_forward(self.model, self.data)
        self.x_velocity = self._velocity[0] = 0.0

    def _touches(self) -> bool:
        """Returns whether anything touches anything in the present posture."""
        mujoco.mj_fwdPosition(self.model, self.data)
        return self.data.ncon > 0

    def _draw_posture(self) -> None:
        """Draws the initial positions of joints."""
        raise NotImplementedError

    def _settle(self) -> bool:
        """Makes the initial state one without contacts if it can; returns whether it is."""
        return not self._touches()

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
    observation_mean: ClassVar[Sequence[float]] = (
        0.00631, -0.00909, 0.398, -0.00027, -0.0105, 0.00594, 0.00358, -3.22e-05, 0.0376, -0.00744, -0.0304,
        0.000325, 0.0378, -0.00712, -0.031, -0.00131, 0.0385, -0.00873, -0.0301, 0.000227, 0.0376, -0.00713,
        -0.0308, 0.00465, -0.00714, -0.24, -0.00128, -0.00629, -0.000364, 5.58e-05, 0.0194, -0.015, -0.0137,
        -0.000862, 0.0179, -0.013, -0.0134, 0.000996, 0.0175, -0.0122, -0.0165, -0.000281, 0.0211, -0.0142,
        -0.0181, 1.41e-05, 0.048, -0.000467, 0.000259, 0.0483, -0.000973, -0.0015, 0.0482, 0.000238, 0.000442,
        0.0482, -0.000889,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.383, 0.383, 0.218, 0.386, 0.593, 0.591, 0.388, 0.246, 0.222, 0.206, 0.237, 0.246, 0.223, 0.206, 0.238,
        0.247, 0.223, 0.205, 0.238, 0.246, 0.223, 0.205, 0.238, 0.489, 0.491, 0.542, 1.43, 1.42, 1.29, 3.45,
        2.49, 2.21, 2.83, 3.46, 2.49, 2.21, 2.83, 3.46, 2.49, 2.21, 2.83, 3.45, 2.49, 2.21, 2.83, 0.258, 0.27,
        0.206, 0.258, 0.271, 0.206, 0.258, 0.271, 0.206, 0.257, 0.271, 0.206,
    )
    # fmt: on
    camera: ClassVar[dict[str, float]] = {"distance": 6.0, "azimuth": 90.0, "elevation": -25.0}
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 25}  # type: ignore[misc]

    def _draw_posture(self) -> None:
        orientation = self.np_random.standard_normal(4)
        self.qpos[2], self.qpos[3:7] = 0.0, orientation / np.linalg.norm(orientation)

    def _settle(self) -> bool:
        while self._touches():  # up from the floor by steps of 1 cm, as the suite does
            self.qpos[2] += 0.01
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
    observation_mean: ClassVar[Sequence[float]] = (
        0.0258, -0.0759, 0.338, 0.425, 0.383, 0.235, 0.317, -0.0481, -0.163, -0.0214, -0.116, -0.123, -0.389,
        -1.48, -0.0662, 0.049, -0.12, -0.0367, -0.415, -1.43, -0.0607, -0.0169, -0.0132, -0.233, -0.197, 0.158,
        0.262, -0.231, 0.00137, -0.034, -0.534, -0.158, -0.209, 0.039, -0.0362, 0.255, -0.00388, -0.0229,
        0.0225, 0.0862, 0.0758, 0.174, 0.0847, -0.0364, 0.0706, 0.107, 0.0979, 0.184, -0.0367, 0.0653, 0.0398,
        -0.0487, -0.00645, -0.0413, -0.0845,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.26, 0.261, 0.392, 0.311, 0.329, 0.412, 0.377, 0.403, 0.474, 0.366, 0.198, 0.472, 0.627, 1.01, 0.701,
        0.733, 0.198, 0.446, 0.642, 1.02, 0.705, 0.742, 0.891, 0.762, 0.968, 0.897, 0.774, 0.972, 0.469, 0.47,
        1.23, 2.01, 2.59, 4.14, 4.14, 4.43, 3.53, 3.29, 4.04, 7.06, 12.3, 18.3, 19.2, 3.31, 4.01, 7.24, 13,
        18.7, 19.8, 8.22, 8.02, 15.2, 8.91, 8.62, 15.9,
    )
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
