"""The Panda arm, a table and a cube in PyBullet: scene and controller of panda-gym 3, without its layers.

Each simulation is a PyBullet client of its own and shares nothing with others in the same process.
"""

import contextlib
import functools
import inspect
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
OVERSAMPLING = 2  # of images, against jagged edges


class BulletClient:
    """A connection to PyBullet: the module's functions without ``physicsClientId``.

    ``pybullet_utils.bullet_client`` does the same, but prints a line for each connection.
    """

    def __init__(self) -> None:
        """Connects; raises ImportError, with the command that installs PyBullet, if it is missing."""
        try:
            import pybullet
        except ImportError as error:
            raise ImportError("The Panda environments need PyBullet: pip install 'rllib-sami[panda]'") from error
        self._module, self.client_id = pybullet, pybullet.connect(pybullet.DIRECT)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._module, name)
        is_function = inspect.isbuiltin(attribute)
        return functools.partial(attribute, physicsClientId=self.client_id) if is_function else attribute


class PandaSimulation:
    """Arm, table and cube; the same start and actions give exactly the same episode, whatever came before.

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

    def __init__(self, visible: bool = False):
        """Loads the scene.

        Args:
            visible: Whether images are needed; the physics is the same.

        Raises:
            ImportError: PyBullet is not installed.
        """
        self._bullet = bullet = BulletClient()
        self._disconnect = weakref.finalize(self, _disconnect, bullet)
        self._visible = visible
        self._start: tuple[Any, ...] | None = None
        self._actions: list[list[float]] = []
        bullet.setTimeStep(TIME_STEP)
        bullet.setGravity(0.0, 0.0, -9.81)

        import pybullet_data

        self._robot = bullet.loadURDF(
            os.path.join(pybullet_data.getDataPath(), "franka_panda", "panda.urdf"),
            basePosition=ROBOT_BASE,
            useFixedBase=True,
            flags=0 if visible else bullet.URDF_IGNORE_VISUAL_SHAPES,
        )
        for finger in FINGERS:
            self._set_friction(self._robot, finger, FINGER_FRICTION)
        self._create_body(self._shapes((6.0, 6.0, 0.02), (0.15, 0.15, 0.15, 1.0)), (0.0, 0.0, -0.41))
        self._table = self._create_body(self._shapes((1.1, 0.7, 0.4), (0.95, 0.95, 0.95, 1.0)), (-0.3, 0.0, -0.2))
        self._cube_shapes = self._shapes((EDGE,) * 3, (0.1, 0.9, 0.1, 1.0))
        self._cube = self._create_body(self._cube_shapes, (0.0, 0.0, EDGE / 2))
        if visible:  # the goal is a red ball without contacts
            colour = {"rgbaColor": (0.9, 0.1, 0.1, 1.0), "specularColor": (0.0,) * 3}
            ball = bullet.createVisualShape(bullet.GEOM_SPHERE, radius=0.012, **colour)
            self._goal = self._create_body((-1, ball), (0.0, 0.0, 0.0))

    def begin(
        self, cube_mass: float, table_friction: float, cube: Sequence[float], goal: Sequence[float] | None = None
    ) -> None:
        """Starts an episode: the arm in its neutral pose, everything at rest.

        Args:
            cube_mass: kg.
            table_friction: Coefficient of the table; a contact's is the product of those of both bodies.
            cube: Position of the cube's centre ``[3]``, m.
            goal: Position of the goal ``[3]``, m, for images.
        """
        bullet = self._bullet
        for joint, angle in zip(JOINTS, NEUTRAL_JOINTS, strict=True):
            bullet.resetJointState(self._robot, joint, angle)
        self._set_friction(self._table, -1, table_friction)
        # A new cube, since Bullet starts its solver from the last forces of a body's contacts, at their old friction.
        bullet.removeBody(self._cube)
        self._cube = self._create_body(self._cube_shapes, cube, cube_mass)
        if self._visible and goal is not None:
            bullet.resetBasePositionAndOrientation(self._goal, goal, UPRIGHT)
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
        bullet, robot = self._bullet, self._robot
        self._actions.append(move)
        (x, y, z), (dx, dy, dz, opening) = self.end_effector, move
        target = (x + dx, y + dy, max(0.0, z + dz))
        angles = bullet.calculateInverseKinematics(robot, END_EFFECTOR, target, DOWNWARDS)
        finger = (self.finger_width + opening) / 2
        bullet.setJointMotorControlArray(
            robot,
            JOINTS,
            bullet.POSITION_CONTROL,
            targetPositions=(*angles[:7], finger, finger),
            forces=MAX_FORCES,
        )
        step = bullet.stepSimulation
        for _ in range(SUBSTEPS):
            step()
        self._read()

    def _read(self) -> None:
        bullet, robot = self._bullet, self._robot
        link = bullet.getLinkState(robot, END_EFFECTOR, computeLinkVelocity=True)
        self.end_effector, self.end_effector_velocity = link[0], link[6]
        fingers = bullet.getJointStates(robot, FINGERS)
        self.finger_width = fingers[0][0] + fingers[1][0]
        self.cube, self.cube_rotation = bullet.getBasePositionAndOrientation(self._cube)
        self.cube_velocity, self.cube_angular_velocity = bullet.getBaseVelocity(self._cube)

    @property
    def cube_euler(self) -> Sequence[float]:
        """Orientation of the cube as Euler angles about x, y, z, rad."""
        return self._bullet.getEulerFromQuaternion(self.cube_rotation)

    def carries(self) -> bool:
        """Returns whether both fingers touch the cube and the table does not."""
        touching = self._bullet.getContactPoints
        return not touching(self._cube, self._table) and all(
            touching(self._cube, self._robot, -1, finger) for finger in FINGERS
        )

    def image(self, width: int, height: int) -> np.ndarray:
        """Returns an image ``[height, width, 3]`` uint8, drawn without a graphics card."""
        bullet = self._bullet
        view = bullet.computeViewMatrixFromYawPitchRoll(CAMERA_TARGET, **CAMERA)
        projection = bullet.computeProjectionMatrixFOV(45.0, width / height, 0.1, 10.0)
        n = OVERSAMPLING
        _, _, pixels, *_ = bullet.getCameraImage(
            *(n * width, n * height, view, projection),
            shadow=False,
            renderer=bullet.ER_TINY_RENDERER,
        )
        samples = np.asarray(pixels, dtype=np.uint8).reshape(height, n, width, n, 4)[..., :3]
        return samples.mean(axis=(1, 3)).round().astype(np.uint8)

    def close(self) -> None:
        """Ends the simulation; closing again is harmless."""
        self._disconnect()

    @property
    def closed(self) -> bool:
        """Whether the simulation has ended."""
        return not self._disconnect.alive

    def __reduce__(self) -> tuple[Any, ...]:
        return _repeat, (self._visible, self._start, self._actions)

    def _set_friction(self, body: int, link: int, friction: float) -> None:
        self._bullet.changeDynamics(body, link, lateralFriction=friction, spinningFriction=SPINNING_FRICTION)

    def _shapes(self, size: Sequence[float], colour: Sequence[float]) -> tuple[int, int]:
        """Creates a box's shapes for contacts and for images."""
        bullet, half = self._bullet, [length / 2 for length in size]
        contact = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half)
        if not self._visible:
            return contact, -1
        return contact, bullet.createVisualShape(
            bullet.GEOM_BOX, halfExtents=half, rgbaColor=colour, specularColor=(0.0,) * 3
        )

    def _create_body(self, shapes: tuple[int, int], position: Sequence[float], mass: float = 0.0) -> int:
        return self._bullet.createMultiBody(mass, *shapes, basePosition=position)


def _disconnect(bullet: BulletClient) -> None:
    with contextlib.suppress(bullet.error):  # at the end of the process PyBullet may be gone first
        bullet.disconnect()


def _repeat(visible: bool, start: tuple[Any, ...] | None, actions: list[list[float]]) -> PandaSimulation:
    """Returns a new simulation after the same episode so far."""
    simulation = PandaSimulation(visible)
    if start is not None:
        simulation.begin(*start)
        for action in actions:
            simulation._apply(action)
    return simulation
