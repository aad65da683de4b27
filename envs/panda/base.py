"""A Panda arm moves a cube to a goal; the cube's mass and the table's friction differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..base import MetaTaskEnv
from ..checks import check_choice, check_count, check_switch
from ..factors import Factor
from ..tasks import Splits, Task, grid
from .simulation import EDGE, PandaSimulation
from .skills import REFERENCE_OFF_TABLE, CubeTrack, episode_skill, reference_episode_skill

SUCCESS_DISTANCE = 0.05  # m
RANGE = 0.15  # m, of the cube's and the goal's x and y
REWARD_TYPES = ("dense", "sparse")
OBSERVATION: Mapping[str, slice] = {
    "end_effector_position": slice(0, 3),
    "end_effector_velocity": slice(3, 6),
    "finger_width": slice(6, 7),
    "cube_position": slice(7, 10),
    "cube_rotation": slice(10, 13),
    "cube_velocity": slice(13, 16),
    "cube_angular_velocity": slice(16, 19),
    "achieved_goal": slice(19, 22),
    "desired_goal": slice(22, 25),
}
"""Where each part of an observation is."""


def is_success(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Returns whether cubes are at their goals, ``[...]`` bool.

    Args:
        achieved: Positions of the cube ``[..., 3]``, m.
        desired: Goals ``[..., 3]``, m.
    """
    return np.linalg.norm(np.subtract(achieved, desired), axis=-1) < SUCCESS_DISTANCE


def compute_reward(achieved: np.ndarray, desired: np.ndarray, reward_type: str = "dense") -> np.ndarray:
    """Returns the rewards ``[...]`` of cubes at ``achieved`` with goals at ``desired``, e.g. to relabel goals.

    Args:
        achieved: Positions of the cube ``[..., 3]``, m.
        desired: Goals ``[..., 3]``, m.
        reward_type: ``"dense"``, minus the distance in m, or ``"sparse"``, -1 for a distance above 0.05 m, else 0.

    Raises:
        ValueError: The type is unknown.
    """
    distance = np.linalg.norm(np.subtract(achieved, desired), axis=-1)
    check_choice("reward_type", reward_type, REWARD_TYPES)
    return -distance if reward_type == "dense" else np.where(distance > SUCCESS_DISTANCE, -1.0, 0.0)


@dataclass(frozen=True)
class FrictionFactor(Factor):
    """A coefficient of friction, 0 included; the oracle's feature is ``log((1 + value) / (1 + neutral)) / spread``."""

    closed: bool = True

    def _feature(self, number: float, neutral: float) -> float:
        return (math.log1p(number) - math.log1p(neutral)) / self.spread


# The grid is that of the authors' heat maps (confidence A, their own file). Which cell is in which split follows from
# their means per seed, which no other choice of cells reproduces.
FRICTIONS, MASSES = (0.1, 1.0, 5.0, 10.0, 30.0), (1.0, 5.0, 10.0, 30.0)
GRID = grid(table_friction=FRICTIONS, cube_mass=MASSES)


class PandaTaskEnv(MetaTaskEnv):
    """A Panda arm moves a cube of 4 cm to a goal: reward minus the distance between the two in m.

    Observation ``[25]``: see ``OBSERVATION``. Action ``[4]`` in ±1: displacement of the end effector in 5 cm, opening
    of the gripper in 20 cm. dt = 0.04 s. An episode terminates once the cube's centre is within 5 cm of the goal.
    The info of an episode's last step has ``is_success``, ``solved_start``, ``skill`` and ``reference_skill``.
    """

    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("cube_mass", 1.0, math.log(10.0), "kg", log=True),
        FrictionFactor("table_friction", 0.5, 2.0, "coefficient; the cube's is 0.5"),
    )
    splits: ClassVar[Splits] = {
        "train": (
            *grid(table_friction=[0.1], cube_mass=[1.0, 5.0, 10.0]),
            *grid(table_friction=[1.0, 5.0, 10.0], cube_mass=[1.0]),
        ),
        "moderate": grid(table_friction=[1.0, 5.0, 10.0], cube_mass=[5.0, 10.0]),
        "extreme": tuple(cell for cell in GRID if cell["table_friction"] == 30.0 or cell["cube_mass"] == 30.0),
        "grid": GRID,
    }
    default_max_steps = 50
    thread_safe = False
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 25}  # type: ignore[misc]

    def __init__(
        self,
        *args: Any,
        reward_type: str = "dense",
        reject_solved_starts: bool = True,
        width: int = 480,
        height: int = 480,
        **kwargs: Any,
    ):
        """Checks the arguments, then loads the scene.

        Args:
            *args: As for ``MetaTaskEnv``.
            reward_type: ``"dense"``, minus the distance of cube and goal in m, or ``"sparse"``, -1 for a distance
                above 0.05 m, else 0.
            reject_solved_starts: Draws cube and goal again if the start is already a success; False keeps these
                episodes (7.5 % of PandaPush's, over after one step) as the authors do.
            width: Width of rendered images in pixels.
            height: Height of rendered images in pixels.
            **kwargs: As for ``MetaTaskEnv``.

        Raises:
            ImportError: PyBullet is not installed.
        """
        super().__init__(*args, **kwargs)
        self.reward_type = check_choice("reward_type", reward_type, REWARD_TYPES)
        self.reject_solved_starts = check_switch("reject_solved_starts", reject_solved_starts)
        self._image_size = (check_count("width", width, 480), check_count("height", height, 480))
        self.goal: tuple[float, ...] = (0.0, 0.0, 0.0)
        self._solved = self._solved_start = False
        self._past: list[tuple[Sequence[float], Sequence[float], bool]] = []
        self.simulation = PandaSimulation(visible=self.render_mode is not None)
        size = OBSERVATION["desired_goal"].stop
        self._build_spaces([np.inf] * size, gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32))

    def _draw_goal(self) -> tuple[float, ...]:
        """Draws the goal ``[3]``, m, from ``self.np_random``."""
        raise NotImplementedError

    @property
    def track(self) -> CubeTrack:
        """The cube in this episode so far, from which ``skills.step_skills`` infers the skill of each step."""
        positions, rotations, carried = zip(*self._past, strict=True)
        return CubeTrack(np.array(positions), np.array(rotations), np.array(carried), EDGE)

    def _begin_episode(self, task: Task) -> None:
        while True:
            self.goal = self._draw_goal()
            cube = (*self.np_random.uniform(-RANGE, RANGE, 2).tolist(), EDGE / 2)
            self._solved_start = math.dist(cube, self.goal) < SUCCESS_DISTANCE
            if not (self._solved_start and self.reject_solved_starts):
                break
        if self.simulation.closed:
            self.simulation = PandaSimulation(visible=self.render_mode is not None)
        self.simulation.begin(task["cube_mass"], task["table_friction"], cube, self.goal)  # type: ignore[arg-type]
        self._past = []
        self._remember()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.simulation.advance(action)
        self._remember()
        distance = math.dist(self.simulation.cube, self.goal)
        self._solved = distance < SUCCESS_DISTANCE
        if self.reward_type == "dense":
            return -distance, self._solved
        return -1.0 if distance > SUCCESS_DISTANCE else 0.0, self._solved

    def _remember(self) -> None:
        simulation = self.simulation
        # Contacts are computed only if a skill may depend on them.
        carried = simulation.cube[2] > REFERENCE_OFF_TABLE and simulation.carries()
        self._past.append((simulation.cube, simulation.cube_rotation, carried))

    def _write_observation(self) -> None:
        now = self.simulation
        self._buffer[: self._observation_size] = (
            *now.end_effector,
            *now.end_effector_velocity,
            now.finger_width,
            *now.cube,
            *now.cube_euler,
            *now.cube_velocity,
            *now.cube_angular_velocity,
            *now.cube,
            *self.goal,
        )

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has the outcome of the episode."""
        info = super().episode_info()
        if self._steps_left > 0:
            return info
        track = self.track
        return info | {
            "is_success": self._solved,
            "solved_start": self._solved_start,
            "skill": episode_skill(track),
            "reference_skill": reference_episode_skill(track),
        }

    def _draw(self) -> np.ndarray:
        return self.simulation.image(*self._image_size)

    def close(self) -> None:
        """Ends the simulation; the next reset starts a new one."""
        self.simulation.close()
        self._steps_left = 0


class PandaPush(PandaTaskEnv):
    """A Panda arm pushes a cube to a goal on the table: reward minus the distance between the two in m.

    Everything else is as in ``PandaTaskEnv``. The gripper is free, so that the cube may be carried as well.
    """

    def _draw_goal(self) -> tuple[float, ...]:
        return (*self.np_random.uniform(-RANGE, RANGE, 2).tolist(), EDGE / 2)


class PandaPickAndPlace(PandaTaskEnv):
    """A Panda arm lifts a cube to a goal in the air: reward minus the distance between the two in m.

    Everything else is as in ``PandaTaskEnv``. Goals are 5 to 16 cm above a cube that lies on the table.
    """

    def _draw_goal(self) -> tuple[float, ...]:
        x, y = self.np_random.uniform(-RANGE, RANGE, 2).tolist()
        return x, y, EDGE / 2 + self.np_random.uniform(0.05, 0.16)
