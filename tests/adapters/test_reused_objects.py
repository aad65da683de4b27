"""An environment that gives the same array and dict every time: what is kept is what it was, not what it is now."""

from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.core.columns import Columns
from ray.tune.registry import register_env

from rllib_sami import RecurrentSACConfig
from rllib_sami.env_runners.agents import ConnectorAgent
from rllib_sami.env_runners.episodes import EpisodeSpec, Slot
from rllib_sami.env_runners.player import Player
from rllib_sami.evaluation.video import Film

from .parity import stored_episodes
from .tiny import runner_of, store_of, tiny

LENGTH = 5


class Reusing(gym.Env):
    """Counts its steps in observation, reward and info, and writes into the action it is given.

    Config: ``copies``: whether all it gives is new every time.
    """

    observation_space = gym.spaces.Box(-100, 100, (1,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (1,), np.float32)
    metadata = {"render_fps": 2}  # noqa: RUF012 (Gymnasium's name)

    def __init__(self, config=None):
        self.copies = (config or {}).get("copies", False)
        self.obs, self.image = np.zeros(1, np.float32), np.zeros((8, 8, 3), np.uint8)
        self.info = {"task_id": 0, "task": {"number": 0}, "path": np.zeros(1), "is_success": False}
        self.episodes = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        self.info["task"]["number"] = self.episodes
        return self.give()

    def step(self, action):
        self.steps += 1
        self.info["task"]["number"] += 10
        action *= 0.5
        obs, info = self.give()
        return obs, float(self.steps), self.steps == LENGTH, False, info

    def give(self):
        self.obs[0] = self.info["path"][0] = self.steps
        self.info["is_success"] = self.steps == LENGTH
        if not self.copies:
            return self.obs, self.info
        return self.obs.copy(), self.info | {"task": dict(self.info["task"]), "path": self.info["path"].copy()}

    def render(self):
        self.image[:] = 20 * self.steps
        return self.image


register_env("test/Reusing", Reusing)


def sampled(copies):
    """A runner's pieces, stored episodes, metrics, and all infos that callbacks ever saw, by episode."""
    seen = {}
    config = tiny(RecurrentSACConfig, env="test/Reusing", env_config={"copies": copies})
    runner = runner_of(config.callbacks(on_episode_end=lambda episode, **_: seen.setdefault(len(seen), episode)))
    pieces = runner.sample(num_timesteps=42, explore=False)
    store = store_of(runner, [pieces])
    infos = [episode.get_infos() for episode in seen.values()]
    return pieces, stored_episodes(store), runner.get_metrics()["success_rate"].peek(), infos


def test_what_the_runner_keeps_does_not_change():
    (_, expected, rate, infos), (pieces, episodes, rate_here, infos_here) = sampled(True), sampled(False)
    assert rate == rate_here == 1.0
    for one, other in zip(expected, episodes, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(other.obs[:, 0], np.arange(len(other) + 1))
    last = [piece.get_infos(-1) for piece in pieces if piece.is_done]
    assert len(last) == 6
    assert [(info["path"].tolist(), info["is_success"]) for info in last] == [([LENGTH], True)] * 6
    assert sorted(info["task"]["number"] for info in last) == [51, 51, 51, 52, 52, 52]
    assert str(infos_here) == str(infos)
    assert [info["path"].tolist() for info in infos_here[0]] == [[step] for step in range(LENGTH + 1)]


def job(episode):
    return EpisodeSpec("train", None, episode, 0, 0)


def test_what_an_evaluation_keeps_does_not_change():
    player = Player(lambda slot: Reusing(), single_env=True)  # one environment, one episode after the other
    agent = SimpleNamespace(
        contexts=None, reset=lambda slots, obs: None, act=lambda slots, live: np.zeros((1, 1), np.float32)
    )
    episodes = player.play(agent, [job(0), job(1)])
    assert [(episode.task, episode.total, episode.success) for episode in episodes] == [
        ({"number": 1.0}, 15.0, True),
        ({"number": 2.0}, 15.0, True),
    ]


class Pipeline:
    """In place of RLlib's connectors: hands everything on."""

    input_observation_space = Reusing.observation_space

    @classmethod
    def from_checkpoint(cls, path):
        return cls()

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def __call__(self, *, batch, **common):
        return batch or {"obs": common["episodes"]}


def test_rllibs_agents_read_past_observations_infos_and_actions_as_they_were(monkeypatch):
    for name in ("env_to_module.EnvToModulePipeline", "module_to_env.ModuleToEnvPipeline"):
        monkeypatch.setattr(f"ray.rllib.connectors.{name}", Pipeline)
    monkeypatch.setattr("rllib_sami.compat.freeze_statistics", lambda pipeline: None)
    module = SimpleNamespace(
        action_space=Reusing.action_space,
        forward_inference=lambda batch: {Columns.ACTIONS: np.full((len(batch["obs"]), 1), 0.8, np.float32)},
        forward_exploration=None,
    )
    agent, slot = ConnectorAgent(Path("nowhere"), module, explore=False), Slot(Reusing(), np.zeros(1, np.float32))
    slot.reset(job(0))
    agent.reset([slot], np.zeros((1, 1), np.float32))
    for _ in range(4):
        slot.step(agent.act([slot], [0])[0])
    agent.act([slot], [0])
    [episode] = agent._episodes
    np.testing.assert_array_equal(np.ravel(episode.get_observations()), np.arange(5))
    assert [info["path"].tolist() for info in episode.get_infos()] == [[step] for step in range(5)]
    np.testing.assert_array_equal(np.ravel(episode.get_actions()), np.full(4, np.float32(0.8)))


def test_the_poster_is_the_picture_that_was_taken(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    env = Reusing()
    env.reset()
    film = Film(tmp_path / "film.mp4", env)
    for _ in range(2):
        film.take()
    env.steps = 9
    env.render()
    assert (film._image == 0).all()
    film.close()
