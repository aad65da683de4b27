"""What happens to training: it goes on or stops with a clear message, and learns from nothing that is not finite."""

import logging
import time

import numpy as np
import pytest
import ray
import torch
from adapters.tiny import tiny, weights_of

from rllib_sami import compat
from rllib_sami.algorithms.sami.sampling import SamplingConfig
from rllib_sami.core.faults import Patience, warn_if_late
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

NOT_FINITE = [np.nan, np.inf]


@pytest.fixture
def built(ray_cluster):
    """Builds algorithms and stops them at the end."""
    algorithms = []

    def build(config):
        algorithms.append(config.build_algo())
        return algorithms[-1]

    yield build
    for algorithm in algorithms:
        algorithm.stop()


def train(algorithm, iterations):
    return [algorithm.train() for _ in range(iterations)]


# --- Environments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", [0, 1])
def test_an_environment_that_raises_stops_training_with_its_own_message(built, remote):
    algorithm = built(tiny(env="test/Point", env_config={"fail_at": 40}).env_runners(num_env_runners=remote))
    with pytest.raises(RuntimeError, match="the simulator broke"):
        train(algorithm, 5)
    # RLlib alone waits for a minute, ends the env runner and makes it again.
    assert algorithm.env_runner_group.num_healthy_remote_workers() == remote


@pytest.mark.parametrize("bad_in", ["observation", "reward"])
def test_an_environment_that_gives_nan_stops_training_before_it_is_learned_from(built, bad_in):
    config = tiny(env="test/Diverging", env_config={"bad": np.nan, "bad_in": bad_in, "bad_at": 60})
    algorithm = built(config)
    with pytest.raises(FloatingPointError, match="not finite"):
        train(algorithm, 5)
    store = algorithm.replay_buffer.store
    assert len(store.finished) > 0
    assert np.isfinite(store.rows).all()
    assert all(np.isfinite(value).all() for value in weights_of(algorithm).values())


def test_with_restarts_only_the_failed_environments_episode_is_lost(built):
    config = tiny(env="test/Diverging", env_config={"bad": np.nan, "bad_in": "reward", "bad_at": 30})
    algorithm = built(config.fault_tolerance(restart_failed_sub_environments=True))
    results = train(algorithm, 3)
    assert results[-1]["num_env_steps_sampled_lifetime"] == 3 * 105
    assert np.isfinite(algorithm.replay_buffer.store.rows).all()
    assert np.isfinite(results[-1]["learners"]["default_policy"]["critic_loss"])


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("where", ["observations", "actions", "rewards"])
def test_the_buffer_takes_nothing_that_is_not_finite_from_any_runner(bad, where):
    arrays = {"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1)), "rewards": np.zeros(3)}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
    arrays[where][1] = bad
    shared = {"info": {"task_id": 7}, "last_info": {}, "terminated": True, "truncated": False, "t_started": 0}
    buffer = TaskEpisodeReplayBuffer(2, 1, SamplingConfig(), capacity=100)
    with pytest.raises(FloatingPointError, match=r"episode of task 7 has .* not finite"):
        buffer.add([compat.episode_from_arrays(id_="a", **arrays, **shared)])
    assert len(buffer) == 0


# --- Env runners that are lost, or hang -----------------------------------------------------------------------------


@pytest.mark.slow
def test_an_env_runner_whose_environment_hangs_is_made_anew(built, tmp_path, caplog):
    config = tiny(env="test/Hanging", env_config={"hang_at": 80, "marker": str(tmp_path / "hung")})
    algorithm = built(config.env_runners(num_env_runners=1, sample_timeout_s=10))
    with caplog.at_level(logging.WARNING, "rllib_sami"):
        steps = [algorithm.train()["num_env_steps_sampled_lifetime"] for _ in range(4)]
    assert (tmp_path / "hung").exists()
    assert "Env runner 1 has not answered for 10 s" in caplog.text
    assert steps == sorted(set(steps))
    clock = algorithm.replay_buffer.store
    numbers = clock.gather(clock.finished, 21)[..., 2] * 10
    np.testing.assert_allclose(numbers, np.broadcast_to(np.arange(21), numbers.shape), atol=1e-5)  # whole episodes only


@pytest.mark.slow
def test_a_hanging_env_runner_that_may_not_be_made_anew_stops_training(built, tmp_path):
    config = tiny(env="test/Hanging", env_config={"hang_at": 40, "marker": str(tmp_path / "hung")})
    config.env_runners(num_env_runners=1, sample_timeout_s=5).fault_tolerance(restart_failed_env_runners=False)
    algorithm = built(config)
    with pytest.raises(TimeoutError, match=r"Env runner 1 has not answered for 5 s.*raise `sample_timeout_s`"):
        train(algorithm, 3)


def test_runners_that_give_nothing_for_long_stop_training(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    patience = Patience(sample_timeout_s=10)
    patience.note(5, 0)
    for now[0] in (200.0, 249.0):
        patience.note(0, 2)
    patience.note(5, 0)
    for now[0] in (251.0, 300.0):
        patience.note(0, 2)
    now[0] = 302.0
    with pytest.raises(RuntimeError, match=r"No env runner has sampled a step for 51 s; 2 of them are lost"):
        patience.note(0, 2)


def test_a_hanging_local_environment_is_told(caplog):
    with caplog.at_level(logging.WARNING, "rllib_sami"):
        with warn_if_late(10.0), warn_if_late(None):
            pass
        assert caplog.text == ""
        end = time.monotonic() + 60
        with warn_if_late(0.05):
            while not caplog.text and time.monotonic() < end:
                time.sleep(0.01)
    assert "Sampling has taken 0.05 s" in caplog.text
    assert "`num_env_runners` >= 1" in caplog.text


# --- Learners -------------------------------------------------------------------------------------------------------


def test_learning_that_diverges_stops_training(built):
    algorithm = built(tiny(env="test/Point"))
    algorithm.train()
    module = algorithm.learner_group._learner._module["default_policy"]
    with torch.no_grad():
        next(module.learning.critics.parameters())[:] = torch.nan
    with pytest.raises(FloatingPointError, match=r"Learning has diverged: .*critic_loss.* `grad_clip`"):
        algorithm.train()


@pytest.mark.slow
@pytest.mark.parametrize("num_learners", [1, 2])
def test_a_lost_learner_stops_training_now_and_ever_after(built, num_learners):
    algorithm = built(tiny(env="test/Point").learners(num_learners=num_learners))
    algorithm.train()
    *_, learner = algorithm.learner_group._worker_manager.actors().values()
    ray.kill(learner)
    for _ in range(2):  # a second call would find no learner, and learn nothing
        with pytest.raises(RuntimeError, match=r"learner's process was lost.*last checkpoint.*max_failures"):
            algorithm.train()


# --- Memory ---------------------------------------------------------------------------------------------------------


def test_a_buffer_larger_than_memory_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(compat, "available_memory", lambda: 2**30)
    monkeypatch.setattr(ray, "init", None)  # not reached
    config = tiny(env="test/Point", replay_buffer_config={"capacity": 100_000_000})
    with pytest.raises(
        ValueError,
        match=r"`replay_buffer_config\['capacity'\]` is 100,000,000 steps of 5 \+ 2 \+ 1 numbers.*take 3.0 GiB of "
        r"memory, but 1.0 GiB are available. Set it to 26,843,545 or less",
    ):
        config.build_algo()
