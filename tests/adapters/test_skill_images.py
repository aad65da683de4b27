"""Skill discovery from images: it trains, restores, acts alone and is evaluated; what cannot be is refused."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import AddRenderObservation, FlattenObservation, FrameStackObservation
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

import rllib_sami
from rllib_sami import (
    CICConfig,
    CSFConfig,
    DADSConfig,
    DIAYNConfig,
    METRAConfig,
    PlainSACConfig,
    SaCCMConfig,
    VISRConfig,
)
from rllib_sami.evaluation import evaluate, report
from rllib_sami.exports.writing import export_agent
from rllib_sami.hierarchy import FrozenPolicy
from rllib_sami.replay_buffers.offline import write_episodes
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .envs import PADDED, STACKED, Picture
from .test_skill_discovery import GOALS, MODULE_PATH, SKILLS, learned, tiny_skills, without_times
from .tiny import differences, flat_state, refusal, snapshot, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
FILTERS = [[4, 3, 2], [6, 2, 1]]
CONFIGS = (CSFConfig, METRAConfig, DIAYNConfig, VISRConfig, CICConfig)


def of_images(config_class=CSFConfig, env=STACKED, env_config=None, **training):
    return tiny_skills(config_class, env, env_config or {}, **{"conv_filters": FILTERS} | training)


def places(images):
    """Where the point is on pictures ``[n, 72]`` of ``Picture``, ``[n, 2]``, up to their rounding."""
    brightness = images.reshape(-1, 8, 9).astype(float)
    second = (brightness[:, 0, 0] - 128.0) / 10.0
    first = ((brightness[:, 1, 0] - 129.0) / 10.0 - second) / np.sin(1.0)
    return np.stack([first, second], axis=-1)


def assert_images_follow_actions(algo):
    """The stored pictures of each step show the point before and after its action."""
    store, checked = algo.replay_buffer.store, 0
    for line in store.episodes:
        length = int(line["length"])
        images = store.gather_images(np.repeat(line, length), np.arange(length))
        actions = store.gather(line, length + 1)[1:, :-1]
        moved = places(images[:, -1]) - places(images[:, -2])
        np.testing.assert_allclose(moved, actions, atol=0.35)
        checked += length
    assert checked > 50


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory):
    algo = of_images().evaluation(evaluation_interval=2).build_algo()
    results = [copy.deepcopy(algo.train()) for _ in range(3)]
    yield algo, results, algo.save_to_path(tmp_path_factory.mktemp("checkpoint"))
    algo.stop()


def test_it_trains_and_is_evaluated(trained):
    _, results, _ = trained
    assert learned(results[-1])["num_updates_lifetime"] == 12
    assert np.isfinite(learned(results[-1])["representation_loss"])
    evaluated = results[-1]["evaluation"]
    assert np.isfinite([evaluated["skills"][name] for name in SKILLS]).all()
    assert np.isfinite([evaluated["goals"][name] for name in GOALS]).all()


@pytest.mark.parametrize("config_class", CONFIGS[1:])
def test_other_methods_read_images_too(config_class):
    algo = of_images(config_class, env=Picture).build_algo()
    for _ in range(2):
        result = algo.train()
    assert np.isfinite(learned(result)["critic_loss"])
    algo.stop()


def test_images_are_stored_once_and_each_network_learns(trained):
    algo, _, _ = trained
    assert_images_follow_actions(algo)
    store = algo.replay_buffer.store
    assert store.images.ring.shape == (5_000, 8 * 9)
    assert store.obs_dim == 0
    fresh = of_images().build_algo()
    before, after = (weights_of(one) for one in (fresh, algo))
    moved = [name for name in differences(before, after) if name.endswith("net.0.weight")]
    convolutions = [name for name in moved if "encoder" in name or "representation.0" in name]
    assert len(convolutions) == 2 + 2 + 2, convolutions  # with those of the target critics
    fresh.stop()


def test_two_restores_go_on_identically(trained):
    algo, _, path = trained
    states = []
    for _ in range(2):
        restored = type(algo).from_checkpoint(path)
        assert restored.replay_buffer.store.images.ring.any()
        restored.train()
        states.append(snapshot(restored)["state"])
        restored.stop()
    assert without_times(differences(*map(flat_state, states))) == []


def test_the_module_alone_acts_on_images(trained):
    _, _, path = trained
    module = RLModule.from_checkpoint(f"{path}/{MODULE_PATH}")
    env = FrameStackObservation(Picture(), 3)
    obs, _ = env.reset(seed=0)
    goal, _ = env.get_wrapper_attr("sample_goal")(np.random.default_rng(0))
    skill = module.infer_skill(obs[None], np.stack([goal] * 3)[None])
    torch.testing.assert_close(skill.norm(dim=-1), torch.ones(1))
    out = module.forward_inference({"obs": obs[None], "state_in": {"skill": skill}})
    flat = torch.from_numpy(obs.reshape(1, -1))
    torch.testing.assert_close(out["actions"], module.acting.actor.mode(flat, skill))
    other = module.forward_inference({"obs": obs[None] + 9, "state_in": {"skill": skill}})
    assert not torch.equal(out["actions"], other["actions"])


def test_an_export_acts_alike(trained, tmp_path):
    algo, _, path = trained
    folder = export_agent(algo.get_module(), algo.config, tmp_path / "agent", algorithm="CSF")
    agents = [rllib_sami.load(str(one)) for one in (path, folder)]
    env, skill = FrameStackObservation(Picture(), 3), [1.0, 0.0, 0.0]
    obs, _ = env.reset(seed=0)
    for agent in agents:
        agent.reset(skill=skill)
    for _ in range(4):
        one, other = (agent.act(obs) for agent in agents)
        np.testing.assert_array_equal(one, other)
        obs, *_ = env.step(one)
    assert agents[1].observation_space == env.observation_space
    played = evaluate([folder], episodes=2, progress=False)
    assert len(played.episodes) == 2 + 2
    assert report(played, tmp_path / "out").is_file()


def with_rllibs_runner(env):
    return of_images(env=env).env_runners(env_runner_cls=SingleAgentEnvRunner, num_envs_per_env_runner=2)


@pytest.mark.parametrize(
    "config",
    [
        lambda: with_rllibs_runner(Picture),
        lambda: with_rllibs_runner(STACKED),
        lambda: of_images().env_runners(num_env_runners=1).learners(num_learners=1),
    ],
    ids=["rllibs runner", "rllibs runner, stacked", "remote"],
)
def test_other_env_runners_and_learners_are_sent_images(config):
    algo = config().build_algo()
    for _ in range(2):
        result = algo.train()
    assert learned(result)["num_updates_lifetime"] > 0
    assert_images_follow_actions(algo)
    algo.stop()


def test_batches_are_drawn_in_parts_that_fit_into_memory(monkeypatch):
    drawn, config = [], of_images(updates_per_env_step=0.5)
    of_update = 16 * 4 * 8 * 9
    monkeypatch.setattr("rllib_sami.algorithms.base.array_config.MOST_BYTES_DRAWN", 3 * of_update)
    algo = config.build_algo()
    sample = algo.replay_buffer.sample
    monkeypatch.setattr(algo.replay_buffer, "sample", lambda number: drawn.append(number) or sample(number))
    for _ in range(2):
        result = algo.train()
    assert max(drawn) == 3
    assert sum(drawn) == learned(result)["num_updates_lifetime"] > 3
    algo.stop()


def test_a_checkpoint_with_other_convolutions_is_refused_and_tuples_are_lists(trained):
    _, _, path = trained
    other = of_images(conv_filters=[[5, 3, 2], [6, 2, 1]]).build_algo()
    with pytest.raises(ValueError, match="was made with `conv_filters`"):
        other.restore_from_path(path)
    other.stop()
    same = of_images(conv_filters=tuple(map(tuple, FILTERS))).build_algo()
    same.restore_from_path(path)
    same.stop()


def test_convolutions_mean_nothing_to_numbers(ray_cluster, tmp_path):
    algo = tiny_skills().build_algo()
    path = algo.save_to_path(tmp_path / "numbers")
    algo.stop()
    other = tiny_skills(conv_filters=FILTERS).build_algo()
    other.restore_from_path(path)
    other.stop()


# --- Goals ----------------------------------------------------------------------------------------------------------


class Drawn(Picture):
    """A point that observes where it is, and can be drawn."""

    render_mode, leaves_it_there = "rgb_array", True

    def __init__(self, config=None):
        super().__init__(config)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))

    def render(self):
        return super()._see()

    def _see(self):
        return self.place.astype(np.float32)

    def sample_goal(self, rng):
        obs, goal = super().sample_goal(rng)
        if not self.leaves_it_there:
            self.reset(seed=0)
        return obs, goal


class Elsewhere(Drawn):
    """A point that is not moved to goals."""

    leaves_it_there = False


class InADict(Drawn):
    """A point that observes two numbers by name."""

    def __init__(self, config=None):
        super().__init__(config)
        numbers = gym.spaces.Box(-np.inf, np.inf, (1,))
        self.observation_space = gym.spaces.Dict({"a": numbers, "b": numbers})

    def _see(self):
        first, second = self.place.astype(np.float32)
        return {"a": np.array([first]), "b": np.array([second])}


def drawn(env):
    return FrameStackObservation(AddRenderObservation(env, render_only=True), 3)


register_env("drawn point", lambda config: drawn(Drawn(config)))
register_env("point drawn elsewhere", lambda config: drawn(Elsewhere(config)))
register_env("stacked dict", lambda config: FlattenObservation(FrameStackObservation(InADict(config), 3)))


def goals_of(env):
    grids = of_images(env=env).evaluation(evaluation_interval=1).evaluation_grids()
    return [spec.goal for grid in grids if grid.split == "goals" for spec in grid.episodes]


@pytest.mark.parametrize("env", [STACKED, "drawn point"])
def test_the_image_of_a_goal_shows_the_point_there(env):
    goals = goals_of(env)
    assert len(goals) == 3
    for goal in goals:
        stack = goal.obs.reshape(3, 72)
        assert (stack == stack[0]).all()
        np.testing.assert_allclose(places(stack)[0], goal.coordinates, atol=0.25)


def test_goals_that_would_be_drawn_elsewhere_are_not_tried():
    assert goals_of("point drawn elsewhere") == []
    config = of_images(env="point drawn elsewhere").evaluation(evaluation_interval=1, evaluation_splits=["goals"])
    assert "`sample_goal` leaves it elsewhere than at the goal" in refusal(config)


def test_numbers_may_be_stacked_too():
    for goal in goals_of("stacked dict"):
        np.testing.assert_allclose(goal.obs, np.repeat(goal.coordinates, 3), rtol=1e-6)


# --- What is refused ------------------------------------------------------------------------------------------------


class Tall(Picture):
    """Pictures whose channels come first."""

    def __init__(self, config=None):
        super().__init__(config)
        self.observation_space = gym.spaces.Box(0, 255, (1, 8, 9), np.uint8)

    def _see(self):
        return np.moveaxis(super()._see(), -1, 0)


class Fractions(Picture):
    """Pictures between 0 and 1, in a space of bytes."""

    def _see(self):
        return super()._see() / 255.0


class Turned(Picture):
    """Pictures of width and height, in a space of height and width."""

    def _see(self):
        return np.moveaxis(super()._see(), 0, 1)


class OldBuffer(TaskEpisodeReplayBuffer):
    """A buffer that knows nothing of images."""

    def __init__(self, obs_dim, action_dim, sampler, *, capacity, seed, fields):
        super().__init__(obs_dim, action_dim, sampler, capacity=capacity, seed=seed, fields=fields)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: of_images(DADSConfig), ["observations of shape [3, 8, 9, 1]", "read images"]),
        (lambda: of_images(representation_type="mlp"), ["observations of shape [3, 8, 9, 1]", "only flat ones"]),
        (lambda: of_images(env=Tall), ["[1, 8, 9]", "[H, W, C]", "np.moveaxis"]),
        (
            lambda: of_images(conv_filters=[[4, 9, 2]]),
            ["has images of 8 x 9 pixels, which are too small for `conv_filters` [[4, 9, 2]]"],
        ),
        (lambda: of_images(env=PADDED), ["shape [3, 8, 9, 1]", "padding_type='reset'", "several cameras"]),
        (lambda: of_images(env=Fractions), ["images of type float64", "no integers from 0 to 255"]),
        (lambda: of_images(env=Turned), ["images of shape [9, 8, 1], but its observation space has [8, 9, 1]"]),
        (lambda: of_images(replay_buffer_config={"type": OldBuffer}), ["OldBuffer", "takes no `images`"]),
        (lambda: of_images(conv_filters=[[4, 3]]), ["`conv_filters` is [[4, 3]]", "[channels, kernel, stride]"]),
        (lambda: of_images(conv_filters=16), ["`conv_filters` is 16"]),
        (
            lambda: of_images(replay_buffer_config={"capacity": 10**12}),
            ["72 (one image) + 2 + 1 numbers", "GiB", "Set it to"],
        ),
        (lambda: tiny(SaCCMConfig, STACKED), ["[3, 8, 9, 1]", "read images"]),
        (lambda: tiny(PlainSACConfig, Picture), ["[8, 9, 1]", "read images"]),
    ],
)
def test_one_message_says_what_is_wrong(config, words):
    message = refusal(config())
    assert all(word in message for word in words), message


def test_skills_that_read_images_play_no_tasks_and_have_no_files_for_offline_learning(trained, tmp_path):
    algo, _, path = trained
    with pytest.raises(ValueError, match="The policy reads images"):
        FrozenPolicy(algo.get_module().acting, algo.get_module().action_space)
    with pytest.raises(ValueError, match="Observations are images"):
        write_episodes(algo.replay_buffer, tmp_path / "episodes")
    assert not (tmp_path / "episodes").exists()
    with pytest.raises(ValueError, match="they read images"):
        gym.make("Skills/Control-v0", env=STACKED, skills=str(path))
