"""Pendulum with varying mass and length."""

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..base import MetaTaskEnv
from ..checks import check_switch
from ..factors import Factor
from ..tasks import Splits, Task, grid
from .drawing import Canvas

GRAVITY, DT, MAX_SPEED, MAX_TORQUE = 10.0, 0.05, 8.0, 2.0

# Confidence: A authors' own file for this environment, B authors' prose, C a parent paper's code, N our proposal.
# Values of the training split: C (CaDM, DOMINO), one draw from 11 values each. Their grouping into four meta-tasks
# is N: low and high halves, the nominal 1.0 in the high one, as for the MuJoCo robots.
LOW = (0.75, 0.8, 0.85, 0.9, 0.95)
HIGH = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25)


class Pendulum(MetaTaskEnv):
    """Swings up and balances: reward ``-(θ² + 0.1 θ̇² + 0.001 (u/2)²)``, θ = 0 upright, wrapped to ±π.

    Observation ``[3]``: cos θ, sin θ, θ̇ in rad/s (at most ±8). Action ``[1]`` in ±2: torque u in N m. dt = 0.05 s.
    """

    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("mass", 1.0, 0.5, "kg"),
        Factor("length", 1.0, 0.5, "m"),
    )
    splits: ClassVar[Splits] = {
        "train": grid(mass=[LOW, HIGH], length=[LOW, HIGH]),
        "moderate": grid(mass=[(0.5, 0.7), (1.3, 1.5)], length=[(0.5, 0.7), (1.3, 1.5)]),  # C (DOMINO)
        "extreme": (  # C (CaDM: anti-diagonal)
            {"mass": (0.2, 0.4), "length": (1.6, 1.8)},
            {"mass": (1.6, 1.8), "length": (0.2, 0.4)},
        ),
    }
    default_max_steps = 200
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(self, *args: Any, reference_physics: bool = False, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            reference_physics: Moves the angle with the speed before it is clipped, as the authors do.
            **kwargs: As for ``MetaTaskEnv``.
        """
        super().__init__(*args, **kwargs)
        self.reference_physics = check_switch("reference_physics", reference_physics)
        self.theta = self.theta_dot = 0.0
        self._build_spaces([1.0, 1.0, MAX_SPEED], gymnasium.spaces.Box(-MAX_TORQUE, MAX_TORQUE, (1,), np.float32))

    def _begin_episode(self, task: Task) -> None:
        mass, length = task["mass"], task["length"]
        self._gravity_gain = 3.0 * GRAVITY / (2.0 * length)  # type: ignore[operator]
        self._torque_gain = 3.0 / (mass * length**2)  # type: ignore[operator]
        self.theta = self.np_random.uniform(7 / 8 * math.pi, 9 / 8 * math.pi)
        self.theta_dot = self.np_random.uniform(-0.2, 0.2)

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        theta, theta_dot = self.theta, self.theta_dot
        torque = min(max(float(action[0]), -MAX_TORQUE), MAX_TORQUE)
        wrapped = (theta + math.pi) % (2.0 * math.pi) - math.pi
        cost = wrapped**2 + 0.1 * theta_dot**2 + 0.001 * (0.5 * torque) ** 2

        moved = theta_dot + (self._gravity_gain * math.sin(theta) + self._torque_gain * torque) * DT
        self.theta_dot = min(max(moved, -MAX_SPEED), MAX_SPEED)
        self.theta = theta + (moved if self.reference_physics else self.theta_dot) * DT
        return -cost, False

    def _write_observation(self) -> None:
        buffer = self._buffer
        buffer[0] = math.cos(self.theta)
        buffer[1] = math.sin(self.theta)
        buffer[2] = self.theta_dot

    def _draw(self) -> np.ndarray:
        length = float(self._task["length"]) if self._task else 1.0  # type: ignore[arg-type]
        canvas = Canvas(2.2)
        tip = (length * math.sin(self.theta), length * math.cos(self.theta))
        canvas.rod((0.0, 0.0), tip, 0.1, (204, 77, 77))
        canvas.rod((0.0, 0.0), (0.0, 0.0), 0.05, (0, 0, 0))
        return canvas.image
