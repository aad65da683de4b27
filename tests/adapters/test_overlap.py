"""Remote env runners sample while the learners update."""

import pytest
import ray

from rllib_sami import compat

from .tiny import differences, tiny, trained_until

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.slow]


def built(num_env_runners=1, **settings):
    config = tiny(env="test/Point", **settings).env_runners(num_env_runners=num_env_runners)
    return config.fault_tolerance(restart_failed_env_runners=True).build_algo()


def in_flight(algo) -> int:
    return algo.env_runner_group.num_in_flight_async_reqs(compat.SAMPLING)


@pytest.mark.parametrize("overlaps", [True, pytest.param(False, marks=pytest.mark.repeated)])
def test_a_round_is_under_way_during_updates_only_if_wanted(overlaps, monkeypatch):
    algo, seen = built(overlap_sampling=overlaps), []
    update = compat.update_learners
    monkeypatch.setattr(compat, "update_learners", lambda *args: (seen.append(in_flight(algo)), update(*args)))
    for _ in range(3):
        algo.train()
    assert set(seen) == {int(overlaps)}
    algo.stop()


@pytest.mark.repeated
def test_the_same_seed_gives_the_same_run():
    states = []
    for _ in range(2):
        algo = built(num_env_runners=2)
        for _ in range(2):
            algo.train()
        states.append(
            {
                "learner": algo.learner_group.get_state()["learner"]["rl_module"],
                "buffer": algo.replay_buffer.store.get_state(),
            }
        )
        algo.stop()
    assert not differences(*states)


def test_a_runner_that_is_lost_at_work_is_replaced_and_training_goes_on():
    algo = built(num_env_runners=2)
    algo.train()
    assert in_flight(algo) == 2
    ray.kill(algo.env_runner_group._worker_manager.actors()[1], no_restart=False)
    results = trained_until(algo, lambda result: result["fault_tolerance"]["num_remote_worker_restarts"] > 0)
    results.append(algo.train())  # the one that is back takes part
    steps = [result["num_env_steps_sampled_lifetime"] for result in results]
    assert steps == sorted(set(steps))
    assert algo.env_runner_group.num_healthy_remote_workers() == 2
    assert in_flight(algo) == 2
    algo.stop()


def test_what_was_under_way_at_a_restore_is_dropped(tmp_path):
    algo = built()
    algo.train()
    path = algo.save(str(tmp_path)).checkpoint.path
    algo.train()
    algo.restore(path)
    assert in_flight(algo) == 0
    stored = len(algo.replay_buffer)
    assert algo.train()["num_env_steps_sampled_lifetime"] > stored
    algo.stop()
