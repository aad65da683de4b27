"""The scene: OGBench's physics, what is observed, sub-tasks in their order, play of its oracles."""

import mujoco
import numpy as np
import pytest

from rllib_sami.envs.manipulation import Scene
from rllib_sami.envs.manipulation.play import TARGETS, Player, play, weights_of
from rllib_sami.envs.manipulation.scene import SUBTASKS, done

theirs = pytest.importorskip("ogbench.manipspace.envs.scene_env")

NOTHING = np.zeros(5)
TARGET_OF = dict(zip(SUBTASKS, ("open drawer", "window button", "open window", "cube to drawer"), strict=True))


@pytest.fixture
def scene():
    env = Scene()
    env.reset(seed=0)
    yield env
    env.close()


def put(env, drawer=None, window=None, cube=None, unlocked=None):
    """Moves things, at rest: joints of drawer and window in m, the cube relative to the middle of the drawer in m."""
    for name, value in (("drawer_slide", drawer), ("window_slide", window)):
        if value is not None:
            env.data.joint(name).qpos[0] = value
    mujoco.mj_forward(env.model, env.data)
    if cube is not None:
        env.data.joint("object_joint_0").qpos[:3] = env.data.body("drawer_link").xpos + cube
    if unlocked is not None:
        env.unlocked[:] = unlocked
        env._set_locks()
    env.qvel[:] = 0.0
    mujoco.mj_forward(env.model, env.data)
    env._look()


def aim(env, player, target, rng, most=100):
    """Plays until the player is done; returns rewards."""
    player.begin(target, rng)
    rewards = []
    while not player.is_done and len(rewards) < most:
        _, reward, terminated, truncated, _ = env.step(player.act())
        rewards.append(reward)
        if terminated or truncated:
            break
    return rewards


def test_physics_are_those_of_ogbench(scene):
    other = theirs.SceneEnv(env_type="scene", mode="data_collection", visualize_info=False)
    other.reset(seed=0)
    other.set_state(scene.qpos, scene.qvel, scene.unlocked.astype(int))
    whole = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.zeros(mujoco.mj_stateSize(scene.model, whole))
    mujoco.mj_getState(scene.model, scene.data, state, whole)
    mujoco.mj_setState(other.model, other.data, state, whole)
    mujoco.mj_forward(other.model, other.data)
    player, rng, steps = Player(scene, 0.0), np.random.default_rng(0), 0
    for target in TARGET_OF.values():
        player.begin(target, rng)
        while not player.is_done:
            action = player.act()
            scene.walk(action)
            other.step(action)
            steps += 1
            difference = np.abs(scene.qpos - other.data.qpos)
            assert difference[6:14].max() < 0.02  # linkages of the fingers
            assert np.delete(difference, range(6, 14)).max() < 1e-3
            np.testing.assert_array_equal(scene.unlocked, other._cur_button_states)
    assert steps > 150
    assert scene.subtasks_done().all()


def test_observations_are_the_state(scene):
    rng = np.random.default_rng(0)
    for _ in range(30):
        scene.walk(rng.uniform(-1.0, 1.0, 5))
    put(scene, drawer=-0.04, window=0.15)
    scene.data.joint("buttonbox_joint_1").qpos[0] = -0.006
    scene.data.joint("ur5e/shoulder_pan_joint").qvel[0] = 0.3
    scene.data.joint("ur5e/robotiq/right_driver_joint").qvel[0] = 0.4
    mujoco.mj_forward(scene.model, scene.data)
    scene._look()
    obs, data = scene._observation(), scene.data
    tip = data.site("ur5e/robotiq/pinch")
    turn = tip.xmat.reshape(3, 3)
    jacobian = np.zeros((2, 3, scene.model.nv))
    mujoco.mj_jacSite(scene.model, data, *jacobian, tip.id)
    linear, angular = jacobian @ scene.qvel
    assert np.linalg.norm(linear) > 0.01
    cube, turned = data.body("object_0"), data.body("object_0").xmat.reshape(3, 3)
    angle = 4 * np.arctan2(turned[1, 0], turned[0, 0])
    expected = [
        *(tip.xpos - [0.425, 0, 0]) / 0.1,
        *turn[:2, 0] / np.linalg.norm(turn[:2, 0]),
        *linear,
        angular[2],
        2 * data.joint("ur5e/robotiq/right_driver_joint").qpos[0] / 0.8 - 1,
        0.4 / 0.8,
        *(cube.xpos - [0.425, 0, 0]) / 0.1,
        np.cos(angle),
        np.sin(angle),
        *np.where(scene.unlocked, 1.0, -1.0),
        -1 - 2 * data.joint("buttonbox_joint_0").qpos[0] / 0.024,
        -0.5,
        2 * 0.04 / 0.16 - 1,
        2 * 0.15 / 0.2 - 1,
    ]
    assert obs.shape == (22,) == (len(scene.observation_names),)
    np.testing.assert_allclose(obs, expected, rtol=0, atol=1e-5)


def test_episodes_begin_near_one_state():
    env = Scene()
    tips, cubes, opened = [], [], []
    for seed in range(40):
        env.reset(seed=seed)
        data = env.data
        tips.append(data.site("ur5e/robotiq/pinch").xpos.copy())
        cubes.append(data.body("object_0").xpos.copy())
        opened.append([-data.joint("drawer_slide").qpos[0], data.joint("window_slide").qpos[0]])
        assert env.unlocked.tolist() == [True, False]
        assert not env.subtasks_done().any()
        assert not env.qvel.any()
    tips, cubes, opened = np.array(tips), np.array(cubes), np.array(opened)
    for found, low, high in (
        (tips, [0.25, -0.2, 0.2], [0.6, 0.2, 0.35]),
        (cubes[:, :2], [0.34, 0.04], [0.36, 0.06]),
        (opened, [0.0, 0.0], [0.01, 0.01]),
    ):
        assert (found >= np.array(low) - 1e-3).all()
        assert (found <= np.array(high) + 1e-3).all()
        assert (np.ptp(found, axis=0) > 0.8 * np.subtract(high, low)).all()
    np.testing.assert_allclose(cubes[:, 2], 0.02)


@pytest.mark.parametrize(
    ("change", "index"),
    [
        ({"drawer": -0.121}, 0),
        ({"unlocked": (False, True)}, 1),
        ({"window": 0.161}, 2),
        ({"cube": [0.06, -0.05, -0.024]}, 3),
        ({"drawer": -0.1, "cube": [-0.06, 0.05, 0.02]}, 3),
    ],
)
def test_a_sub_task_is_done_at_its_threshold(scene, change, index):
    put(scene, **change)
    assert np.flatnonzero(scene.subtasks_done()).tolist() == [index]


@pytest.mark.parametrize(
    "change",
    [
        {"drawer": -0.119},
        {"unlocked": (True, False)},
        {"window": 0.159},
        {"cube": [0.08, 0.0, -0.024]},  # in a wall
        {"cube": [0.0, 0.07, -0.024]},
        {"cube": [0.0, 0.0, 0.05]},  # above the edge
    ],
)
def test_and_not_before(scene, change):
    put(scene, **change)
    assert not scene.subtasks_done().any()


def test_sub_tasks_of_many_observations_at_once(scene):
    observations = [scene._observation()]
    put(scene, drawer=-0.16)
    observations.append(scene._observation())
    found = done(np.array([observations, observations[::-1]]))
    assert found.shape == (2, 2, 4)
    np.testing.assert_array_equal(found[..., 0], [[False, True], [True, False]])
    assert not found[..., 1:].any()


DONE = {  # by doing it
    "open drawer": {"drawer": -0.16},
    "unlock window": {"unlocked": (True, True)},
    "open window": {"window": 0.2},
    "cube in drawer": {"cube": [0.0, 0.0, -0.024]},
}


def test_in_their_order_each_pays_one_and_the_last_ends_the_episode(scene):
    for number, change in enumerate(DONE.values(), 1):
        put(scene, **change)
        _, reward, terminated, truncated, info = scene.step(NOTHING)
        assert (reward, terminated, truncated) == (1.0, number == 4, False)
        assert scene.tasks_completed == SUBTASKS[:number]
        assert ("tasks_completed" in info) == (number == 4)
        if number < 4:
            assert scene.step(NOTHING)[1] == 0.0  # not twice
    assert (info["tasks_completed"], info["is_success"]) == (SUBTASKS, True)
    scene.reset()
    assert (scene.num_completed, scene.tasks_completed) == (0, ())


@pytest.mark.parametrize("late", range(4))
def test_a_sub_task_counts_only_once_those_before_it_do(scene, late):
    for number, change in enumerate(DONE.values()):
        if number != late:
            put(scene, **change)
            _, reward, terminated, *_ = scene.step(NOTHING)
            assert (reward, terminated) == (float(number < late), False)
    put(scene, **DONE[SUBTASKS[late]] | DONE["cube in drawer"])  # the cube goes with the drawer
    _, reward, terminated, *_ = scene.step(NOTHING)
    assert (reward, terminated) == (4.0 - late, True)  # those that wait count at once


def test_what_counts_is_not_lost(scene):
    put(scene, drawer=-0.16)
    scene.step(NOTHING)
    put(scene, drawer=0.0, unlocked=(True, True))
    assert scene.step(NOTHING)[1] == 1.0
    assert scene.tasks_completed == SUBTASKS[:2]


def test_without_success_the_episode_ends_at_its_limit():
    env = Scene(max_steps=3)
    env.reset(seed=0)
    put(env, drawer=-0.16)
    infos = [env.step(NOTHING)[3:] for _ in range(3)]
    assert [truncated for truncated, _ in infos] == [False, False, True]
    last = infos[-1][1]
    assert (last["tasks_completed"], last["is_success"]) == (("open drawer",), False)
    assert Scene.default_max_steps == 400


@pytest.mark.parametrize("unlocked", [False, True])
def test_locks_hold(scene, unlocked):
    put(scene, unlocked=(unlocked, unlocked))
    before = scene.openings.copy()
    for name, force in (("drawer_slide", -8.0), ("window_slide", 8.0)):
        scene.data.qfrc_applied[scene.model.joint(name).dofadr[0]] = force
    for _ in range(20):
        scene.step(NOTHING)
    moved = scene.openings - before
    assert (moved > 0.5).all() if unlocked else (np.abs(moved) < 1e-3).all()


def test_a_press_switches_once_and_the_next_one_back(scene):
    joint, colours = scene.data.joint("buttonbox_joint_1"), []
    for deep, expected in ((-0.019, False), (-0.021, True), (-0.022, True), (-0.01, True), (-0.021, False)):
        joint.qpos[0], joint.qvel[0] = deep, 0.0
        scene.model.opt.timestep = 1e-9  # nothing else moves
        scene.step(NOTHING)
        assert scene.unlocked.tolist() == [True, expected]
        colours.append(tuple(scene.model.geom("btngeom_1").rgba))
    assert len(set(colours)) == 2
    assert colours[0] == colours[-1]
    scene.model.opt.timestep = 0.002
    scene.reset()
    assert scene.unlocked.tolist() == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_oracles_complete_all_sub_tasks_within_the_limit(seed):
    env, rng, total = Scene(), np.random.default_rng(seed), 0.0
    player = Player(env, 0.1)
    env.reset(seed=seed)
    for _ in range(10):
        total += sum(aim(env, player, TARGET_OF[SUBTASKS[env.num_completed]], rng))
        if env.num_completed == 4:
            break
    assert total == 4.0


def test_play_depends_on_its_random_numbers_alone():
    used, fresh = Scene(), Scene()
    play(used, np.random.default_rng(5), steps=30)
    np.random.seed(3)  # noqa: NPY002
    observations, actions = play(used, np.random.default_rng([0, 7]), steps=120)
    assert np.random.uniform() == np.random.RandomState(3).uniform()  # noqa: NPY002
    again = play(fresh, np.random.default_rng([0, 7]), steps=120)
    np.testing.assert_array_equal(observations, again[0])
    np.testing.assert_array_equal(actions, again[1])
    assert (observations.shape, actions.shape) == ((121, 22), (120, 5))
    assert observations.dtype == actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    other = play(fresh, np.random.default_rng([0, 8]), steps=120)
    assert not np.array_equal(other[0][0], observations[0])
    quiet = play(fresh, np.random.default_rng([0, 7]), steps=20, noise=0.0)
    np.testing.assert_array_equal(quiet[0][0], observations[0])
    assert np.abs(quiet[1] - actions[:20]).max() > 0.05


def test_what_may_be_done_depends_on_the_state(scene):
    put(scene, unlocked=(True, False))
    buttons = {"drawer button": 0.5, "window button": 0.5}
    assert weights_of(scene) == buttons | {"open drawer": 1.0, "open window": 0.25, "cube to table": 1.0}
    put(scene, drawer=-0.16, window=0.2, unlocked=(False, True))
    cube = {"cube to table": 1.0, "cube to drawer": 1.0}
    assert weights_of(scene) == buttons | {"close drawer": 0.25, "close window": 1.0} | cube
    put(scene, cube=[0.0, 0.0, -0.024])
    assert weights_of(scene) == buttons | {"close drawer": 0.25, "close window": 1.0}
    assert set(weights_of(scene)) < set(TARGETS)


def test_oracles_do_what_they_are_told(scene):
    player, rng = Player(scene, 0.0), np.random.default_rng(0)
    put(scene, unlocked=(True, True), drawer=-0.02, window=0.1)
    for target, test in (
        ("close window", lambda: scene.openings[1] < 0.2),
        ("open window", lambda: scene.openings[1] > 0.8),
        ("open drawer", lambda: scene.openings[0] > 0.75),
        ("cube to table", lambda: abs(scene.cube[2] - 0.02) < 2e-3 < scene.cube[2]),
        ("close drawer", lambda: scene.openings[0] < 0.25),
        ("drawer button", lambda: not scene.unlocked[0]),
        ("drawer button", lambda: scene.unlocked[0]),
    ):
        cube = scene.cube.copy()
        for _ in range(4):  # they may come too late
            player.begin(target, rng)
            while not player.is_done:
                scene.walk(player.act())
            if test():
                break
        assert test(), target
        assert (np.linalg.norm(scene.cube - cube) > 0.01) == (target == "cube to table")
