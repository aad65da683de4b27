"""``rllib_sami.load``: an agent in a loop of one's own plays exactly as ``rllib evaluate`` has it play."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import ray
import torch
from adapters.tiny import tiny

import rllib_sami
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.evaluation import evaluate
from rllib_sami.exports.writing import export_agent

ROOT = Path(__file__).parents[2]
PARTS = {"velocity": gymnasium.spaces.Box(-9, 9, (2,)), "goal": gymnasium.spaces.Box(-9, 9, (1,))}


class Parts(gymnasium.Env):
    """Gives its observations in parts, whose order is not that of their names."""

    observation_space = gymnasium.spaces.Dict(**PARTS)
    action_space = gymnasium.spaces.Box(-1.0, 3.0, (2,), np.float32)


def export(folder, env="SaMI/Pendulum-v0", obs_dim=3, actions=None, **training):
    """An untrained agent."""
    config = tiny(**training).environment(env)
    torch.manual_seed(0)
    module = SaMITorchRLModule(
        observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32),
        action_space=actions or gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32),
        model_config=config.model_config,
    )
    return export_agent(module, config, folder, algorithm="SaCCM")


def play(agent, env, episode, explore=False):
    """Return, length and contexts of an episode that ``evaluate`` has played, played again."""
    env.get_wrapper_attr("set_wrapper_attr")("next_task_id", int(episode["task_id"]))
    obs, _ = env.reset(seed=int(episode["episode_seed"]))
    agent.reset(seed=int(episode["episode_seed"]))
    assert agent.context is None
    reward, total, length, done, contexts = 0.0, 0.0, 0, False, []
    while not done:
        action = agent.act(obs, reward, explore=explore)
        assert env.action_space.contains(action)
        contexts.append(agent.context)
        obs, reward, terminated, truncated, _ = env.step(action)
        total, length, done = total + reward, length + 1, terminated or truncated
    return total, length, contexts


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize(
    "which",
    [
        "models/saccm_point_goal",  # reads rewards
        "models/saccm_pendulum",
        "models/saccm_half_cheetah_dir",
        "experiment/first",
        "experiment/second",
    ],
)
def test_it_plays_as_evaluate_has_it_play(which, explore, checkpoints):
    path = ROOT / which if which.startswith("models") else checkpoints / which
    results = evaluate(path, "moderate", 1, explore=explore, progress=False)
    row, contexts = results.episodes.iloc[0], results.contexts
    env_config = {"max_steps": 20} if not which.startswith("models") else {}
    env = gymnasium.make(row["environment"], split="moderate", **env_config)
    total, length, seen = play(rllib_sami.load(path), env, row, explore)
    # To the bit; products may round otherwise in the rows of episodes that are played beside the first.
    assert (total, length) == (row["return"], row["length"])
    kept = [step for step in contexts.steps if step < length]
    np.testing.assert_array_equal([seen[step] for step in kept], contexts.values[0, : len(kept)])


def test_an_agent_of_rllib_acts_between_its_connectors(checkpoints):
    row = evaluate(checkpoints / "plain", "moderate", 1, progress=False).episodes.iloc[0]
    agent = rllib_sami.load(checkpoints / "plain")
    env = gymnasium.make(row["environment"], split="moderate", max_steps=20)
    total, length, contexts = play(agent, env, row)
    assert (total, length) == (pytest.approx(row["return"], abs=1e-4), row["length"])  # alone in its batch
    assert contexts == [None] * length
    assert play(agent, env, row, explore=True)[0] != total


def test_acting_leaves_the_callers_random_numbers_alone(checkpoints):
    agent = rllib_sami.load(checkpoints / "plain")
    obs = np.zeros(3, np.float32)
    agent.reset(seed=0)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    noisy = [agent.act(obs, explore=True) for _ in range(2)]
    torch.testing.assert_close(torch.rand(2), expected)
    assert not np.array_equal(*noisy)  # it goes on in a stream of its own
    agent.reset(seed=0)
    np.testing.assert_array_equal(agent.act(obs, explore=True), noisy[0])


def test_the_newest_checkpoint_of_an_experiment_without_ray(checkpoints):
    assert rllib_sami.load(checkpoints / "experiment").action_space == gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
    with pytest.raises(ValueError, match="no such folder"):
        rllib_sami.load(checkpoints / "nothing")
    with pytest.raises(TypeError, match="observation_space=5: expected a"):
        rllib_sami.load(checkpoints / "experiment", observation_space=5)


NO_OBSERVATIONS = [
    ([np.nan, 0.0, 0.0], r"act\(\) was given the observation array\(.*must be finite"),
    ([1e300, 0.0, 0.0], "must be finite"),
    ([None, 0.0, 0.0], "must be finite"),
    ("text", r"The observation 'text' does not fit Box\(.*Give it as the environment of training does"),
    (["1", "2", "3"], "does not fit Box"),
    (np.zeros(3) + 1j, "does not fit Box.*complex128"),
    ([[1.0, 2.0], [3.0]], "does not fit Box"),
    (np.zeros((1, 3)), r"has shape \[1, 3\], but this agent reads \[3\], one observation at a time"),
]


@pytest.mark.parametrize("which", ["experiment/first", "plain"])
def test_what_is_no_observation_reward_or_seed_is_refused_and_forgotten(which, checkpoints):
    agent, obs = rllib_sami.load(checkpoints / which), np.float32([0.5, -0.5, 1.0])
    actions = [agent.act(obs), agent.act(obs, 0.0)]
    agent.reset(seed=2**70)
    np.testing.assert_array_equal(agent.act(obs), actions[0])
    for wrong, words in NO_OBSERVATIONS:
        with pytest.raises(ValueError, match=words):
            agent.act(wrong)
    for reward in (np.nan, 1e39, "text"):
        with pytest.raises(ValueError, match=r"act\(\) was given the reward"):
            agent.act(obs, reward)
    np.testing.assert_array_equal(agent.act(obs, 0.0), actions[1])
    for seed in (1.5, -1, "text"):
        with pytest.raises(ValueError, match=f"seed={seed!r}: expected an integer >= 0"):
            agent.reset(seed=seed)


def test_memory_is_kept_until_reset(tmp_path):
    agent = rllib_sami.load(export(tmp_path / "agent"))
    obs = np.float32([0.5, -0.5, 1.0])
    first, second = agent.act(obs), agent.act(obs)
    assert not np.array_equal(first, second)
    agent.reset()
    np.testing.assert_array_equal(agent.act(obs.tolist()), first)
    agent.reset()
    torch.manual_seed(0)
    agent.reset()
    noisy = agent.act(obs, explore=True)
    assert not np.array_equal(noisy, first)
    torch.manual_seed(0)
    agent.reset()
    np.testing.assert_array_equal(agent.act(obs, explore=True), noisy)
    for wrong in (obs[None], obs[:2], 0.5):
        with pytest.raises(ValueError, match=r"The observation has shape .* reads \[3\], one observation at a time"):
            agent.act(wrong)


def test_an_encoder_that_reads_rewards_asks_for_them_from_the_second_step_on(tmp_path):
    agent = rllib_sami.load(export(tmp_path / "agent", encoder_reward=True))
    obs = np.zeros(3, np.float32)
    first = agent.act(obs)
    with pytest.raises(ValueError, match=r"encoder_reward=True.*act\(obs, reward\)"):
        agent.act(obs)
    second = agent.act(obs, 1.0)
    agent.reset()
    np.testing.assert_array_equal(agent.act(obs, 100.0), first)  # of the episode before
    assert not np.array_equal(agent.act(obs, reward=-1.0), second)
    agent.reset()
    agent.act(obs)
    np.testing.assert_array_equal(agent.act(obs, np.array([1.0])), second)  # as environments with array rewards have it


def test_observations_in_parts_are_flattened_in_the_order_of_their_space(tmp_path):
    folder = export(tmp_path / "agent", "test/Parts", 3, Parts.action_space)
    obs = {"goal": np.float32([7.0]), "velocity": np.float32([1.0, 2.0])}
    flat = gymnasium.spaces.flatten(Parts.observation_space, obs)
    assert flat.tolist() == [1.0, 2.0, 7.0]
    expected = rllib_sami.load(folder).act(flat)
    np.testing.assert_array_equal(rllib_sami.load(folder, observation_space=Parts.observation_space).act(obs), expected)
    with pytest.raises(ValueError, match=r"does not fit Dict\(.*KeyError: 'goal'"):
        rllib_sami.load(folder, observation_space=Parts.observation_space).act({"velocity": obs["velocity"]})
    with pytest.raises(ValueError, match=re.escape("load(path, observation_space=env.observation_space)")):
        rllib_sami.load(folder).act(obs)
    ray.tune.register_env("test/Parts", lambda _: Parts())
    np.testing.assert_array_equal(rllib_sami.load(folder).act(obs), expected)


def test_loading_skills_says_nothing_of_what_rllib_will_drop():
    code = "import rllib_sami; rllib_sami.load('models/skimo_u_maze')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "RLModuleConfig" not in done.stderr
