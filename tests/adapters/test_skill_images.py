"""Skill discovery from images: it trains, restores, acts alone and is evaluated; what cannot be is refused."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

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
from rllib_sami.exports.agents import export_agent

from .envs import PADDED, STACKED, Picture
from .test_skill_discovery import GOALS, MODULE_PATH, SKILLS, learned, tiny_skills, without_times
from .tiny import differences, flat_state, refusal, snapshot, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")
FILTERS = [[4, 3, 2], [6, 2, 1]]
CONFIGS = (CSFConfig, METRAConfig, DIAYNConfig, VISRConfig, CICConfig)


def of_images(config_class=CSFConfig, env=STACKED, env_config=None, **training):
    return tiny_skills(config_class, env, env_config or {}, **{"conv_filters": FILTERS} | training)


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


def test_the_policy_acts_on_what_training_saw(trained):
    """The module alone gives the mode of the networks on the stored stack of images."""
    _, _, path = trained
    module = RLModule.from_checkpoint(f"{path}/{MODULE_PATH}")
    env = gym.wrappers.FrameStackObservation(Picture(), 3)
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
    env, skill = gym.wrappers.FrameStackObservation(Picture(), 3), [1.0, 0.0, 0.0]
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


@pytest.mark.parametrize("env", [Picture, STACKED])
def test_rllibs_own_env_runner_samples_images(env):
    config = of_images(env=env).env_runners(env_runner_cls=SingleAgentEnvRunner, num_envs_per_env_runner=2)
    algo = config.build_algo()
    for _ in range(2):
        result = algo.train()
    assert learned(result)["num_updates_lifetime"] > 0
    assert algo.replay_buffer.store.images.ring.any()
    algo.stop()


def test_remote_env_runners_send_images():
    config = of_images().env_runners(num_env_runners=1)
    algo = config.build_algo()
    for _ in range(2):
        result = algo.train()
    assert learned(result)["num_updates_lifetime"] > 0
    algo.stop()


def test_batches_are_drawn_in_parts_that_fit_into_memory(monkeypatch):
    drawn, config = [], of_images(updates_per_env_step=0.5)
    of_update = 16 * 4 * 8 * 9
    monkeypatch.setattr("rllib_sami.algorithms.skill_discovery.skill_discovery.MOST_BYTES_DRAWN", 3 * of_update)
    algo = config.build_algo()
    sample = algo.replay_buffer.sample
    monkeypatch.setattr(algo.replay_buffer, "sample", lambda number: drawn.append(number) or sample(number))
    for _ in range(2):
        result = algo.train()
    assert max(drawn) == 3
    assert sum(drawn) == learned(result)["num_updates_lifetime"] > 3
    algo.stop()


# --- What is refused ------------------------------------------------------------------------------------------------


class Tall(Picture):
    """Pictures whose channels come first."""

    def __init__(self, config=None):
        super().__init__(config)
        self.observation_space = gym.spaces.Box(0, 255, (1, 8, 9), np.uint8)

    def _see(self):
        return np.moveaxis(super()._see(), -1, 0)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: of_images(DADSConfig), ["observations of shape (3, 8, 9, 1)", "METRA, DIAYN, VISR and CIC"]),
        (lambda: of_images(representation_type="mlp"), ["representation_type", "observations of shape (3, 8, 9, 1)"]),
        (lambda: of_images(env=Tall), ["(1, 8, 9)", "[H, W, C]"]),
        (lambda: of_images(conv_filters=[[4, 9, 2]]), ["8 x 9 pixels are too small for `conv_filters` [[4, 9, 2]]"]),
        (lambda: of_images(conv_filters=[[4, 3]]), ["`conv_filters` is [[4, 3]]", "[channels, kernel, stride]"]),
        (lambda: of_images(conv_filters=16), ["`conv_filters` is 16"]),
        (
            lambda: of_images(replay_buffer_config={"capacity": 10**12}),
            ["72 (one image) + 2 + 1 numbers", "GiB", "Set it to"],
        ),
        (lambda: tiny(SaCCMConfig, STACKED), ["(3, 8, 9, 1)", "CSF"]),
        (lambda: tiny(PlainSACConfig, Picture), ["(8, 9, 1)", "CSF"]),
    ],
)
def test_one_message_says_what_is_wrong(config, words):
    message = refusal(config())
    assert all(word in message for word in words), message


def test_skills_that_read_images_play_no_tasks(trained):
    _, _, path = trained
    with pytest.raises(ValueError, match="they read images"):
        gym.make("Skills/Control-v0", env=STACKED, skills=str(path))


def test_stacks_that_begin_with_black_are_refused():
    algo = of_images(env=PADDED).build_algo()
    with pytest.raises(ValueError, match="padding_type='reset'"):
        algo.train()
    algo.stop()
