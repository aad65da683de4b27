"""Environments for skill discovery: Gymnasium's bodies that observe their place, what evaluation reads, and tasks."""

import copy
import pickle

import gymnasium
import mujoco
import numpy as np
import pytest
from click.testing import CliRunner

from rllib_sami import envs
from rllib_sami.envs import skills
from rllib_sami.envs.mujoco.base import ASSETS

ANT = {"include_cfrc_ext_in_observation": False, "terminate_when_unhealthy": False, "contact_cost_weight": 0.0}
BODIES = [(skills.HalfCheetah, "HalfCheetah-v5", {}), (skills.Ant, "Ant-v5", ANT)]
MUJOCO = [skills.HalfCheetah, skills.Ant]
TASKS = [skills.AntMultiGoal, skills.HalfCheetahGoal, skills.HalfCheetahHurdle]
GOAL_TASKS = [skills.AntMultiGoal, skills.HalfCheetahGoal]
HURDLES = [-15, -13, -9, -5, -1, 3, 7, 11, 15, 19, 23, 27]


def actions_of(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, env.action_space.shape[0])).astype(np.float32)


def unscaled(env, observation):
    """An observation in the units of the simulator."""
    return observation * np.array(env.observation_std) + np.array(env.observation_mean)


# --- Bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "gym_id", "arguments"), BODIES)
def test_trajectories_are_those_of_gymnasium(cls, gym_id, arguments):
    theirs = gymnasium.make(gym_id, exclude_current_positions_from_observation=False, **arguments).unwrapped
    ours = cls(normalize_observation=False)
    observation, _ = ours.reset(seed=0)
    theirs.reset(seed=1)
    theirs.set_state(ours.qpos.copy(), ours.qvel.copy())
    assert ours.dt == theirs.dt
    assert ours.action_space == theirs.action_space
    assert ours.observation_space.shape == theirs.observation_space.shape
    np.testing.assert_allclose(observation, theirs._get_obs(), rtol=1e-6, atol=1e-6)
    way = 0.0
    for action in actions_of(ours, 200):
        before = ours.qpos[0]
        observation, reward, *_ = ours.step(action)
        expected, their_reward, terminated, *_ = theirs.step(action)
        assert not terminated
        np.testing.assert_allclose(observation, expected, rtol=1e-6, atol=1e-6)
        velocity, cost = (ours.qpos[0] - before) / 0.05, np.square(action).sum()
        way += abs(velocity) * 0.05
        if cls is skills.HalfCheetah:
            assert reward == pytest.approx(their_reward, abs=1e-6)
            assert reward == pytest.approx(velocity - 0.1 * cost, abs=1e-6)
        else:  # theirs takes the velocity from the torso's frame, which lags behind
            assert reward == pytest.approx(velocity - 0.5 * cost + 1.0, abs=1e-6)
    assert way > 1.0  # it did move


@pytest.mark.parametrize("cls", [*MUJOCO, *TASKS])
def test_observations_are_standardised_with_the_given_numbers(cls):
    scaled, raw = cls(), cls(normalize_observation=False)
    for one in (scaled, raw):
        one.reset(seed=0)
    for action in actions_of(raw, 60):
        np.testing.assert_allclose(unscaled(raw, scaled.step(action)[0]), raw.step(action)[0], rtol=1e-5, atol=1e-5)
    assert len(raw.observation_mean) == len(raw.observation_std) == raw.observation_space.shape[0]


@pytest.mark.parametrize("cls", MUJOCO)
def test_random_rollouts_of_fifty_steps_have_mean_zero_and_standard_deviation_one(cls):
    env, rows = cls(max_steps=50), []
    for episode in range(150):
        env.reset(seed=episode)
        rows += [env.step(action)[0] for action in actions_of(env, 50, episode)]
    assert np.abs(np.mean(rows, axis=0)).max() < 0.3
    np.testing.assert_allclose(np.std(rows, axis=0), 1.0, atol=0.2)


@pytest.mark.parametrize("cls", MUJOCO)
def test_reset_noise_is_gymnasiums(cls):
    env = cls(normalize_observation=False)
    states = []
    for seed in range(400):
        env.reset(seed=seed)
        states.append(np.concatenate([env.qpos - env.model.qpos0, env.qvel]))
    free = np.ones(env.model.nq + env.model.nv, bool)
    free[3:7] = cls is not skills.Ant  # the quaternion is normalised after the noise
    states, is_position = np.array(states)[:, free], np.arange(env.model.nq + env.model.nv)[free] < env.model.nq
    positions, velocities = states[:, is_position], states[:, ~is_position]
    assert 0.095 < np.abs(positions).max() <= 0.1
    np.testing.assert_allclose(positions.std(axis=0), 0.1 / np.sqrt(3), rtol=0.15)  # uniform
    np.testing.assert_allclose(velocities.std(axis=0), 0.1, rtol=0.15)
    assert np.abs(velocities).max() > 0.25  # normal
    if cls is skills.Ant:
        assert np.linalg.norm(env.qpos[3:7]) == pytest.approx(1.0)


@pytest.mark.parametrize(("cls", "size"), [(skills.HalfCheetah, 1), (skills.Ant, 2), (skills.PosturePoint, 2)])
def test_coordinates_are_where_the_body_is(cls, size):
    env = cls(max_steps=30)
    _, info = env.reset(seed=0)
    assert info["coordinates"].shape == (size,)
    start = info["coordinates"].copy()
    for action in actions_of(env, 30):
        *_, truncated, info = env.step(action)
        place = env._state[:size] if cls is skills.PosturePoint else env.data.qpos[:size]
        np.testing.assert_array_equal(env.coordinates, place)
        assert ("coordinates" in info) == truncated
    np.testing.assert_array_equal(info["coordinates"], env.coordinates)
    assert (info["coordinates"] != start).all()
    kept = info["coordinates"].copy()
    env.reset()
    np.testing.assert_array_equal(info["coordinates"], kept)  # a copy, not the simulator's memory


@pytest.mark.parametrize(
    ("cls", "goal_range", "cell_size", "steps"),
    [
        (skills.HalfCheetah, 100.0, 1.0, 200),
        (skills.Ant, 50.0, 1.0, 200),
        (skills.PosturePoint, 7.5, 0.5, 50),
        (skills.AntMultiGoal, 7.5, 1.0, 200),
        (skills.HalfCheetahGoal, 100.0, 1.0, 200),
        (skills.HalfCheetahHurdle, 100.0, 1.0, 200),
    ],
)
def test_sampled_goals_are_initial_states_at_other_places(cls, goal_range, cell_size, steps):
    env = cls()
    assert (env.goal_range, env.goal_radius, env.cell_size, env.max_steps) == (goal_range, 3.0, cell_size, steps)
    assert gymnasium.make(f"Skills/{cls.__name__}-v0").spec.max_episode_steps == steps
    k = env.coordinates.size
    rng = np.random.default_rng(0)
    drawn = [env.sample_goal(rng) for _ in range(200)]
    goals = np.array([goal for _, goal in drawn])
    assert goals.shape == (200, k)
    assert 0.9 * goal_range < goals.max() <= goal_range
    assert 0.9 * goal_range < -goals.min() <= goal_range
    rng = np.random.default_rng(0)
    for observation, goal in drawn[:20]:
        again, same = env.sample_goal(rng)
        np.testing.assert_array_equal(again, observation)
        np.testing.assert_array_equal(same, goal)
        np.testing.assert_array_equal(env.coordinates, goal)
        if cls is skills.PosturePoint:
            expected = np.concatenate([goal / 5.0, np.zeros(6)])
            np.testing.assert_allclose(observation, expected, rtol=1e-6)
            continue
        state = unscaled(env, observation)[: env.skill_obs_dim]
        np.testing.assert_allclose(state[:k], goal, rtol=1e-5, atol=1e-5)
        initial = np.concatenate([env.model.qpos0, np.zeros(env.model.nv)])[k:]
        assert 0.0 < np.abs(state[k:] - initial).max() < 0.6  # the noise of a reset
        np.testing.assert_allclose(env.data.body("torso").xpos[:k], goal, atol=0.01)  # where pictures show it
    assert np.std([observation[-1] for observation, _ in drawn]) > 0 or cls is skills.PosturePoint
    env.reset(seed=0)
    assert np.abs(env.coordinates).max() <= 0.1  # nothing of the goal is left


def test_posture_point_by_hand():
    env = skills.PosturePoint()
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, np.zeros(8))
    first = np.array([1.0, -0.5, 1.0, -1.0, 0.5, 0.0, 0.1, -0.1])
    observation, reward, terminated, truncated, _ = env.step(first)
    # 0.2 times the first two, 0.3 times the others; x and y are observed as a fifth, postures twofold.
    np.testing.assert_allclose(observation, [0.04, -0.02, 0.6, -0.6, 0.3, 0.0, 0.06, -0.06], rtol=1e-6)
    assert (reward, terminated, truncated) == (0.0, False, False)
    for _ in range(3):
        observation, *_ = env.step(first)
    np.testing.assert_allclose(env.coordinates, [0.8, -0.4])
    # Postures end at ±1, after four steps of 0.3; places have no end.
    np.testing.assert_allclose(observation, [0.16, -0.08, 2.0, -2.0, 1.2, 0.0, 0.24, -0.24], rtol=1e-6)
    env.step(np.full(8, -5.0))  # beyond the range: as -1
    np.testing.assert_allclose(env.coordinates, [0.6, -0.6])
    np.testing.assert_allclose(env._state[2:], [0.7, -1.0, 0.3, -0.3, -0.18, -0.42])
    env.reset()
    for _ in range(50):
        *_, truncated, _ = env.step(np.ones(8))
    assert truncated
    np.testing.assert_allclose(env.coordinates, [10.0, 10.0])


def test_actions_in_single_precision_are_as_good():
    single, double = skills.PosturePoint(), skills.PosturePoint()
    single.reset(seed=0)
    double.reset(seed=0)
    for action in actions_of(single, 50):
        np.testing.assert_array_equal(single.step(action)[0], double.step(action.astype(np.float64))[0])


# --- Tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*MUJOCO, skills.PosturePoint, *TASKS])
def test_skills_read_what_the_body_observes_without_a_task(cls):
    env = cls()
    width = env.observation_space.shape[0]
    sizes = {skills.AntMultiGoal: 29, skills.HalfCheetahGoal: 18, skills.HalfCheetahHurdle: 18}
    assert env.skill_obs_dim == sizes.get(cls, width)
    made = gymnasium.make(f"Skills/{cls.__name__}-v0")
    assert made.get_wrapper_attr("skill_obs_dim") == env.skill_obs_dim


@pytest.mark.parametrize(
    ("cls", "plain"), [(skills.AntMultiGoal, skills.Ant), (skills.HalfCheetahGoal, skills.HalfCheetah)]
)
def test_a_goal_changes_nothing_but_the_last_numbers(cls, plain):
    env, plain = cls(), plain()
    n = env.skill_obs_dim
    assert env.observation_space.shape == (n + env.coordinates.size,)
    np.testing.assert_array_equal(env.reset(seed=3)[0][:n], plain.reset(seed=3)[0])
    for action in actions_of(env, 200):
        np.testing.assert_array_equal(env.step(action)[0][:n], plain.step(action)[0])


@pytest.mark.parametrize("cls", GOAL_TASKS)
def test_the_goal_is_observed_on_the_scale_of_the_place(cls):
    env = cls()
    k = env.coordinates.size
    observation, _ = env.reset(seed=0)
    for step in range(120):
        np.testing.assert_allclose(unscaled(env, observation)[-k:], env.goal, rtol=1e-5)
        if step % 50 == 20:  # at the goal, both are told with the same numbers
            env._place(env.goal)
            at_goal = env._observation()
            np.testing.assert_allclose(at_goal[:k], at_goal[-k:], rtol=1e-5)
        observation, *_ = env.step(env.action_space.sample())


@pytest.mark.parametrize("cls", GOAL_TASKS)
@pytest.mark.parametrize(("distance", "reward"), [(0.0, 1.0), (2.97, 1.0), (-2.97, 1.0), (3.03, 0.0), (-20.0, 0.0)])
def test_steps_near_the_goal_pay_one_and_the_first_step_nothing(cls, distance, reward):
    env = cls()
    env.reset(seed=0)
    for number in range(3):
        away = np.zeros(env.coordinates.size)
        away[-1] = distance  # along y, or the only axis
        env._place(env.goal + away)
        env.qvel[:] = 0.0
        _, received, terminated, _, _ = env.step(np.zeros(env.action_space.shape))
        assert abs(np.linalg.norm(env.coordinates - env.goal) - abs(distance)) < 0.03
        assert received == (0.0 if number == 0 else reward)
        assert type(received) is float
        assert not terminated


def test_distance_is_that_in_the_plane():
    env = skills.AntMultiGoal()
    env.reset(seed=0)
    env.step(np.zeros(8))
    env._place(env.goal + np.array([2.5, 2.5]))  # less than 3 along each axis
    assert env.step(np.zeros(8))[1] == 0.0


def goals_of(env, seed=None):
    """The goals of an episode, and the steps after which they change."""
    env.reset(seed=seed)
    goals, changes = [env.goal.copy()], []
    for step in range(1, 200):
        env.step(np.zeros(env.action_space.shape))
        if not np.array_equal(env.goal, goals[-1]):
            goals.append(env.goal.copy())
            changes.append(step)
    return np.array(goals), changes


def test_four_goals_follow_each_other_every_fifty_steps():
    env = skills.AntMultiGoal()
    episodes = []
    for seed in range(25):
        goals, changes = goals_of(env, seed)
        assert changes == [50, 100, 150]
        episodes.append(goals)
    ways = np.diff(np.concatenate([np.zeros((25, 1, 2)), episodes], axis=1), axis=1)
    assert np.abs(ways).max() <= 7.5
    assert np.abs(ways).max(axis=(0, 2)).min() > 6.0
    assert np.abs(ways.mean(axis=0)).max() < 3.5  # either direction
    assert len(np.unique(np.reshape(episodes, (-1, 2)), axis=0)) == 100  # each is a new draw
    np.testing.assert_array_equal(goals_of(env, 3)[0], episodes[3])
    np.testing.assert_array_equal(goals_of(skills.AntMultiGoal(), 3)[0], episodes[3])
    assert (goals_of(env)[0] != episodes[3]).all()


def test_reference_goals_are_drawn_once_but_for_the_first():
    env = skills.AntMultiGoal(reference_goals=True)
    first, second = goals_of(env, 0)[0], goals_of(env, 1)[0]
    assert (first[0] != second[0]).all()
    np.testing.assert_array_equal(first[1:], second[1:])
    assert np.abs(np.diff(first[1:], axis=0)).max() <= 7.5
    np.testing.assert_array_equal(goals_of(env, 0)[0], first)
    np.testing.assert_array_equal(goals_of(skills.AntMultiGoal(reference_goals=True), 0)[0], first)
    other = goals_of(skills.AntMultiGoal(reference_goals=True, goals_seed=1), 0)[0]
    np.testing.assert_array_equal(other[0], first[0])
    assert (other[1:] != first[1:]).all()


def test_the_goal_of_half_cheetah_stays_and_is_drawn_from_the_whole_range():
    env = skills.HalfCheetahGoal()
    drawn = []
    for seed in range(60):
        env.reset(seed=seed)
        drawn.append(env.goal.item())
    assert 80.0 < max(drawn) <= 100.0
    assert -100.0 <= min(drawn) < -80.0
    goals, changes = goals_of(env, 7)
    assert changes == []
    assert goals[0].item() == drawn[7]


@pytest.mark.parametrize(("cls", "missed", "reached"), [
    (skills.AntMultiGoal, None, 4),
    (skills.AntMultiGoal, 2, 3),
    (skills.HalfCheetahGoal, None, 1),
    (skills.HalfCheetahGoal, 0, 0),
])  # fmt: skip
def test_success_is_to_have_reached_every_goal(cls, missed, reached):
    env = cls()
    _, info = env.reset(seed=0)
    assert not {"is_success", "goals_reached"} & set(info)
    total = 0.0
    for step in range(200):
        here = missed is not None and (step // 50 == missed or env.num_goals == 1)
        env._place(env.goal + 20.0 * here)
        _, reward, _, truncated, info = env.step(np.zeros(env.action_space.shape))
        total += reward
    assert truncated
    assert info["goals_reached"] == reached
    assert info["is_success"] is (missed is None)
    assert total == (199.0 if missed is None else 149.0 if reached else 0.0)
    env.reset()
    env._steps_left = 1
    assert env.step(np.zeros(env.action_space.shape))[-1]["goals_reached"] == 0  # the last episode's do not count


def test_goals_outlive_pickling():
    env = skills.AntMultiGoal()
    env.reset(seed=0)
    for action in actions_of(env, 49):
        env.step(action)
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    expected = [env.step(action)[0] for action in actions_of(env, 60, 1)]
    for one in copies:
        np.testing.assert_array_equal([one.step(action)[0] for action in actions_of(env, 60, 1)], expected)
    assert (expected[0][-2:] != expected[55][-2:]).all()


def test_pictures_show_where_the_goal_is(opengl):
    env = skills.AntMultiGoal(render_mode="rgb_array", width=120, height=120)
    env.reset(seed=0)
    env._set_goal(np.array([0.0, 4.0]))
    near = env.render().astype(float)
    env._set_goal(np.array([0.0, 400.0]))
    away = env.render().astype(float)
    greener = (near[..., 1] - near[..., 0]) - (away[..., 1] - away[..., 0])
    assert (greener > 30).mean() > 0.01
    env.close()


# --- Hurdles --------------------------------------------------------------------------------------------------------


def hurdle_model():
    """HalfCheetah's model with the boxes written into its XML."""
    boxes = [f'<geom type="box" conaffinity="1" pos="{x} 0 .2" size=".05 1 .03"/>' for x in HURDLES]
    text = (ASSETS / "half_cheetah.xml").read_text()
    return mujoco.MjModel.from_xml_string(text.replace("</worldbody>", "".join(boxes) + "</worldbody>"))


def put_foot(env, x):
    """Moves the robot along x until its back foot's joint is there."""
    mujoco.mj_kinematics(env.model, env.data)
    env._place(env.qpos[0] + x - env.data.body("bfoot").xpos[0])


def test_running_into_hurdles_is_as_with_the_boxes_in_the_xml():
    env = skills.HalfCheetahHurdle(normalize_observation=False)
    model = hurdle_model()
    data = mujoco.MjData(model)
    env.reset(seed=0)
    env._place([2.0])
    env.qvel[0] = 4.0
    data.qpos[:], data.qvel[:] = env.qpos, env.qvel
    mujoco.mj_forward(model, data)
    touched = False
    for action in actions_of(env, 100):
        data.ctrl[:] = action
        mujoco.mj_step(model, data, 5)
        observation, *_ = env.step(action)
        np.testing.assert_allclose(observation[:18], np.concatenate([data.qpos, data.qvel]), rtol=1e-6, atol=1e-6)
        boxes = model.geom_type[data.contact.geom.ravel()] == mujoco.mjtGeom.mjGEOM_BOX
        touched |= bool(boxes.any())
    assert touched
    np.testing.assert_array_equal(env.model.body_mass, skills.HalfCheetah().model.body_mass)
    assert env.reset(seed=3)[0].shape == (20,)


def test_without_touching_a_hurdle_the_body_moves_as_without_them():
    env, plain = skills.HalfCheetahHurdle(), skills.HalfCheetah()
    np.testing.assert_array_equal(env.reset(seed=3)[0][:18], plain.reset(seed=3)[0])
    for action in 0.1 * actions_of(env, 30):
        np.testing.assert_array_equal(env.step(action)[0][:18], plain.step(action)[0])


def test_the_next_hurdle_and_its_distance_from_the_back_foot_are_observed():
    env = skills.HalfCheetahHurdle(normalize_observation=False)
    env.reset(seed=0)
    for foot, hurdle in [(-20.0, -15), (-14.0, -13), (-0.9, 3), (2.9, 3), (3.1, 7), (26.0, 27), (28.0, 27)]:
        put_foot(env, foot)
        np.testing.assert_allclose(env._observation()[-2:], [hurdle, hurdle - foot], atol=1e-5)
    env.reset(seed=0)
    for action in actions_of(env, 50):
        observation, *_ = env.step(action)
        data = mujoco.MjData(env.model)
        data.qpos[:] = env.qpos
        mujoco.mj_kinematics(env.model, data)
        foot = data.body("bfoot").xpos[0]
        following = min(x for x in HURDLES if x >= foot)
        np.testing.assert_allclose(observation[-2:], [following, following - foot], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "reward"),
    [(2.8, 3.2, 1.0), (3.2, 2.8, -1.0), (2.0, 2.5, 0.0), (-1.3, -0.7, 0.0), (-0.5, 27.5, 7.0), (-20.0, 11.3, 3.0)],
)
def test_the_reward_counts_hurdles_ahead_that_the_back_foot_has_passed(before, after, reward):
    env = skills.HalfCheetahHurdle()
    env.reset(seed=0)
    nothing = np.zeros(6)
    for foot in (before, after):
        env.qpos[1] = 3.0  # high above them
        env.qvel[:] = 0.0
        put_foot(env, foot)
        _, received, *_ = env.step(nothing)
    assert received == reward
    assert type(received) is float


def test_success_is_to_have_passed_all_hurdles_ahead():
    for x, success in ((26.5, False), (27.5, True)):
        env = skills.HalfCheetahHurdle(max_steps=3)
        _, info = env.reset(seed=0)
        assert "is_success" not in info
        total = 0.0
        for _ in range(3):
            env.qpos[1], env.qvel[:] = 3.0, 0.0
            put_foot(env, x)
            _, reward, _, _, info = env.step(np.zeros(6))
            total += reward
        assert info["is_success"] is success
        assert total == (7.0 if success else 6.0)


# --- The command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "goals"),
    [(["Skills/Ant-v0"], "±50"), (["PosturePoint"], "±7.5"), (["Kitchen"], "see its page"), (["Humanoid"], "±10")],
    ids=["Ant", "PosturePoint", "any", "another"],  # it builds none of them
)
def test_the_command_tells_the_numbers_of_evaluation(words, goals):
    from rllib_sami_cli.envs import envs as command

    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Skills/{words[0].removeprefix('Skills/').removesuffix('-v0')}-v0: ")
    assert goals in result.output
    assert "task_id" not in result.output


def test_the_command_lists_them():
    from rllib_sami_cli.envs import envs as command

    listed = [line.split()[0] for line in CliRunner().invoke(command, []).output.splitlines() if "Skills/" in line]
    assert listed == [env_id for env_id in envs.ENVIRONMENTS if env_id.startswith("Skills/")]
