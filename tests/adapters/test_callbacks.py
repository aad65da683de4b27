"""Callbacks on episodes: the same ones, in the same order, with the same content as RLlib's own runner calls."""

import re

import numpy as np
import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner

from .tiny import runner_of, tiny

RUNNERS = [ArrayEnvRunner, SingleAgentEnvRunner]


class Journal(RLlibCallback):
    """Notes every call; each episode carries how often it was called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, name, episode, env, env_index, **kwargs):
        point = env.envs[env_index].unwrapped
        assert kwargs["rl_module"] is kwargs["env_runner"].module
        episode.custom_data["calls"] = episode.custom_data.get("calls", 0) + 1
        self.calls.append((env_index, name, episode.id_, episode.t, getattr(point, "steps", None), episode))

    def on_episode_created(self, *, episode, env, env_index, **kwargs):
        self._note("created", episode, env, env_index, **kwargs)
        assert not episode.is_reset

    def on_episode_start(self, *, episode, env, env_index, **kwargs):
        self._note("start", episode, env, env_index, **kwargs)
        clock, task_id = episode.get_observations(-1)[2], episode.get_infos(-1)["task_id"]
        assert (clock, task_id) == (0, env.envs[env_index].unwrapped.task_id)

    def on_episode_step(self, *, episode, env, env_index, **kwargs):
        self._note("step", episode, env, env_index, **kwargs)
        assert episode.get_observations(-1)[2] * 10 == pytest.approx(episode.t)
        assert np.abs(episode.get_actions(-1)).max() < np.inf

    def on_episode_end(self, *, episode, env, env_index, prev_episode_chunks, **kwargs):
        self._note("end", episode, env, env_index, **kwargs)
        assert episode.is_done
        assert sum(map(len, [*prev_episode_chunks, episode])) == episode.t
        kwargs["metrics_logger"].log_value("last_clock", float(episode.get_observations(-1)[2]), window=10)


def journal_of(runner):
    return next(callback for callback in runner._callbacks if isinstance(callback, Journal))


def observed(runner_class, **env_config):
    config = tiny(env="test/Walker", env_config={"end_probability": 0.1} | env_config).callbacks(Journal)
    config.env_runners(env_runner_cls=runner_class).fault_tolerance(restart_failed_sub_environments=True)
    return runner_of(config, runner_class=runner_class)


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_episodes_are_told_of_in_order_and_before_their_environment_is_reset(runner_class):
    runner = observed(runner_class)
    pieces = [piece for _ in range(12) for piece in runner.sample(explore=False)]
    calls = journal_of(runner).calls
    for slot in range(3):
        of_slot = [call for call in calls if call[0] == slot]
        initials = "".join(name[0] if name != "step" else "." for _, name, *_ in of_slot)
        assert re.fullmatch(r"(cs\.+e)+(c(s\.*)?)?", initials), initials
        assert "." * 8 in initials  # longer than a fragment
        ids = [id_ for _, name, id_, *_ in of_slot if name == "created"]
        assert len(set(ids)) == len(ids) > 2
        for _, name, id_, t, env_steps, _ in of_slot:
            assert id_ in ids
            if name in ("step", "end"):
                assert env_steps == t  # the environment is where the episode says

    # What callbacks put into an episode comes back with its pieces.
    ended = {piece.id_: piece for piece in pieces if piece.is_done}
    assert {id_ for _, name, id_, *_ in calls if name == "end"} == set(ended)
    assert all(piece.custom_data["calls"] == piece.t + 3 for piece in ended.values())
    assert runner.get_metrics()["last_clock"].peek() > 0


def test_a_lost_episode_ends_without_a_word_and_a_new_one_is_created():
    runner = observed(ArrayEnvRunner, fail_at=45)
    for _ in range(12):
        runner.sample(explore=False)
    names = [name for slot, name, *_ in journal_of(runner).calls if slot == 0]
    assert re.search(r"(start|step) created start step", " ".join(names))
    assert "created created" not in " ".join(names)


def test_of_episodes_asked_for_by_number_only_those_are_told_of():
    runner = observed(ArrayEnvRunner)
    episodes = runner.sample(num_episodes=5)
    calls = journal_of(runner).calls
    assert len(episodes) == 5
    assert sorted(id_ for _, name, id_, *_ in calls if name == "end") == sorted(episode.id_ for episode in episodes)
    assert sum(name == "step" for _, name, *_ in calls) == sum(map(len, episodes))


def test_listening_changes_nothing_that_is_sampled():
    plain, told = tiny(env="test/Walker"), observed(ArrayEnvRunner)
    plain.environment("test/Walker", env_config={"max_steps": 20, "end_probability": 0.1})
    unheard = runner_of(plain)
    assert unheard._listeners is None  # at no cost
    for _ in range(8):
        for one, other in zip(told.sample(), unheard.sample(), strict=True):
            np.testing.assert_array_equal(one.get_observations(), other.get_observations())
            np.testing.assert_array_equal(one.get_actions(), other.get_actions())


def test_a_task_set_as_an_episode_is_created_is_the_one_that_is_played():
    def set_task(env, env_index, **kwargs):
        env.envs[env_index].unwrapped.next_task_id = 3

    runner = runner_of(tiny(env="test/Walker").callbacks(on_episode_created=set_task))
    pieces = [piece for _ in range(8) for piece in runner.sample()]
    assert {piece.custom_data["task_id"] for piece in pieces} == {3}


def test_vectorised_environments_tell_their_tasks_too():
    tasks = []
    config = tiny().callbacks(on_episode_step=lambda episode, **kwargs: tasks.append(episode.get_infos(-1)))
    runner = runner_of(config)
    assert runner.env._batch is not None
    runner.sample()
    assert len(tasks) == 21
    assert {"task", "task_id"} <= set(tasks[0])


@pytest.mark.learning
@pytest.mark.usefixtures("ray_cluster")
def test_two_learners_and_two_runners_with_callbacks_whose_metrics_reach_the_results():
    def at_start(episode, metrics_logger, **kwargs):
        metrics_logger.log_value("started", 1, reduce="sum")

    def at_step(episode, metrics_logger, **kwargs):
        metrics_logger.log_value("largest_reward", float(episode.get_rewards(-1)), reduce="max", window=1000)

    def at_end(episode, metrics_logger, env_runner, **kwargs):
        metrics_logger.log_value(("ended_in_runner", str(env_runner.worker_index)), episode.t, window=10)

    config = tiny(env="test/Walker").env_runners(num_env_runners=2, num_cpus_per_env_runner=0.25)
    config.learners(num_learners=2, num_cpus_per_learner=0.5)
    config.callbacks(on_episode_start=at_start, on_episode_step=at_step, on_episode_end=at_end)
    algo = config.build_algo()
    started = 0
    for _ in range(4):
        result = algo.train()
        started += result["env_runners"].get("started", 0)
    algo.stop()
    sampled = result["env_runners"]
    assert sampled["ended_in_runner"] == {"1": 20, "2": 20}
    assert sampled["largest_reward"] < 0
    assert started >= sampled["num_env_steps_sampled_lifetime"] // 20
    assert result["learners"]["default_policy"]["num_updates_lifetime"] > 0
