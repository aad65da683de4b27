"""The hand of the kitchen's robot: actions that bring it to a pose."""

from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from .simulation import INITIAL_POSITION, MAX_SPEED, FrankaKitchen

NUM_ARM = 7  # joints of the arm, without fingers
MOST_DISPLACEMENT, MOST_TURN, MOST_JOINT_STEP = 0.04, 0.1, 0.075  # m, rad and rad in a step
DAMPING = 1e-3  # of the least squares
TOWARDS_START = 0.1  # share of the way to the initial position that joints go where this moves no hand
MARGIN = 0.02  # to the limits of joints, rad
# Columns: the hand's axes in the world where it points ahead (+y) and its fingers open sideways (x).
AHEAD = Rotation.from_matrix([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Pose:
    """Where the hand should be.

    Attributes:
        position: Of the site ``end_effector``, between the fingers, ``[3]`` in m. The tips of fingers are 4.5 cm ahead.
        yaw: Turn about the vertical from straight ahead, in rad; to the left is positive.
        pitch: Turn up from straight ahead, in rad.
        closed: Whether the fingers close.
    """

    position: np.ndarray
    yaw: float = 0.0
    pitch: float = 0.0
    closed: bool = True

    @property
    def rotation(self) -> Rotation:
        """Orientation of the hand in the world."""
        return Rotation.from_euler("ZX", [self.yaw, self.pitch]) * AHEAD


class Hand:
    """Reads where the hand and the things around it are, and computes actions.

    The least squares of a step's displacement and turn, damped, give the joints' displacements; joints at their limits
    are left out. A position controller with damping gets only a share of the way to its target within a step, and holds
    the arm's weight by being off its target: actions allow for both.

    Args:
        env: The kitchen; its simulator is read, never changed.
        turn_weight: What a rad counts beside a m.
    """

    def __init__(self, env: FrankaKitchen, turn_weight: float = 0.3):
        self._env, self._model, self._data = env, env.model, env.data
        self._site = env.model.site("end_effector").id
        self._weights = np.array([1.0] * 3 + [turn_weight] * 3)
        allowed = np.stack([env.model.jnt_range[:NUM_ARM], env.limits.position[:NUM_ARM]])
        self._low, self._high = allowed[..., 0].max(0) + MARGIN, allowed[..., 1].min(0) - MARGIN
        self._stiffness = env.model.actuator_gainprm[:NUM_ARM, 0]
        self._share = 1.0 - np.exp(-env.dt * self._stiffness / env.model.dof_damping[:NUM_ARM])
        self._start = np.array(INITIAL_POSITION[:NUM_ARM])
        self._jacobian = np.zeros((6, env.model.nv))

    @property
    def position(self) -> np.ndarray:
        """Where the hand is, ``[3]`` in m."""
        return self._data.site_xpos[self._site].copy()

    def site(self, name: str) -> np.ndarray:
        """Returns where a site of the model is now, ``[3]`` in m."""
        return self._data.site(name).xpos.copy()

    def body(self, name: str) -> np.ndarray:
        """Returns where a body of the model is now, ``[3]`` in m."""
        return self._data.body(name).xpos.copy()

    def joint(self, name: str) -> float:
        """Returns the position of a joint of the model, in rad or m."""
        return float(self._data.joint(name).qpos[0])

    @property
    def from_start(self) -> float:
        """How far the arm's joints are from where they are initially, at most, in rad."""
        return float(np.abs(self._start - self._data.qpos[:NUM_ARM]).max())

    def action(self, pose: Pose | None) -> np.ndarray:
        """Returns the action ``[9]`` that brings the hand nearer to a pose; None: the arm nearer to its initial one."""
        if pose is None:
            moved, closed = self._start - self._data.qpos[:NUM_ARM], True
        else:
            moved, closed = self._towards(pose), pose.closed
        moved *= min(1.0, MOST_JOINT_STEP / max(np.abs(moved).max(), 1e-9))
        target = moved / self._share + self._data.qfrc_bias[:NUM_ARM] / self._stiffness
        arm = target / (MAX_SPEED * self._env.dt)
        return np.clip([*arm, *[-1.0 if closed else 1.0] * 2], -1.0, 1.0)

    def _towards(self, pose: Pose) -> np.ndarray:
        """Returns displacements of the arm's joints ``[7]`` that bring the hand nearer to a pose."""
        now = Rotation.from_matrix(self._data.site_xmat[self._site].reshape(3, 3))
        step = _at_most(pose.position - self.position, MOST_DISPLACEMENT)
        turn = _at_most((pose.rotation * now.inv()).as_rotvec(), MOST_TURN)
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
        return self._joint_step(self._weights * np.concatenate([step, turn]))

    def _joint_step(self, wanted: np.ndarray) -> np.ndarray:
        """Returns displacements of the arm's joints ``[7]`` for a weighted displacement and turn ``[6]``."""
        jacobian = self._weights[:, None] * self._jacobian[:, :NUM_ARM]
        angles = self._data.qpos[:NUM_ARM]
        low, high = np.minimum(self._low - angles, 0.0), np.maximum(self._high - angles, 0.0)
        towards_start = TOWARDS_START * (self._start - angles)
        free, moved = np.ones(NUM_ARM, bool), np.zeros(NUM_ARM)
        while free.any():
            part = jacobian[:, free]
            inverse = part.T @ np.linalg.inv(part @ part.T + DAMPING * np.eye(6))
            left = wanted - jacobian[:, ~free] @ moved[~free]
            moved[free] = inverse @ left + (np.eye(part.shape[1]) - inverse @ part) @ towards_start[free]
            stopped = free & ((moved < low) | (moved > high))
            moved = np.clip(moved, low, high)
            if not stopped.any():
                break
            free &= ~stopped
        return moved


def _at_most(vector: np.ndarray, length: float) -> np.ndarray:
    """Returns the vector, shortened to a length if it is longer."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))
