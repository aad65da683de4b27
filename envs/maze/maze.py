"""A point mass in a maze, which is rewarded only at the goal."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_weight
from ..factors import Factor
from ..mujoco.base import MujocoTaskEnv
from ..tasks import Splits, Task
from . import layouts
from .layouts import Cell

# The point mass of gymnasium-robotics' PointMaze (and of D4RL's maze2d).
_POINT = """
<mujoco>
  <compiler inertiafromgeom="true" angle="radian"/>
  <option timestep="0.01" gravity="0 0 0" iterations="20" integrator="Euler"/>
  <default>
    <joint damping="1" limited="false"/>
    <geom friction=".5 .1 .1" density="1000" margin="0.002" condim="1" contype="1" conaffinity="1"/>
  </default>
  <visual><headlight ambient=".5 .5 .5"/></visual>
  <worldbody>
    <geom name="ground" type="plane" size="60 60 0.25" pos="0 0 -0.1" contype="0" conaffinity="0" rgba=".93 .93 .93 1"/>
    <body name="point">
      <geom name="point" type="sphere" size="0.1" contype="1" conaffinity="1" rgba=".2 .4 .75 1"/>
      <site name="point" size="0.2" rgba=".2 .4 .75 1"/>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
    </body>
  </worldbody>
  <actuator>
    <motor name="x" joint="x" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
    <motor name="y" joint="y" ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </actuator>
</mujoco>
"""
MAX_SPEED = 5.0  # cells/s along each axis
WALL_HEIGHT = 0.4


class Maze(MujocoTaskEnv):
    """A point mass that has to find the way to a goal, which it is not told.

    Observation ``[4]``: x and y of the point (from the middle of the maze, in units of ``scale`` cells), and its
    velocity in units of 10 cells/s. Action ``[2]`` in ±1: force along x and y. dt = 0.01 s; the point moves at most
    0.05 cells in a step. Reward: 100 where the point is within ``goal_radius`` of the goal, which ends the episode.
    The info of the last step has ``is_success``.

    A cell is ``(row, column)``, from the top left; the middle of cell (i, j) is at x = j, y = i.

    Attributes:
        layout: Where walls are, ``[rows, columns]``.
        start: The cell that episodes begin in.
        goal: The cell to get to.
        start_noise: Largest distance along each axis between the point and the middle of ``start`` at the beginning.
        scale: Cells that are one unit of the observation.
    """

    factors: ClassVar[tuple[Factor, ...]] = ()
    splits: ClassVar[Splits] = {"train": ({},)}
    frame_skip: ClassVar[int] = 1
    default_goal_radius: ClassVar[float] = 0.5
    start: ClassVar[Cell]
    goal: ClassVar[Cell]
    start_noise: ClassVar[float] = 0.2
    scale: ClassVar[float]
    drawing: ClassVar[str] = ""
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 100}  # type: ignore[misc]

    def __init__(self, *args: Any, goal_radius: float | None = None, goal_reward: float = 100.0, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            goal_radius: Distance at which the goal counts as reached, in cells; None: that of the maze.
            goal_reward: The reward at the goal.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        given = self.default_goal_radius if goal_radius is None else goal_radius
        self.goal_radius = check_weight("goal_radius", given)
        self.goal_reward = check_weight("goal_reward", goal_reward)
        self.is_success = False
        super().__init__(*args, **kwargs)
        self._centre = self._middle()

    @classmethod
    @functools.cache
    def layout(cls) -> np.ndarray:
        """Where walls are, ``[rows, columns]``."""
        return layouts.parse(cls.drawing)

    @classmethod
    def _middle(cls) -> np.ndarray:
        return (np.array(cls.layout().shape)[::-1] - 1) / 2.0

    @classmethod
    def places(cls, observations: np.ndarray) -> np.ndarray:
        """Returns x and y in cells, ``[..., 2]``, of observations ``[..., 2 or more]``."""
        return observations[..., :2] * cls.scale + cls._middle()

    @classmethod
    @functools.cache
    def _model(cls) -> mujoco.MjModel:
        spec, walls = mujoco.MjSpec.from_string(_POINT), cls.layout()
        half = WALL_HEIGHT / 2.0
        for row, column in np.argwhere(walls).tolist():
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, pos=[column, row, half], size=[0.5, 0.5, half], rgba=[0.45, 0.5, 0.6, 1]
            )
        row, column = cls.goal
        spec.worldbody.add_site(name="goal", pos=[column, row, 0.0], size=[0.2, 0.2, 0.2], rgba=[0.35, 0.65, 0.35, 1])
        return spec.compile()

    def _pristine_model(self) -> mujoco.MjModel:
        return self._model()

    @property
    def camera(self) -> Mapping[str, float]:  # type: ignore[override]
        """From above."""
        return {"distance": 1.3 * max(self.layout().shape), "azimuth": 90.0, "elevation": -89.9}

    @property
    def goal_coordinates(self) -> np.ndarray:
        """X and y of the goal, in cells."""
        return np.array(self.goal[::-1], float)

    @property
    def coordinates(self) -> np.ndarray:
        """Where the point is now: x and y in cells, ``[2]``."""
        return self.qpos

    def place(self, coordinates: np.ndarray) -> np.ndarray:
        """Puts the point to other coordinates, at rest; returns the observation."""
        self.qpos[:], self.qvel[:] = coordinates, 0.0
        mujoco.mj_forward(self.model, self.data)
        return self._observation()

    def walk(self, action: np.ndarray) -> np.ndarray:
        """Moves the point for one step, whether or not an episode is over; returns the observation."""
        self._advance(action)
        return self._observation()

    def _set_task(self, task: Task) -> None:
        """Does nothing: there is one task."""

    def _add_reset_noise(self) -> None:
        walls, middle = self.layout(), np.array(self.start[::-1], float)
        while True:  # wide noise may lead into a wall
            position = middle + self.np_random.uniform(-self.start_noise, self.start_noise, 2)
            column, row = np.rint(position).astype(int).tolist()
            if not walls[row, column]:
                break
        self.qpos[:] = position

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self.is_success = False

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.ctrl[:] = np.clip(action, -1.0, 1.0)
        self.qvel[:] = np.clip(self.qvel, -MAX_SPEED, MAX_SPEED)
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        x, y = self.qpos.tolist()
        row, column = self.goal
        self.is_success = (x - column) ** 2 + (y - row) ** 2 <= self.goal_radius**2
        return self.goal_reward * self.is_success, self.is_success

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel

    def _write_observation(self) -> None:
        self._buffer[:2] = (self.qpos - self._centre) / self.scale
        self._buffer[2:4] = self.qvel / 10.0

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``is_success``."""
        info = super().episode_info() | {"coordinates": self.coordinates.copy()}
        return info if self._steps_left > 0 else info | {"is_success": self.is_success}


class UMaze(Maze):
    """Round a corner: 6 cells to the goal, 150 steps at full speed."""

    drawing = layouts.U_MAZE
    start, goal, scale, default_max_steps = (1, 1), (3, 1), 2.5, 300


class Medium(Maze):
    """PointMaze's medium layout, from corner to corner."""

    drawing = layouts.MEDIUM_MAZE
    start, goal, scale, default_max_steps = (1, 1), (6, 6), 4.0, 500


class Large(Maze):
    """PointMaze's large layout, from corner to corner: 15 cells."""

    drawing = layouts.LARGE_MAZE
    start, goal, scale, default_max_steps = (1, 1), (7, 10), 6.0, 600


class Paper(Maze):
    """40 x 40 cells with random walls. It is as large as the maze of SkiMo's paper, with other walls.

    Episodes begin anywhere within two cells of the start, and end within two cells of the goal. The way between the
    two is 36 cells long (34 in the paper).
    """

    start, goal, scale, default_max_steps = (10, 24), (18, 8), 40.0, 2000
    start_noise, default_goal_radius = 2.0, 2.0

    @classmethod
    @functools.cache
    def layout(cls) -> np.ndarray:
        """Where walls are, ``[42, 42]``."""
        return layouts.random_walls(40, seed=3, keep=[cls.start, cls.goal])
