"""RLlib's built-in evaluation with the array runner."""

import numpy as np
import pytest
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami.core.faults import EnvironmentFaultError

from .tiny import differences, snapshot, tiny

pytestmark = pytest.mark.usefixtures("ray_cluster")


def evaluating(**settings):
    return tiny(**settings).evaluation(
        evaluation_interval=1,
        evaluation_duration=4,
        evaluation_config={"explore": False, "env_config": {"max_steps": 5}},
    )


def test_evaluation_leaves_training_as_it_is():
    def run(config):
        algo = config.build_algo()
        states = [snapshot(algo, algo.train()) for _ in range(3)]
        algo.stop()
        for state in states:
            for key in ("eval_env_runner", "last_evaluation"):
                state["state"].pop(key, None)
        return states

    assert differences(run(tiny(env="test/Walker")), run(evaluating(env="test/Walker"))) == []


def test_each_evaluation_reports_its_own_complete_episodes():
    algo = evaluating(env="test/Walker").build_algo()
    returns = []
    for _ in range(3):
        episodes = []
        runner = algo.eval_env_runner
        sample = runner.sample
        runner.sample = lambda **how: episodes.extend(sample(**how)) or episodes  # noqa: B023
        result = algo.train()["evaluation"]["env_runners"]
        runner.sample = sample
        assert len(episodes) >= 4
        assert all(episode.is_done and len(episode) == 5 for episode in episodes)
        assert result["episode_return_mean"] == pytest.approx(np.mean([e.get_return() for e in episodes]), rel=1e-5)
        assert result["episode_len_mean"] == 5
        returns.append(result["episode_return_mean"])
    assert len(set(returns)) == 3
    algo.stop()


def test_every_result_has_the_newest_evaluation_and_nan_before_the_first():
    algo = evaluating(env="test/Walker").evaluation(evaluation_interval=2).build_algo()
    results = [algo.train() for _ in range(3)]
    algo.stop()
    of_episodes = [result["evaluation"]["env_runners"]["episode_return_mean"] for result in results]
    assert np.isnan(of_episodes[0])
    assert of_episodes[1] == of_episodes[2] < 0
    assert results[2]["evaluation"]["env_steps"] == results[1]["num_env_steps_sampled_lifetime"]


def returns_of_evaluations(config):
    """Of an evaluation right after the other, in an environment whose episodes differ by their actions only."""
    algo = config.environment("test/Still").build_algo()
    results = [algo.evaluate()["env_runners"]["episode_return_mean"] for _ in range(2)]
    algo.stop()
    return results


def test_evaluation_acts_without_exploration_unless_told_otherwise():
    def config():
        return tiny().evaluation(evaluation_interval=1, evaluation_duration=4)

    first, second = returns_of_evaluations(config())
    assert first == second
    assert config().evaluation(evaluation_config={"env_config": {"max_steps": 5}}).evaluation_config["explore"] is False
    first, second = returns_of_evaluations(config().evaluation(evaluation_config={"explore": True}))
    assert first != second


def test_evaluating_with_the_training_runner_leaves_its_window_of_returns_alone():
    config = tiny(env="test/Walker").env_runners(rollout_fragment_length=35)  # one round to an iteration
    algo = config.evaluation(evaluation_duration=4).build_algo()
    assert algo.eval_env_runner_group is None
    algo.train()
    of_evaluation = algo.evaluate()["env_runners"]
    evaluated, result = of_evaluation["episode_return_mean"], algo.train()
    reported = result["env_runners"]
    assert not [
        of for of in (of_evaluation, reported, result["evaluation"]["env_runners"]) if "finished_episodes" in of
    ]
    returns = algo.replay_buffer.store.finished["episode_return"]  # all that training has seen
    algo.stop()
    assert reported["episode_return_mean"] == pytest.approx(returns.mean(), rel=1e-5)
    assert reported["episode_return_max"] == pytest.approx(returns.max(), rel=1e-5)
    assert evaluated != pytest.approx(returns.mean(), rel=1e-2)


def test_episodes_that_an_evaluation_ends_leave_the_buffer():
    """RLlib's own env runner begins new episodes; the old ones would stay in every batch for good."""
    config = tiny(env="test/Walker", env_config={"max_steps": 1_000}).env_runners(env_runner_cls=SingleAgentEnvRunner)
    algo = config.evaluation(evaluation_duration=1, evaluation_config={"env_config": {"max_steps": 5}}).build_algo()
    for _ in range(3):
        algo.train()
        algo.evaluate()
    algo.train()
    assert len(algo.replay_buffer.store.episodes) == 3  # one of each environment
    algo.stop()


def test_an_environment_that_raises_in_rllibs_own_evaluation_is_named():
    config = evaluating(env="test/Point")
    algo = config.evaluation(evaluation_config={"env_config": {"fail_at": 10}}).build_algo()
    words = r"'test/Point' failed \(evaluation\): RuntimeError: the simulator broke"
    with pytest.raises(EnvironmentFaultError, match=words):
        algo.evaluate()
    algo.stop()
