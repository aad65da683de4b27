"""Quadruped and Humanoid for skill discovery: the control suite's physics and initial states, coordinates, goals."""

import copy
import os
import pickle
import subprocess
import sys
import warnings

import mujoco
import numpy as np
import pytest

from rllib_sami.envs import skills
from rllib_sami.envs.vector import EnvBatch

suite = pytest.importorskip("dm_control.suite", reason="needs dm_control: pip install 'rllib-sami[dm-control]'")

BODIES = [skills.Quadruped, skills.Humanoid]
GOAL_TASKS = [skills.QuadrupedGoal, skills.HumanoidGoal]
SIZES = {skills.Quadruped: (57, 12, 0.04), skills.Humanoid: (55, 21, 0.05)}
RANGES = {skills.Quadruped: 15.0, skills.Humanoid: 10.0, skills.QuadrupedGoal: 7.5, skills.HumanoidGoal: 5.0}
OF_MODEL = [
    *("body_mass", "body_inertia", "body_pos", "geom_size", "geom_friction", "geom_solref", "geom_solimp"),
    *("dof_damping", "dof_armature", "jnt_range", "jnt_stiffness", "qpos0", "eq_data", "tendon_stiffness"),
    *("actuator_gainprm", "actuator_biasprm", "actuator_dynprm", "actuator_ctrlrange", "actuator_gear"),
]


def load(cls, seed=0):
    return suite.load(cls.body, "run", task_kwargs={"random": seed})


def actions_of(env, steps, seed=0):
    space = env.action_space
    return np.random.default_rng(seed).uniform(space.low, space.high, (steps, *space.shape)).astype(np.float32)


def unscaled(env, observation):
    """An observation in the units of the simulator."""
    return observation * np.array(env.observation_std) + np.array(env.observation_mean)


# --- Physics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", BODIES)
def test_the_model_is_the_suites(cls):
    ours, theirs = cls().model, load(cls).physics.model
    for name in OF_MODEL:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in ("timestep", "integrator", "cone", "solver", "iterations", "tolerance"):
        assert getattr(ours.opt, name) == getattr(theirs.opt, name), name
    assert not ours.nhfield
    assert "ball" not in [ours.body(index).name for index in range(ours.nbody)]


@pytest.mark.parametrize("cls", BODIES)
def test_a_step_is_two_control_steps_of_the_suite(cls):
    env, theirs = cls(normalize_observation=False), load(cls)
    observation, _ = env.reset(seed=0)
    theirs.reset()
    physics = theirs.physics
    size, num_actions, dt = SIZES[cls]
    assert observation.shape == (size,)
    assert env.dt == pytest.approx(dt) == 2 * theirs.control_timestep()
    specification = theirs.action_spec()
    assert env.action_space.shape == specification.shape == (num_actions,)
    np.testing.assert_allclose(env.action_space.low, specification.minimum)
    np.testing.assert_allclose(env.action_space.high, specification.maximum)
    with physics.reset_context():
        physics.data.qpos[:], physics.data.qvel[:], physics.data.act[:] = env.qpos, env.qvel, env.data.act
    for data in (env.data, physics.data):
        data.qacc_warmstart[:] = 0.0  # where the solver begins
    for action in actions_of(env, 200):
        x = env.qpos[0]
        observation, reward, terminated, *_ = env.step(action)
        for _ in range(2):
            theirs.step(action)
        np.testing.assert_allclose(env.qpos, physics.data.qpos, rtol=0, atol=1e-6)
        state = np.concatenate([physics.data.qpos, physics.data.qvel, physics.data.act])
        np.testing.assert_allclose(observation, state, rtol=1e-5, atol=1e-5)
        assert reward == pytest.approx((env.qpos[0] - x) / dt)
        assert not terminated
    assert np.abs(env.qvel).max() > 0.1  # it did move


@pytest.mark.parametrize("cls", BODIES)
def test_initial_states_are_those_of_the_suite(cls):
    """Moments of heights, orientations and joints over many resets; all at rest and without contacts."""
    env, theirs, states = cls(), load(cls), ([], [])
    for seed in range(300):
        env.reset(seed=seed)
        assert env.data.ncon == 0
        assert not env.qvel.any()
        assert not env.data.act.any()
        np.testing.assert_array_equal(env.qpos[:2], 0.0)
        states[0].append(env.qpos[2:].copy())
        theirs.reset()
        states[1].append(theirs.physics.data.qpos[2:].copy())
    ours, expected = np.array(states)
    np.testing.assert_allclose(np.linalg.norm(ours[:, 1:5], axis=1), 1.0)
    spread = expected.std(axis=0)
    for moment in (np.mean, np.std):
        difference = np.abs(moment(ours, axis=0) - moment(expected, axis=0))
        assert (difference < 0.35 * spread + 1e-9).all(), difference / spread  # 4 standard errors
    if cls is skills.Quadruped:
        np.testing.assert_array_equal(ours[:, 5:], 0.0)
        np.testing.assert_allclose(100 * ours[:, 0], np.round(100 * ours[:, 0]), atol=1e-6)  # steps of 1 cm
    else:
        low, high = env.model.jnt_range[1:].T
        assert ((low <= ours[:, 5:]) & (ours[:, 5:] <= high)).all()
        np.testing.assert_array_equal(ours[:, 0], 1.5)


def test_the_quadruped_begins_just_above_the_floor():
    env = skills.Quadruped()
    for seed in range(10):
        env.reset(seed=seed)
        env.qpos[2] -= 0.01
        mujoco.mj_forward(env.model, env.data)
        assert env.data.ncon > 0


@pytest.mark.parametrize("cls", BODIES)
def test_random_rollouts_of_fifty_steps_have_mean_zero_and_standard_deviation_one(cls):
    env, rows = cls(max_steps=50), []
    for episode in range(150):
        env.reset(seed=episode)
        rows += [env.step(action)[0] for action in actions_of(env, 50, episode)]
    assert min(env.observation_std) >= 0.05
    assert np.abs(np.mean(rows, axis=0)).max() < 0.3
    np.testing.assert_allclose(np.std(rows, axis=0), 1.0, atol=0.25)


# --- Coordinates and goals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*BODIES, *GOAL_TASKS])
def test_coordinates_goals_and_lengths(cls):
    env, is_task = cls(), cls in GOAL_TASKS
    assert env.max_steps == 200
    assert (env.goal_range, env.goal_radius, env.cell_size) == (RANGES[cls], 1.5 if is_task else 3.0, 1.0)
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(info["coordinates"], env.qpos[:2])
    for action in actions_of(env, 20):
        env.step(action)
    np.testing.assert_array_equal(env.coordinates, env.data.qpos[:2])
    rng = np.random.default_rng(0)
    drawn = [env.sample_goal(rng) for _ in range(50)]
    places = np.array([place for _, place in drawn])
    assert 0.8 * env.goal_range < np.abs(places).max() <= env.goal_range
    observation, place = drawn[-1]
    np.testing.assert_array_equal(env.coordinates, place)
    np.testing.assert_allclose(unscaled(env, observation)[:2], place, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(env.data.body("torso").xpos[:2], place, atol=1e-9)  # where pictures show it
    env.reset(seed=0)
    np.testing.assert_array_equal(env.coordinates, 0.0)  # nothing of the goal is left


@pytest.mark.parametrize(("cls", "plain"), zip(GOAL_TASKS, BODIES, strict=True))
def test_a_goal_changes_nothing_but_the_last_numbers(cls, plain):
    env, plain = cls(), plain()
    n = env.skill_obs_dim
    assert n == plain.skill_obs_dim == plain.observation_space.shape[0]
    assert env.observation_space.shape == (n + 2,)
    np.testing.assert_array_equal(env.reset(seed=3)[0][:n], plain.reset(seed=3)[0])
    for action in actions_of(env, 100):
        np.testing.assert_array_equal(env.step(action)[0][:n], plain.step(action)[0])


@pytest.mark.parametrize("cls", GOAL_TASKS)
@pytest.mark.parametrize(("distance", "reward"), [(0.0, 1.0), (1.4, 1.0), (-1.4, 1.0), (1.6, 0.0)])
def test_steps_near_the_goal_pay_one_and_the_first_step_nothing(cls, distance, reward):
    env = cls(max_steps=3)
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(unscaled(env, observation)[-2:], env.goal, rtol=1e-4)
    assert np.abs(env.goal).max() <= env.goal_range
    received = []
    for _ in range(3):
        env._place(env.goal + np.array([0.0, distance]))
        env.qvel[:] = 0.0
        _, paid, terminated, _, info = env.step(np.zeros(env.action_space.shape))
        received.append(paid)
        assert not terminated
    assert received == [0.0, reward, reward]
    assert info["is_success"] is (reward == 1.0)


# --- Copies, batches, pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*BODIES, *GOAL_TASKS])
def test_copies_and_batches_go_on_like_the_original(cls):
    env, batch = cls(), EnvBatch([cls(), cls()], num_threads=2)
    env.reset(seed=1)
    for index, one in enumerate(batch.envs):
        one.reset(seed=index)
    actions = actions_of(env, 40)
    rewards, terminated, truncated = np.zeros(2), *np.zeros((2, 2), bool)
    for action in actions[:20]:
        observation, reward, *_ = env.step(action)
        assert not batch.step(np.stack([-action.clip(-0.5, 0.5), action]), rewards, terminated, truncated)
        np.testing.assert_array_equal(batch.rows[1], observation)
        assert rewards[1] == reward
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for action in actions[20:]:
        observation = env.step(action)[0]
        for one in copies:
            np.testing.assert_array_equal(one.step(action)[0], observation)


@pytest.mark.parametrize("cls", BODIES)
def test_pictures_show_the_robot_on_a_floor(cls, opengl):
    env = cls(render_mode="rgb_array", width=96, height=96)
    env.reset(seed=0)
    picture = env.render().astype(int)
    assert picture.shape == (96, 96, 3)
    floor, robot = picture[-20:], picture[..., 0] - picture[..., 2]
    assert (floor[..., 2] > floor[..., 0]).mean() > 0.9  # blue
    assert np.unique(floor.reshape(-1, 3), axis=0).shape[0] > 5  # with a pattern
    assert (robot > 30).mean() > 0.005  # the robot is orange
    env.close()


def test_nothing_warns_without_a_display_and_nothing_of_the_suite_is_imported():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from rllib_sami import envs\n"
        "envs.make('Skills/Quadruped-v0').reset(seed=0)\n"
        "print('dm_control' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], env=without_display(), capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("False\n", "")


def test_rllib_may_import_dm_control_without_a_warning():
    pytest.importorskip("ray")
    finished = subprocess.run(
        [sys.executable, "-c", "import rllib_sami; import dm_control.suite"],
        env=without_display(),
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0
    assert "GLFW" not in finished.stderr


def without_display():
    return {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}


def test_making_one_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cls in (*BODIES, *GOAL_TASKS):
            cls().reset(seed=0)
