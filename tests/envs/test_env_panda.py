"""The Panda environments: starts, goals, rewards, endings, what info says, closing, vectors."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from panda_policies import carry, play, push

from rllib_sami import envs
from rllib_sami.envs.panda import OBSERVATION, compute_reward, is_success, step_skills

FAMILIES = [envs.PandaPush, envs.PandaPickAndPlace]
pytestmark = pytest.mark.panda


def test_starts_and_goals():
    pushes, lifts = (family(max_steps=1) for family in FAMILIES)
    starts = np.array([env.reset(seed=seed)[0] for env in (pushes, lifts) for seed in range(400)])
    np.testing.assert_array_equal(starts[:, OBSERVATION["cube_position"]], starts[:, OBSERVATION["achieved_goal"]])
    np.testing.assert_allclose(
        starts[:, OBSERVATION["end_effector_position"]], [[0.0384, 0.0, 0.1974]] * 800, atol=1e-3
    )
    for name in ("end_effector_velocity", "finger_width", "cube_rotation", "cube_velocity", "cube_angular_velocity"):
        assert not starts[:, OBSERVATION[name]].any()
    for part in (starts[:, OBSERVATION["achieved_goal"]], starts[:, OBSERVATION["desired_goal"]]):
        assert -0.15 <= part[:, :2].min() < -0.149
        assert 0.149 < part[:, :2].max() <= 0.15
        np.testing.assert_allclose(part[:, :2].std(axis=0), 0.3 / math.sqrt(12), rtol=0.07)
    np.testing.assert_allclose(starts[:, OBSERVATION["achieved_goal"]][:, 2], 0.02)
    goal_heights = starts[:, OBSERVATION["desired_goal"]][:, 2].reshape(2, 400)
    np.testing.assert_allclose(goal_heights[0], 0.02)
    assert 0.07 <= goal_heights[1].min() < 0.0715  # always lifted
    assert 0.1785 < goal_heights[1].max() <= 0.18
    np.testing.assert_allclose(goal_heights[1].std(), 0.11 / math.sqrt(12), rtol=0.1)


def test_starts_at_the_goal_are_as_frequent_as_geometry_predicts_or_rejected():
    # Distance of two points drawn uniformly from a square of side 1: P(d < r) = r² (π - 8r/3 + r²/2) for r <= 1.
    r = 0.05 / 0.3
    floor = r**2 * (math.pi - 8 * r / 3 + r**2 / 2)
    assert floor == pytest.approx(0.075, abs=0.001)
    starts = {}
    for reject in (True, False):
        env = envs.PandaPush(reject_solved_starts=reject, max_steps=1)
        env.reset(seed=0)
        drawn = np.array([env.reset()[0] for _ in range(3000)])
        starts[reject] = is_success(drawn[:, OBSERVATION["achieved_goal"]], drawn[:, OBSERVATION["desired_goal"]])
    assert not starts[True].any()
    assert starts[False].mean() == pytest.approx(floor, abs=0.015)  # three standard errors


def test_a_start_at_the_goal_ends_at_once_and_info_says_so():
    env = envs.PandaPush(reject_solved_starts=False, max_steps=4)
    counts = {False: 0, True: 0}
    env.reset(seed=0)
    while min(counts.values()) < 2:
        observation, _ = env.reset()
        solved = bool(is_success(observation[OBSERVATION["achieved_goal"]], observation[OBSERVATION["desired_goal"]]))
        counts[solved] += 1
        steps, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            *_, terminated, truncated, info = env.step(np.array([0.0, 0.0, 1.0, 0.0], np.float32))
            steps += 1
        assert (steps, terminated, truncated) == ((1, True, False) if solved else (4, False, True))
        assert info["is_success"] is info["solved_start"] is solved
        assert (info["skill"], info["reference_skill"]) == ("none", "push")


def test_rewards_can_be_computed_for_other_goals():
    observations, rewards, info = play(envs.PandaPush(), push, seed=0)
    sparse_observations, sparse_rewards, _ = play(envs.PandaPush(reward_type="sparse"), push, seed=0)
    np.testing.assert_array_equal(observations, sparse_observations)
    assert info["is_success"]
    achieved, desired = (observations[1:, OBSERVATION[name]] for name in ("achieved_goal", "desired_goal"))
    distance = np.sqrt(np.sum((achieved.astype(float) - desired) ** 2, axis=1))
    assert distance[-1] < 0.05 < distance[0]
    np.testing.assert_allclose(rewards, -distance, atol=1e-7)
    np.testing.assert_array_equal(sparse_rewards, np.where(distance > 0.05, -1.0, 0.0))
    np.testing.assert_allclose(compute_reward(achieved, desired), rewards, atol=1e-7)
    np.testing.assert_array_equal(compute_reward(achieved, desired, "sparse"), sparse_rewards)
    np.testing.assert_array_equal(is_success(achieved, desired), distance < 0.05)
    grid = compute_reward(np.zeros((4, 1, 3)), np.ones((5, 3)))
    np.testing.assert_allclose(grid, np.full((4, 5), -math.sqrt(3)))
    edge = np.array([0.05, 0.0, 0.0])
    assert compute_reward(edge, np.zeros(3), "sparse") == 0.0
    assert not is_success(edge, np.zeros(3))


@pytest.mark.parametrize(
    ("family", "policy", "task", "skill"),
    [
        (envs.PandaPush, push, {"cube_mass": 1.0, "table_friction": 0.5}, "push"),
        (envs.PandaPickAndPlace, carry, {"cube_mass": 1.0, "table_friction": 1.0}, "pick_and_place"),
    ],
)
def test_scripted_arms_reach_the_goal_by_their_skill(family, policy, task, skill):
    env = family(**task)
    infos = [play(env, policy, seed=seed)[2] for seed in range(6)]
    assert np.mean([info["is_success"] for info in infos]) > 0.6
    assert np.mean([info["skill"] == skill for info in infos]) > 0.6
    assert len(step_skills(env.track)) == len(env.track.position) - 1


def test_a_pushed_cube_rolls_where_friction_is_high_and_slides_where_it_is_low():
    skills = {}
    for friction in (0.1, 10.0):
        env = envs.PandaPush(table_friction=friction)
        for seed in range(8):
            play(env, push, seed=seed)
            skills.setdefault(friction, []).extend(step_skills(env.track))
    assert skills[0.1].count("roll") < 0.05 * skills[0.1].count("push")
    assert skills[10.0].count("roll") > 0.5 * skills[10.0].count("push")


def test_info_describes_an_episode_only_at_its_end():
    env = envs.PandaPush(max_steps=2)
    _, info = env.reset(seed=0)
    assert set(info) == {"task_id", "task"}
    assert set(env.step(env.action_space.high)[-1]) == {"task_id"}
    assert set(env.step(env.action_space.high)[-1]) == {
        *("task_id", "task", "is_success", "solved_start", "skill", "reference_skill")
    }


def test_closing_frees_the_client_and_a_reset_starts_a_new_one():
    bullet = pytest.importorskip("pybullet")
    env = envs.PandaPush()
    first, _, _ = play(env, push, seed=0)
    client = env.simulation._bullet.client_id
    env.reset(seed=0)
    env.close()
    env.close()
    assert not bullet.getConnectionInfo(client)["isConnected"]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4, np.float32))
    np.testing.assert_array_equal(play(env, push, seed=0)[0], first)


def test_environments_that_are_forgotten_free_their_clients():
    bullet = pytest.importorskip("pybullet")
    clients = []
    for _ in range(3):
        env = envs.PandaPush()
        clients.append(env.simulation._bullet.client_id)
        del env
    assert not any(bullet.getConnectionInfo(client)["isConnected"] for client in clients)


def test_vector_environments_equal_single_ones():
    vector = gymnasium.make_vec("SaMI/PandaPush-v0", num_envs=2, max_steps=3)
    singles = [envs.PandaPush(max_steps=3) for _ in range(2)]
    observations, _ = vector.reset(seed=3)
    for index, env in enumerate(singles):
        env.next_task_id = index
        np.testing.assert_array_equal(observations[index], env.reset(seed=3 + index)[0])
    rng = np.random.default_rng(0)
    for _ in range(4):
        actions = rng.uniform(-1, 1, (2, 4)).astype(np.float32)
        observations, rewards, _, truncated, infos = vector.step(actions)
        for index, env in enumerate(singles):
            observation, reward, _, cut, info = env.step(actions[index])
            assert (reward, cut) == (rewards[index], truncated[index])
            if cut:
                assert infos["final_info"]["skill"][index] == info["skill"] == "none"
                assert not infos["final_info"]["is_success"][index]
                observation, _ = env.reset()
            np.testing.assert_array_equal(observations[index], observation)
    vector.close()
    with pytest.raises(ValueError, match="PandaPush can be stepped in one thread only"):
        gymnasium.make_vec("SaMI/PandaPush-v0", num_envs=2, num_threads=2)
