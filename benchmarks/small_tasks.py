"""Small tasks that hide something, which default settings are chosen on. No page reports their returns.

Each is a Gymnasium environment by id, such as ``benchmarks.small_tasks:Small/HiddenMotor-v0``. With ``observed=True``
the observation has what is hidden, so SAC without memory is the oracle.
"""

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np

UNBOUNDED = np.inf


class SmallTask(gymnasium.Env[np.ndarray, np.ndarray]):
    """An episode of ``steps`` steps with one action in [-1, 1]; subclasses give the rest."""

    steps: ClassVar[int]
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, observed: bool = False):
        self.observed = observed
        self.time = 0
        self._begin()
        self.observation_space = gymnasium.spaces.Box(-UNBOUNDED, UNBOUNDED, self._observe().shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.time = 0
        self._begin()
        return self._observe(), self._info()

    def step(self, action: np.ndarray):
        reward = self._advance(float(np.clip(action[0], -1.0, 1.0)))
        self.time += 1
        return self._observe(), reward, False, self.time == self.steps, self._info()

    def _begin(self) -> None:
        """Draws the state of a new episode, and what is hidden."""
        raise NotImplementedError

    def _advance(self, action: float) -> float:
        """Moves by one step; returns the reward."""
        raise NotImplementedError

    def _seen(self) -> list[float]:
        """Returns what every agent observes."""
        raise NotImplementedError

    def _hidden(self) -> list[float]:
        """Returns what only ``observed=True`` adds to the observation."""
        raise NotImplementedError

    def _info(self) -> dict[str, Any]:
        return {}

    def _observe(self) -> np.ndarray:
        return np.array([*self._seen(), *(self._hidden() if self.observed else [])], np.float32)


class HiddenMotor(SmallTask):
    """A cart on a line, to be brought to 0 by a motor of unknown gain and sign; its position alone is seen.

    Reward: minus the distance from 0.
    """

    steps = 30
    GAINS: ClassVar[dict[int, list[float]]] = {2: [1.0], 4: [1.0, 0.5], 8: [1.0, 0.75, 0.5, 0.25]}

    def __init__(self, gains: int = 4, observed: bool = False):
        self.gains = [sign * gain for gain in self.GAINS[gains] for sign in (1.0, -1.0)]
        self.num_tasks, self.next_task_id, self.task_id = gains, 0, 0
        super().__init__(observed)

    def _begin(self) -> None:
        self.task_id = self.next_task_id % self.num_tasks
        self.next_task_id = self.task_id + 1
        self.position = float(self.np_random.uniform(-1.0, 1.0))

    def _advance(self, action: float) -> float:
        moved = self.position + 0.15 * self.gains[self.task_id] * action
        self.position = min(max(moved, -3.0), 3.0)
        return -abs(self.position)

    def _seen(self) -> list[float]:
        return [self.position]

    def _hidden(self) -> list[float]:
        return [self.gains[self.task_id]]

    def _info(self) -> dict[str, Any]:
        return {"task_id": self.task_id}


class PositionSwingUp(SmallTask):
    """A pole on a cart that hangs at first, without velocities. Reward: 1 upright in the middle, 0 hanging."""

    steps = 200
    CART, POLE, LENGTH, FORCE, RAIL, SECONDS = 1.0, 0.1, 0.5, 10.0, 2.4, 0.02

    def _begin(self) -> None:
        self.state = self.np_random.normal([0.0, math.pi, 0.0, 0.0], 0.1).tolist()

    def _advance(self, action: float) -> float:
        place, angle, speed, spin = self.state
        total = self.CART + self.POLE
        for _ in range(2):
            sine, cosine = math.sin(angle), math.cos(angle)
            push = (self.FORCE * action + self.POLE * self.LENGTH * spin**2 * sine) / total
            inertia = self.LENGTH * (4 / 3 - self.POLE * cosine**2 / total)
            turning = (9.81 * sine - cosine * push) / inertia - 0.05 * spin
            pushing = push - self.POLE * self.LENGTH * turning * cosine / total - 0.1 * speed
            place, angle = place + self.SECONDS * speed, angle + self.SECONDS * spin
            speed, spin = speed + self.SECONDS * pushing, spin + self.SECONDS * turning
        if abs(place) > self.RAIL:
            place, speed = math.copysign(self.RAIL, place), 0.0
        self.state = [place, angle, speed, spin]
        return (1 + math.cos(angle)) / 2 * (1 - 0.5 * abs(place) / self.RAIL)

    def _seen(self) -> list[float]:
        place, angle, _, _ = self.state
        return [place, math.cos(angle), math.sin(angle)]

    def _hidden(self) -> list[float]:
        return self.state[2:]


class DelayedCue(SmallTask):
    """A cue of ±1 in the first observation; ten steps later the action has to be the cue, for five steps."""

    steps, wait = 15, 10

    def _begin(self) -> None:
        self.cue = float(self.np_random.choice([-1.0, 1.0]))

    def _advance(self, action: float) -> float:
        return -abs(action - self.cue) if self.time >= self.wait else 0.0

    def _seen(self) -> list[float]:
        return [self.cue if self.time == 0 else 0.0, float(self.time >= self.wait)]

    def _hidden(self) -> list[float]:
        return [self.cue]


class _Positions(gymnasium.ObservationWrapper):
    """Keeps the first ``width`` numbers of the observation."""

    def __init__(self, env: gymnasium.Env, width: int):
        super().__init__(env)
        self.width = width
        self.observation_space = gymnasium.spaces.Box(-UNBOUNDED, UNBOUNDED, (width,), env.observation_space.dtype)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[: self.width]


def position_pendulum(observed: bool = False) -> gymnasium.Env:
    """Pendulum-v1 without the velocity; actions in [-1, 1]."""
    env = gymnasium.make("Pendulum-v1")
    return _Positions(gymnasium.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0)), 3 if observed else 2)


def position_cheetah(observed: bool = False) -> gymnasium.Env:
    """HalfCheetah-v5 for 200 steps, without velocities."""
    return _Positions(gymnasium.make("HalfCheetah-v5", max_episode_steps=200), 17 if observed else 8)


gymnasium.register("Small/PositionCheetah-v0", entry_point=position_cheetah)
gymnasium.register("Small/PositionPendulum-v0", entry_point=position_pendulum)
for task in (HiddenMotor, PositionSwingUp, DelayedCue):
    gymnasium.register(f"Small/{task.__name__}-v0", entry_point=task)
