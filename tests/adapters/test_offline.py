"""Episodes written as Parquet are those of the buffer, and RLlib's offline algorithms learn from them."""

import numpy as np
import pandas as pd
import pytest
from ray.rllib.algorithms.bc import BCConfig

from rllib_sami.replay_buffers.offline import write_episodes
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .envs import HIGH, LOW
from .parity import stored_episodes
from .tiny import runner_of, tiny


@pytest.fixture
def buffer() -> TaskEpisodeReplayBuffer:
    runner = runner_of(tiny(env="test/Walker", env_config={"end_probability": 0.1}))
    buffer = TaskEpisodeReplayBuffer(5, 2, runner.config.make_sampler(), capacity=300)
    for _ in range(20):  # more than the ring holds
        buffer.add(runner.sample(random_actions=True))
    return buffer


def test_every_finished_episode_is_written_step_by_step(buffer, tmp_path):
    files = write_episodes(buffer, tmp_path / "new", steps_per_file=100)
    assert len(files) > 1
    table = pd.concat(map(pd.read_parquet, files))
    episodes = stored_episodes(buffer.store, with_open=False)
    ids = list(dict.fromkeys(table["eps_id"]))
    assert len(ids) == len(episodes) > 5
    assert {episode.terminated for episode in episodes} == {True, False}
    for id_, episode in zip(ids, episodes, strict=True):
        steps = table[table["eps_id"] == id_]
        np.testing.assert_array_equal(np.stack(steps["obs"]), episode.obs[:-1])
        np.testing.assert_array_equal(np.stack(steps["new_obs"]), episode.obs[1:])
        np.testing.assert_array_equal(np.stack(steps["actions"]), episode.actions)
        np.testing.assert_array_equal(steps["rewards"], episode.rewards)
        np.testing.assert_array_equal(steps["time_step"], np.arange(len(episode)))
        assert set(steps["task_id"]) == {episode.task_id}
        assert not steps["terminateds"].iloc[:-1].any()
        assert not steps["truncateds"].iloc[:-1].any()
        assert steps["terminateds"].iloc[-1] == episode.terminated != steps["truncateds"].iloc[-1]


def test_nothing_to_write_and_a_used_folder_are_errors(buffer, tmp_path):
    empty = TaskEpisodeReplayBuffer(5, 2, buffer._sampler)
    with pytest.raises(ValueError, match="no finished episode"):
        write_episodes(empty, tmp_path)
    write_episodes(buffer, tmp_path)
    with pytest.raises(ValueError, match="already has Parquet files"):
        write_episodes(buffer, tmp_path)


@pytest.mark.learning
@pytest.mark.usefixtures("ray_cluster")
def test_rllibs_behaviour_cloning_reads_them(buffer, tmp_path):
    import gymnasium as gym

    write_episodes(buffer, tmp_path)
    config = (
        BCConfig()
        .environment(
            observation_space=gym.spaces.Box(-np.inf, np.inf, (5,), np.float32), action_space=gym.spaces.Box(LOW, HIGH)
        )
        .offline_data(
            input_=[str(tmp_path)],
            input_read_method_kwargs={"override_num_blocks": 1},
            map_batches_kwargs={"concurrency": 1, "num_cpus": 0.25},
            dataset_num_iters_per_learner=2,
        )
        .training(train_batch_size_per_learner=64, lr=1e-3)
        .evaluation(evaluation_interval=None)
    )
    algo = config.build_algo()
    learned = algo.train()["learners"]["default_policy"]
    algo.stop()
    assert learned["num_module_steps_trained"] >= 64
    assert np.isfinite(learned["policy_loss"])
