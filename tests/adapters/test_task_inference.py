"""TaskInference and NeuralProcess in RLlib: training, acting as learned, restoring, exporting, and refusals."""

import copy
import math
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

import rllib_sami
from rllib_sami import NeuralProcessConfig, TaskInferenceConfig, compat
from rllib_sami.exports.agents import load_exported
from rllib_sami.exports.writing import export_agent

from .parity import sharpen, stored_episodes, worst_mismatch
from .test_skill_discovery import largest_difference, weights_of_each, without_times
from .tiny import differences, refusal, runner_of, snapshot, store_of, trained_until

pytestmark = pytest.mark.usefixtures("ray_cluster")
TOY = "Reuse/Toy-v0"
MODULE_PATH = "learner_group/learner/rl_module/default_policy"
SIZES = {"actor_hidden": [16], "critic_hidden": [16], "encoder_hidden_dim": 8, "decoder_hidden": [8], "window": 6}


def tiny_inference(env=TOY, env_config=None, seed=0, config_class=TaskInferenceConfig, **training):
    config = config_class().environment(env, env_config={"max_steps": 20} if env_config is None else env_config)
    return (
        config.env_runners(num_envs_per_env_runner=4, rollout_fragment_length=7)
        .training(
            **SIZES
            | {
                "train_batch_size_per_learner": 16,
                "predicted_steps": 3,
                "num_steps_sampled_before_learning_starts": 100,
                "replay_buffer_config": {"capacity": 5_000},
            }
            | training
        )
        .reporting(min_sample_timesteps_per_iteration=100)
        .debugging(seed=seed, log_level="ERROR")
    )


OF_BOTH = {
    "TaskInference": {"latent_prior": "dpmm", "prior_interval": 3},
    "NeuralProcess": {"config_class": NeuralProcessConfig, "encoder_layers": 2, "latent_dim": 4},
}
of_task_inference = pytest.mark.parametrize("trained", ["TaskInference"], indirect=True)


@pytest.fixture(scope="module", params=OF_BOTH)
def trained(request, ray_cluster, tmp_path_factory):
    """An algorithm after three iterations, its results, and its checkpoint."""
    algo = (
        tiny_inference(**OF_BOTH[request.param]).evaluation(evaluation_interval=2, evaluation_duration=1).build_algo()
    )
    results = [copy.deepcopy(algo.train()) for _ in range(3)]
    yield algo, results, algo.save_to_path(tmp_path_factory.mktemp("checkpoint"))
    algo.stop()


def test_it_trains_and_every_number_is_finite(trained):
    algo, results, _ = trained
    learned = results[-1]["learners"]["default_policy"]
    assert {*algo.config.learner_metrics} <= learned.keys()
    assert all(math.isfinite(learned[name]) for name in algo.config.learner_metrics)
    assert {"obs_prediction_loss", "reward_prediction_loss", "latent_kl"} <= learned.keys()
    assert ({"family_loss", "family_accuracy"} <= learned.keys()) == (type(algo).__name__ == "TaskInference")
    assert results[-1]["evaluation"].keys() >= {"train", "test"}


@pytest.mark.parametrize("other", ["gauss", "gmm", "stick", "gru", "pendulum"])
def test_other_priors_encoders_and_environments_train(other):
    changes = {
        "gauss": {"latent_prior": "gauss", "classify_observation": True},
        "gmm": {"latent_prior": "gmm"},
        "stick": {"latent_prior": "stick"},
        "gru": {"window_encoder": "gru"},
        "pendulum": {"env": "Pendulum-v1", "env_config": {}},
    }[other]
    algo = tiny_inference(**changes).build_algo()
    for _ in range(2):
        result = algo.train()
    learned = result["learners"]["default_policy"]
    assert math.isfinite(learned["critic_loss"])
    assert ("family_loss" in learned) == (other != "pendulum")
    algo.stop()


@pytest.mark.parametrize("algorithm", OF_BOTH)
def test_env_runners_act_on_the_latents_that_training_recomputes(algorithm):
    runner = runner_of(tiny_inference(**OF_BOTH[algorithm]))
    sharpen(runner.module.acting)
    store = store_of(runner, [runner.sample(num_timesteps=200, explore=False) for _ in range(2)])
    episodes = stored_episodes(store)
    assert worst_mismatch(runner.module.acting, episodes) < 1e-4
    assert worst_mismatch(runner.module.acting, episodes, restart_every=5) > 1e-2
    runner.stop()


def test_the_same_seed_gives_the_same_run_and_another_one_does_not():
    ends = []
    for seed in (0, 0, 1):
        algo = tiny_inference(seed=seed).build_algo()
        for _ in range(2):
            algo.train()
        ends.append(snapshot(algo)["state"])
        algo.stop()
    assert without_times(differences(ends[0], ends[1])) == []
    assert differences(ends[0], ends[2])


def test_a_checkpoint_has_everything_and_two_restores_go_on_alike(trained):
    algo, _, path = trained
    state = snapshot(algo)["state"]
    one, other = (Algorithm.from_checkpoint(path) for _ in range(2))
    assert type(one) is type(algo)
    assert without_times(differences(state, snapshot(one)["state"])) == []
    ends = [snapshot(restored, restored.train()) for restored in (one, other)]
    assert without_times(differences(*ends)) == []
    moved = differences(state, ends[0]["state"])
    of_both = ("acting.encoder", "learning.decoders", "learning.critics", "rows")
    alone = ("acting.classifier", "acting.prior") if type(algo).__name__ == "TaskInference" else ()
    for part in (*of_both, *alone):
        assert any(part in path for path in moved), part
    for restored in (one, other):
        restored.stop()


def test_a_saved_module_and_an_export_act_alone_and_infer_as_the_agent_does(trained, tmp_path):
    algo, _, path = trained
    saved = RLModule.from_checkpoint(f"{path}/{MODULE_PATH}")
    export_agent(algo.get_module(), algo.config, tmp_path / "exported", algorithm=type(algo).__name__)
    exported = load_exported(tmp_path / "exported").module()
    env = gym.make(TOY, max_steps=15)
    paths = []
    for module in (algo.get_module(), saved, exported):
        obs, _ = env.reset(seed=3, options={"task_id": 7})
        state, reward, actions = {k: v[None] for k, v in module.get_initial_state().items()}, 0.0, []
        for _ in range(15):
            batch = {"obs": obs[None], "state_in": state, "rewards": np.array([reward], np.float32)}
            out = module.forward_inference(batch)
            state = out["state_out"]
            actions.append(out["actions_for_env"][0].numpy())
            obs, reward, *_ = env.step(actions[-1])
        paths.append(np.stack(actions))
    np.testing.assert_array_equal(paths[0], paths[1])
    np.testing.assert_array_equal(paths[0], paths[2])
    assert exported.acting.config == algo.get_module().acting.config
    if type(algo).__name__ == "TaskInference":
        assert exported.acting.config.families == ("velocity+", "velocity-", "goal+", "goal-")
        latent = torch.randn(3, 4)
        logits = [module.acting.family_logits(torch.zeros(3, 2), latent) for module in (saved, exported)]
        assert torch.equal(*logits)
    agent = rllib_sami.load(tmp_path / "exported")
    obs, _ = env.reset(seed=3, options={"task_id": 7})
    played, reward = [], 0.0
    for _ in range(15):
        played.append(agent.act(obs, reward))
        obs, reward, *_ = env.step(played[-1])
    np.testing.assert_allclose(played, paths[0], atol=1e-5)


@pytest.mark.repeated
def test_two_learners_make_the_update_of_one_on_all_the_data():
    two, one = tiny_inference().learners(num_learners=2).build_algo(), tiny_inference().build_algo()
    for _ in range(2):
        two.train()
    assert differences(*weights_of_each(two)) == []
    samples = [two.replay_buffer.sample(3) for _ in range(2)]
    axes = {"noise": 2, "latent_noise": 2, "num_missing": 2}
    both = {name: np.concatenate([sample[name] for sample in samples], axes.get(name, 1)) for name in samples[0]}
    state = two.learner_group.get_state()
    compat.update_learners(two, samples)
    after = weights_of_each(two)
    assert differences(*after) == []
    for batch, is_same in ((both, True), (samples[0], False)):
        one.learner_group.set_state(copy.deepcopy(state))
        compat.update_learners(one, [batch])
        assert (largest_difference(after[0], weights_of_each(one)[0]) < 5e-5) == is_same
    for algo in (two, one):
        algo.stop()


@pytest.mark.repeated
def test_two_learners_fit_the_same_mixture():
    two = tiny_inference(latent_prior="dpmm", prior_interval=2).learners(num_learners=2).build_algo()
    for _ in range(3):
        two.train()
    first, second = weights_of_each(two)
    assert differences(first, second) == []
    assert float(np.asarray(first["/acting.prior.age"])) > 4
    two.stop()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_dim": 1}, "`latent_dim` is 1, but must be an integer >= 2"),
        ({"window": 0}, "`window` is 0, but must be an integer >= 1"),
        ({"latent_prior": "dpm"}, "`latent_prior` is 'dpm'.*'dpmm'"),
        ({"window_encoder": "lstm"}, "`window_encoder` is 'lstm'.*'gru'"),
        ({"reward_limit": 0.0}, "`reward_limit` is 0.0, but must be a number above 0"),
        ({"latent_kl_coeff": -1.0}, "`latent_kl_coeff` is -1.0"),
        ({"predicted_steps": 0}, "`predicted_steps` is 0"),
        ({"config_class": NeuralProcessConfig, "predicted_std": 0.0}, "`predicted_std` is 0.0, but must be a number"),
        ({"config_class": NeuralProcessConfig, "latent_samples": 0}, "`latent_samples` is 0"),
    ],
)
def test_mistakes_are_named(changes, words):
    assert re.search(words, refusal(tiny_inference(**changes)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairing": "task"}, "learns to predict"),
        ({"context_dim": 6}, "set `latent_dim`"),
        ({"encoder_type": "lstm"}, "Set `window_encoder`"),
        ({"encoder_reward": False}, "always reads rewards"),
    ],
)
def test_settings_of_other_encoders_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        TaskInferenceConfig().training(**changes)


def test_a_neural_process_has_one_kind_of_encoder_and_of_latent():
    with pytest.raises(ValueError, match="Its encoder is a GRU"):
        NeuralProcessConfig().training(encoder_type="lstm")
    with pytest.raises(TypeError, match="latent_prior"):
        NeuralProcessConfig().training(latent_prior="gmm")


def test_files_for_other_algorithms_are_taken_where_they_ask_for_what_happens():
    shared = {"pairing": None, "encoder_reward": True, "normalize_inputs": False}
    TaskInferenceConfig().environment(TOY).training(**shared).validate()


def test_rllibs_own_runner_is_refused_because_it_passes_no_rewards():
    config = tiny_inference().env_runners(env_runner_cls=SingleAgentEnvRunner)
    assert re.search(
        "`env_runner_cls` is SingleAgentEnvRunner, but TaskInference needs ArrayEnvRunner", refusal(config)
    )


def test_remote_env_runners_act_on_latents_and_bring_tasks():
    algo = tiny_inference(latent_prior="stick").env_runners(num_env_runners=2).build_algo()
    result = trained_until(algo, lambda result: result["learners"]["default_policy"]["num_updates_lifetime"] > 2)[-1]
    assert math.isfinite(result["learners"]["default_policy"]["family_accuracy"])
    assert len(np.unique(algo.replay_buffer.store.episodes["task_id"])) > 4
    algo.stop()


@of_task_inference
@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"window": 7}, "window"),
        ({"window_encoder": "gru"}, "window_encoder"),
        ({"latent_prior": "stick"}, "latent_prior"),
        ({"decoder_hidden": [9]}, "decoder_hidden"),
        ({"env": "Reuse/ToyMulti-v0"}, "observation_space"),
    ],
)
def test_a_checkpoint_of_other_networks_is_refused(trained, changes, setting):
    _, _, path = trained
    other = tiny_inference(**{"latent_prior": "dpmm"} | changes).build_algo()
    with pytest.raises(ValueError, match=f"was made with `{setting}`"):
        other.restore_from_path(path)
    other.stop()


class Families(gym.Wrapper):
    """Names families of its own."""

    family_names, task_families = ("one", "two"), (0, 1)

    def __init__(self, env_config):
        super().__init__(gym.make("Pendulum-v1"))
        for name, value in env_config.items():
            setattr(self, name, value)

    def reset(self, **kwargs):
        obs, info = super().reset(**kwargs)
        return obs, info if self.task_families == (0, 0) else info | {"task_id": 0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task_families": (0, 2)}, "`task_families` of .* has 2, but must have .* an integer from 0 to 1, or -1"),
        ({"task_families": (0.5,)}, "`task_families` of .* has 0.5"),
        ({"task_families": ()}, "`task_families` of .* has no number"),
        ({"family_names": "one"}, "`family_names` of .* is 'one', but must be a sequence of names"),
        ({"task_families": (0, 0)}, "gives no 'task_id' in its reset infos"),
    ],
)
def test_families_that_cannot_be_are_refused(given, words):
    assert re.search(words, refusal(tiny_inference(env=Families, env_config=given)))


def test_families_of_another_environment_are_read_again():
    config = tiny_inference()
    assert config.families.names == ("velocity+", "velocity-", "goal+", "goal-")
    config.environment("Reuse/ToyMulti-v0")
    assert len(config.families.names) == 7
    assert tiny_inference(env="Pendulum-v1", env_config={}).families.names == ()
