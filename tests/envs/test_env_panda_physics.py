"""The Panda simulation: against panda-gym and hand calculations, exact repetition, copies, pictures."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from panda_policies import carry, play, push, towards

from rllib_sami import envs
from rllib_sami.envs.panda import PandaSimulation

pytestmark = pytest.mark.panda


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
    dynamics = simulation._bullet.getDynamicsInfo(simulation._cube, -1)
    assert dynamics[0] == mass
    np.testing.assert_allclose(dynamics[2], mass * 0.04**2 / 6)


@pytest.mark.parametrize("friction", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("mass", [1.0, 10.0])
def test_a_sliding_cube_is_slowed_by_the_product_of_both_frictions(friction, mass):
    simulation = PandaSimulation()
    simulation.begin(1.0, 30.0, (0.0, 0.0, 0.02))  # leaves nothing behind
    simulation.begin(mass, friction, (-0.1, 0.1, 0.02))
    bullet = simulation._bullet
    for _ in range(20):
        bullet.stepSimulation()
    bullet.resetBaseVelocity(simulation._cube, [0.5, 0.0, 0.0])
    for _ in range(25):  # 0.05 s
        bullet.stepSimulation()
    (speed, *_), _ = bullet.getBaseVelocity(simulation._cube)
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
        "import sys\n"
        "sys.modules['ray'] = None\n"  # the environments alone load much faster
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
