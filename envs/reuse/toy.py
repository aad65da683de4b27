"""Toys: a few numbers with the kinematics of a robot's torso, on which tasks are cheap to learn to infer.

After the toy environments of MELTS. Confidence of all constants: read in its code.
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..checks import check_switch, check_weight
from ..classic.drawing import Canvas
from ..factors import Factor
from ..tasks import Splits, Task
from .families import Family, TaskFamilyEnv, both_signs, factors_of, splits_of

DT = 0.1  # seconds of a step
FORCE, MAX_SPEED, MAX_DISTANCE = 50.0, 5.0, 30.0
TURN_DRAG, MAX_TURN_SPEED, MAX_PITCH = 3.979, 4.0 * np.pi, np.pi / 2
LIFT, GRAVITY, LIFT_BELOW, MAX_HEIGHT, MAX_RISE = 30.98, 9.81, 0.3, 4.0, 3.0
POSITION_SCALE = 0.1  # of places in observations, so that all numbers are of the same order


def move(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """A step of the one-dimensional toy: ``v' = 5 a``, ``x' = x + 0.5 a``.

    The drag of 10 / s is so strong that nothing is left of the former velocity after a step.

    Args:
        state: Place x in m and velocity v in m/s, ``[..., 2]``.
        action: ``[..., 1]`` in ±1.

    Returns:
        The next state ``[..., 2]``.
    """
    velocity = (FORCE * DT * action[..., 0]).clip(-MAX_SPEED, MAX_SPEED)
    place = (state[..., 0] + DT * velocity).clip(-MAX_DISTANCE, MAX_DISTANCE)
    return np.stack([place, velocity], axis=-1)


def move_multi(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """A step of the toy that also turns and jumps.

    Args:
        state: ``(x, z, φ, vx, vz, vφ)``, ``[..., 6]``: place and height in m, pitch in rad, and their rates.
        action: Push along x, turn, and lift, ``[..., 3]`` in ±1. It is lifted only near the ground and while it does
            not rise.

    Returns:
        The next state ``[..., 6]``.
    """
    x, z, pitch, vx, vz, turn = np.moveaxis(state, -1, 0)
    push, torque, lift = np.moveaxis(action, -1, 0)
    x, vx = np.moveaxis(move(np.stack([x, vx], axis=-1), push[..., None]), -1, 0)
    turn = (turn + DT * (FORCE * torque - TURN_DRAG * turn)).clip(-MAX_TURN_SPEED, MAX_TURN_SPEED)
    pitch = (pitch + DT * turn).clip(-MAX_PITCH, MAX_PITCH)
    upward = np.where((z <= LIFT_BELOW) & (vz <= 0.0), LIFT * np.abs(lift), 0.0)
    vz = (vz + DT * (upward - GRAVITY)).clip(-MAX_RISE, MAX_RISE)
    z = (z + DT * vz).clip(0.0, MAX_HEIGHT)
    vz = np.where((z <= 0.0) & (vz < 0.0), 0.0, vz)  # it has landed
    return np.stack([x, z, pitch, vx, vz, turn], axis=-1)


class _ToyEnv(TaskFamilyEnv):
    """What the toys share."""

    columns: ClassVar[dict[str, int]]  # quantity -> its number in the state
    state_dim: ClassVar[int]
    action_dim: ClassVar[int]
    first_rate: ClassVar[int]  # positions come before it, their rates from it on
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]

    def __init__(self, *args: Any, noise: float = 0.1, scale_position: bool = True, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            noise: Standard deviation that each step adds to place and velocity, in m and m/s. An encoder that is used
                on a robot should not rely on exact kinematics.
            scale_position: Whether observations have a tenth of the place along x.
            **kwargs: As for ``MetaTaskEnv``.
        """
        super().__init__(*args, **kwargs)
        self.noise = check_weight("noise", noise)
        self._scale = POSITION_SCALE if check_switch("scale_position", scale_position) else 1.0
        self.state = np.zeros(self.state_dim)
        self._build_spaces([np.inf] * self.state_dim, gymnasium.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32))

    def quantity(self, name: str) -> float:
        """Returns the present value of a quantity; that of ``"jump"`` is the magnitude of the vertical velocity."""
        value = float(self.state[self.columns[name]])
        return abs(value) if name == "jump" else value

    @staticmethod
    def _move(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self.state[:] = 0.0
        self.state[0] = self.np_random.uniform(-0.01, 0.01)
        self.state[self.first_rate] = 0.1 * self.np_random.standard_normal()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.state = self._move(self.state, np.asarray(action, np.float64).clip(-1.0, 1.0))
        if self.noise:
            self.state[[0, self.first_rate]] += self.noise * self.np_random.standard_normal(2)
            self.state[0] = min(max(self.state[0], -MAX_DISTANCE), MAX_DISTANCE)
        return self._reward(), False

    def _write_observation(self) -> None:
        self._buffer[: self.state_dim] = self.state
        self._buffer[0] *= self._scale

    def _draw(self) -> np.ndarray:
        canvas = Canvas(1.2 * MAX_DISTANCE)
        if "goal" in self._wanted:
            goal = (self._wanted["goal"], 0.0)
            canvas.rod(goal, goal, 1.5, (150, 210, 150))
        x = float(self.state[0])
        pitch = float(self.state[self.columns["stand"]]) if "stand" in self.columns else 0.0
        height = 5.0 * float(self.state[1]) if "stand" in self.columns else 0.0  # five times as high, to be seen
        canvas.rod((x, height), (x + 2.0 * np.cos(pitch), height + 2.0 * np.sin(pitch)), 0.7, (90, 110, 160))
        canvas.rod((x, height), (x, height), 1.0, (204, 77, 77))
        return canvas.image


class Toy(_ToyEnv):
    """A point on a line, which should get to a place or to a velocity: the toy with four families of tasks.

    Observation ``[2]``: x / 10 and v. Action ``[1]`` in ±1: ``v' = 5 a``, ``x' = x + 0.5 a``, before noise; x stays
    within ±30 m. Reward: minus the relative error of x or v after the step. Families: velocity ±0.5 to ±3 m/s, goal ±1
    to ±25 m.
    """

    families: ClassVar[tuple[Family, ...]] = (*both_signs("velocity", 0.5, 3.0), *both_signs("goal", 1.0, 25.0))
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = splits_of(families)
    columns: ClassVar[dict[str, int]] = {"goal": 0, "velocity": 1}
    state_dim, action_dim, first_rate = 2, 1, 1
    _move = staticmethod(move)


class ToyMulti(_ToyEnv):
    """A point in a plane that also pitches and jumps: the toy with seven families of tasks.

    Observation ``[6]``: x / 10, height z, pitch φ, and their rates vx, vz, vφ. Action ``[3]`` in ±1: push along x,
    turn, lift. Reward: minus the relative error of x, vx, φ or abs(vz) after the step. Families: velocity ±0.5 to ±3
    m/s, goal ±1 to ±25 m, stand ±π/5 to ±π/2 rad, jump 1.5 to 3 m/s, of which more than 2.12 cannot be reached.
    """

    families: ClassVar[tuple[Family, ...]] = (
        *both_signs("velocity", 0.5, 3.0),
        *both_signs("goal", 1.0, 25.0),
        *both_signs("stand", np.pi / 5, np.pi / 2),
        Family("jump", 1.5, 3.0),
    )
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = splits_of(families)
    columns: ClassVar[dict[str, int]] = {"goal": 0, "stand": 2, "velocity": 3, "jump": 4}
    state_dim, action_dim, first_rate = 6, 3, 3
    _move = staticmethod(move_multi)
