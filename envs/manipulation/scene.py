"""OGBench's scene with four sub-tasks in a given order; it needs the extra ``ogbench``.

The model and its numbers are those of OGBench's ``scene-v0``, stepped by MuJoCo itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..factors import Factor
from ..mujoco.base import MujocoTaskEnv
from ..ordered import OrderedSubtasks
from ..tasks import Splits, Task
from .arm import Arm, about_z, load, yaw_of

PARTS = ("drawer", "window")  # what slides; a button locks each
WIDE_OPEN = np.array([-0.16, 0.2])  # of their joints, m
NEARLY = 0.04  # of a joint to wide open that counts as open, m
LOCKED, UNLOCKED = 1e6, 2.0  # damping of their joints, N s/m
RED, WHITE = (0.96, 0.26, 0.33, 1.0), (0.9, 0.9, 0.9, 1.0)  # what is locked, and what is not
PRESSED, DEEPEST = -0.02, -0.024  # of a button's joint: where it switches, and the end of its way, m
DRAWER = np.array([0.33, -0.41, 0.09])  # its middle where it is closed; it opens along y, m
IN_DRAWER = np.array([0.07, 0.06, 0.03])  # farthest from it that the middle of a cube between its walls is, m

ARM_LOW, ARM_HIGH = np.array([[0.25, -0.2, 0.2], [0.6, 0.2, 0.35]])  # of the gripper at the start, m
CUBE, CUBE_NOISE = np.array([0.35, 0.05]), 0.01  # x and y of the cube at the start, m
ON_TABLE = 0.02  # height of its middle, m
OPEN_NOISE = 0.01  # of drawer and window at the start, m
MIDDLE, UNIT = np.array([0.425, 0.0, 0.0]), 0.1  # of positions in observations, m

SUBTASKS = ("open drawer", "unlock window", "open window", "cube in drawer")
"""The sub-tasks in their order."""


def done(observations: np.ndarray) -> np.ndarray:
    """Returns which of the sub-tasks are done in a state, whatever came before it.

    Args:
        observations: ``[..., 22]``.

    Returns:
        A boolean for each sub-task, ``[..., 4]``.
    """
    cube, unlocked = MIDDLE + UNIT * observations[..., 11:14], observations[..., 17] > 0.0
    openings = np.abs(WIDE_OPEN) * (observations[..., 20:22] + 1.0) / 2.0
    drawer, window = np.moveaxis(openings >= np.abs(WIDE_OPEN) - NEARLY, -1, 0)
    from_drawer = cube - DRAWER - openings[..., :1] * [0.0, 1.0, 0.0]
    return np.stack([drawer, unlocked, window, (np.abs(from_drawer) <= IN_DRAWER).all(-1)], -1)


class Scene(MujocoTaskEnv):
    """An arm opens a drawer, unlocks and opens a window, and puts a cube into the drawer, in this order.

    Observation ``[22]``: position (3), yaw (2), velocities (4), closing (1) and its velocity (1) of the gripper,
    position (3) and yaw (2) of the cube, locks (2), buttons (2) and openings (2) of drawer and window. Action ``[5]``
    in ±1: displacement of the gripper along x, y and z in units of 5 cm, about z in 0.3 rad, and of its closing.
    Reward: sub-tasks that the step completed; each counts only once those before it do. dt = 0.05 s. The last sub-task
    ends the episode. The info of the last step has ``tasks_completed``, those that count, ``subtask_steps``, when
    each did, and ``is_success``.

    Attributes:
        arm: What moves.
        unlocked: Whether drawer and window are unlocked, ``[2]``.
        observation_names: What the numbers of an observation are.
    """

    factors: ClassVar[tuple[Factor, ...]] = ()
    splits: ClassVar[Splits] = {"train": ({},)}
    frame_skip: ClassVar[int] = 25
    default_max_steps: ClassVar[int] = 400
    observation_names: ClassVar[tuple[str, ...]] = (
        *("gripper's x", "gripper's y", "gripper's z", "cosine of the gripper's yaw", "sine of the gripper's yaw"),
        *("gripper's velocity along x", "along y", "along z", "about z"),
        *("gripper's closing", "velocity of the gripper's closing"),
        *("cube's x", "cube's y", "cube's z", "cosine of 4 times the cube's yaw", "sine of 4 times the cube's yaw"),
        *("drawer's lock", "window's lock", "drawer's button", "window's button", "drawer", "window"),
    )
    camera: ClassVar[Mapping[str, Any]] = {
        "type": mujoco.mjtCamera.mjCAMERA_FREE.value,
        "lookat": (0.3, 0.0, 0.12),
        "distance": 1.2,
        "azimuth": 180.0,
        "elevation": -38.0,
    }
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``MujocoTaskEnv`` for the arguments."""
        self._subtasks = OrderedSubtasks(SUBTASKS)
        self.unlocked, self._pressed = np.zeros((2, 2), bool)
        self._seen = np.zeros(len(self.observation_names))
        super().__init__(*args, **kwargs)

    def _pristine_model(self) -> mujoco.MjModel:
        return load().scene

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        data, model = self.data, self.model
        self.arm = Arm(model, data)
        cube, slides = model.joint("object_joint_0"), [model.joint(f"{part}_slide") for part in PARTS]
        self._cube_pose = data.qpos[cube.qposadr[0] :][:7]
        self._cube_turn = data.xmat[cube.bodyid[0]]
        self._slides = np.array([slide.qposadr[0] for slide in slides])
        self._slide_dofs = np.array([slide.dofadr[0] for slide in slides])
        self._buttons = np.array([model.joint(f"buttonbox_joint_{index}").qposadr[0] for index in range(2)])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the arm, which is found again."""
        return {**super().__getstate__(), "arm": None}

    def _build_spaces(self, bounds: Sequence[float], action_space: gymnasium.spaces.Box) -> None:
        super()._build_spaces(bounds, gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32))

    def _observed(self) -> tuple[np.ndarray, ...]:
        return (self._seen,)

    @property
    def cube(self) -> np.ndarray:
        """Position of the cube, ``[3]`` in m."""
        return self._cube_pose[:3]

    @property
    def cube_yaw(self) -> float:
        """Yaw of the cube, in rad."""
        return yaw_of(self._cube_turn)

    @property
    def openings(self) -> np.ndarray:
        """How far drawer and window are open, ``[2]``: 0 (closed) to 1 (wide open)."""
        return self.qpos[self._slides] / WIDE_OPEN

    def subtasks_done(self) -> np.ndarray:
        """Returns which sub-tasks are done now, whatever came before, ``[4]``."""
        return done(self._seen)

    @property
    def num_completed(self) -> int:
        """How many sub-tasks count in this episode."""
        return self._subtasks.num_done

    @property
    def tasks_completed(self) -> tuple[str, ...]:
        """Names of the sub-tasks that count in this episode, in their order."""
        return self._subtasks.done

    def arrange(
        self,
        gripper: np.ndarray,
        yaw: float,
        cube: np.ndarray,
        cube_yaw: float,
        unlocked: np.ndarray,
        openings: np.ndarray,
    ) -> np.ndarray:
        """Puts everything to its place, at rest; returns the observation.

        Args:
            gripper: Its position, ``[3]`` in m.
            yaw: Of the gripper, in rad.
            cube: x and y of the cube on the table, ``[2]`` in m.
            cube_yaw: Its yaw, in rad.
            unlocked: Whether drawer and window are unlocked, ``[2]``.
            openings: How far they are open, ``[2]``: 0 to 1.
        """
        mujoco.mj_resetData(self.model, self.data)
        self.arm.place(gripper, yaw)
        self._cube_pose[:3] = *cube, ON_TABLE
        mujoco.mju_mat2Quat(self._cube_pose[3:], about_z(cube_yaw).ravel())
        self.qpos[self._slides] = WIDE_OPEN * openings
        self.unlocked[:], self._pressed[:] = unlocked, False
        self._set_locks()
        mujoco.mj_forward(self.model, self.data)
        self._look()
        return self._observation()

    def walk(self, action: np.ndarray) -> np.ndarray:
        """Moves for one step, whether or not an episode is over; returns the observation."""
        self._advance(action)
        return self._observation()

    def _begin_episode(self, task: Task) -> None:
        rng = self.np_random
        self._subtasks.reset()
        self.arrange(
            gripper=rng.uniform(ARM_LOW, ARM_HIGH),
            yaw=rng.uniform(-np.pi, np.pi),
            cube=CUBE + rng.uniform(-CUBE_NOISE, CUBE_NOISE, 2),
            cube_yaw=rng.uniform(-np.pi, np.pi),
            unlocked=np.array([True, False]),
            openings=rng.uniform(0.0, OPEN_NOISE, 2) / np.abs(WIDE_OPEN),
        )

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.arm.command(action)
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        pressed = self.qpos[self._buttons] <= PRESSED
        switched = pressed & ~self._pressed
        self._pressed[:] = pressed
        if switched.any():
            self.unlocked ^= switched
            self._set_locks()
        mujoco.mj_forward(self.model, self.data)  # places of bodies date from the last stage of the step otherwise
        self._look()
        is_done = dict(zip(SUBTASKS, self.subtasks_done().tolist(), strict=True))
        return float(self._subtasks.count(is_done.__getitem__)), self._subtasks.all_done

    def _set_locks(self) -> None:
        """Locks and unlocks drawer and window, and colours their buttons and handles."""
        self.model.dof_damping[self._slide_dofs] = np.where(self.unlocked, UNLOCKED, LOCKED)
        for index, (part, unlocked) in enumerate(zip(PARTS, self.unlocked, strict=True)):
            for thing in (self.model.geom(f"btngeom_{index}"), self.model.material(f"{part}_handle")):
                thing.rgba = WHITE if unlocked else RED

    def _look(self) -> None:
        """Observes the state."""
        arm, seen = self.arm, self._seen
        seen[:3], seen[3:5] = (arm.position - MIDDLE) / UNIT, (np.cos(arm.yaw), np.sin(arm.yaw))
        seen[5:9], seen[9], seen[10] = arm.speed(), 2.0 * arm.closing - 1.0, arm.closing_speed
        angle = 4.0 * self.cube_yaw  # a quarter turn makes no difference
        seen[11:14], seen[14:16] = (self.cube - MIDDLE) / UNIT, (np.cos(angle), np.sin(angle))
        seen[16:18] = 2.0 * self.unlocked - 1.0
        seen[18:20] = 2.0 * self.qpos[self._buttons] / DEEPEST - 1.0
        seen[20:22] = 2.0 * self.openings - 1.0

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also tells the sub-tasks that were completed."""
        info = super().episode_info()
        return info if self._steps_left > 0 else info | self._subtasks.info()
