"""Agents on environments of all kinds, without a checkpoint on disk and without Ray."""

import re
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch

from rllib_sami import SaCCMConfig
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.core import faults
from rllib_sami.core.faults import EnvironmentFaultError
from rllib_sami.env_runners.episodes import NUM_SLOTS, EpisodeSpec, Slot, context_steps, episode_seed, max_episode_steps
from rllib_sami.env_runners.player import Player
from rllib_sami.env_runners.vector_env import TaskVectorEnv
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.evaluation import evaluate
from rllib_sami.evaluation.processes import run_all
from rllib_sami.exports import checkpoints
from rllib_sami.exports.checkpoints import Checkpoint
from rllib_sami_cli.evaluate import summarise

Pendulum = ENVIRONMENTS["SaMI/Pendulum-v0"]


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


class Listed(Walks):
    """Keeps what it was told and what it was given; its episodes are of different lengths."""

    episodes_played: ClassVar[list] = []

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        self.played = [seed]
        self.episodes_played.append(self.played)
        return result

    def step(self, action):
        self.played.append(float(action[0]))
        self.steps += 1
        return self.np_random.random(2, np.float32), 1.0, self.steps == 4 + self.task_id, False, self.info()


class Foreign(Plain):
    """Means other things by the names that are looked for, ends its episodes by itself, and counts itself."""

    max_steps = float("inf")
    task: ClassVar = {"mass": np.float32(2), "name": "reach", "gains": np.ones(3)}
    alive = 0

    def __init__(self, config=None):
        super().__init__(config)
        if (config or {}).get("fail") == "at once":
            raise RuntimeError("no simulator")
        self.fail = (config or {}).get("fail")
        Foreign.alive += 1

    def step(self, action):
        if self.fail and self.steps == 2:
            raise RuntimeError("it broke")
        return super().step(action)

    def close(self):
        Foreign.alive -= 1
        raise OSError("the window\nis gone")

    def info(self, at_reset=False):
        return {"task": self.task}


class Wordy(Foreign):
    task = "reach"
    max_steps = "many"


class Mixed(Chooses):
    """Tells its tasks by number and by name, and rewards what it is given."""

    max_steps = np.int64(8)

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float(action[0]), *rest

    def info(self, at_reset=False):
        return {"task_id": (7, "reach", 1)[(self.episodes - 1) % 3]}


class OtherSteps(Pendulum):
    """Changes what a step gives."""

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        return obs, 1.0, terminated, truncated, info


@pytest.fixture
def play(monkeypatch):
    """Plays an agent that was never trained."""

    def run(env, episodes, seed=0, **arguments):
        config = SaCCMConfig().environment(env)
        torch.manual_seed(0)
        module = SaMITorchRLModule(
            observation_space=Plain.observation_space,
            action_space=Plain.action_space,
            model_config=config.model_config,
        )

        class Untrained(Checkpoint):
            def module(self):
                return module

            def env_steps(self):
                return 0

        algorithm = SimpleNamespace(__name__="SaCCM")
        monkeypatch.setattr(checkpoints, "find_all", lambda given: [Path(given)])
        monkeypatch.setattr(checkpoints, "load", lambda path: Untrained(path, algorithm, config))
        return evaluate("trial/checkpoint_0", episodes=episodes, seed=seed, **arguments)

    return run


def test_without_tasks(play):
    results = play(Plain, 20)
    episodes = results.episodes
    assert set(episodes["task_id"]) == {-1}
    assert set(episodes["split"]) == {"own"}
    assert episodes["episode_seed"].nunique() == 20
    pd.testing.assert_frame_equal(play(Plain, 20).episodes, episodes)
    assert not np.array_equal(play(Plain, 20, seed=1).episodes["return"], episodes["return"])
    [row] = summarise(episodes).to_dict("records")
    assert (row["task_id"], row["episodes"]) == (-1, 20)
    assert np.isnan(row["success"])


def test_an_environment_that_chooses_its_tasks_itself(play):
    """Its copies would all begin with the same task."""
    episodes = play(Chooses, 7).episodes
    assert sorted(episodes["task_id"]) == [0, 0, 0, 1, 1, 2, 2]
    pd.testing.assert_frame_equal(play(Chooses, 7).episodes, episodes)
    rows = summarise(episodes).to_dict("records")
    assert [(row["task_id"], row["episodes"]) for row in rows] == [(0, 3), (1, 2), (2, 2), ("all", 7)]


def test_tasks_told_by_name_after_the_first_step(play):
    results = play(Named, 4)
    assert results.provenance["task_names"] == {"Named": ["odd"]}
    assert set(results.episodes["task_id"]) == {0}


def test_environments_that_mean_other_things_by_the_names(play):
    episodes = play(Foreign, 2).episodes
    assert episodes["task_mass"].tolist() == [2.0, 2.0]
    assert "task_name" not in episodes
    assert len(play(Wordy, 2).episodes) == 2
    assert [max_episode_steps(env) for env in (Foreign(), Wordy(), Mixed())] == [None, None, 8]
    results = play(Mixed, 3)
    assert results.provenance["task_names"] == {"Mixed": ["1", "7", "reach"]}
    assert sorted(results.episodes["task_id"]) == [0, 1, 2]


LATER = r"'Foreign' failed \(split own, episode 0, step 3\): RuntimeError: it broke"


@pytest.mark.parametrize(("fail", "words"), [(None, ""), ("later", LATER), ("at once", "Foreign cannot be made")])
def test_every_environment_is_closed(play, monkeypatch, caplog, fail, words):
    """And one that cannot be is told once, whatever else went wrong."""
    monkeypatch.setattr(Foreign, "alive", 0)
    faults._warn_of_close.cache_clear()
    with pytest.raises((RuntimeError, ValueError), match=words) if fail else nullcontext():
        play(Foreign, 20, env_config={"fail": fail})
    assert Foreign.alive == 0
    told = ["The environment 'Foreign' could not be closed: OSError: the window is gone"]
    assert [record.getMessage() for record in caplog.records] == ([] if fail == "at once" else told)


class Lingers(Plain):
    """Hangs (config ``hang``: in ``"reset"``, at the third ``"episode"``, in a ``"step"``), or has no end."""

    def __init__(self, config=None):
        super().__init__(config)
        self.hang = (config or {}).get("hang")

    def reset(self, **given):
        if self.hang == "reset" or (self.hang == "episode" and self.episodes == 2):
            time.sleep(60)
        return super().reset(**given)

    def step(self, action):
        self.steps += 1
        if self.hang == "step" and self.steps == 4:
            time.sleep(60)
        return np.zeros(2, np.float32), 0.0, False, self.hang == "episode", {}


@pytest.mark.parametrize(
    ("hang", "words"),
    [
        ("reset", r"to be made and reset.*It hangs"),
        ("episode", r"to be made and reset \(split own, episode 26\).*It hangs"),
        ("step", r"\(split own, episode 0\): the current one has 3 steps.*It hangs"),
        (None, r"\(split own, episode \d+\): the current one has [\d,]+ steps.*endless"),
    ],
)
def test_what_hangs_or_never_ends_is_stopped(play, monkeypatch, hang, words):
    monkeypatch.setattr(faults, "LONGEST_EPISODE", 50)
    with pytest.raises(EnvironmentFaultError, match="'Lingers'.*" + words):
        play(Lingers, 40, env_config={"hang": hang}, sample_timeout_s=0.2)


def test_a_chunk_may_be_played_bit_by_bit():
    agent = SimpleNamespace(reset=lambda *given: None, act=lambda slots, live: np.zeros((NUM_SLOTS, 1)), contexts=None)
    jobs = [EpisodeSpec("own", None, number, number, 0) for number in range(3)]
    for alone in (False, True):
        player = Player(lambda slot: Plain(), alone)
        player.start(agent, jobs)
        parts = [player.resume(0.0)]
        while parts[-1] is None:
            parts.append(player.resume(0.0))
        assert len(parts) > 3
        assert parts[-1] == Player(lambda slot: Plain(), alone).play(agent, jobs)


def test_a_step_of_ones_own_is_the_one_taken():
    env = OtherSteps(max_steps=2)
    slot = Slot(env, np.zeros(3, np.float32))
    slot.reset(EpisodeSpec("own", 0, 0, 0, 0))
    slot.step(np.zeros(1))
    assert slot.reward == 1.0
    both = TaskVectorEnv([lambda: OtherSteps(max_steps=2)] * 2)
    both.reset_all([0, 1])
    assert both.step_arrays(np.zeros((2, 1), np.float32)).rewards.tolist() == [1.0, 1.0]


def test_noise_has_the_seed_where_one_environment_plays_all(play):
    returns = [play(Mixed, 3, seed=seed, explore=True).episodes.set_index("episode")["return"] for seed in (0, 1)]
    assert (returns[0] != returns[1]).all()


def test_torch_draws_on_as_if_nothing_had_been_played():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run_all(torch.manual_seed, [(7,)], [1])
    assert torch.equal(torch.rand(3), expected)


def test_an_environment_that_can_be_told_its_task(play):
    episodes = play(Walks, 6, splits=["own", "own"]).episodes  # of which each is played once
    assert episodes["task_id"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert episodes["episode_seed"].nunique() == 18
    pd.testing.assert_frame_equal(play(Walks, 6).episodes, episodes)


def test_seeds_depend_on_split_task_and_episode_alone(play):
    few, many = (play(Walks, number).episodes.set_index(["task_id", "episode"]) for number in (2, 9))
    assert (many.loc[few.index, "episode_seed"] == few["episode_seed"]).all()
    assert few.loc[(1, 1), "episode_seed"] == episode_seed(0, "own", 1, 1)
    assert max(episode_seed(0, "own", task, 0) for task in range(50)) < 2**31  # which C has to take
    assert len({episode_seed(*key) for key in [(0, "a", 1, 1), (1, "a", 1, 1), (0, "b", 1, 1), (0, "a", 2, 1)]}) == 4


def test_contexts_are_kept_until_the_end_of_an_episode(play):
    results = play(Listed, 2)
    steps, values = results.contexts.steps, results.contexts.values
    assert steps[:4].tolist() == [0, 1, 2, 4]
    assert len(values) == len(results.episodes) == 6
    lengths = results.episodes["length"].to_numpy()
    assert sorted(set(lengths)) == [4, 5, 6]
    assert np.array_equal(~np.isnan(values).any(axis=2), steps < lengths[:, None])
    assert context_steps(64).tolist() == sorted({1, 2, *range(0, 64, 4)})


def test_an_episode_does_not_depend_on_who_else_plays(play):
    """Nor on whether the others are over: its numbers are the same bit by bit."""
    Listed.episodes_played.clear()
    alone = play(Listed, 1, explore=True).episodes
    Listed.episodes_played.clear()
    with_others = play(Listed, NUM_SLOTS, explore=True).episodes
    both = alone.merge(with_others, on=["task_id", "episode"])
    assert len(both) == 3
    assert (both["return_x"] == both["return_y"]).all()


def actions_with(play, context):
    """The actions of each episode, by its seed."""
    Listed.episodes_played.clear()
    play(Listed, 2, context=context)
    return {seed: actions for seed, *actions in Listed.episodes_played if seed is not None and actions}


def test_the_actor_sees_another_context(play):
    learned, zero = actions_with(play, "learned"), actions_with(play, "zero")
    shuffled, frozen = actions_with(play, "shuffled"), actions_with(play, "frozen-after=2")
    assert learned == actions_with(play, "learned")
    for seed, actions in learned.items():
        assert zero[seed] != actions
        assert shuffled[seed] != actions
        assert frozen[seed][:3] == pytest.approx(actions[:3], abs=1e-5)  # torch plays it, numpy the others
        assert frozen[seed][3] != actions[3]
    assert play(Listed, 1, context="zero").episodes["context"].tolist() == ["zero"] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"context": "zeros"}, "context='zeros': expected learned, zero, shuffled or frozen-after=N"),
        ({"context": "frozen-after=-1"}, "expected learned, zero"),
        ({"context": "oracle"}, "Train an agent on the task itself"),
        ({"workers": -1}, "workers=-1"),
        ({"context": "shuffled", "env_class": Chooses}, "Chooses chooses its tasks itself"),
    ],
)
def test_what_cannot_be_played(play, arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        play(arguments.pop("env_class", Plain), 2, **arguments)


def test_success_that_only_some_tasks_tell():
    episode = {"split": "train", "episode": 0, "return": 1.0, "length": 3, "success": pd.NA}
    episodes = pd.DataFrame([{**episode, "task_id": 0}, {**episode, "task_id": 1, "success": True}])
    rows = summarise(episodes)["success"].to_list()
    assert np.isnan(rows[0])
    assert rows[1] == 1.0
    assert np.isnan(rows[2])
