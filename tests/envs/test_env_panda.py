"""The Panda environments: against panda-gym and hand calculations, exact repetition, goals, endings."""

import copy
import itertools
import math
import pickle
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from panda_policies import carry, push, towards

from rllib_sami import envs
from rllib_sami.envs.panda import OBSERVATION, PandaSimulation, compute_reward, is_success, step_skills

FAMILIES = [envs.PandaPush, envs.PandaPickAndPlace]


def play(env, policy=None, steps=None, **reset):
    """One episode: observations ``[T + 1, 25]``, rewards ``[T]``, the last info. Random actions without a policy."""
    observation, info = env.reset(**reset)
    rng = np.random.default_rng(0)
    actions = policy(env, env.goal) if policy else itertools.repeat(None)
    observations, rewards = [observation], []
    for action in itertools.islice(actions, steps):
        action = rng.uniform(-1, 1, 4).astype(np.float32) if action is None else action
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.array(observations), np.array(rewards), info


# Physics.


def panda_gym_twin(env):
    """panda-gym's own environment with a free gripper, in the state, task and goal of ``env``."""
    core = pytest.importorskip("panda_gym.envs.core")
    from panda_gym.envs.robots.panda import Panda
    from panda_gym.envs.tasks.push import Push
    from panda_gym.pybullet import PyBullet

    sim = PyBullet(render_mode="rgb_array", renderer="Tiny")
    twin = core.RobotTaskEnv(
        Panda(sim, block_gripper=False, base_position=np.array([-0.6, 0.0, 0.0])), Push(sim, reward_type="dense")
    )
    sim.set_lateral_friction("table", -1, env.task["table_friction"])
    sim.set_spinning_friction("table", -1, 0.001)
    sim.physics_client.changeDynamics(sim._bodies_idx["object"], -1, mass=env.task["cube_mass"])
    twin.reset(seed=0)
    sim.set_base_pose("object", np.array(env.simulation.cube), np.array([0.0, 0.0, 0.0, 1.0]))
    twin.task.goal = np.array(env.goal)
    return twin


@pytest.mark.parametrize(
    ("family", "policy", "mass", "friction", "skill"),
    [
        (envs.PandaPush, push, 1.0, 0.5, "push"),
        (envs.PandaPush, push, 5.0, 0.1, "push"),
        (envs.PandaPush, push, 1.0, 10.0, "roll"),
        (envs.PandaPush, carry, 30.0, 30.0, "none"),
        (envs.PandaPickAndPlace, carry, 1.0, 0.5, "pick_and_place"),
        (envs.PandaPickAndPlace, carry, 5.0, 0.1, "pick_and_place"),
    ],
)
def test_moves_as_panda_gym_does(family, policy, mass, friction, skill):
    env = family(cube_mass=mass, table_friction=friction)
    for warm_up in range(3):  # what came before does not matter
        play(env, seed=warm_up)
    observation, _ = env.reset(seed=3)
    twin = panda_gym_twin(env)

    def flat(parts):
        return np.concatenate([parts["observation"], parts["achieved_goal"], parts["desired_goal"]])

    np.testing.assert_allclose(observation, flat(twin._get_obs()), atol=1e-6)
    for action in policy(env, env.goal):
        observation, reward, terminated, truncated, info = env.step(action)
        parts, twin_reward, twin_terminated, *_ = twin.step(action)
        np.testing.assert_allclose(observation, flat(parts), atol=1e-6)
        assert reward == pytest.approx(twin_reward, abs=1e-6)
        assert terminated == twin_terminated
        if terminated or truncated:
            break
    assert info["skill"] == skill
    assert info["is_success"] is terminated
    twin.close()


def test_actions_beyond_the_range_are_clipped():
    ends = []
    for factor in (1.0, 7.0):
        env = envs.PandaPush(cube_mass=1.0)
        env.reset(seed=0)
        ends.append([env.step(factor * np.array([1, -1, -1, 1], np.float32))[0] for _ in range(5)])
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("mass", [0.5, 1.0, 30.0])
def test_mass_and_inertia_of_a_cube(mass):
    env = envs.PandaPush(tasks=[{"cube_mass": 7.0}, {"cube_mass": mass}])
    for _ in range(3):
        env.reset()
    env.reset(options={"task_id": 1})
    simulation = env.simulation
    dynamics = simulation._bullet.getDynamicsInfo(simulation._cube, -1, physicsClientId=simulation._client)
    assert dynamics[0] == mass
    np.testing.assert_allclose(dynamics[2], mass * 0.04**2 / 6)


@pytest.mark.parametrize("friction", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("mass", [1.0, 10.0])
def test_a_sliding_cube_is_slowed_by_the_product_of_both_frictions(friction, mass):
    simulation = PandaSimulation()
    simulation.begin(1.0, 30.0, (0.0, 0.0, 0.02))  # leaves nothing behind
    simulation.begin(mass, friction, (-0.1, 0.1, 0.02))
    bullet, client = simulation._bullet, simulation._client
    for _ in range(20):
        bullet.stepSimulation(client)
    bullet.resetBaseVelocity(simulation._cube, [0.5, 0.0, 0.0], physicsClientId=client)
    for _ in range(25):  # 0.05 s
        bullet.stepSimulation(client)
    (speed, *_), _ = bullet.getBaseVelocity(simulation._cube, physicsClientId=client)
    damping = 0.04 * 0.5 * (1.0 + 0.5)  # Bullet's own, of every body: 0.04 v (1 + v)
    assert (0.5 - speed) / 0.05 == pytest.approx(0.5 * friction * 9.81 + damping, rel=0.02)


def test_neutral_values_are_panda_gyms():
    pytest.importorskip("panda_gym")
    from panda_gym.envs import PandaPushEnv

    env = PandaPushEnv(renderer="Tiny")
    sim = env.unwrapped.sim
    mass, friction = (sim.physics_client.getDynamicsInfo(sim._bodies_idx[name], -1) for name in ("object", "table"))
    neutral = {factor.name: factor.neutral for factor in envs.PandaPush.factors}
    assert neutral == {"cube_mass": mass[0], "table_friction": friction[1]}
    env.close()


# Repetition.


def episodes(env, count=6, start=0):
    """Episodes that touch and move the cube, and press the fingers on the table."""
    return [
        play(env, (push, carry)[seed % 2], seed=seed, options={"task_id": seed % env.num_tasks})[0]
        for seed in range(start, start + count)
    ]


def test_the_same_seed_gives_the_same_episode_after_many_others():
    fresh = [episodes(envs.PandaPush("grid"), 1, seed)[0] for seed in range(6)]
    env = envs.PandaPush("grid")
    for start in (100, 200):
        episodes(env, 12, start)
        for _ in range(2):  # open fingers pressed on the table
            play(env, lambda env, goal: itertools.repeat(np.array([0.3, 0.1, -1.0, 1.0], np.float32)))
        for one, other in zip(fresh, episodes(env), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_same_seed_gives_the_same_episode_in_another_process_which_prints_nothing(fresh_python):
    env = envs.PandaPickAndPlace()
    observations, rewards, _ = play(env, seed=5)
    printed = fresh_python(
        "import numpy as np\n"
        "from rllib_sami import envs\n"
        "env = envs.PandaPickAndPlace()\n"
        "env.reset(seed=5)\n"
        "rng = np.random.default_rng(0)\n"
        "for _ in range(50):\n"
        "    observation, reward, *_ = env.step(rng.uniform(-1, 1, 4).astype(np.float32))\n"
        "env.close()\n"
        "print(observation.tobytes().hex(), reward)\n"
    )
    assert printed == f"{observations[-1].tobytes().hex()} {rewards[-1]}\n"


def test_environments_in_one_process_do_not_touch_each_other():
    alone = [play(envs.PandaPush(table_friction=friction), push, seed=3)[0] for friction in (0.1, 10.0)]
    pair = [envs.PandaPush(table_friction=friction) for friction in (0.1, 10.0)]
    together = [[env.reset(seed=3)[0]] for env in pair]
    policies = [push(env, env.goal) for env in pair]
    for step in range(1, max(map(len, alone))):
        for index, env in enumerate(pair):
            if step < len(alone[index]):
                together[index].append(env.step(next(policies[index]))[0])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_copy_in_the_middle_of_a_grip_goes_on_like_the_original():
    env = envs.PandaPickAndPlace(cube_mass=5.0)
    *_, info = play(env, carry, steps=20, seed=3)
    assert env.track.carried[-1]
    assert "skill" not in info
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    ends = []
    for each in (env, *copies):
        rest = []
        terminated = False
        while not terminated:
            slowly = towards(each, each.goal, -1.0) * np.array([0.3, 0.3, 0.3, 1.0], np.float32)
            observation, _, terminated, truncated, info = each.step(slowly)
            assert not truncated
            rest.append(observation)
        ends.append((np.array(rest), info))
    for rest, info in ends[1:]:
        np.testing.assert_array_equal(rest, ends[0][0])
        assert info == ends[0][1]
    assert pickle.loads(pickle.dumps(envs.PandaPush())).reset(seed=1)[0].shape == (25,)  # before the first reset


def test_pictures_do_not_change_the_physics():
    plain = play(envs.PandaPickAndPlace(), carry, seed=2)[0]
    env = envs.PandaPickAndPlace(render_mode="rgb_array", width=160, height=120)
    seen = []
    env.reset(seed=2)
    for observation, action in zip(plain[1:], carry(env, env.goal), strict=False):
        np.testing.assert_array_equal(env.step(action)[0], observation)
        seen.append(env.render()) if len(seen) < 6 else None
    assert seen[0].shape == (120, 160, 3)
    cube, goal = ((seen[0] > 100) == colour for colour in ((False, True, False), (True, False, False)))
    assert cube.all(axis=2).sum() > 10
    assert goal.all(axis=2).sum() > 1
    assert (seen[0] != seen[-1]).any()


# Starts, goals, rewards, endings.


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


def test_starts_at_the_goal_are_as_frequent_as_the_geometry_says_or_rejected():
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


def test_a_start_at_the_goal_ends_at_once_and_says_so():
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


def test_info_speaks_of_the_episode_at_its_end_only():
    env = envs.PandaPush(max_steps=2)
    _, info = env.reset(seed=0)
    assert set(info) == {"task_id", "task"}
    assert set(env.step(env.action_space.high)[-1]) == {"task_id"}
    assert set(env.step(env.action_space.high)[-1]) == {
        *("task_id", "task", "is_success", "solved_start", "skill", "reference_skill")
    }


# Tasks.


def test_splits_are_the_cells_of_the_grid():
    train = [(0.1, 1), (0.1, 5), (0.1, 10), (1, 1), (5, 1), (10, 1)]
    moderate = [(1, 5), (1, 10), (5, 5), (5, 10), (10, 5), (10, 10)]
    extreme = [(0.1, 30), (1, 30), (5, 30), (10, 30), (30, 1), (30, 5), (30, 10), (30, 30)]
    for family in FAMILIES:
        assert set(family.splits) == {"train", "moderate", "extreme", "grid"}
        cells = {
            split: [(cell["table_friction"], cell["cube_mass"]) for cell in tasks]
            for split, tasks in family.splits.items()
        }
        assert (cells["train"], cells["moderate"], cells["extreme"]) == (train, moderate, extreme)
        assert sorted(cells["grid"]) == sorted(train + moderate + extreme)
        assert len(set(cells["grid"])) == 20
        assert family(split="extreme").num_tasks == 8


def test_the_oracles_features_are_of_order_one_and_tell_frictions_apart():
    features = np.array([env_task_features(cell) for cell in envs.PandaPush.splits["grid"]])
    train = np.array([env_task_features(cell) for cell in envs.PandaPush.splits["train"]])
    assert np.abs(train).max() <= 1.0
    assert np.abs(features).max() < 1.6
    assert env_task_features({}) == [0.0, 0.0]
    assert env_task_features({"table_friction": 0.0})[1] == pytest.approx(-math.log(1.5) / 2)
    assert env_task_features({"cube_mass": 10.0})[0] == pytest.approx(1.0)
    assert np.diff(np.unique(features[:, 1])).min() > 0.2


def env_task_features(cell):
    from rllib_sami.envs.tasks import parse_task

    return parse_task(envs.PandaPush.factors, cell).features()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"cube_mass": 0}, ["cube_mass=0", "> 0", "kg"]),
        ({"table_friction": -0.1}, ["table_friction=-0.1", ">= 0"]),
        ({"table_friction": []}, ["table_friction=[]", "empty"]),
        ({"cube_friction": 1.0}, ["cube_friction=1.0", "Did you mean 'table_friction'?"]),
        ({"split": "super_extreme"}, ["split='super_extreme'", "train, moderate, extreme, grid"]),
        ({"reward_type": "spares"}, ["reward_type='spares'", "Did you mean 'sparse'?"]),
        ({"render_mode": "human"}, ["render_mode='human'", "rgb_array"]),
    ],
)
def test_bad_arguments_are_named_before_anything_is_loaded(kwargs, words, monkeypatch):
    monkeypatch.setattr("rllib_sami.envs.panda.simulation.load_pybullet", lambda: pytest.fail("loaded PyBullet first"))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        envs.PandaPush(**kwargs)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_bad_reward_type_is_named():
    with pytest.raises(ValueError, match="reward_type='none'"):
        compute_reward(np.zeros(3), np.zeros(3), "none")


# Around it.


def test_without_pybullet_everything_but_building_works(fresh_python):
    printed = fresh_python(
        "import sys\n"
        "import gymnasium\n"
        "from rllib_sami import envs\n"
        "print('pybullet' in sys.modules)\n"
        "sys.modules['pybullet'] = None\n"
        "print('SaMI/PandaPush-v0' in envs.list_environments(), len(envs.PandaPush.splits['grid']))\n"
        "for build in (envs.PandaPush, lambda: gymnasium.make('SaMI/PandaPickAndPlace-v0')):\n"
        "    try:\n"
        "        build()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    line = "The Panda environments need PyBullet: pip install 'rllib-sami[panda]'"
    assert printed.splitlines() == ["False", "True 20", line, line]


def test_closing_frees_the_client_and_a_reset_begins_anew():
    env = envs.PandaPush()
    first, _, _ = play(env, push, seed=0)
    bullet, client = env.simulation._bullet, env.simulation._client
    env.reset(seed=0)
    env.close()
    env.close()
    assert not bullet.getConnectionInfo(client)["isConnected"]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4, np.float32))
    np.testing.assert_array_equal(play(env, push, seed=0)[0], first)


def test_environments_that_are_forgotten_free_their_clients():
    bullet = sys.modules["pybullet"]
    clients = []
    for _ in range(3):
        env = envs.PandaPush()
        clients.append(env.simulation._client)
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
