"""Toys: a few numbers with the kinematics of a robot's torso, on which tasks are cheap to learn to infer.

After the toy environments of MELTS. Confidence of all constants: read in its code.
"""

from collections.abc import Callable
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


class ToyEnv(TaskFamilyEnv):
    """What the toys share.

    A toy tells how to see another body as the toy, which needs a method ``quantity(name)``: see :meth:`observe_body`
    and :meth:`command_of`.

    Attributes:
        quantities: Names of the state's numbers, positions before their rates.
        limits: Their largest magnitudes.
        action_dim: Action width ``A``.
    """

    quantities: ClassVar[tuple[str, ...]]
    limits: ClassVar[np.ndarray]
    action_dim: ClassVar[int]
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
        self._noisy = [self.quantities.index("goal"), self.quantities.index("velocity")]
        size = len(self.quantities)
        self.state = np.zeros(size)
        self._build_spaces([np.inf] * size, gymnasium.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32))

    def quantity(self, name: str) -> float:
        """Returns the present value of a quantity; that of ``"jump"`` is the magnitude of the vertical velocity."""
        return self._quantity_in(self.state, name)

    def observe_body(self, quantity: Callable[[str], float]) -> np.ndarray:
        """Returns what this toy would observe in a body's place, float32 ``[O]``.

        Args:
            quantity: Returns a quantity of the body by its name, one of ``quantities``.
        """
        return self._observed(self._state_of(quantity)).astype(np.float32)

    def command_of(self, quantity: Callable[[str], float], action: np.ndarray, wanted: str) -> float:
        """Returns what an action would do to a quantity if the body were this toy: the value after a step.

        Args:
            quantity: As for :meth:`observe_body`.
            action: ``[A]`` in ±1.
            wanted: Name of the quantity that the task is about.
        """
        if wanted == "goal":  # from where the body is, even if that is beyond the toy's world
            here = quantity("goal")
            return here + self._move(np.zeros(len(self.quantities)), action)[0].item()
        return self._quantity_in(self._move(self._state_of(quantity), action), wanted)

    def _state_of(self, quantity: Callable[[str], float]) -> np.ndarray:
        """A body's state, as far as the toy can be in it, so that its agent meets nothing that it never saw."""
        state = np.array([quantity(name) for name in self.quantities])
        return state.clip(-self.limits, self.limits)

    @classmethod
    def _quantity_in(cls, state: np.ndarray, name: str) -> float:
        value = state[cls.quantities.index("rise" if name == "jump" else name)].item()
        return abs(value) if name == "jump" else value

    @staticmethod
    def _move(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next state, given state and action as arrays, without noise."""
        raise NotImplementedError

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        place, velocity = self._noisy
        self.state[:] = 0.0
        self.state[place] = self.np_random.uniform(-0.01, 0.01)
        self.state[velocity] = 0.1 * self.np_random.standard_normal()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.state = self._move(self.state, np.asarray(action, np.float64).clip(-1.0, 1.0))
        if self.noise:
            self.state[self._noisy] += self.noise * self.np_random.standard_normal(2)
            self.state[0] = min(max(self.state[0], -MAX_DISTANCE), MAX_DISTANCE)
        return self._reward(), False

    def _observed(self, state: np.ndarray) -> np.ndarray:
        observed = state.copy()
        observed[0] *= self._scale
        return observed

    def _write_observation(self) -> None:
        self._buffer[: self.state.size] = self._observed(self.state)

    def _draw(self) -> np.ndarray:
        canvas = Canvas(1.2 * MAX_DISTANCE)
        if "goal" in self._wanted:
            goal = (self._wanted["goal"], 0.0)
            canvas.rod(goal, goal, 1.5, (150, 210, 150))
        x = float(self.state[0])
        pitch = self.quantity("stand") if "stand" in self.quantities else 0.0
        height = 5.0 * self.quantity("height") if "height" in self.quantities else 0.0  # five times as high, to be seen
        canvas.rod((x, height), (x + 2.0 * np.cos(pitch), height + 2.0 * np.sin(pitch)), 0.7, (90, 110, 160))
        canvas.rod((x, height), (x, height), 1.0, (204, 77, 77))
        return canvas.image


class Toy(ToyEnv):
    """A point on a line, which should get to a place or to a velocity: the toy with four families of tasks.

    Observation ``[2]``: x / 10 and v. Action ``[1]`` in ±1: ``v' = 5 a``, ``x' = x + 0.5 a``, before noise; x stays
    within ±30 m. Reward: minus the relative error of x or v after the step. Families: velocity ±0.5 to ±3 m/s, goal ±1
    to ±25 m.
    """

    families: ClassVar[tuple[Family, ...]] = (*both_signs("velocity", 0.5, 3.0), *both_signs("goal", 1.0, 25.0))
    factors: ClassVar[tuple[Factor, ...]] = factors_of(families)
    splits: ClassVar[Splits] = splits_of(families)
    quantities = ("goal", "velocity")
    limits = np.array([MAX_DISTANCE, MAX_SPEED])
    action_dim = 1
    _move = staticmethod(move)


class ToyMulti(ToyEnv):
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
    quantities = ("goal", "height", "stand", "velocity", "rise", "turn")
    limits = np.array([MAX_DISTANCE, MAX_HEIGHT, MAX_PITCH, MAX_SPEED, MAX_RISE, MAX_TURN_SPEED])
    action_dim = 3
    _move = staticmethod(move_multi)
