"""CartPole with a continuous force, and varying force magnitude and pole length."""

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ..base import MetaTaskEnv
from ..factors import Factor
from ..tasks import Splits, Task, grid
from .drawing import Canvas

GRAVITY, CART_MASS, POLE_MASS, DT = 9.8, 1.0, 0.1, 0.02
TOTAL_MASS = CART_MASS + POLE_MASS
X_LIMIT, THETA_LIMIT = 2.4, math.radians(12.0)

# Confidence: A authors' own file for this environment, B authors' prose, C a parent paper's code, N our proposal.
# Values of the training split: C (CaDM, DOMINO), one draw from 11 forces and 5 lengths. Their grouping into four
# meta-tasks is N: low and high halves, the nominal value in the high one, as for the MuJoCo robots.
FORCES = ((5.0, 6.0, 7.0, 8.0, 9.0), (10.0, 11.0, 12.0, 13.0, 14.0, 15.0))
LENGTHS = ((0.4, 0.45), (0.5, 0.55, 0.6))


class CartPole(MetaTaskEnv):
    """Keeps the pole up: reward 1 per step, 0 while out of bounds (±2.4 m, ±12°) after the first failure.

    The episode continues after a failure, so that the returns of all tasks cover the same number of steps.

    Observation ``[4]``: x, ẋ, θ, θ̇ in m, m/s, rad, rad/s. Action ``[1]`` in ±1: share of the task's force.
    dt = 0.02 s.
    """

    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("force", 10.0, 5.0, "N"),
        Factor("length", 0.5, 0.1, "m, half the pole's length"),
    )
    splits: ClassVar[Splits] = {
        "train": grid(force=FORCES, length=LENGTHS),
        "moderate": grid(force=[(3.0, 3.5), (16.5, 17.0)], length=[(0.25, 0.3), (0.7, 0.75)]),  # C values; all four N
        "extreme": (  # C (CaDM: the diagonal)
            {"force": (2.0, 2.5), "length": (0.15, 0.2)},
            {"force": (17.5, 18.0), "length": (0.8, 0.85)},
        ),
    }
    default_max_steps = 200
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 50}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``MetaTaskEnv`` for the arguments."""
        super().__init__(*args, **kwargs)
        self.state = (0.0, 0.0, 0.0, 0.0)
        self._length = 0.5
        self._build_spaces([np.inf] * 4, gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32))

    def _begin_episode(self, task: Task) -> None:
        self._force = float(task["force"])  # type: ignore[arg-type]
        self._length = float(task["length"])  # type: ignore[arg-type]
        self.state = tuple(self.np_random.uniform(-0.05, 0.05, 4).tolist())
        self._failed = False

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        x, x_dot, theta, theta_dot = self.state
        force = self._force * min(max(float(action[0]), -1.0), 1.0)
        length = self._length
        sin, cos = math.sin(theta), math.cos(theta)
        push = (force + POLE_MASS * length * theta_dot**2 * sin) / TOTAL_MASS
        theta_acc = (GRAVITY * sin - cos * push) / (length * (4.0 / 3.0 - POLE_MASS * cos**2 / TOTAL_MASS))
        x_acc = push - POLE_MASS * length * theta_acc * cos / TOTAL_MASS
        # Explicit Euler: positions move with the old velocities.
        x, x_dot = x + DT * x_dot, x_dot + DT * x_acc
        theta, theta_dot = theta + DT * theta_dot, theta_dot + DT * theta_acc
        self.state = (x, x_dot, theta, theta_dot)

        outside = abs(x) > X_LIMIT or abs(theta) > THETA_LIMIT
        reward = 0.0 if outside and self._failed else 1.0
        self._failed = self._failed or outside
        return reward, False

    def _write_observation(self) -> None:
        self._buffer[:4] = self.state

    def _draw(self) -> np.ndarray:
        x, _, theta, _ = self.state
        x = (x + 3.0) % 6.0 - 3.0  # a cart that leaves the image reappears on the other side
        canvas = Canvas(3.0)
        canvas.rod((-3.0, 0.0), (3.0, 0.0), 0.01, (0, 0, 0))
        canvas.rod((x - 0.2, 0.0), (x + 0.2, 0.0), 0.12, (60, 60, 60))
        tip = (x + 2.0 * self._length * math.sin(theta), 2.0 * self._length * math.cos(theta))
        canvas.rod((x, 0.0), tip, 0.06, (202, 152, 101))
        return canvas.image
