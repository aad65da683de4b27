"""Commands to a body: a quantity, such as a place or a velocity, and the value that it should get to.

A low-level policy reads them in slots at the end of its observation, one for each quantity that it knows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from rllib_sami.core.settings import is_integer, is_number
from rllib_sami.core.text import did_you_mean

PLACE = "goal"  # the quantity that commands give as a distance
QUANTITIES = (PLACE, "velocity")  # what can be commanded by default
Ranges = Mapping[str, tuple[float, float]]
RANGES: Ranges = {
    PLACE: (0.0, 1.5),
    "velocity": (0.0, 3.0),
    "stand": (math.pi / 6, math.pi / 2),
    "jump": (1.5, 3.0),
}
ONE_SIGN = ("jump",)  # quantities that are magnitudes
COMMAND_STEPS, MAX_STEPS = (50, 100), 200
NEAR, SWITCH_WHEN_NEAR = 0.1, 0.2  # m to a place, and the probability of another command there
HEALTHY_REWARD = 1.0


@dataclass(frozen=True)
class Command:
    """What a body should do.

    Attributes:
        quantity: Name of the quantity.
        value: What it should get to; a place is that in the world, not a distance.
    """

    quantity: str
    value: float

    def error(self, body: Any) -> float:
        """How far the body is from it, a magnitude."""
        return abs(body.get_wrapper_attr("quantity")(self.quantity) - self.value)

    def slots(self, quantities: Sequence[str], body: Any) -> np.ndarray:
        """Returns what a low-level policy reads of it, ``[G]``: all slots but one are 0, a place is a distance."""
        slots = np.zeros(len(quantities), np.float32)
        origin = body.get_wrapper_attr("quantity")(PLACE) if self.quantity == PLACE else 0.0
        slots[quantities.index(self.quantity)] = self.value - origin
        return slots


class CommandEnv(gym.Env[np.ndarray, np.ndarray]):
    """A body that is commanded to places near it and to velocities: where a low-level policy is trained.

    A command is drawn at each reset, and again after some steps, or with probability 0.2 for each step that ends
    within 0.1 m of the place. The reward is minus the distance from the commanded value, divided by ``scales``.

    Observation ``[P + G]``: the body's ``proprioception`` and a slot for each quantity, of which only that of the
    command is not 0. A place is the distance that is left to it, so that a policy acts alike everywhere. If the body
    has ``is_healthy``, steps pay 1 more, and an episode ends when it is not.

    Args:
        body: An environment with attributes ``proprioception``, ``[P]``, and ``quantity(name)``. Its observations,
            rewards and tasks are not used.
        quantities: What can be commanded, in the order of the slots.
        ranges: Least and largest magnitude of commands by quantity; those that are left out are ``RANGES``.
        scales: By quantity, the distance that costs 1 for each step; 1 for those that are left out.
        command_steps: Least and largest number of steps after which another command is drawn.
        max_steps: Steps of an episode; None: as many as the body's have.

    Raises:
        ValueError: An argument is impossible.
    """

    def __init__(
        self,
        body: gym.Env,
        quantities: Sequence[str] = QUANTITIES,
        ranges: Mapping[str, Sequence[float]] | None = None,
        scales: Mapping[str, float] | None = None,
        command_steps: Sequence[int] = COMMAND_STEPS,
        max_steps: int | None = MAX_STEPS,
    ):
        self.body, self.quantities = body, check_quantities(quantities)
        for argument, given in (("ranges", ranges), ("scales", scales)):
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(f"{argument}={given!r}: expected a value for each quantity, such as {{{PLACE}: …}}.")
            if unknown := [name for name in given or {} if name not in self.quantities]:
                raise ValueError(
                    f"{argument} has {unknown[0]!r}, which is none of the quantities {list(self.quantities)}. "
                    f"{did_you_mean(str(unknown[0]), self.quantities)}".strip()
                )
        self.ranges = ranges_of(self.quantities, ranges)
        self.scales = dict.fromkeys(self.quantities, 1.0) | dict(scales or {})
        for name, scale in self.scales.items():
            if not (is_number(scale) and scale > 0.0):
                raise ValueError(f"scales[{name!r}]={scale!r}: expected a number above 0.")
        if max_steps is not None and not (is_integer(max_steps) and max_steps >= 1):
            raise ValueError(f"max_steps={max_steps!r}: expected an integer >= 1, or None for as many as the body has.")
        if not _is_pair(command_steps, lambda x: is_integer(x) and x >= 1):
            raise ValueError(f"command_steps={command_steps!r}: expected two integers >= 1, such as [50, 100].")
        self.command_steps, self.max_steps = tuple(command_steps), max_steps
        self.action_space = body.action_space
        self.render_mode, self.metadata = body.render_mode, body.metadata
        body.reset(seed=0)
        width = len(body.get_wrapper_attr("proprioception")) + len(self.quantities)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self._checks_health = body.has_wrapper_attr("is_healthy")
        if self._checks_health and not isinstance(healthy := body.get_wrapper_attr("is_healthy"), bool | np.bool_):
            what, remedy = ("a method", " Write it as a property.") if callable(healthy) else (repr(healthy), "")
            raise ValueError(f"The body's `is_healthy` is {what}, but must be True or False.{remedy}")
        self.command = Command(self.quantities[0], 0.0)
        self.body_obs: Any = None
        self.body_reward: Any = None  # of its own task
        self._steps_left: float = 0
        self._switch_in = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Resets the body and draws a command."""
        super().reset(seed=seed)
        info = self._reset_body(seed, options)
        self.body_reward = None
        self._steps_left = math.inf if self.max_steps is None else self.max_steps
        self._draw_command()
        return self._observation(), info

    def step(self, action: np.ndarray):
        """Takes a step of the body."""
        if self._steps_left <= 0:
            raise ResetNeeded("The episode is over or has not begun. Call reset() before step().")
        self.body_obs, self.body_reward, terminated, truncated, _ = self.body.step(action)
        self._steps_left -= 1
        self._switch_in -= 1
        error = self.command.error(self.body)
        reward = -error / self.scales[self.command.quantity]
        if self._checks_health:
            reward += HEALTHY_REWARD
            terminated = terminated or not self.body.get_wrapper_attr("is_healthy")
        truncated = truncated or self._steps_left == 0
        if terminated or truncated:
            self._steps_left = 0
        elif self._switch_in <= 0 or (self._is_there(error) and self.np_random.random() < SWITCH_WHEN_NEAR):
            self._draw_command()
        return self._observation(), reward, terminated, truncated, {}

    def render(self) -> Any:
        """Draws the body."""
        return self.body.render()

    def close(self) -> None:
        """Closes the body."""
        self.body.close()

    def _reset_body(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Resets the body and returns the info of the reset, here none: its tasks are not used."""
        self.body_obs, _ = self.body.reset(seed=int(self.np_random.integers(2**31)))
        return {}

    def _is_there(self, error: float) -> bool:
        return self.command.quantity == PLACE and error < NEAR

    def _draw_command(self) -> None:
        name = self.quantities[self.np_random.integers(len(self.quantities))]
        value = self.np_random.uniform(*self.ranges[name])
        if name not in ONE_SIGN and self.np_random.random() < 0.5:
            value = -value
        if name == PLACE:
            value += self.body.get_wrapper_attr("quantity")(PLACE)
        self.command = Command(name, value)
        least, most = self.command_steps
        self._switch_in = int(self.np_random.integers(least, most + 1))

    def _observation(self) -> np.ndarray:
        state = self.body.get_wrapper_attr("proprioception")
        return np.concatenate([state, self.command.slots(self.quantities, self.body)], dtype=np.float32)


def command_within(name: str, value: float, ranges: Ranges, quantity: Callable[[str], float]) -> Command:
    """Returns the command that is nearest to a wanted value and within what a low level has learned.

    Args:
        name: Of the quantity.
        value: What it should get to.
        ranges: Least and largest magnitudes of commands by quantity. Places may be as near as they like: all are, in
            the end.
        quantity: Returns a present value by its name.
    """
    least, most = ranges[name]
    origin = quantity(PLACE) if name == PLACE else 0.0
    magnitude = min(max(abs(value - origin), 0.0 if name == PLACE else least), most)
    return Command(name, origin + (magnitude if name in ONE_SIGN else math.copysign(magnitude, value - origin)))


def ranges_of(quantities: Sequence[str], given: Mapping[str, Sequence[float]] | None) -> Ranges:
    """Returns the range of each quantity: that which is given, or else that of ``RANGES``.

    Raises:
        ValueError: There is none, or it is no range.
    """
    everything = dict(RANGES) | dict(given or {})
    return {name: _check_range(name, everything.get(name)) for name in quantities}


def _is_pair(value: Any, holds: Callable[[Any], bool]) -> bool:
    """Whether a value is a pair of numbers in ascending order, each of which is allowed."""
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    return is_pair and all(map(holds, value)) and value[0] <= value[1]


def check_quantities(quantities: Any) -> tuple[str, ...]:
    """Returns names of quantities as a tuple; raises a ValueError for what is no list of different names."""
    names = [] if isinstance(quantities, str) or not isinstance(quantities, Sequence) else [*quantities]
    if not names or len({*map(str, names)}) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"quantities={quantities!r}: expected a list of different names, such as [{PLACE}, velocity].")
    return tuple(names)


def _check_range(name: str, given: Any) -> tuple[float, float]:
    if given is None:
        raise ValueError(f"ranges: {name!r} needs one, the least and largest magnitude of its commands.")
    if not _is_pair(given, lambda x: is_number(x) and x >= 0.0):
        raise ValueError(f"ranges[{name!r}]={given!r}: expected two numbers >= 0, the smaller one first.")
    return given[0], given[1]
