"""What every environment promises: which task comes, what info says, when an episode ends, that seeds repeat."""

import copy
import math
import pickle
import re

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence

from rllib_sami import envs
from rllib_sami.envs.factors import DirectionFactor
from rllib_sami.envs.maze import Maze
from rllib_sami.envs.reuse.bodies import BodyEnv

IDS = envs.list_environments()
VARIED = [env_id for env_id in IDS if envs.ENVIRONMENTS[env_id].factors]  # those with more than one task
CAPS = {  # the others' episodes have 1000 steps, those of Skills/ 200, of the bodies of Reuse/ 500
    **dict.fromkeys(("Mixed", "Misaligned", "Light"), 280),
    **{"UMaze": 300, "Medium": 500, "Large": 600, "Paper": 2000, "Scene": 400},
    **dict.fromkeys(("CrippledAnt", "Walker", "CrippledWalker", "HumanoidStandup"), 2000),
    "Hopper": 500,
    **dict.fromkeys(("CartPole", "Pendulum"), 200),
    **dict.fromkeys(("HalfCheetahDir", "HalfCheetahVel", "AntDir", "AntGoal"), 200),
    **dict.fromkeys(("HopperRandParams", "WalkerRandParams"), 200),
    "PointGoal": 25,
    **dict.fromkeys(("Toy", "ToyMulti"), 200),
    "ToyGoal": 250,
    **dict.fromkeys(("PosturePoint", "Kitchen"), 50),
    **dict.fromkeys(("PandaPush", "PandaPickAndPlace"), 50),
}


@pytest.fixture(params=IDS)
def env(request):
    environment = envs.make(request.param, max_steps=5)
    yield environment
    environment.close()


@pytest.fixture(params=VARIED)
def varied_env(request):
    environment = envs.make(request.param, max_steps=5)
    yield environment
    environment.close()


def unseen_task(env, number=1.8):
    """The first factor at ``number`` (all its components, if it has several; its angle), the others neutral."""
    factor = env.factors[0]
    if isinstance(factor, DirectionFactor):
        return {factor.name: (math.cos(number), math.sin(number))}
    return {factor.name: number if len(factor.keys) == 1 else (number,) * len(factor.keys)}


def rollout(env, steps, seed=None, **reset):
    """Observations, rewards and infos of one episode under actions that depend on ``seed`` only."""
    observation, info = env.reset(seed=seed, **reset)
    rng = np.random.default_rng(7)
    observations, rewards, infos = [observation], [], [info]
    for _ in range(steps):
        action = rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, reward, _, _, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return np.array(observations), np.array(rewards), infos


def test_the_same_seed_gives_the_same_episodes_and_another_does_not(env):
    for _ in range(2):  # the second seeded reset comes in the middle of a walk
        first = [rollout(env, 5, seed=3), rollout(env, 5)]
    env_2 = type(env)(max_steps=5)
    again = [rollout(env_2, 5, seed=3), rollout(env_2, 5)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert data_equivalence(one[2], other[2], exact=True)
    if isinstance(env, envs.skills.PosturePoint):
        return  # always begins at the same place
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(rollout(env, 5, seed=4)[0], first[0][0])


def test_the_walk_visits_all_meta_tasks_equally_in_order(env):
    first = env.reset(seed=0)[1]["task_id"]
    ids = [env.reset()[1]["task_id"] for _ in range(3 * env.num_tasks)]
    assert ids == [(first + 1 + k) % env.num_tasks for k in range(3 * env.num_tasks)]
    for _ in range(20):
        _, info = env.reset()
        assert env.tasks[info["task_id"]].allows(env.task)
        assert info["task"] == env.task.as_floats()
        assert env.task_id == info["task_id"]


def test_different_seeds_begin_with_different_meta_tasks(env):
    ids = [env.reset(seed=seed)[1]["task_id"] for seed in range(10 * env.num_tasks)]
    assert set(ids) == set(range(env.num_tasks))
    assert max(map(ids.count, set(ids))) < 30
    assert ids == [env.reset(seed=seed)[1]["task_id"] for seed in range(10 * env.num_tasks)]


def test_all_values_of_a_meta_task_come_up(env):
    env.reset(seed=0)
    meta_task = env.tasks[0]
    seen = {env.task.assignment for _ in range(400) if env.reset(options={"task_id": 0})}
    assert len(seen) == np.prod([len(values) for values in meta_task.values()])


def test_next_task_id_sets_the_walk_and_where_a_seed_restarts_it(env):
    env.reset(seed=0)
    env.next_task_id = env.num_tasks - 1
    assert [env.reset()[1]["task_id"] for _ in range(2)] == [env.num_tasks - 1, 0]
    assert env.reset(seed=0)[1]["task_id"] == env.num_tasks - 1
    assert env.next_task_id == 0


def test_a_pinned_meta_task_moves_the_walk(varied_env):
    env = varied_env
    env.reset(seed=0)
    last = env.num_tasks - 1
    assert env.reset(options={"task_id": last})[1]["task_id"] == last
    assert env.reset()[1]["task_id"] == 0
    assert env.reset(options={"task_id": np.int64(1)})[1]["task_id"] == 1


def test_pinned_values_leave_the_walk_alone_and_know_their_meta_task(varied_env):
    env = varied_env
    env.reset(seed=0)
    _, info = env.reset(options={"task_id": 1})
    _, pinned = env.reset(options={"task": info["task"]})
    unique = env.tasks.count(env.tasks[1]) == 1  # CrippledHopper and CrippledWalker repeat theirs
    assert pinned == {**info, "task_id": 1 if unique else -1}
    values = unseen_task(env)
    _, unseen = env.reset(options={"task": values})
    assert unseen["task_id"] == -1
    assert unseen["task"] == env.task.as_floats()
    assert dict(env.task) == {factor.name: factor.neutral_value for factor in env.factors} | values
    assert env.reset()[1]["task_id"] == 2 % env.num_tasks


def test_values_allowed_by_two_meta_tasks_have_no_id():
    env = envs.make("SaMI/CrippledHalfCheetah-v0")
    assert env.reset(options={"task": {"cripple": 3}})[1]["task_id"] == -1  # meta-tasks 0 and 3 are the same
    assert env.reset(options={"task": {"cripple": 4}})[1]["task_id"] == 1


def test_the_cap_truncates_at_the_exact_step_and_nothing_terminates(env):
    is_pixels = "Pixels" in type(env).__name__
    for cap in (1, 5):
        env = type(env)(max_steps=cap)
        _, reset_info = env.reset(seed=0)
        assert type(reset_info["task_id"]) is int
        reset_info.pop("coordinates", None)  # these change
        for step in range(1, cap + 1):
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert terminated is False
            assert truncated is (step == cap)
            # Some say more at the end of an episode, e.g. whether it was a success.
            expected = info | reset_info if step == cap else {"task_id": reset_info["task_id"]}
            assert data_equivalence(info, expected, exact=True)
            assert type(reward) is float
            assert observation.dtype == env.observation_space.dtype == (np.uint8 if is_pixels else np.float32)
        with pytest.raises(ResetNeeded):
            env.step(env.action_space.sample())


def test_no_early_end_under_extreme_actions(env):
    usual = 1000 if env.factors else 200
    usual = 500 if isinstance(env, BodyEnv) else CAPS.get(type(env).__name__, usual)
    env = type(env)(split=[*env.splits][-1] if "extreme" not in env.splits else "extreme")
    assert env.max_steps == usual
    env.reset(seed=0)
    # Down and to the right is the goal of some mazes.
    action = env.action_space.low if isinstance(env, Maze) else env.action_space.high
    for step in range(1, env.max_steps + 1):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert not terminated
        assert truncated == (step == env.max_steps)
        assert np.isfinite(observation).all()
        assert np.isfinite(reward)


def test_step_before_reset_is_refused(env):
    with pytest.raises(ResetNeeded):
        env.step(env.action_space.sample())


def test_returned_arrays_and_infos_are_the_callers(env):
    first, info = env.reset(seed=0)
    kept, kept_info = first.copy(), copy.deepcopy(info)
    second, _, _, _, step_info = env.step(env.action_space.high)
    info["task"].clear()
    second[:] = 0.0
    step_info["mine"] = 1
    for _ in range(4):
        *_, last = env.step(env.action_space.high)
    np.testing.assert_array_equal(first, kept)
    kept_info.pop("coordinates", None)  # these change
    assert data_equivalence(last, last | kept_info, exact=True)


def test_the_oracle_sees_the_task_and_nobody_else_does(varied_env):
    env = varied_env
    task = {"task": unseen_task(env)}
    plain = rollout(env, 5, seed=1, options=task)
    oracle = type(env)(max_steps=5, observe_task=True)
    seen = rollout(oracle, 5, seed=1, options=task)
    width = env.observation_space.shape[0]
    features = oracle.task.features()
    assert oracle.observation_space.shape == (width + len(plain[2][0]["task"]),)
    np.testing.assert_array_equal(seen[0][:, :width], plain[0])
    np.testing.assert_allclose(seen[0][:, width:], np.tile(features, (6, 1)), rtol=1e-6)
    assert any(features)
    oracle.reset(options={"task": {}})
    assert not any(oracle.step(oracle.action_space.high)[0][width:])
    # The same state and another task: nothing in the first observation tells them apart.
    hidden = [env.reset(seed=5, options={"task": unseen_task(env, number)})[0] for number in (0.5, 1.8)]
    np.testing.assert_array_equal(*hidden)


def test_a_copy_goes_on_like_the_original(env):
    env = type(env)(max_steps=5, observe_task=True)
    env.reset(seed=0)
    env.step(env.action_space.high)
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    ends = []
    for each in (env, *copies):
        rest = [each.step(env.action_space.low)[0] for _ in range(4)]
        observations, rewards, infos = rollout(each, 5)
        ends.append((np.array(rest), observations, rewards, infos))
    for end in ends[1:]:
        for one, other in zip(ends[0][:3], end[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        assert data_equivalence(end[3], ends[0][3], exact=True)


def test_vector_environments_set_the_walk_per_slot():
    vector = gymnasium.make_vec("SaMI/HalfCheetah-v0", num_envs=3, vectorization_mode="sync", max_steps=2)
    vector.set_attr("next_task_id", [2, 3, 0])
    _, info = vector.reset(seed=[10, 11, 12])
    assert info["task_id"].tolist() == [2, 3, 0]
    for _ in range(3):  # two steps, then the automatic reset
        *_, info = vector.step(vector.action_space.sample())
    assert info["task_id"].tolist() == [3, 0, 1]
    assert vector.get_attr("next_task_id") == (0, 1, 2)
    vector.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task_id": 4}, ["task_id=4", "0..3"]),
        ({"task_id": -1}, ["task_id=-1", "0..3"]),
        ({"task_id": 1.0}, ["task_id=1.0"]),
        ({"taskid": 1}, ["'taskid'", "Did you mean 'task_id'?"]),
        ({"task_id": 1, "task": {}}, ["exclude"]),
        ({"task": {"mass_scale": -1}}, ["mass_scale=-1"]),
        ({"task": {"mass": 1}}, ["'mass'", "Did you mean 'mass_scale'?"]),
        ({"task": 1.8}, ["task=1.8", "dict"]),
    ],
)
def test_bad_reset_options_are_named(options, words):
    env = envs.HalfCheetah()
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        env.reset(options=options)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("task_id", [4, -1, "1", None, True])
def test_bad_next_task_id_is_named(task_id):
    with pytest.raises(ValueError, match="next_task_id="):
        envs.HalfCheetah().next_task_id = task_id


@pytest.mark.parametrize("wrong", [-1, 1])
def test_bad_action_length_is_named(env, wrong):
    env.reset(seed=0)
    size = env.action_space.shape[0]
    with pytest.raises(ValueError, match=f"action has {size + wrong} entries; expected {size}"):
        env.step(np.zeros(size + wrong, dtype=np.float32))


def test_factors_as_keywords_make_one_meta_task():
    env = envs.CrippledHalfCheetah(mass_scale=(0.5, 2.0), cripple=[(0, 3)])
    assert env.split == "custom"
    assert [dict(task) for task in env.tasks] == [
        {"mass_scale": (0.5, 2.0), "damping_scale": (1.0,), "cripple": ((0, 3),)}
    ]
    own = envs.HalfCheetah(tasks=[{"mass_scale": 2.0}, {}])
    assert own.split == "custom"
    assert own.num_tasks == 2
