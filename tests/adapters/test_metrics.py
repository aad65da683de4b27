"""Metrics of episodes: pooled over env runners, over the last ones, with a bounded number of tasks."""

import math

import numpy as np
import pytest
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import SaPPOConfig, compat
from rllib_sami.compat.metrics import MetricsLogger
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.env_runners.recent_episodes import MOST_TASKS, NamedTasks, RecentEpisodes

from .tiny import runner_of, tiny


def episode(total, task_id=0, length=1, success=math.nan):
    return task_id, total, length, success


# --- The last episodes ----------------------------------------------------------------------------------------------


def test_the_report_is_over_the_last_episodes_or_all_of_a_long_iteration():
    window = RecentEpisodes(size=4)
    assert window.report([episode(total) for total in (1.0, 2.0, 3.0)])["episode_return_mean"] == 2.0
    assert window.report([])["episode_return_mean"] == 2.0
    assert window.report([episode(10.0), episode(20.0)])["episode_return_mean"] == (2 + 3 + 10 + 20) / 4
    many = window.report([episode(float(total), length=total) for total in range(1, 12)])
    assert many["episode_return_mean"] == many["episode_len_mean"] == 6.0
    assert (many["episode_return_min"], many["episode_len_max"]) == (1.0, 11.0)
    assert window.report([])["episode_return_mean"] == (8 + 9 + 10 + 11) / 4


def test_all_is_nan_until_an_episode_ends_and_tasks_under_way_are_named():
    window = RecentEpisodes(size=4)
    window.begin([3, 1])
    first = window.report([])
    assert list(first["return_by_task"]) == ["1", "3"]
    numbers = [*first.pop("return_by_task").values(), *first.values()]
    assert len(numbers) == 9
    assert np.isnan(numbers).all()
    told = window.report([episode(5.0, 3, success=1.0), episode(6.0, 3, success=0.0), episode(7.0, 1)])
    assert told["return_by_task"] == {"1": 7.0, "3": 5.5}
    assert told["success_rate"] == 0.5  # of those that tell


def test_numbers_of_rllibs_own_env_runner_stand_where_no_episode_has_ended():
    told = dict.fromkeys(compat.episode_statistics([], []), 3.0)
    empty = dict.fromkeys(told, math.nan)
    assert compat.newest_episodes({"env_runners": told | {"other": 1.0}}, empty) == told
    assert (
        compat.newest_episodes({"env_runners": empty}, told)
        == compat.newest_episodes({"env_runners": {}}, told)
        == told
    )


def test_the_window_goes_on_from_a_state():
    window, other = RecentEpisodes(size=4), RecentEpisodes(size=4)
    window.report([episode(float(total), total, success=1.0) for total in range(6)])
    other.set_state(window.get_state())
    reported = other.report([])
    np.testing.assert_equal(reported, window.report([]))
    assert reported["episode_return_mean"] == 3.5  # of the last four
    assert list(reported["return_by_task"]) == ["0", "1", "2", "3", "4", "5"]


def test_ever_new_tasks_are_told_once_and_not_named(caplog):
    window = RecentEpisodes(size=50)
    for first in range(0, 4 * MOST_TASKS, 40):
        by_task = window.report([episode(1.0, task_id) for task_id in range(first, first + 40)])["return_by_task"]
        assert len(by_task) <= MOST_TASKS
    assert by_task == {}
    assert window.report([episode(9.0, 7)])["return_by_task"] == {"7": 9.0}  # one of the first comes back
    assert caplog.text.count(f"more than {MOST_TASKS} different task ids") == 1


# --- Several env runners --------------------------------------------------------------------------------------------


def evaluation_of(config):
    evaluating = config.evaluation(evaluation_interval=1, evaluation_num_env_runners=2)
    return evaluating.get_evaluation_config_object()


def pooled(runners, config, lengths):
    """What an algorithm's logger makes of env runners whose episodes have these lengths, and all the episodes."""
    episodes, root = [], MetricsLogger(root=True, stats_cls_lookup=config.stats_cls_lookup)
    for number, (runner, length) in enumerate(zip(runners, lengths, strict=True)):
        for slot in runner.env.unwrapped.envs:
            slot.unwrapped.max_steps = length
        episodes += [one for one in runner.sample(num_timesteps=120) if one.is_done and one.t_started == 0]
        root.aggregate([runner.get_metrics()], key="env_runners")
        assert len(episodes) > 2 * number
    return root.peek("env_runners"), episodes


@pytest.mark.parametrize("config_class", [None, SaPPOConfig], ids=["array", "rllib"])
@pytest.mark.parametrize("in_evaluation", [False, True])
def test_means_over_several_env_runners_are_means_over_their_episodes(config_class, in_evaluation):
    config = tiny(env="test/Judged") if config_class is None else SaPPOConfig().environment("test/Judged")
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=3)
    runner_class = ArrayEnvRunner if config_class is None else SingleAgentEnvRunner
    config.validate()
    config = evaluation_of(config) if in_evaluation else config
    runners = [runner_of(config, index=index, remote=True, runner_class=runner_class) for index in (0, 1)]
    metrics, episodes = pooled(runners, config, lengths=(4, 20))
    returns, lengths = (np.array([getattr(one, name)() for one in episodes]) for name in ("get_return", "__len__"))
    assert 4 < lengths.mean() < 8  # 30 short ones and 6 long ones, and not the mean of both lengths
    assert metrics["episode_len_mean"] == pytest.approx(lengths.mean())
    assert metrics["episode_return_mean"] == pytest.approx(returns.mean(), rel=1e-5)
    assert (metrics["episode_len_min"], metrics["episode_len_max"]) == (4, 20)
    assert metrics["episode_return_max"] == pytest.approx(returns.max(), rel=1e-5)
    if config_class is None and in_evaluation:
        tasks = np.array([one.custom_data["task_id"] for one in episodes])
        for task_id in np.unique(tasks):
            assert metrics["return_by_task"][str(task_id)] == pytest.approx(returns[tasks == task_id].mean(), rel=1e-5)


def test_an_evaluation_runner_names_a_bounded_number_of_tasks(monkeypatch):
    monkeypatch.setattr("rllib_sami.env_runners.recent_episodes.MOST_TASKS", 2)
    config = tiny(env="test/Judged", env_config={"max_steps": 4})
    config.validate()
    runner = runner_of(evaluation_of(config), remote=True)
    for _ in range(2):
        runner.sample(num_episodes=6)
        assert len(runner.get_metrics()["return_by_task"]) == 2


def test_named_tasks_are_the_first():
    named = NamedTasks()
    assert all(named.add(task_id) for task_id in range(MOST_TASKS))
    assert named.are_all
    assert not named.add(-1)
    assert named.add(0)
    assert not named.are_all
