"""The Panda arm, a table and a cube in PyBullet: scene and controller of panda-gym 3, without its layers.

One simulation is one client of PyBullet, and shares nothing with others in the same process.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

SUBSTEPS = 20
TIME_STEP = 0.002  # s
EDGE = 0.04  # of the cube, m

ROBOT_BASE = (-0.6, 0.0, 0.0)
JOINTS = (0, 1, 2, 3, 4, 5, 6, 9, 10)  # seven of the arm, two fingers
NEUTRAL_JOINTS = (0.0, 0.41, 0.0, -1.85, 0.0, 2.26, 0.79, 0.0, 0.0)
MAX_FORCES = (87.0, 87.0, 87.0, 87.0, 12.0, 120.0, 120.0, 170.0, 170.0)  # Nm, N
FINGERS = (9, 10)
END_EFFECTOR = 11
DOWNWARDS = (1.0, 0.0, 0.0, 0.0)  # orientation of the end effector as a quaternion x, y, z, w
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
# Metres per unit of action: displacement of the end effector, change of the distance of the fingers.
ACTION_SCALE = np.array([0.05, 0.05, 0.05, 0.2], dtype=np.float32)

SPINNING_FRICTION = 0.001  # m, of fingers and table
FINGER_FRICTION = 1.0

CAMERA_TARGET = (-0.17, 0.0, 0.2)
CAMERA = {"distance": 1.2, "yaw": 60.0, "pitch": -25.0, "roll": 0.0, "upAxisIndex": 2}
OVERSAMPLING = 2  # of pictures, against jagged edges


def load_pybullet() -> Any:
    """Returns the module ``pybullet``; raises ImportError with the line that installs it."""
    try:
        import pybullet
    except ImportError as error:
        raise ImportError("The Panda environments need PyBullet: pip install 'rllib-sami[panda]'") from error
    return pybullet


class PandaSimulation:
    """Arm, table and cube; episodes are exact repetitions of each other, whatever came before.

    A copy (pickle, deepcopy) is a new simulation that repeats the episode so far.

    Attributes:
        end_effector: Position of the end effector, m.
        end_effector_velocity: Its velocity, m/s.
        finger_width: Distance of the fingers, m.
        cube: Position of the cube's centre, m.
        cube_rotation: Its orientation as a quaternion x, y, z, w.
        cube_velocity: Its velocity, m/s.
        cube_angular_velocity: Its angular velocity, rad/s.
    """

    end_effector: Sequence[float]
    end_effector_velocity: Sequence[float]
    finger_width: float
    cube: Sequence[float]
    cube_rotation: Sequence[float]
    cube_velocity: Sequence[float]
    cube_angular_velocity: Sequence[float]

    def __init__(self, visible: bool = False):
        """Loads the scene.

        Args:
            visible: Whether pictures are wanted; the physics is the same.

        Raises:
            ImportError: PyBullet is not installed.
        """
        self._bullet = bullet = load_pybullet()
        self._visible = visible
        self._start: tuple[Any, ...] | None = None
        self._actions: list[list[float]] = []
        self._client = client = bullet.connect(bullet.DIRECT)
        self._disconnect = weakref.finalize(self, _disconnect, bullet, client)
        bullet.setTimeStep(TIME_STEP, physicsClientId=client)
        bullet.setGravity(0.0, 0.0, -9.81, physicsClientId=client)

        import pybullet_data

        self._robot = bullet.loadURDF(
            os.path.join(pybullet_data.getDataPath(), "franka_panda", "panda.urdf"),
            basePosition=ROBOT_BASE,
            useFixedBase=True,
            flags=0 if visible else bullet.URDF_IGNORE_VISUAL_SHAPES,
            physicsClientId=client,
        )
        for finger in FINGERS:
            self._set_friction(self._robot, finger, FINGER_FRICTION)
        self._create_body(self._shapes((6.0, 6.0, 0.02), (0.15, 0.15, 0.15, 1.0)), (0.0, 0.0, -0.41))
        self._table = self._create_body(self._shapes((1.1, 0.7, 0.4), (0.95, 0.95, 0.95, 1.0)), (-0.3, 0.0, -0.2))
        self._cube_shapes = self._shapes((EDGE,) * 3, (0.1, 0.9, 0.1, 1.0))
        self._cube = self._create_body(self._cube_shapes, (0.0, 0.0, EDGE / 2))
        if visible:  # the goal is a red ball that touches nothing
            colour = {"rgbaColor": (0.9, 0.1, 0.1, 1.0), "specularColor": (0.0,) * 3}
            ball = bullet.createVisualShape(bullet.GEOM_SPHERE, radius=0.012, **colour, physicsClientId=client)
            self._goal = self._create_body((-1, ball), (0.0, 0.0, 0.0))

    def begin(
        self, cube_mass: float, table_friction: float, cube: Sequence[float], goal: Sequence[float] | None = None
    ) -> None:
        """Begins an episode: the arm in its neutral pose, everything at rest.

        Args:
            cube_mass: kg.
            table_friction: Coefficient of the table; that of a contact is the product of both bodies'.
            cube: Position of the cube's centre ``[3]``, m.
            goal: Position of the goal ``[3]``, m, for pictures.
        """
        bullet, client = self._bullet, self._client
        for joint, angle in zip(JOINTS, NEUTRAL_JOINTS, strict=True):
            bullet.resetJointState(self._robot, joint, angle, physicsClientId=client)
        self._set_friction(self._table, -1, table_friction)
        # A new cube, since contacts remember: Bullet starts its solver from their last forces, at their old friction.
        bullet.removeBody(self._cube, physicsClientId=client)
        self._cube = self._create_body(self._cube_shapes, cube, cube_mass)
        if self._visible and goal is not None:
            bullet.resetBasePositionAndOrientation(self._goal, goal, UPRIGHT, physicsClientId=client)
        self._start = (cube_mass, table_friction, cube, goal)
        self._actions = []
        self._read()

    def advance(self, action: np.ndarray) -> None:
        """Moves the end effector and the fingers for 20 steps of 2 ms.

        Args:
            action: ``[4]``, clipped to ±1: displacement along x, y, z, opening of the fingers.
        """
        self._apply((np.clip(action, -1.0, 1.0).astype(np.float32, copy=False) * ACTION_SCALE).tolist())

    def _apply(self, move: list[float]) -> None:
        bullet, client, robot = self._bullet, self._client, self._robot
        self._actions.append(move)
        (x, y, z), (dx, dy, dz, opening) = self.end_effector, move
        target = (x + dx, y + dy, max(0.0, z + dz))
        angles = bullet.calculateInverseKinematics(robot, END_EFFECTOR, target, DOWNWARDS, physicsClientId=client)
        finger = (self.finger_width + opening) / 2
        bullet.setJointMotorControlArray(
            robot,
            JOINTS,
            bullet.POSITION_CONTROL,
            targetPositions=(*angles[:7], finger, finger),
            forces=MAX_FORCES,
            physicsClientId=client,
        )
        step = bullet.stepSimulation
        for _ in range(SUBSTEPS):
            step(client)
        self._read()

    def _read(self) -> None:
        bullet, client, robot = self._bullet, self._client, self._robot
        link = bullet.getLinkState(robot, END_EFFECTOR, computeLinkVelocity=True, physicsClientId=client)
        self.end_effector, self.end_effector_velocity = link[0], link[6]
        fingers = bullet.getJointStates(robot, FINGERS, physicsClientId=client)
        self.finger_width = fingers[0][0] + fingers[1][0]
        self.cube, self.cube_rotation = bullet.getBasePositionAndOrientation(self._cube, physicsClientId=client)
        self.cube_velocity, self.cube_angular_velocity = bullet.getBaseVelocity(self._cube, physicsClientId=client)

    @property
    def cube_euler(self) -> Sequence[float]:
        """Orientation of the cube as Euler angles about x, y, z, rad."""
        return self._bullet.getEulerFromQuaternion(self.cube_rotation)

    def carries(self) -> bool:
        """Returns whether both fingers touch the cube and the table does not."""
        touching, client = self._bullet.getContactPoints, self._client
        return not touching(self._cube, self._table, physicsClientId=client) and all(
            touching(self._cube, self._robot, -1, finger, physicsClientId=client) for finger in FINGERS
        )

    def image(self, width: int, height: int) -> np.ndarray:
        """Returns a picture ``[height, width, 3]`` uint8, drawn without a graphics card."""
        bullet, client = self._bullet, self._client
        view = bullet.computeViewMatrixFromYawPitchRoll(CAMERA_TARGET, **CAMERA, physicsClientId=client)
        projection = bullet.computeProjectionMatrixFOV(45.0, width / height, 0.1, 10.0, physicsClientId=client)
        n = OVERSAMPLING
        _, _, pixels, *_ = bullet.getCameraImage(
            *(n * width, n * height, view, projection),
            shadow=False,
            renderer=bullet.ER_TINY_RENDERER,
            physicsClientId=client,
        )
        samples = np.asarray(pixels, dtype=np.uint8).reshape(height, n, width, n, 4)[..., :3]
        return samples.mean(axis=(1, 3)).round().astype(np.uint8)

    def close(self) -> None:
        """Ends the simulation; again is harmless."""
        self._disconnect()

    @property
    def closed(self) -> bool:
        """Whether the simulation has ended."""
        return not self._disconnect.alive

    def __reduce__(self) -> tuple[Any, ...]:
        return _repeat, (self._visible, self._start, self._actions)

    def _set_friction(self, body: int, link: int, friction: float) -> None:
        self._bullet.changeDynamics(
            body, link, lateralFriction=friction, spinningFriction=SPINNING_FRICTION, physicsClientId=self._client
        )

    def _shapes(self, size: Sequence[float], colour: Sequence[float]) -> tuple[int, int]:
        """Makes a box's shapes for contact and for pictures."""
        bullet, client, half = self._bullet, self._client, [length / 2 for length in size]
        contact = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half, physicsClientId=client)
        if not self._visible:
            return contact, -1
        return contact, bullet.createVisualShape(
            bullet.GEOM_BOX, halfExtents=half, rgbaColor=colour, specularColor=(0.0,) * 3, physicsClientId=client
        )

    def _create_body(self, shapes: tuple[int, int], position: Sequence[float], mass: float = 0.0) -> int:
        return self._bullet.createMultiBody(mass, *shapes, basePosition=position, physicsClientId=self._client)


def _disconnect(bullet: Any, client: int) -> None:
    with contextlib.suppress(bullet.error):  # at the end of the process PyBullet may be gone first
        bullet.disconnect(client)


def _repeat(visible: bool, start: tuple[Any, ...] | None, actions: list[list[float]]) -> PandaSimulation:
    """Returns a simulation in which the same has happened."""
    simulation = PandaSimulation(visible)
    if start is not None:
        simulation.begin(*start)
        for action in actions:
            simulation._apply(action)
    return simulation
