"""Small fast environments whose observations tell what really happened."""

import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from ray.tune.registry import register_env

from rllib_sami.envs.skills import PosturePoint

LOW, HIGH = np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32)
NUM_TASKS = 5


def goal(task_id):
    """Goals ``[..., 2]`` of tasks ``[...]``, on the unit circle."""
    angle = 2 * np.pi * np.asarray(task_id) / NUM_TASKS
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def reward_of(next_obs, task_id):
    """Rewards ``[...]`` of what observations ``[..., 5]`` say was reached."""
    return -np.square(np.asarray(next_obs)[..., :2] - goal(task_id)).sum(-1)


class Point(gym.Env):
    """A point that drifts, moves by its actions and is to stay at its task's goal, which only the reward tells.

    Observation ``[5]``: position (2), steps since the reset / 10, last executed action (2; zeros after a reset).
    Like a user's own environment, it draws its task at each reset.

    Config: ``max_steps`` (20), ``end_probability`` of terminating at each step (0), ``fail_at`` (step of an instance's
    life at which the first slot's environment raises; None), ``fail_in`` (``"step"`` or ``"reset"``), ``as_dict``
    (observations in a Dict), ``task_id`` (what the infos hold: ``"int"``, ``"at reset"`` only, ``"none"``, ``"text"``).
    """

    def __init__(self, config=None):
        self.runner_and_slot = getattr(config, "worker_index", 0), getattr(config, "vector_index", 0)
        config = dict(config or {})
        self.max_steps = config.get("max_steps", 20)
        self.end_probability = config.get("end_probability", 0.0)
        self.fail_at, self.fail_in = config.get("fail_at"), config.get("fail_in", "step")
        self.as_dict, self.task_id_as = config.get("as_dict", False), config.get("task_id", "int")
        self.action_space = gym.spaces.Box(LOW, HIGH)
        self.observation_space = self._box(5)
        if self.as_dict:
            self.observation_space = gym.spaces.Dict(
                {"clock": self._box(1), "place": self._box(2), "last": self._box(2)}
            )
        self.age = 0

    @staticmethod
    def _box(size):
        return gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._fail("reset")
        self.task_id = int(self.np_random.integers(NUM_TASKS))
        self.position = 0.5 * self.np_random.normal(size=2)
        self.drift = 0.02 * self.np_random.normal(size=2)
        self.steps = 0
        self.last = np.zeros(2)
        return self._observe(), self._info()

    def step(self, action):
        self.age += 1
        self._fail("step")
        assert self.action_space.contains(action), action
        self.steps += 1
        self.last = action
        self.position = self.position + 0.03 * (action - (LOW + HIGH) / 2) + self.drift
        terminated = bool(self.np_random.random() < self.end_probability)
        reward = float(reward_of(np.float32(self.position), self.task_id))
        return self._observe(), reward, terminated, self.steps >= self.max_steps, self._info()

    def _observe(self):
        place, clock, last = (np.asarray(x, np.float32) for x in (self.position, [self.steps / 10], self.last))
        if self.as_dict:
            return {"clock": clock, "place": place, "last": last}
        return np.concatenate([place, clock, last])

    def _info(self):
        if self.task_id_as == "none" or (self.task_id_as == "at reset" and self.steps > 0):
            return {}
        return {"task_id": f"goal {self.task_id}" if self.task_id_as == "text" else self.task_id}

    def _fail(self, where):
        if (
            self.runner_and_slot[1] == 0
            and self.fail_at is not None
            and self.age >= self.fail_at
            and self.fail_in == where
        ):
            raise RuntimeError("the simulator broke")


class Walker(Point):
    """``Point`` with this package's protocol for tasks: an attribute ``next_task_id`` that each reset moves on."""

    num_tasks = NUM_TASKS

    def __init__(self, config=None):
        super().__init__(config)
        self.next_task_id = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task_id = self.next_task_id
        self.next_task_id = (self.task_id + 1) % NUM_TASKS
        return self._observe(), self._info()


class Still(Point):
    """One task, and each episode begins the same: what follows is up to the actions alone."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task_id, self.position, self.drift = 0, np.zeros(2), np.zeros(2)
        return self._observe(), self._info()


class Judged(Walker):
    """Says at the end of an episode whether it was a success: in even tasks it was; of task 4 it says nothing."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if (terminated or truncated) and self.task_id != 4:
            info |= {"is_success": self.task_id % 2 == 0, "steps": self.steps}
        return obs, reward, terminated, truncated, info


class Diverging(Walker):
    """The first slot's environment gives a number that cannot be learned from.

    Config: ``bad`` (the number), ``bad_in`` (``"observation"``, ``"reward"`` or ``"reset"``), ``bad_at`` (step of an
    instance's life from which on it does).
    """

    def __init__(self, config):
        super().__init__(config)
        self.bad, self.bad_in, self.bad_at = config["bad"], config["bad_in"], config["bad_at"]

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return self._spoil("reset", obs), info

    def step(self, action):
        obs, reward, *rest = super().step(action)
        return self._spoil("observation", obs), self._spoil("reward", reward), *rest

    def _spoil(self, what, value):
        is_due = self.runner_and_slot[1] == 0 and self.age >= self.bad_at and self.bad_in == what
        return np.float64(value) + self.bad if is_due else value


class Hanging(Walker):
    """Hangs once: the first environment whose life reaches step ``hang_at`` while the file ``marker`` is not there."""

    def __init__(self, config):
        super().__init__(config)
        self.hang_at, self.marker = config["hang_at"], Path(config["marker"])

    def step(self, action):
        if self.age == self.hang_at and not self.marker.exists():
            self.marker.touch()
            time.sleep(3600)
        return super().step(action)


class Discrete(Point):
    """Two actions."""

    def __init__(self, config=None):
        super().__init__(config)
        self.action_space = gym.spaces.Discrete(2)


class Unbounded(Point):
    """Any action."""

    def __init__(self, config=None):
        super().__init__(config)
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Image(Point):
    """Images for observations."""

    def __init__(self, config=None):
        super().__init__(config)
        self.observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)


PLAIN = {"obs": [5.0, 7.0], "info": {"task_id": 1}, "reward": 2.0, "ends": True, "truncated": False, "last": {}}


class Changing(gym.Env):
    """Episodes of two steps; from the second one on something is different.

    Config: ``later``, what later episodes give instead of ``PLAIN``: ``obs`` (at any time), ``info`` (of the reset),
    ``reward``, ``ends`` (``terminated`` of the last step), ``truncated``, ``last`` (the last info), ``step`` or
    ``reset`` (all of what is returned); ``as_dict`` (observations in a Dict).
    """

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, config):
        self.later, self.episodes = config["later"], 0
        self.as_dict = config.get("as_dict", False)
        self.observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
        if self.as_dict:
            box = gym.spaces.Box(-10, 10, (1,), np.float32)
            self.observation_space = gym.spaces.Dict({"a": box, "b": box})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episodes, self.steps = self.episodes + 1, 0
        self.now = PLAIN | (self.later if self.episodes > 1 else {})
        return self.now.get("reset", (self.observe(), self.now["info"]))

    def step(self, action):
        self.steps += 1
        over = self.steps == 2
        ends, info = (self.now["ends"], self.now["last"]) if over else (False, {})
        return self.now.get("step", (self.observe(), self.now["reward"], ends, self.now["truncated"], info))

    def observe(self):
        obs = self.now["obs"]
        return {"a": obs[:1], "b": obs[1:]} if self.as_dict and isinstance(obs, list) else obs


class Nowhere(PosturePoint):
    """The point with postures, which tells nobody where it is."""

    def __init__(self, config=None):
        super().__init__(max_steps=5)

    @property
    def coordinates(self):
        raise AttributeError("coordinates")

    def episode_info(self):
        return {"task_id": 0}


for cls in (Point, Walker, Judged, Still, Diverging, Hanging, Discrete, Unbounded, Image, Changing):
    register_env(f"test/{cls.__name__}", cls)


class Picture(gym.Env):
    """A point that observes a picture ``[side, side + 1, 1]`` of its surroundings: brightness tells the place.

    Config: ``max_steps`` (10), ``side`` (8).
    """

    def __init__(self, config=None):
        config = dict(config or {})
        self.max_steps, self.side = config.get("max_steps", 10), config.get("side", 8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,))
        self.observation_space = gym.spaces.Box(0, 255, (self.side, self.side + 1, 1), np.uint8)
        self.place, self.step_count = np.zeros(2), 0

    @property
    def coordinates(self):
        return self.place

    def _see(self):
        row, column = np.meshgrid(np.arange(self.side), np.arange(self.side + 1), indexing="ij")
        brightness = 128 + 10 * (self.place[0] * np.sin(row) + self.place[1] * np.cos(column)) + row
        return brightness.clip(0, 255).astype(np.uint8)[..., None]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.step_count = self.np_random.normal(size=2), 0
        return self._see(), {}

    def step(self, action):
        self.place = self.place + action
        self.step_count += 1
        return self._see(), 0.0, False, self.step_count == self.max_steps, {}

    def sample_goal(self, rng):
        self.reset(seed=int(rng.integers(2**31)))
        self.place = rng.uniform(-5.0, 5.0, 2)
        return self._see(), self.place.copy()


STACKED, PADDED = "pictures", "pictures after black ones"
register_env(STACKED, lambda config: gym.wrappers.FrameStackObservation(Picture(config), 3))
register_env(PADDED, lambda config: gym.wrappers.FrameStackObservation(Picture(config), 3, padding_type="zero"))
