"""Episodes of an agent on environments of all kinds, without a checkpoint on disk and without Ray."""

import json
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from rllib_sami import SaCCMConfig
from rllib_sami.cli.evaluate import summarise
from rllib_sami.cli.rollout import run_episodes
from rllib_sami.rl_module import SaMITorchRLModule


class Plain(gymnasium.Env):
    """No meta-tasks; a reset with options is a failure."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, config=None):
        self.episodes = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        assert options is None
        self.steps, self.episodes = 0, self.episodes + 1
        return self.observation_space.sample() * 0, self.info(at_reset=True)

    def step(self, action):
        self.steps += 1
        done = self.steps == 3 + self.episodes % 2
        return np.zeros(2, np.float32), self.np_random.random(), False, done, self.info()

    def info(self, at_reset=False):
        return {}


class Chooses(Plain):
    """Goes round its three tasks by itself, whatever the seed."""

    def info(self, at_reset=False):
        return {"task_id": np.int64((self.episodes - 1) % 3), "is_success": self.episodes % 2 == 0}


class Named(Plain):
    """Says only in its steps which task it is, and by name."""

    def info(self, at_reset=False):
        return {} if at_reset else {"task_id": "even" if self.steps % 2 == 0 else "odd"}


class Walks(Plain):
    """Can be told which task comes next."""

    num_tasks = 3
    next_task_id = 0

    def reset(self, *, seed=None, options=None):
        self.task_id, self.next_task_id = self.next_task_id, (self.next_task_id + 1) % 3
        return super().reset(seed=seed, options=options)

    def info(self, at_reset=False):
        return {"task_id": self.task_id}


@pytest.fixture
def play():
    def run(env, episodes, seed=0):
        config = SaCCMConfig().environment(env)
        module = SaMITorchRLModule(
            observation_space=Plain.observation_space,
            action_space=Plain.action_space,
            model_config=config.model_config,
        )
        return run_episodes(SimpleNamespace(module=lambda: module, path="here"), config, episodes, seed, explore=False)

    return run


def test_without_tasks(play):
    episodes = play(Plain, 20)
    assert [episode["task_id"] for episode in episodes] == [None] * 20
    assert len({episode["seed"] for episode in episodes}) == 20
    assert play(Plain, 20) == episodes
    assert play(Plain, 20, seed=1) != episodes
    [row] = summarise(episodes)
    assert (row["task_id"], row["episodes"], row["success_rate"]) == (None, 20, None)


def test_an_environment_that_chooses_its_tasks_itself(play):
    """Its copies would all begin with the same task."""
    episodes = play(Chooses, 7)
    assert [episode["task_id"] for episode in episodes] == [0, 0, 0, 1, 1, 2, 2]
    assert play(Chooses, 7) == episodes
    rows = summarise(episodes)
    assert [(row["task_id"], row["episodes"]) for row in rows] == [(0, 3), (1, 2), (2, 2), ("all", 7)]
    assert json.loads(json.dumps(rows)) == rows


def test_tasks_told_by_name_after_the_first_step(play):
    assert {episode["task_id"] for episode in play(Named, 4)} == {"odd"}


def test_an_environment_that_can_be_told_its_task(play):
    episodes = play(Walks, 6)
    assert [episode["task_id"] for episode in episodes] == [0] * 6 + [1] * 6 + [2] * 6
    assert len({episode["seed"] for episode in episodes}) == 18
    assert play(Walks, 6) == episodes


def test_success_that_only_some_tasks_tell():
    episode = {"return": 1.0, "length": 3, "success": None}
    rows = summarise([{**episode, "task_id": 0}, {**episode, "task_id": 1, "success": True}])
    assert [row["success_rate"] for row in rows] == [None, 1.0, None]
