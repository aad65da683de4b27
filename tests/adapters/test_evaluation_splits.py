"""Evaluation during training on the fixed episodes of each split."""

import contextlib
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import compat
from rllib_sami.algorithms.base import split_episodes as in_training
from rllib_sami.evaluation.play import evaluate
from rllib_sami.evaluation.progress import read_progress

from .envs import Point, Walker
from .tiny import TRAINING, differences, refusal, snapshot, tiny

pytestmark = pytest.mark.usefixtures("ray_cluster")
SPLITS = ("train", "moderate", "extreme")
METRIC = "evaluation/moderate/return_mean"


def evaluating(interval=1, env="SaMI/Pendulum-v0", env_config=None, **settings):
    settings = {"evaluation_duration": 1} | settings
    return tiny(env=env, env_config=env_config, num_steps_sampled_before_learning_starts=50).evaluation(
        evaluation_interval=interval, **settings
    )


def of_splits(result):
    """What a result says of the splits."""
    return {
        name: numbers
        for name, numbers in result["evaluation"].items()
        if isinstance(numbers, dict) and name != "env_runners"
    }


def run(config, iterations):
    algo = config.build_algo()
    results = [algo.train() for _ in range(iterations)]
    algo.stop()
    return results


def test_every_result_has_the_newest_numbers():
    before, first, between, second = (result["evaluation"] for result in run(evaluating(2), 4))
    for split, num_tasks in zip(SPLITS, (4, 4, 2), strict=True):
        tasks = {str(task) for task in range(num_tasks)}
        assert set(before[split]["return_by_task"]) == set(first[split]["return_by_task"]) == tasks
        assert np.isnan([before[split]["return_mean"], *before[split]["return_by_task"].values()]).all()
        assert first[split]["return_mean"] == pytest.approx(np.mean(list(first[split]["return_by_task"].values())))
        assert between[split] == first[split]
        assert second[split]["return_mean"] != first[split]["return_mean"]
        assert math.isnan(first[split]["success_rate"])  # a pendulum knows none
    returns = [value for split in SPLITS for value in first[split]["return_by_task"].values()]
    assert first["env_runners"]["episode_return_mean"] == pytest.approx(np.mean(returns))
    assert first["env_runners"]["num_episodes"] == len(returns) == 10
    assert second["env_runners"]["num_episodes_lifetime"] == 20
    assert second["env_runners"]["num_env_steps_sampled_lifetime"] == 400
    assert set(before["env_runners"]) == set(first["env_runners"])
    assert (first["env_steps"], between["env_steps"], second["env_steps"]) == (210, 210, 420)


def test_numbers_are_those_of_the_command_on_the_checkpoint(tmp_path):
    algo = evaluating(evaluation_duration=2).build_algo()
    algo.train()
    reported = algo.train()["evaluation"]
    algo.save_to_path(tmp_path / "checkpoint")
    algo.stop()
    table = evaluate(tmp_path / "checkpoint", episodes=2, progress=False).episodes
    assert set(table["split"]) == set(SPLITS)
    for split, of_split in table.groupby("split"):
        assert reported[split]["return_mean"] == pytest.approx(of_split["return"].mean(), rel=1e-12)
        by_task = of_split.groupby("task_id")["return"].mean()
        by_task.index = by_task.index.astype(str)
        assert reported[split]["return_by_task"] == pytest.approx(by_task.to_dict(), rel=1e-12)
    assert set(table["env_steps"]) == {reported["env_steps"]}


def test_training_is_left_as_it_is():
    def states(config):
        algo = config.build_algo()
        found = [snapshot(algo, algo.train()) for _ in range(3)]
        algo.stop()
        for state in found:
            state["state"].pop("eval_env_runner", None)
            state["state"].pop("last_evaluation", None)
        return found

    plain = tiny(num_steps_sampled_before_learning_starts=50)
    assert differences(states(plain), states(evaluating())) == []


def test_a_restored_run_goes_on_with_the_same_numbers(tmp_path):
    algo = evaluating(2).build_algo()
    expected = [algo.train() for _ in range(2)]
    algo.save_to_path(tmp_path / "checkpoint")
    algo.stop()
    restored = []
    for _ in range(2):
        algo = evaluating(2).build_algo()
        algo.restore_from_path(str(tmp_path / "checkpoint"))
        restored.append([algo.train(), algo.train()])
        algo.stop()
    for one, other in zip(*restored, strict=True):
        np.testing.assert_equal(of_splits(one), of_splits(other))
    np.testing.assert_equal(of_splits(restored[0][0]), of_splits(expected[1]))  # no evaluation in between
    assert of_splits(restored[0][1])["train"]["return_mean"] != of_splits(expected[1])["train"]["return_mean"]
    assert restored[0][1]["evaluation"]["env_runners"]["num_episodes_lifetime"] == 20


def test_an_evaluation_that_was_asked_for(tmp_path):
    """It acts without noise though RLlib hands it the runner of training."""
    algo = evaluating(None).build_algo()
    numbers = [algo.evaluate(), algo.evaluate()]
    algo.save_to_path(tmp_path / "checkpoint")
    table = evaluate(tmp_path / "checkpoint", "train", episodes=1, progress=False).episodes
    assert numbers[0]["train"]["return_mean"] == pytest.approx(table["return"].mean(), rel=1e-12)
    results = [algo.train(), algo.train()]
    algo.stop()
    restored = type(algo).from_checkpoint(tmp_path / "checkpoint")
    results.append(restored.train())
    assert restored.evaluate()["env_runners"]["num_episodes_lifetime"] == 30
    restored.stop()
    assert numbers[0]["train"]["return_mean"] == numbers[1]["train"]["return_mean"]
    assert [one["env_runners"]["num_episodes_lifetime"] for one in numbers] == [10, 20]
    for result in results:
        np.testing.assert_equal(of_splits(result), of_splits({"evaluation": numbers[1]}))


def test_callbacks_and_seeds_and_noise():
    heard = []

    def listen(evaluation_metrics, **_):
        heard.append(evaluation_metrics)

    def numbers(**evaluation_config):
        config = evaluating(evaluation_splits=["train"], evaluation_config=evaluation_config)
        algo = config.callbacks(on_evaluate_end=listen).build_algo()
        results = [algo.evaluate() for _ in range(2)]
        algo.stop()
        assert heard.pop()["train"]["return_mean"] == results[1]["train"]["return_mean"]
        np.testing.assert_equal(of_splits({"evaluation": results[0]}), of_splits({"evaluation": results[1]}))
        return results[0]["train"]["return_mean"]

    values = [numbers(), numbers(seed=1), numbers(explore=True), numbers(env_config={"max_steps": 10})]
    assert len(set(values)) == 4


def test_which_splits_are_played():
    def played(**settings):
        (result,) = run(evaluating(**settings), 1)
        return list(of_splits(result))

    assert played(evaluation_splits=["extreme"]) == ["extreme"]
    assert played(evaluation_config={"env_config": {"split": "moderate"}}) == ["moderate"]
    assert played(env_config={"tasks": [{"mass": 1.1}]}) == ["own"]
    assert played(evaluation_splits=[]) == []
    assert played(env="test/Walker") == []
    assert played(custom_evaluation_function=lambda algo, group: ({}, 0, 0)) == []


def test_a_users_environment_plays_its_own_tasks():
    (result,) = run(evaluating(env="test/Judged", evaluation_splits=["own"]), 1)
    own = result["evaluation"]["own"]
    assert list(own["return_by_task"]) == ["0", "1", "2", "3", "4"]
    assert own["success_rate"] == result["evaluation"]["env_runners"]["success_rate"] == 0.5  # task 4 does not tell
    (result,) = run(evaluating(env="test/Point", evaluation_splits=["own"], evaluation_duration=3), 1)
    assert result["evaluation"]["env_runners"]["num_episodes"] == 3  # of tasks that the environment draws
    assert np.isfinite(result["evaluation"]["own"]["return_mean"])


class GoesRound(Point):
    """Goes round its tasks by itself."""

    count = -1

    def reset(self, **given):
        self.count += 1
        obs, info = super().reset(**given)
        self.task_id = self.count % 3
        return obs, {**info, "task_id": self.task_id}


def test_an_environment_that_chooses_its_tasks_chooses_the_same_each_time():
    results = run(evaluating(env=GoesRound, evaluation_splits=["own"], evaluation_duration=2), 2)
    assert [list(result["evaluation"]["own"]["return_by_task"]) for result in results] == [["0", "1"]] * 2


def test_planning_makes_each_environment_once(monkeypatch):
    made, make = [], compat.env_creator
    monkeypatch.setattr(compat, "env_creator", lambda *given, **more: made.append(given) or make(*given, **more))
    config = evaluating()
    config.validate()
    assert [grid.split for grid in in_training.split_grids(config)] == [*SPLITS]
    assert len(made) == 1 + len(SPLITS)


def test_a_failing_environment_costs_an_evaluation_and_no_more(caplog):
    # Age 30 is in the second episode of the first slot's environment; one that is made again is young.
    config = evaluating(env="test/Walker", evaluation_splits=["own"])
    first, failed, again = run(config.evaluation(evaluation_config={"env_config": {"fail_at": 30}}), 3)
    np.testing.assert_equal(of_splits(failed), of_splits(first))
    assert failed["evaluation"]["env_steps"] == first["evaluation"]["env_steps"]
    assert again["evaluation"]["env_steps"] > failed["evaluation"]["env_steps"]
    assert of_splits(again) != of_splits(first)
    words = r"The environment 'test/Walker' failed \(split own, task 0, episode 0, step 10\): RuntimeError: the sim"
    assert re.search(words, caplog.text), caplog.text
    assert "Traceback" not in caplog.text
    assert "This evaluation is skipped; training goes on." in caplog.text


class Broken(Walker):
    """Cannot be made with a split."""

    def __init__(self, config=None):
        if (config or {}).get("split"):
            raise RuntimeError("no simulator here")
        super().__init__(config)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"evaluation_splits": ["trian"]}, ["'trian'", "no such split", "train", "moderate", "extreme"]),
        ({"evaluation_splits": "train"}, ["'train'", "list of different names"]),
        ({"evaluation_splits": ["train", "train"]}, ["list of different names"]),
        ({"evaluation_splits": ["env_runners"]}, ["means something else"]),
        ({"evaluation_duration_unit": "timesteps"}, ["1 timesteps", "`evaluation_splits` to []"]),
        (
            {"evaluation_duration": "auto", "evaluation_parallel_to_training": True, "evaluation_num_env_runners": 1},
            ["'auto'", "`evaluation_splits` to []"],
        ),
        ({"evaluation_splits": ["train"], "custom_evaluation_function": print}, ["`custom_evaluation_function`"]),
        ({"env": Broken, "evaluation_splits": ["train"]}, ["Broken", "no simulator here"]),
    ],
)
def test_bad_settings_are_told_before_any_worker_starts(settings, words, monkeypatch):
    monkeypatch.setattr("ray.rllib.env.env_runner_group.EnvRunnerGroup.__init__", pytest.fail)
    message = refusal(evaluating(**settings))
    assert all(word in message for word in ["`evaluation_", *words]), message


def test_another_env_runner_evaluates_in_its_own_way():
    config = evaluating(evaluation_splits=["train"]).env_runners(env_runner_cls=SingleAgentEnvRunner)
    assert "`env_runner_cls`" in refusal(config)


@pytest.mark.learning
def test_in_parallel_on_remote_runners_and_without_one_of_them(caplog):
    local = run(evaluating(), 1)
    config = evaluating(evaluation_num_env_runners=1, evaluation_parallel_to_training=True)
    algo = config.fault_tolerance(restart_failed_env_runners=True).build_algo()
    results = [algo.train() for _ in range(2)]
    # In parallel it is the agent as it was before the iteration.
    np.testing.assert_equal(of_splits(results[1]), of_splits(local[0]))
    assert results[1]["evaluation"]["env_steps"] == local[0]["evaluation"]["env_steps"]
    (runner,) = algo.eval_env_runner_group._worker_manager.actors().values()
    ray.kill(runner, no_restart=False)
    results.append(algo.train())
    np.testing.assert_equal(of_splits(results[2]), of_splits(results[1]))
    assert "This evaluation is skipped; training goes on." in caplog.text
    for _ in range(60):  # Ray takes its time to restart it
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(runner.ping.remote(), timeout=10)
            break
        time.sleep(1)
    results.append(algo.train())
    algo.stop()
    assert results[3]["evaluation"]["env_steps"] == results[2]["num_env_steps_sampled_lifetime"]
    assert results[3]["evaluation"]["num_remote_worker_restarts"] == 1
    assert results[3]["learners"]["default_policy"]["num_updates_lifetime"] > 20


@pytest.mark.slow
def test_tune_stops_and_searches_by_a_split(tmp_path):
    space = TRAINING | {
        "env": "SaMI/Pendulum-v0",
        "env_config": {"max_steps": 20},
        "num_envs_per_env_runner": 3,
        "rollout_fragment_length": 7,
        "min_sample_timesteps_per_iteration": 100,
        "evaluation_interval": 2,
        "evaluation_duration": 1,
        "evaluation_splits": ["moderate", "extreme"],
        "seed": tune.grid_search([1, 2]),
    }
    tuner = tune.Tuner(
        "SaCCM",
        param_space=space,
        tune_config=tune.TuneConfig(metric=METRIC, mode="max"),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), name="run", stop={METRIC: -1e6, "training_iteration": 9}, verbose=0
        ),
    )
    results = tuner.fit()
    assert not results.errors
    for result in results:
        rows = [json.loads(line) for line in Path(result.path, "result.json").read_text().splitlines()]
        assert [math.isnan(row["evaluation"]["moderate"]["return_mean"]) for row in rows] == [True, False]
        table = pd.read_csv(f"{result.path}/progress.csv")
        assert table[METRIC].iloc[-1] == rows[-1]["evaluation"]["moderate"]["return_mean"]
        curve = read_progress(result.path, "SaCCM", "run")
        assert curve["return_mean_extreme"].notna().tolist() == [False, True]
        (events,) = (path for path in (tmp_path / "run").glob("*/events*") if str(path).startswith(result.path))
        assert f"ray/tune/{METRIC}".encode() in events.read_bytes()
    best = max(result.metrics["evaluation"]["moderate"]["return_mean"] for result in results)
    assert results.get_best_result().metrics["evaluation"]["moderate"]["return_mean"] == best


def test_a_setting_by_name_reaches_the_config():
    config = tiny().update_from_dict({"evaluation_splits": ["train"], "evaluation_interval": 3})
    assert (config.evaluation_splits, config.evaluation_interval) == (["train"], 3)
    assert AlgorithmConfig.from_state(config.get_state()).evaluation_splits == ["train"]


def test_learning_curves_have_each_evaluation_once(tmp_path):
    steps, seconds = "num_env_steps_sampled_lifetime", "time_total_s"
    header = ",".join([steps, seconds, "env_runners/episode_return_mean", "evaluation/env_steps", METRIC])
    # Restored after the fourth row, from a checkpoint of the second.
    rows = ["100,1,5,,", "200,2,6,200,1.5", "300,3,7,200,1.5", "400,4,7,400,2.5", "300,5,7,200,1.5", "400,6,8,400,3.5"]
    (tmp_path / "progress.csv").write_text("\n".join([header, *rows]) + "\n")
    curve = read_progress(tmp_path, "SaCCM", "run")
    np.testing.assert_equal(curve["return_mean_moderate"].to_numpy(), [math.nan, 1.5, math.nan, 3.5])
