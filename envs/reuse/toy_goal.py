"""A toy with places to go to alone: a point on a line that is moved by its action."""

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import ArrayLike

from ..base import MetaTaskEnv
from ..checks import check_positive
from ..classic.drawing import Canvas
from ..factors import Factor
from ..tasks import Splits, Task
from .families import Family, splits_of

LENGTH = 10.0  # m
NUM_TRAIN, NUM_TEST = 100, 25  # goals

# Confidence of all constants: read in the reference's code, except where an episode begins (N, our proposal).


def move_goal(place: ArrayLike, action: ArrayLike) -> np.ndarray:
    """A step: ``x' = x + a``, within the line.

    Args:
        place: x in m, ``[...]``.
        action: In m, ``[...]``.

    Returns:
        The next place ``[...]``.
    """
    return np.clip(np.add(place, action), 0.0, LENGTH)


class ToyGoal(MetaTaskEnv):
    """A point on a line of 10 m, which should get to a place: reward minus the distance in m after the step.

    It tells how to see another body as the toy, as :class:`~.toy.ToyEnv` does.

    Observation ``[1]``: x in m. Action ``[1]`` in ±``max_move``: ``x' = clip(x + a)``. Goals: 100 for training and 25
    for tests, at equal distances on the whole line.
    """

    quantities = ("goal",)
    reward_tells_task = True
    default_max_steps = 250
    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("goal", neutral=5.0, spread=5.0, unit="m", bounds=(0.0, LENGTH), closed=True),
    )
    splits: ClassVar[Splits] = splits_of([Family("goal", LENGTH / (NUM_TRAIN + NUM_TEST), LENGTH)], NUM_TRAIN, NUM_TEST)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]

    def __init__(self, *args: Any, max_move: float = 1.0, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            max_move: Farthest that an action moves the point, in m.
            **kwargs: As for ``MetaTaskEnv``.
        """
        super().__init__(*args, **kwargs)
        self.max_move = check_positive("max_move", max_move)
        self.place = self.goal = 0.0
        self._build_spaces([LENGTH], gymnasium.spaces.Box(-self.max_move, self.max_move, (1,), np.float32))

    def quantity(self, name: str) -> float:
        """Returns the present value of the quantity ``"goal"``: x in m."""
        if name != "goal":
            raise ValueError(f"name={name!r}: ToyGoal has no such quantity; expected 'goal'.")
        return self.place

    def observe_body(self, quantity: Callable[[str], float]) -> np.ndarray:
        """Returns what this toy would observe in a body's place, float32 ``[1]``.

        Args:
            quantity: Returns a quantity of the body by its name, here ``"goal"``: its x in m.
        """
        return np.array([quantity("goal")], np.float32).clip(0.0, LENGTH)

    def command_of(self, quantity: Callable[[str], float], action: np.ndarray, wanted: str) -> float:
        """Returns the place where an action would move the body if it were this toy.

        Args:
            quantity: As for :meth:`observe_body`.
            action: ``[1]`` in ±1.
            wanted: ``"goal"``.
        """
        return float(move_goal(self.observe_body(quantity)[0], self.max_move * action[0]))

    def _begin_episode(self, task: Task) -> None:
        self.goal = float(task["goal"])  # type: ignore[arg-type]
        self.place = self.np_random.uniform(0.0, LENGTH)  # N

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self.place = float(move_goal(self.place, np.clip(float(action[0]), -self.max_move, self.max_move)))
        return -abs(self.place - self.goal), False

    def _write_observation(self) -> None:
        self._buffer[0] = self.place

    def _draw(self) -> np.ndarray:
        canvas = Canvas(0.6 * LENGTH)
        for x, radius, colour in ((self.goal, 0.5, (150, 210, 150)), (self.place, 0.3, (204, 77, 77))):
            at = (x - 0.5 * LENGTH, 0.0)
            canvas.rod(at, at, radius, colour)
        return canvas.image
