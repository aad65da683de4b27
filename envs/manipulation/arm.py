"""The arm of OGBench: a UR5e with a Robotiq gripper, whose gripper points downwards and is moved by displacements."""

import functools
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from ..models import model_folder

HOME = np.array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.0]) * np.pi  # rad, of the joints from which a start is looked for
LOW, HIGH = np.array([[0.25, -0.35, 0.02], [0.6, 0.35, 0.35]])  # where the gripper may be sent, m
STEP = np.array([0.05, 0.05, 0.05, 0.3, 1.0])  # of a full action: m, rad and share of the gripper's way
CLOSED = 0.8  # rad, of the gripper's driver where it is closed
TIP, FLANGE = "ur5e/robotiq/pinch", "ur5e/attachment_site"
DOWNWARDS = np.diag([1.0, -1.0, -1.0])  # orientation of the gripper at yaw 0


@dataclass(frozen=True)
class Compiled:
    """Models of OGBench; callers copy them.

    Attributes:
        scene: The arm with a cube, two buttons, a drawer and a window.
        arm: The arm alone, for inverse kinematics.
        to_flange: From the fingertips to the flange that carries the gripper, in the frame of the fingertips,
            ``[3]`` in m.
        turn_to_flange: Orientation of the flange in that frame, ``[3, 3]``.
    """

    scene: mujoco.MjModel
    arm: mujoco.MjModel
    to_flange: np.ndarray
    turn_to_flange: np.ndarray


@functools.cache
def load() -> Compiled:
    """Compiles the models once per process.

    Raises:
        MissingPackageError: OGBench is missing; the message says how to install it.
    """
    folder = model_folder("ogbench", "ogbench", "Scene")
    from ogbench.manipspace.envs.scene_env import SceneEnv  # late: an extra

    env = SceneEnv(env_type="scene", mode="data_collection", visualize_info=False)
    env.reset(seed=0)
    arm = folder / "manipspace" / "descriptions" / "universal_robots_ur5e" / "ur5e.xml"
    tip, flange = env.data.site(TIP), env.data.site(FLANGE)
    frame = tip.xmat.reshape(3, 3).T
    return Compiled(
        env.model,
        mujoco.MjModel.from_xml_path(str(arm)),
        frame @ (flange.xpos - tip.xpos),
        frame @ flange.xmat.reshape(3, 3),
    )


def about_z(angle: float) -> np.ndarray:
    """Returns the rotation about z by an angle in rad, ``[3, 3]``."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def yaw_of(matrix: np.ndarray) -> float:
    """Returns the yaw in rad of an orientation ``[9]``."""
    return float(np.arctan2(matrix[3], matrix[0]))


class Arm:
    """Commands the arm of a simulation, and tells where its gripper is.

    Attributes:
        position: Of the gripper's fingertips, ``[3]`` in m, a view.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        """Finds the arm in a simulation.

        Args:
            model: Of the scene.
            data: Its state.
        """
        from ogbench.manipspace.controllers import DiffIKController

        self._model, self._data = model, data
        self._tip = model.site(TIP).id
        self.position, self._orientation = data.site_xpos[self._tip], data.site_xmat[self._tip]
        joints = [joint for joint in map(model.joint, range(model.njnt)) if joint.name.startswith("ur5e/")]
        arm = [joint for joint in joints if "robotiq" not in joint.name]
        self._joints = np.array([joint.qposadr[0] for joint in arm])
        self._motors = np.array([model.actuator(joint.name.removesuffix("_joint")).id for joint in arm])
        self._gripper = model.actuator("ur5e/robotiq/fingers_actuator").id
        driver = model.joint("ur5e/robotiq/right_driver_joint")
        self._driver, self._driver_speed = driver.qposadr[0], driver.dofadr[0]
        self._speed = np.zeros(6)
        compiled = load()
        self._inverse: Any = DiffIKController(model=compiled.arm, sites=["attachment_site"])
        self._to_flange, self._turn_to_flange = compiled.to_flange, compiled.turn_to_flange

    @property
    def yaw(self) -> float:
        """Of the gripper, in rad."""
        return yaw_of(self._orientation)

    @property
    def closing(self) -> float:
        """How far the gripper is closed: 0 (open) to 1 (closed)."""
        return min(max(self._data.qpos[self._driver].item() / CLOSED, 0.0), 1.0)

    @property
    def closing_speed(self) -> float:
        """How fast the gripper closes, in 1/s."""
        return self._data.qvel[self._driver_speed].item() / CLOSED

    def speed(self) -> np.ndarray:
        """Returns velocities of the gripper: along x, y and z in m/s, about z in rad/s, ``[4]``."""
        site = mujoco.mjtObj.mjOBJ_SITE
        mujoco.mj_objectVelocity(self._model, self._data, site, self._tip, self._speed, 0)
        return self._speed[[3, 4, 5, 2]]

    def place(self, position: np.ndarray, yaw: float) -> None:
        """Moves the joints to where the gripper has a position in m, ``[3]``, and a yaw in rad."""
        self._data.qpos[self._joints] = self._solve(position, yaw, HOME)

    def command(self, action: np.ndarray) -> None:
        """Sends the gripper to where it is plus a displacement.

        Args:
            action: ``[5]`` in ±1: along x, y and z, about z, and closing the gripper; in units of ``STEP``.
        """
        moved = STEP * np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        position = np.clip(self.position + moved[:3], LOW, HIGH)
        now = self._data.qpos[self._joints]
        self._data.ctrl[self._motors] = self._solve(position, self.yaw + moved[3].item(), now)
        self._data.ctrl[self._gripper] = 255.0 * min(max(self.closing + moved[4].item(), 0.0), 1.0)

    def _solve(self, position: np.ndarray, yaw: float, start: np.ndarray) -> np.ndarray:
        """Returns angles of the joints ``[6]`` for a position and yaw of the gripper, near ``start``."""
        orientation, quaternion = about_z(yaw) @ DOWNWARDS, np.empty(4)
        mujoco.mju_mat2Quat(quaternion, (orientation @ self._turn_to_flange).ravel())
        return self._inverse.solve(pos=position + orientation @ self._to_flange, quat=quaternion, curr_qpos=start)
