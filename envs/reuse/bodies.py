"""Bodies that an encoder of a toy is reused on: a point mass with drag, and MuJoCo's planar robots.

Constants are those of the reference, as far as it has them.
"""

import functools
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..classic.drawing import Canvas
from ..factors import Factor
from ..mujoco.base import ASSETS, MujocoTaskEnv
from ..tasks import Splits, Task
from .families import Family, TaskFamilyEnv, both_signs, factors_of, splits_of
from .toy import POSITION_SCALE

DT, TIMESTEP = 0.05, 0.01  # seconds of a step, and of a step of the simulator
FORCE, DRAG = 15.0, (2.0, 5.0)  # of the point mass, per unit of mass: m/s² and 1/s
# The joints that quantities are read from: positions and velocities.
POSITIONS = {"goal": "rootx", "height": "rootz", "stand": "rooty"}
VELOCITIES = {"velocity": "rootx", "rise": "rootz", "turn": "rooty"}


def grid_of(families: tuple[Family, ...]) -> tuple[dict[str, Any], ...]:
    """Returns three tasks of each family of goals and velocities, which lie at fixed shares of its range."""
    shares = {"goal": (0.3, 0.5, 0.9), "velocity": (0.1, 0.5, 0.9)}
    return tuple(
        {family.quantity: round(family.sign * (family.low + share * (family.high - family.low)), 4)}
        for family in families
        for share in shares.get(family.quantity, ())
    )


def body_splits(families: tuple[Family, ...]) -> Splits:
    """Returns the splits of a body with families of goals and velocities: ``train``, ``test`` and ``grid``."""
    return {**splits_of(families), "grid": grid_of(families)}


class BodyEnv(TaskFamilyEnv):
    """A body whose tasks belong to families.

    Attributes:
        proprioception: What a policy may know of the body that does not say where it is, ``[P]``.
    """

    default_max_steps = 500

    @property
    def proprioception(self) -> np.ndarray:
        """What does not say where the body is, ``[P]``."""
        raise NotImplementedError


class PointMass(BodyEnv):
    """A mass on a line with a drag that is not observed: a body to try things on, which trains within seconds.

    Observation ``[2]``: x / 10 and v. Action ``[1]`` in ±1: a force that accelerates by 15 m/s². The drag, 2 to 5 / s,
    is drawn at each reset. Reward: minus the relative error of x or v after the step. Families: velocity ±1 to ±2.5
    m/s, goal ±1 to ±10 m. dt = 0.05 s.
    """

    families: ClassVar[tuple[Family, ...]] = (*both_signs("velocity", 1.0, 2.5), *both_signs("goal", 1.0, 10.0))
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = body_splits(families)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``MetaTaskEnv`` for the arguments."""
        super().__init__(*args, **kwargs)
        self.state = np.zeros(2)  # x and v
        self._drag = 0.0
        self._build_spaces([np.inf] * 2, gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32))

    def quantity(self, name: str) -> float:
        """Returns the place in m or the velocity in m/s."""
        return self.state[{"goal": 0, "velocity": 1}[name]].item()

    @property
    def proprioception(self) -> np.ndarray:
        """The velocity, ``[1]``."""
        return self.state[1:]

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self.state[:] = self.np_random.uniform(-0.1, 0.1, 2)
        self._drag = self.np_random.uniform(*DRAG)

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        force = FORCE * min(max(float(action[0]), -1.0), 1.0)
        self.state[1] += DT * (force - self._drag * self.state[1])
        self.state[0] += DT * self.state[1]
        return self._reward(), False

    def _write_observation(self) -> None:
        self._buffer[:2] = self.state
        self._buffer[0] *= POSITION_SCALE

    def _draw(self) -> np.ndarray:
        canvas = Canvas(12.0)
        if "goal" in self._wanted:
            goal = (self._wanted["goal"], 0.0)
            canvas.rod(goal, goal, 0.6, (150, 210, 150))
        place = (self.quantity("goal"), 0.0)
        canvas.rod(place, place, 0.4, (204, 77, 77))
        return canvas.image


@functools.cache
def _load(xml: str) -> mujoco.MjModel:
    """Compiles a robot with the reference's timestep, once per process; callers copy it."""
    model = mujoco.MjModel.from_xml_path(str(ASSETS / xml))
    model.opt.timestep = TIMESTEP
    return model


class RobotEnv(BodyEnv, MujocoTaskEnv):
    """A planar robot. Observation: qpos, with x / 10 in place of x, and qvel. dt = 0.05 s."""

    frame_skip = 5
    reset_noise = 0.005

    def _pristine_model(self) -> mujoco.MjModel:
        return _load(self.xml)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos, self.qvel

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        self._quantities = {name: self.data.joint(joint).qpos for name, joint in POSITIONS.items()}
        self._quantities |= {name: self.data.joint(joint).qvel for name, joint in VELOCITIES.items()}
        self._standing_height = self.model.qpos0[self.model.joint(POSITIONS["height"]).qposadr[0]]

    def _write_observation(self) -> None:
        super()._write_observation()
        self._buffer[0] *= POSITION_SCALE

    def _begin_episode(self, task: Task) -> None:
        MujocoTaskEnv._begin_episode(self, task)
        super()._begin_episode(task)

    def quantity(self, name: str) -> float:
        """Returns a quantity of the torso.

        Args:
            name: ``"goal"`` (x), ``"height"`` above where it starts, ``"stand"`` (the pitch), their rates
                ``"velocity"``, ``"rise"`` and ``"turn"``, or ``"jump"``: the magnitude of the vertical velocity.
        """
        if name == "height":
            return self._quantities[name].item(0) - self._standing_height
        return abs(self._quantities["rise"].item(0)) if name == "jump" else self._quantities[name].item(0)

    @property
    def proprioception(self) -> np.ndarray:
        """Qpos without x, and qvel."""
        return np.concatenate([self.qpos[1:], self.qvel])


class HalfCheetah(RobotEnv):
    """Gymnasium's HalfCheetah, which goes to a place, keeps a velocity, stands up, or jumps.

    Observation ``[18]``: x / 10, qpos without x (8), qvel (9). Action ``[6]`` in ±1: torques of bthigh, bshin, bfoot,
    fthigh, fshin, ffoot. Reward: minus the relative error of x, vx, pitch or abs(vz) after the step. Families: velocity
    ±1 to ±2.5 m/s, goal ±1 to ±10 m, stand ±π/6 to ±π/2 rad, jump 1.5 to 3 m/s. dt = 0.05 s.
    """

    xml = "half_cheetah.xml"
    reset_noise = 0.1
    families: ClassVar[tuple[Family, ...]] = (
        *both_signs("velocity", 1.0, 2.5),
        *both_signs("goal", 1.0, 10.0),
        *both_signs("stand", np.pi / 6, np.pi / 2),
        Family("jump", 1.5, 3.0),
    )
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = {
        **body_splits(families[:4]),
        **{f"{split}_multi": tasks for split, tasks in splits_of(families).items()},
    }

    @property
    def is_healthy(self) -> bool:
        """Whether the torso leans by less than 2 rad: beyond that it lies on its back, on which it can move too."""
        return abs(self.qpos.item(2)) < 2.0

    def _add_reset_noise(self) -> None:
        self.qpos += self.np_random.uniform(-self.reset_noise, self.reset_noise, self.qpos.size)
        self.qvel += self.reset_noise * self.np_random.standard_normal(self.qvel.size)


class Walker(RobotEnv):
    """Gymnasium's Walker2d, which goes to a place or keeps a velocity, and goes on when it has fallen.

    Observation ``[18]``: x / 10, qpos without x (8), qvel (9). Action ``[6]`` in ±1: torques of right thigh, leg, foot,
    left thigh, leg, foot. Reward: minus the relative error of x or vx after the step. Families: velocity ±1 to ±3 m/s,
    goal ±2 to ±15 m. dt = 0.05 s.
    """

    xml = "walker2d.xml"
    families: ClassVar[tuple[Family, ...]] = (*both_signs("velocity", 1.0, 3.0), *both_signs("goal", 2.0, 15.0))
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = body_splits(families)

    @property
    def is_healthy(self) -> bool:
        """Whether the torso is 0.8 to 2 m high and leans by less than 1 rad."""
        return 0.8 < self.qpos.item(1) < 2.0 and abs(self.qpos.item(2)) < 1.0


class Hopper(RobotEnv):
    """Gymnasium's Hopper, which goes to a place or keeps a velocity, and goes on when it has fallen.

    Observation ``[12]``: x / 10, qpos without x (5), qvel (6). Action ``[3]`` in ±1: torques of thigh, leg, foot.
    Reward: minus the relative error of x or vx after the step. Families: velocity ±1 to ±3 m/s, goal ±2 to ±15 m. dt =
    0.05 s.
    """

    xml = "hopper.xml"
    families = Walker.families
    factors = Walker.factors
    splits = Walker.splits

    @property
    def is_healthy(self) -> bool:
        """Whether the torso is above 0.7 m and leans by less than 0.2 rad."""
        return self.qpos.item(1) > 0.7 and abs(self.qpos.item(2)) < 0.2
