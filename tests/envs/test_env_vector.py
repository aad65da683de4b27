"""Vectorised stepping gives what the single environments give, to the last bit."""

import functools
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib_sami import envs
from rllib_sami.envs.vector import EnvBatch, MetaTaskVectorEnv

FAMILIES = [env_id for env_id in envs.ENVIRONMENTS if "Panda" not in env_id and "Pixels" not in env_id]
N = 5


@pytest.mark.parametrize("env_id", FAMILIES)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_identical_to_single_environments(env_id, num_threads):
    vector = gymnasium.make_vec(env_id, num_envs=N, max_steps=7, num_threads=num_threads)
    singles = [envs.make(env_id, max_steps=7) for _ in range(N)]
    observations, infos = vector.reset(seed=3)
    for index, env in enumerate(singles):
        env.next_task_id = index % env.num_tasks
        observation, info = env.reset(seed=3 + index)
        np.testing.assert_array_equal(observations[index], observation)
        assert infos["task_id"][index] == info["task_id"]
        assert {name: values[index] for name, values in infos["task"].items() if name[0] != "_"} == info["task"]
    rng = np.random.default_rng(0)
    space = vector.single_action_space
    for _ in range(20):
        actions = rng.uniform(space.low, space.high, (N, *space.shape)).astype(np.float32)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        for index, env in enumerate(singles):
            observation, reward, ended, cut, info = env.step(actions[index])
            assert (reward, ended, cut) == (rewards[index], terminated[index], truncated[index])
            if ended or cut:
                np.testing.assert_array_equal(infos["final_obs"][index], observation)
                assert infos["final_info"]["task_id"][index] == info["task_id"]
                observation, info = env.reset()
            np.testing.assert_array_equal(observations[index], observation)
            assert infos["task_id"][index] == info["task_id"]
    vector.close()


@pytest.mark.parametrize("env_id", ["SaMI/Pendulum-v0", "SaMI/CrippledWalker-v0", "SaMI/PandaPush-v0"])
def test_everything_returned_is_what_gymnasiums_own_vector_environment_returns(env_id):
    ours = gymnasium.make_vec(env_id, num_envs=3, max_steps=3, split="moderate")
    theirs = SyncVectorEnv(
        [functools.partial(envs.make, env_id, max_steps=3, split="moderate")] * 3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    for vector in (ours, theirs):
        vector.set_attr("next_task_id", [1, 0, 2])

    def same(**reset):
        return data_equivalence(ours.reset(**reset), theirs.reset(**reset), exact=True)

    assert same(seed=5)
    assert ours.task_ids.tolist() == [1, 0, 2]
    rng = np.random.default_rng(0)
    for step in range(11):
        if step == 4:  # from here on they are over at different times
            assert same(options={"reset_mask": np.array([False, True, False])})
        if step == 8:
            assert same(seed=[7, None, 9], options={"task_id": 2})
        space = ours.single_action_space
        actions = rng.uniform(space.low, space.high, ours.action_space.shape).astype(np.float32)
        one, other = ours.step(actions), theirs.step(actions)
        assert data_equivalence(one, other, exact=True)
        assert ("final_info" in one[-1]) == bool((one[2] | one[3]).any())
    for vector in (ours, theirs):
        vector.close()


def test_vector_environments_do_not_share_their_mode_of_resetting():
    one = gymnasium.make_vec("SaMI/HalfCheetah-v0", num_envs=2)
    other = gymnasium.make_vec("SaMI/Ant-v0", num_envs=2, vectorization_mode="sync")
    assert one.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert other.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert "autoreset_mode" not in envs.Ant.metadata


def test_numbers_of_actions_seeds_and_masks_are_checked():
    vector = MetaTaskVectorEnv(envs.HalfCheetah, 3)
    with pytest.raises(ValueError, match=r"2 seeds.*expected 3"):
        vector.reset(seed=[1, 2])
    with pytest.raises(ValueError, match=r"reset_mask of 2.*expected 3"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    vector.reset(seed=0)
    for shape in ((4, 6), (2, 6), (6,)):
        with pytest.raises(ValueError, match=r"actions have shape .*expected \(3, action_dim\)"):
            vector.step(np.zeros(shape))
    with pytest.raises(RuntimeError, match="Environment 0 failed: action has 5 entries; expected 6"):
        vector.step(np.zeros((3, 5)))


def test_gymnasium_finds_it_and_can_write_its_spec():
    vector = gymnasium.make_vec("SaMI/HalfCheetah-v0", num_envs=2, split="moderate")
    assert isinstance(vector, MetaTaskVectorEnv)
    assert vector.get_attr("split") == ("moderate", "moderate")
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert gymnasium.envs.registration.EnvSpec.from_json(vector.spec.to_json()).id == "SaMI/HalfCheetah-v0"
    vector.close()


def test_statistics_wrapper_of_gymnasium_works():
    vector = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.make_vec("SaMI/CartPole-v0", 3, max_steps=4))
    vector.reset(seed=0)
    for _ in range(4):
        *_, infos = vector.step(np.zeros((3, 1), np.float32))
    assert infos["episode"]["l"].tolist() == [4, 4, 4]
    assert infos["episode"]["r"].tolist() == pytest.approx([4.0, 4.0, 4.0])


def test_slots_walk_the_tasks_from_different_ends():
    vector = MetaTaskVectorEnv(envs.Pendulum, 6, max_steps=2)
    seen = [vector.reset(seed=1)[1]["task_id"].tolist()]
    for _ in range(4):
        seen.append(vector.step(np.zeros((6, 1)))[-1]["task_id"].tolist())
    assert seen[0] == seen[1] == [0, 1, 2, 3, 0, 1]
    assert seen[2] == seen[3] == [1, 2, 3, 0, 1, 2]
    assert vector.reset(seed=1)[1]["task_id"].tolist() == seen[0]
    assert vector.reset()[1]["task_id"].tolist() == [1, 2, 3, 0, 1, 2]  # without a seed the walk goes on


def test_returned_arrays_are_the_callers_own():
    vector = MetaTaskVectorEnv(envs.HalfCheetah, 2)
    first, _ = vector.reset(seed=0)
    kept = first.copy()
    second = vector.step(np.ones((2, 6)))[0]
    np.testing.assert_array_equal(first, kept)
    assert (second != kept).any()


@pytest.mark.parametrize("num_threads", [0, 3, 1.5, True])
def test_impossible_numbers_of_threads(num_threads):
    with pytest.raises(ValueError, match=r"num_threads=.*1\.\.2"):
        MetaTaskVectorEnv(envs.Pendulum, 2, num_threads=num_threads)


def test_environments_that_need_one_thread_say_so(monkeypatch):
    monkeypatch.setattr(envs.Pendulum, "thread_safe", False)
    with pytest.raises(ValueError, match="Pendulum can be stepped in one thread only"):
        MetaTaskVectorEnv(envs.Pendulum, 2, num_threads=2)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_failures_are_reported_per_environment(num_threads):
    members = [envs.Pendulum() for _ in range(4)]
    batch = EnvBatch(members, num_threads)
    for env in members:
        env.reset(seed=0)
    members[1]._advance = lambda action: 1 / 0
    members[2]._advance = lambda action: (np.nan, False)
    rewards, flags = np.zeros(4), np.zeros((2, 4), bool)
    failed = batch.step(np.zeros((4, 1)), rewards, *flags)
    assert {index: type(error) for index, error in failed.items()} == {1: ZeroDivisionError, 2: FloatingPointError}
    replacement = envs.Pendulum()
    replacement.reset(seed=5)
    batch.replace(1, replacement)
    np.testing.assert_array_equal(batch.rows[1], replacement._observation())
    vector = MetaTaskVectorEnv(envs.Pendulum, 2)
    vector.reset(seed=0)
    vector.envs[1]._advance = lambda action: 1 / 0
    with pytest.raises(RuntimeError, match="Environment 1 failed: division by zero"):
        vector.step(np.zeros((2, 1)))


def test_a_member_can_still_be_used_and_pickled_alone():
    vector = MetaTaskVectorEnv(envs.HalfCheetah, 2)
    vector.reset(seed=0)
    alone = pickle.loads(pickle.dumps(vector.envs[0]))
    step = alone.step(np.ones(6))[0]
    np.testing.assert_array_equal(step, vector.step(np.ones((2, 6)))[0][0])
