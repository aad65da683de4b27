"""The module acts alone, through RLlib's usual hooks, and in RLlib's own env runner."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import PlainSACConfig, SaPPOConfig
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.algorithms.sappo.sappo import SaPPOTorchRLModule

from .envs import HIGH, LOW, Walker, reward_of
from .parity import sharpen, stored_episodes, worst_mismatch
from .tiny import differences, runner_of, store_of, tiny

TOLERANCE = 1e-5
NO_STATE = np.float32([[0.3, -0.2, 0.1, 0.0, 0.0]])
STATE_DIM = 2 * 16 + 5 + 1  # hidden units and cell, the observation before, whether there was one
MODULE_PATH = "learner_group/learner/rl_module/default_policy"


def make_module(*, inference_only=False, seed=1, env=Walker, **training) -> SaMITorchRLModule:
    environment = env()
    torch.manual_seed(seed)
    module = SaMITorchRLModule(
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        inference_only=inference_only,
        model_config=tiny(**training).model_config,
    )
    sharpen(module.acting)
    return module


def initial_state(module, batch_size=1):
    return {key: np.stack([value] * batch_size) for key, value in module.get_initial_state().items()}


# --- Hooks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder_type", ["lstm", "gru"])
def test_inference_step_by_step_is_the_sequence_path(encoder_type):
    module, env = make_module(encoder_type=encoder_type), Walker()
    obs, _ = env.reset(seed=0)
    rows, actions, state = [], [], initial_state(module)
    previous = np.zeros(2, np.float32)
    for _ in range(20):
        rows.append(np.concatenate([obs, previous]))
        out = module.forward_inference({"obs": obs[None], "state_in": state})
        previous, state = out["actions"][0].numpy(), out["state_out"]
        actions.append(previous)
        obs, *_ = env.step(out["actions_for_env"][0].numpy())

    def replay(rows):
        inputs = torch.from_numpy(np.float32(rows))
        with torch.no_grad():
            return module.acting.actor.mode(inputs[:, :5], module.acting.encoder(inputs[None])[0]).numpy()

    np.testing.assert_allclose(actions, replay(rows), atol=TOLERANCE)
    without_actions = np.concatenate([np.array(rows)[:, :5], np.zeros((20, 2))], axis=1)
    assert np.abs(actions - replay(without_actions)).max() > 100 * TOLERANCE


def test_exploration_samples_the_tanh_gaussian_and_inference_is_its_mode():
    module = make_module()
    batch = {"obs": NO_STATE, "state_in": initial_state(module)}
    mode = module.forward_inference(batch)["actions"]
    np.testing.assert_array_equal(mode, module.forward_inference(batch)["actions"])
    torch.manual_seed(5)
    sampled = module.forward_exploration(batch)["actions"]
    torch.manual_seed(5)
    noise = torch.randn(1, 2)
    with torch.no_grad():
        context, _ = module.acting.encoder.step(
            torch.cat([torch.from_numpy(NO_STATE), torch.zeros(1, 2)], 1), torch.zeros(1, STATE_DIM)
        )
        mean, log_std = module.acting.actor(torch.from_numpy(NO_STATE), context)
    np.testing.assert_allclose(sampled, torch.tanh(mean + log_std.exp() * noise), atol=TOLERANCE)
    np.testing.assert_allclose(mode, torch.tanh(mean), atol=TOLERANCE)
    assert not np.allclose(sampled, module.forward_exploration(batch)["actions"])


def test_a_time_axis_of_one_comes_back():
    module = make_module()
    obs = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    flat = module.forward_inference({"obs": obs, "state_in": initial_state(module, 4)})
    timed = module.forward_inference({"obs": torch.from_numpy(obs[:, None]), "state_in": initial_state(module, 4)})
    assert flat["actions"].shape == (4, 2)
    for key in ("actions", "actions_for_env"):
        assert timed[key].shape == (4, 1, 2)
        np.testing.assert_array_equal(timed[key][:, 0], flat[key])
    assert timed["state_out"]["encoder"].shape == flat["state_out"]["encoder"].shape == (4, STATE_DIM)


@pytest.mark.parametrize(
    ("env", "low", "high"),
    [(Walker, LOW, HIGH), (lambda: gym.make("rllib_sami:SaMI/Pendulum-v0"), [-2.0], [2.0])],
)
def test_actions_for_env_fill_the_action_space(env, low, high):
    module = make_module(env=env)
    normalised = torch.tensor([-1.0, -0.5, 0.0, 1.0, 1.5])[:, None].expand(-1, len(low))
    share = np.array([0.0, 0.25, 0.5, 1.0, 1.0])[:, None]
    np.testing.assert_allclose(
        module.scale_actions(normalised), low + share * (np.asarray(high) - low), rtol=0, atol=1e-6
    )
    obs = np.zeros((1, module.acting.obs_dim), np.float32)
    out = module.forward_exploration({"obs": obs, "state_in": initial_state(module)})
    np.testing.assert_allclose(out["actions_for_env"], module.scale_actions(out["actions"]))
    assert module.action_space.contains(out["actions_for_env"][0].numpy())


def test_an_encoder_that_reads_rewards_says_so_when_there_are_none():
    module = make_module(encoder_reward=True)
    batch = {"obs": NO_STATE, "state_in": initial_state(module)}
    with pytest.raises(ValueError, match=r"encoder_reward=True.*no 'rewards'.*ArrayEnvRunner sends them"):
        module.forward_inference(batch)
    with pytest.raises(ValueError, match=r"'rewards' has shape \[2\], but must have \[1\]"):
        module.forward_inference(batch | {"rewards": np.zeros(2)})
    poor, rich = (module.forward_inference(batch | {"rewards": np.float32([r])})["actions"] for r in (0.0, 3.0))
    assert np.abs(poor - rich).max() > 100 * TOLERANCE


def test_a_module_without_memory_needs_no_state(ray_cluster):
    module = make_module(context_dim=0)
    assert not module.is_stateful()
    out = module.forward_inference({"obs": NO_STATE})
    assert "state_out" not in out  # RLlib's own connectors take none that is empty
    for how in (module.forward_inference, module.forward_exploration):
        assert how({"obs": NO_STATE})["actions_for_env"].shape == (1, 2)
    # A loop that serves any module hands on what there is.
    again = module.forward_inference({"obs": NO_STATE.tolist(), "state_in": module.get_initial_state()})
    assert again["state_out"] == {}
    np.testing.assert_array_equal(again["actions"], out["actions"])

    config = tiny(PlainSACConfig, env="test/Walker", context_dim=0, num_steps_sampled_before_learning_starts=60)
    algo = config.env_runners(env_runner_cls=SingleAgentEnvRunner).build_algo()
    algo.train()
    assert np.isfinite(algo.train()["learners"]["default_policy"]["critic_loss"])
    algo.stop()


ENCODER_AND_ACTION = {"encoder": np.zeros((1, 32)), "previous_action": np.zeros((1, 2))}
HOW_TO_CALL = r"module\.get_initial_state\(\).*module\.forward_inference\({'obs': obs, 'state_in': state}\)"


@pytest.mark.parametrize("how", ["forward_inference", "forward_exploration"])
@pytest.mark.parametrize("kind", ["SaMI", "SaPPO"])
@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"obs": NO_STATE}, r"needs 'state_in', but got only \['obs'\]"),
        ({}, r"needs 'obs', but got only \[\]"),
        ({"obs": NO_STATE, "state_in": {"h": 0}}, r"needs 'encoder', but got only \['h'\]"),
        ({"obs": NO_STATE[0], "state_in": ENCODER_AND_ACTION}, r"'obs' has shape \[5\].*\[B, 5\].*`obs\[None\]`"),
        ({"obs": np.zeros((1, 9, 5)), "state_in": ENCODER_AND_ACTION}, r"'obs' has shape \[1, 9, 5\]"),
        ({"obs": {"a": 1}, "state_in": ENCODER_AND_ACTION}, r"'obs' as one array of numbers, but got a dict"),
        ({"obs": np.zeros((3, 5)), "state_in": ENCODER_AND_ACTION}, r"'encoder' of shape \[1, 32\].*\[3, 32\]"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_with_the_way_to_call(kind, how, batch, message):
    module = make_module(encoder_obs_delta=False) if kind == "SaMI" else make_sappo()
    with pytest.raises(ValueError, match=rf"{message}.*{HOW_TO_CALL}"):
        getattr(module, how)(batch)
    fitting = getattr(module, how)({"obs": NO_STATE, "state_in": ENCODER_AND_ACTION})  # arrays, in double precision
    assert fitting["state_out"]["encoder"].shape == (1, 32)


def make_sappo():
    config = SaPPOConfig().training(encoder_hidden_dim=16, context_dim=3)
    return SaPPOTorchRLModule(
        observation_space=Walker().observation_space, action_space=Walker().action_space,
        model_config=config.model_config,
    )  # fmt: skip


def test_forward_train_says_what_it_reads():
    with pytest.raises(ValueError, match=r"'obs' of shape \[B, T, 7\].*got \[1, 5\].*forward_inference"):
        make_module().forward_train({"obs": NO_STATE})
    for missing in ("obs", "actions", "state_in"):
        whole = {"obs": torch.zeros(1, 4, 5), "actions": torch.zeros(1, 4, 2), "state_in": ENCODER_AND_ACTION}
        with pytest.raises(ValueError, match=f"needs '{missing}', but got only"):
            make_sappo().forward_train({key: value for key, value in whole.items() if key != missing})


# --- State ----------------------------------------------------------------------------------------------------------


def test_an_inference_only_module_has_nothing_of_learning():
    whole, acting_only = make_module(), make_module(inference_only=True, seed=2)
    assert hasattr(whole, "learning")
    assert not hasattr(acting_only, "learning")
    assert all(name.startswith("acting.") for name in acting_only.get_state())
    assert any(name.startswith("learning.critics") for name in whole.get_state())
    assert "learning.log_alpha" in whole.get_state()
    assert set(whole.get_state(inference_only=True)) == set(acting_only.get_state())
    assert acting_only.is_stateful()

    batch = {"obs": NO_STATE, "state_in": initial_state(whole)}
    one, other = whole.forward_inference(batch)["actions"], acting_only.forward_inference(batch)["actions"]
    assert not np.allclose(one, other)
    acting_only.set_state(whole.get_state(inference_only=True))
    np.testing.assert_array_equal(one, acting_only.forward_inference(batch)["actions"])


def test_state_goes_round_and_differs_between_initialisations():
    one, other = make_module(), make_module(seed=2)
    changed = differences(one.get_state(), other.get_state())
    assert any("critics" in path for path in changed)
    assert any("encoder" in path for path in changed)
    other.set_state(one.get_state())
    assert differences(one.get_state(), other.get_state()) == []


ACT_ALONE = """
import json, sys
from ray.rllib.core.rl_module.rl_module import RLModule
module = RLModule.from_checkpoint(sys.argv[1])

import gymnasium
env = gymnasium.make("rllib_sami:SaMI/Pendulum-v0", max_steps=20)
obs, _ = env.reset(seed=3)
state = {key: value[None] for key, value in module.get_initial_state().items()}
actions, done = [], False
while not done:
    out = module.forward_inference({"obs": obs[None], "state_in": state})
    state = out["state_out"]
    obs, _, terminated, truncated, _ = env.step(out["actions_for_env"][0].numpy())
    actions.append(out["actions_for_env"][0].tolist())
    done = terminated or truncated
print(json.dumps(actions))
"""


@pytest.mark.slow
def test_a_saved_module_acts_alone_in_a_fresh_process(ray_cluster, fresh_python, tmp_path):
    algo = tiny(num_steps_sampled_before_learning_starts=60).build_algo()
    algo.train()
    algo.save_to_path(tmp_path)
    alone = json.loads(fresh_python(ACT_ALONE, tmp_path / MODULE_PATH).splitlines()[-1])

    module = RLModule.from_checkpoint(tmp_path / MODULE_PATH)
    trained = algo.get_module()
    algo.stop()
    env = gym.make("SaMI/Pendulum-v0", max_steps=20)
    for actor in (module, trained):
        obs, _ = env.reset(seed=3)
        state, actions = initial_state(actor), []
        for _ in range(20):
            out = actor.forward_inference({"obs": obs[None], "state_in": state})
            state = out["state_out"]
            actions.append(out["actions_for_env"][0].tolist())
            obs, *_ = env.step(np.float32(actions[-1]))
        assert actions == alone
    assert len(alone) == 20
    assert np.std(alone) > 0


# --- RLlib's own env runner -----------------------------------------------------------------------------------------


def test_episodes_of_rllibs_own_runner_satisfy_the_same_parity():
    config = tiny(env="test/Walker", env_config={"end_probability": 0.1})
    runner = runner_of(config.env_runners(env_runner_cls=SingleAgentEnvRunner), runner_class=SingleAgentEnvRunner)
    acting = runner.module.acting
    sharpen(acting)
    episodes = stored_episodes(store_of(runner, [runner.sample(explore=False) for _ in range(12)]))
    assert sum(len(episode) for episode in episodes) >= 12 * 7 * 3
    assert any(episode.terminated for episode in episodes)
    assert len({episode.task_id for episode in episodes}) > 2
    assert worst_mismatch(acting, episodes) < TOLERANCE
    assert worst_mismatch(acting, episodes, shift=1) > 100 * TOLERANCE
    assert worst_mismatch(acting, episodes, restart_every=7) > 100 * TOLERANCE
    for episode in episodes:
        np.testing.assert_allclose(LOW + (episode.actions + 1) / 2 * (HIGH - LOW), episode.obs[1:, 3:5], atol=TOLERANCE)


def test_the_algorithm_trains_with_rllibs_own_runner(ray_cluster):
    config = tiny(env="test/Walker", num_steps_sampled_before_learning_starts=60)
    algo = config.env_runners(env_runner_cls=SingleAgentEnvRunner).build_algo()
    results = [algo.train() for _ in range(2)]
    episodes = stored_episodes(algo.replay_buffer.store)
    algo.stop()
    assert np.isfinite(results[-1]["learners"]["default_policy"]["critic_loss"])
    assert np.isfinite(results[-1]["env_runners"]["episode_return_mean"])
    # All that is stored was executed as it is stored, from the first step on.
    for episode in episodes:
        np.testing.assert_allclose(LOW + (episode.actions + 1) / 2 * (HIGH - LOW), episode.obs[1:, 3:5], atol=TOLERANCE)


def test_with_rllibs_own_runner_a_task_that_is_told_at_resets_only_is_the_whole_episodes(ray_cluster):
    config = tiny(env="test/Point", env_config={"task_id": "at reset"}, num_steps_sampled_before_learning_starts=60)
    algo = config.env_runners(env_runner_cls=SingleAgentEnvRunner).build_algo()
    results = [algo.train() for _ in range(3)]
    store = algo.replay_buffer.store
    episodes = stored_episodes(store)
    algo.stop()
    assert results[-1]["learners"]["default_policy"]["num_updates_lifetime"] > 10
    assert results[-1]["replay_buffer"]["num_env_steps_added_lifetime"] == results[-1]["num_env_steps_sampled_lifetime"]
    assert len(store.finished) >= 12
    assert {len(episode) for episode in episodes if episode.finished} == {20}  # in three pieces and more
    assert len({episode.task_id for episode in episodes}) > 2
    for episode in episodes:
        np.testing.assert_allclose(episode.rewards, reward_of(episode.obs[1:], episode.task_id), atol=TOLERANCE)


def test_a_module_of_an_earlier_version_lacks_later_settings():
    now = make_module()
    then = {key: value for key, value in now.model_config.items() if key != "key_encoder"}
    before = type(now)(observation_space=now.observation_space, action_space=now.action_space, model_config=then)
    assert before.network_config == now.network_config
