"""TD-MPC as an RLlib algorithm."""

import re

import numpy as np
import pytest
import torch

import rllib_sami
from rllib_sami import TDMPCConfig
from rllib_sami.exports.checkpoints import load
from rllib_sami.exports.writing import export_agent


def tiny(**settings):
    given = {
        "num_units": 16,
        "latent_state_dim": 8,
        "plan_horizon": 3,
        "train_batch_size_per_learner": 8,
        "updates_per_env_step": 0.05,
        "num_steps_sampled_before_learning_starts": 400,
        "num_plan_samples": 16,
        "num_plan_policy_samples": 4,
        "num_plan_elites": 4,
        "num_plan_iterations": 2,
        "plan_horizon_steps": 800,
        "plan_std_steps": 1600,
    }
    config = TDMPCConfig().environment("Pendulum-v1").training(**given | settings).debugging(seed=0)
    return config.env_runners(num_envs_per_env_runner=4).reporting(min_sample_timesteps_per_iteration=400)


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory):
    """An algorithm after three iterations, their results, and its checkpoint."""
    algo = tiny().build_algo()
    results = [algo.train() for _ in range(3)]
    path = algo.save_to_path(tmp_path_factory.mktemp("tdmpc") / "checkpoint_000003")
    yield algo, results, path
    algo.stop()


def test_plans_reach_farther_and_get_less_noisy(trained):
    algo, results, _ = trained
    steps = [result["num_env_steps_sampled_lifetime"] for result in results]
    assert steps == [400, 800, 1200]
    assert results[-1]["learners"]["default_policy"]["num_updates_lifetime"] == 0.05 * 800
    acting = algo.env_runner.module.acting
    assert int(acting.horizon) == 3
    assert float(acting.plan_std) == pytest.approx(0.5 + 1200 / 1600 * (0.05 - 0.5))


def test_two_restores_go_on_alike(trained):
    ends = []
    for _ in range(2):
        algo = tiny().build_algo()
        algo.restore_from_path(trained[2])
        result = algo.train()
        ends.append((result["env_runners"]["episode_return_mean"], algo.get_module().state_dict()))
        algo.stop()
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(value, ends[1][1][name]) for name, value in ends[0][1].items())


def test_a_checkpoint_acts_with_plans(trained):
    agents = [rllib_sami.load(trained[2]) for _ in range(2)]
    obs = np.array([0.5, -0.8, 1.0], np.float32)
    for agent in agents:
        agent.reset(seed=1)
    for _ in range(3):
        np.testing.assert_array_equal(agents[0].act(obs), agents[1].act(obs))


def test_an_exported_agent_acts_like_its_checkpoint(trained, tmp_path):
    checkpoint = load(trained[2])
    export_agent(checkpoint.module(), checkpoint.config, tmp_path / "agent", algorithm="TDMPC", progress={})
    agents = [rllib_sami.load(path) for path in (trained[2], tmp_path / "agent")]
    obs = np.array([0.5, -0.8, 1.0], np.float32)
    for agent in agents:
        agent.reset(seed=1)
    for _ in range(3):  # the second plan goes on from the first
        np.testing.assert_array_equal(agents[0].act(obs), agents[1].act(obs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planner": "mppi"}, "`planner` is 'mppi', but must be one of ['cem', 'none']"),
        ({"plan_horizon": 0}, "`plan_horizon` is 0, but must be an integer >= 1"),
        ({"num_skills": 5}, "Its windows have `plan_horizon` steps"),
        ({"actor_hidden": [64]}, "Its networks have `num_units` units"),
        ({"lr": 1e-3}, "Set `model_lr` and `actor_lr`"),
        ({"num_plan_elites": 21}, "`num_plan_elites` is 21, but must be at most 20, the sequences of an iteration"),
        ({"initial_plan_std": 0.04}, "`final_plan_std` is 0.05, but must be at most `initial_plan_std`, which is 0.04"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny(**settings).validate()


def test_settings_of_plans_are_not_compared_where_nothing_is_planned():
    tiny(planner="none", num_plan_elites=21).validate()
    tiny(num_plan_elites=20).validate()
    with pytest.raises(ValueError, match="`final_plan_std`"):  # the policy has this noise, too
        tiny(planner="none", initial_plan_std=0.04).validate()
