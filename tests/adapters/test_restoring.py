"""What a restored run begins with: environments reset, a buffer that is filled, metrics, new random numbers."""

import numpy as np
import pytest
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import PlainSACConfig, SaPPOConfig

from .tiny import differences, runner_of, tiny, trained_until, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")


def copied(algo):
    return {name: np.array(value) for name, value in weights_of(algo).items()}


def starts_of(algo):
    """A growing list of where the episodes begin that an algorithm samples from now on."""
    starts, add = [], algo.replay_buffer.add

    def add_and_note(episodes):
        starts.extend(tuple(e.get_observations(0)[:2]) for e in episodes if e.t_started == 0)
        add(episodes)

    algo.replay_buffer.add = add_and_note
    return starts


# --- Environments ---------------------------------------------------------------------------------------------------


def all_is_stored_after_going_back(config, path):
    """Restores an algorithm in place, in the middle of episodes; the next iteration is to be stored as a whole."""
    algo = config.build_algo()
    results = [algo.train() for _ in range(2)]
    algo.save_to_path(path)
    saved = len(algo.replay_buffer.store.finished)
    algo.train()
    algo.restore_from_path(path)
    assert len(algo.replay_buffer) == 20 * saved  # what was unfinished is not saved
    results.append(algo.train())
    store = algo.replay_buffer.store
    clock = store.gather(store.finished, 21)[..., 2] * 10
    stored = len(algo.replay_buffer) - 20 * saved
    algo.stop()
    assert results[-1]["training_iteration"] == 3
    before, after = (result["num_env_steps_sampled_lifetime"] for result in results[-2:])
    assert stored == after - before >= 100
    updates = [result["learners"]["default_policy"]["num_updates_lifetime"] for result in results[-2:]]
    assert updates[1] > updates[0]
    np.testing.assert_allclose(clock, np.broadcast_to(np.arange(21), clock.shape), atol=1e-5)
    assert len(store.finished) > saved


def going_back(**runners):
    # Fragments of 7 steps, episodes of 20: in no slot one ends with an iteration.
    return tiny(env="test/Walker", num_steps_sampled_before_learning_starts=60).env_runners(**runners)


@pytest.mark.parametrize("runners", [{}, {"env_runner_cls": SingleAgentEnvRunner}], ids=["array", "rllib"])
def test_a_running_algorithm_that_is_restored_stores_what_it_samples_next(runners, tmp_path):
    all_is_stored_after_going_back(going_back(**runners), tmp_path)


@pytest.mark.slow
def test_a_running_algorithm_with_a_remote_runner_that_is_restored_stores_what_it_samples_next(tmp_path):
    all_is_stored_after_going_back(going_back(num_env_runners=1), tmp_path)


# --- The buffer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_a_run_that_was_saved_before_any_episode_had_ended_first_fills_its_buffer(in_place, tmp_path):
    algo = tiny(env="test/Walker", env_config={"max_steps": 60}).build_algo()
    algo.train()  # the warm-up, but for the buffer
    assert (len(algo.replay_buffer), len(algo.replay_buffer.store.finished)) == (105, 0)
    algo.save_to_path(tmp_path)
    restored = algo if in_place else Algorithm.from_checkpoint(tmp_path)
    if in_place:
        algo.train()
        algo.restore_from_path(tmp_path)
    weights, stored = copied(restored), []
    while differences(weights, copied(restored)) == [] and len(stored) < 10:
        stored.append(len(restored.replay_buffer))
        restored.training_step()
    # 21 steps at a time: no update before there are 100 new ones, then at once.
    assert stored == [0, 21, 42, 63, 84]
    for some in {algo, restored}:
        some.stop()


# --- Metrics --------------------------------------------------------------------------------------------------------


def reporting_rounds(num_env_runners=0, max_steps=20):
    """Reports every round, of 7 steps in each slot: none ends in rounds 10 and 11, where episodes have 20."""
    config = tiny(env="test/Judged", env_config={"max_steps": max_steps}).env_runners(num_env_runners=num_env_runners)
    return config.reporting(min_sample_timesteps_per_iteration=1)


def windows_after(algo, rounds):
    """What the last of some rounds reports of the last episodes."""
    result = [algo.train() for _ in range(rounds)][-1]["env_runners"]
    names = ("episode_return_mean", "episode_return_min", "episode_return_max", "episode_len_mean", "success_rate")
    return {name: result.get(name) for name in (*names, "return_by_task")}


@pytest.mark.parametrize("num_env_runners", [0, pytest.param(2, marks=pytest.mark.repeated)])
def test_the_windows_of_metrics_go_on(num_env_runners, tmp_path):
    algo = reporting_rounds(num_env_runners).build_algo()
    before = windows_after(algo, 9)
    algo.save_to_path(tmp_path)
    algo.stop()
    assert set(before["return_by_task"]) == {"0", "1", "2", "3", "4"}
    algo = reporting_rounds(num_env_runners, max_steps=24).build_algo()
    algo.restore_from_path(tmp_path)
    assert windows_after(algo, 1) == before
    # Then new episodes join those from before, each slot's fourth one its first three.
    assert windows_after(algo, 3)["episode_len_mean"] == pytest.approx((3 * 20 + 24) / 4)
    algo.stop()


EPISODES = [(task, float(task), 20, 1.0) for task in range(8)]


@pytest.mark.parametrize("num_env_runners", [0, pytest.param(2, marks=pytest.mark.repeated)])
def test_the_windows_of_a_former_checkpoint_are_taken_over(num_env_runners):
    algo = reporting_rounds(num_env_runners).build_algo()
    algo.set_state({"recent_episodes": {1: EPISODES[:5], 2: EPISODES[5:]}})  # of each env runner, by its index
    reported = windows_after(algo, 1)
    algo.stop()
    assert reported["return_by_task"] == {str(task): task for task in range(8)}
    assert reported["episode_return_mean"] == 3.5


def test_windows_that_a_checkpoint_lacks_begin_empty():
    algo = reporting_rounds().build_algo()
    windows_after(algo, 9)
    state = algo.get_state()
    del state["recent_episodes"]
    algo.stop()
    algo = reporting_rounds().build_algo()
    algo.set_state(state)
    assert np.isnan(windows_after(algo, 1)["episode_return_mean"])
    assert windows_after(algo, 2)["episode_len_mean"] == 20
    algo.stop()


def test_what_has_been_wrong_for_long_is_not_forgotten_by_a_restore(tmp_path):
    algo = tiny().build_algo()
    algo._health.set_state({"tasks_at_chance": 7.0, "contexts_equal": 9.0})
    algo._warned = {"tasks_at_chance"}
    algo._last_episodes["episode_return_mean"] = -3.0
    path = algo.save_to_path(str(tmp_path / "checkpoint"))
    algo.stop()
    algo = tiny().build_algo()
    algo.restore_from_path(path)
    algo.stop()
    assert algo._health.get_state() == {"tasks_at_chance": 7.0, "contexts_equal": 9.0}
    assert algo._warned == {"tasks_at_chance"}
    assert algo._last_episodes["episode_return_mean"] == -3.0


@pytest.mark.slow
def test_the_window_goes_on_when_an_env_runner_is_lost():
    algo = reporting_rounds(num_env_runners=1).fault_tolerance(restart_failed_env_runners=True).build_algo()
    before = windows_after(algo, 9)
    (runner,) = algo.env_runner_group._worker_manager.actors().values()
    ray.kill(runner, no_restart=False)
    trained_until(algo, lambda result: result["fault_tolerance"]["num_remote_worker_restarts"] > 0)
    assert windows_after(algo, 1) == before
    algo.stop()


# --- Learning rates -------------------------------------------------------------------------------------------------


def test_the_first_update_after_a_restore_is_made_with_the_present_rates(tmp_path):
    algo = tiny(env="test/Walker").build_algo()
    for _ in range(2):
        algo.train()
    algo.save_to_path(tmp_path)
    algo.stop()
    moved = {}
    for rate in (0.0, 1e-4):
        algo = tiny(env="test/Walker", actor_lr=rate).build_algo()
        algo.restore_from_path(tmp_path)
        before = copied(algo)
        while differences(before, copied(algo)) == []:
            algo.training_step()
        after = copied(algo)
        moved[rate] = {name: np.abs(before[name] - after[name]).max() for name in before}
        algo.stop()
    assert {steps for name, steps in moved[0.0].items() if "acting.actor" in name} == {0.0}
    actor = [steps for name, steps in moved[1e-4].items() if "acting.actor" in name]
    assert 1e-6 < max(actor) < 5e-4  # two updates or three of Adam, which was at 1e-3
    assert min(steps for name, steps in moved[0.0].items() if "learning.critics" in name) > 1e-4


# --- Random numbers -------------------------------------------------------------------------------------------------


def test_two_restores_of_one_checkpoint_begin_alike_and_unlike_the_run_itself(tmp_path):
    algo = tiny(env="test/Point").build_algo()
    first = starts_of(algo)
    algo.train()
    algo.save_to_path(tmp_path)
    algo.stop()
    restored = []
    for _ in range(2):
        algo = Algorithm.from_checkpoint(tmp_path)
        restored.append(starts_of(algo))
        algo.train()
        algo.stop()
    assert restored[0] == restored[1]
    assert len(set(first + restored[0])) == len(first) + len(restored[0]) >= 12


def test_a_remote_runner_that_is_made_anew_does_not_begin_as_it_once_did():
    local = runner_of(tiny(env="test/Point"))
    starts = []
    for steps in (0, 105, 105, 210):
        local.set_state({"num_env_steps_sampled_lifetime": steps})  # as RLlib does after each iteration
        runner = runner_of(tiny(env="test/Point"), remote=True)
        runner.set_state(local.get_state())
        episodes = runner.sample(num_timesteps=3, random_actions=True)
        starts.append([(*e.get_observations(0)[:2], *e.get_actions(0)) for e in episodes])
    assert starts[1] == starts[2]
    numbers = [number for some in (starts[0], *starts[2:]) for start in some for number in start]
    assert len(set(numbers)) == len(numbers) == 36


@pytest.mark.slow
def test_remote_runners_go_on_with_new_random_numbers_after_a_loss_and_after_a_restore(tmp_path):
    config = tiny(env="test/Point").env_runners(num_env_runners=1)
    algo = config.fault_tolerance(restart_failed_env_runners=True).build_algo()
    starts = starts_of(algo)
    algo.train()
    before = len(starts)
    (runner,) = algo.env_runner_group._worker_manager.actors().values()
    ray.kill(runner, no_restart=False)
    trained_until(algo, lambda result: result["fault_tolerance"]["num_remote_worker_restarts"] > 0)
    trained_until(algo, lambda result: len(starts) > before)
    assert before >= 3
    algo.save_to_path(tmp_path)
    algo.stop()
    restored = Algorithm.from_checkpoint(tmp_path)
    after = starts_of(restored)
    restored.train()
    restored.stop()
    assert len(after) >= 3
    assert len(set(starts + after)) == len(starts) + len(after)


# --- Weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [tiny(PlainSACConfig), SaPPOConfig().environment("SaMI/Pendulum-v0")], ids=["SAC", "PPO"]
)
def test_rllibs_env_runners_take_older_weights_when_training_goes_back(config, tmp_path):
    if isinstance(config, SaPPOConfig):
        config.training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1, actor_hidden=[8])
    config.env_runners(env_runner_cls=SingleAgentEnvRunner)
    config.evaluation(evaluation_interval=1, evaluation_num_env_runners=1, evaluation_duration=1)
    algo = config.build_algo()
    algo.train()
    path = algo.save_to_path(tmp_path / "early")
    algo.train()
    algo.restore_from_path(path)
    algo.evaluate()
    expected = algo.learner_group.get_weights()["default_policy"]
    runners = [
        algo.env_runner.get_state(),
        *algo.eval_env_runner_group.foreach_env_runner(lambda one: one.get_state(), local_env_runner=False),
    ]
    for state in runners:
        weights = state["rl_module"]
        assert [key for key in weights if not np.array_equal(weights[key], expected[key])] == []
    algo.stop()
