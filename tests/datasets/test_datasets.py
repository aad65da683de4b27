"""Data sets on disk: what is written is read, windows lie within trajectories, damage is named."""

import json
import logging
import os
import platform
import subprocess

import gymnasium as gym
import numpy as np
import pytest

from rllib_sami import envs
from rllib_sami.datasets import Dataset, DatasetWriter, Trajectory, recipes
from rllib_sami.datasets.window_sampler import split_trajectories
from rllib_sami.envs.manipulation.play import play
from rllib_sami.envs.maze import layouts
from rllib_sami.envs.maze.planner import plan


def trajectory(number, length, **more):
    obs = 1000.0 * number + np.arange(length + 1)[:, None] * [1.0, 2.0]
    actions = np.linspace(-1, 1, length)[:, None]
    return Trajectory(obs.astype(np.float32), actions.astype(np.float32), **more)


@pytest.fixture
def lengths():
    return [5, 12, 3, 20, 7]


@pytest.fixture
def folder(tmp_path, lengths):
    with DatasetWriter(tmp_path / "data", steps_per_shard=16, env="My-v0", seed=3) as writer:
        for number, length in enumerate(lengths):
            rewards = np.full(length, float(number + 1), np.float32)
            writer.add(trajectory(number, length, rewards=rewards, terminated=number == 1))
    return tmp_path / "data"


def test_what_was_written_is_read_again(folder, lengths):
    dataset = Dataset(folder)
    assert (len(dataset), dataset.num_steps, dataset.observation_dim, dataset.action_dim) == (5, 47, 2, 1)
    assert [shard["trajectories"] for shard in dataset.about["shards"]] == [2, 2, 1]
    assert (dataset.about["env"], dataset.about["seed"]) == ("My-v0", 3)
    for number, (one, length) in enumerate(zip(dataset, lengths, strict=True)):
        expected = trajectory(number, length)
        np.testing.assert_array_equal(one.observations, expected.observations)
        np.testing.assert_array_equal(one.actions, expected.actions)
        assert (one.rewards == number + 1).all()
        assert one.terminated == (number == 1)


def test_arrays_stay_in_their_files(folder):
    assert isinstance(Dataset(folder)[0].observations, np.memmap)


def test_windows_are_neighbouring_steps_of_one_trajectory(folder):
    dataset = Dataset(folder)
    train, held = split_trajectories(dataset, 6, 0.0, 0)
    assert held is None
    np.testing.assert_array_equal(train.trajectories, [1, 3, 4])
    batch = train.draw((3, 400), np.random.default_rng(0))
    assert batch["obs"].shape == (3, 400, 7, 2)
    assert batch["actions"].shape == (3, 400, 6, 1)
    obs = batch["obs"][..., 0]
    np.testing.assert_array_equal(np.diff(obs), 1.0)
    number, start = obs[..., 0] // 1000, obs[..., 0] % 1000
    for index, length in ((1, 12), (3, 20), (4, 7)):
        mine = number == index
        assert mine.mean() == pytest.approx(1 / 3, abs=0.05)  # trajectories, not their steps
        assert set(start[mine].tolist()) == set(range(length - 5))
        expected = np.linspace(-1, 1, length)[start[mine].astype(int)[:, None] + np.arange(6)]
        np.testing.assert_allclose(batch["actions"][mine][..., 0], expected, rtol=1e-6)
    last = (number[..., None] == 1) & (obs[..., :-1] % 1000 == 11)
    np.testing.assert_array_equal(batch["terminated"], last)


def test_some_trajectories_are_kept_from_learning(folder):
    train, held = split_trajectories(Dataset(folder), 3, 0.3, 0)
    assert len(held.trajectories) == 2
    assert sorted([*train.trajectories, *held.trajectories]) == [0, 1, 2, 3, 4]
    again, _ = split_trajectories(Dataset(folder), 3, 0.3, 0)
    np.testing.assert_array_equal(again.trajectories, train.trajectories)


def test_windows_that_no_trajectory_has_are_refused(folder):
    with pytest.raises(ValueError, match=r"no trajectory has 21 steps.*longest has 20"):
        split_trajectories(Dataset(folder), 21, 0.0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.zeros((3, 2))}, "3 observations, 5 actions"),
        ({"observations": np.zeros((6, 3))}, "observations of 3 numbers"),
        ({"observations": np.full((6, 2), np.nan)}, "observations has a number that is not finite in step 0"),
        ({"actions": np.full((5, 1), 2.0)}, "actions go to 2"),
        ({"actions": np.zeros((0, 1)), "observations": np.zeros((1, 2))}, "1 or more"),
        ({"observations": np.zeros(6)}, r"observations have shape \[6\]"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, change, message):
    given = vars(trajectory(1, 5)) | {"rewards": np.zeros(0)} | change
    writer = DatasetWriter(tmp_path / "data")
    writer.add(trajectory(0, 5))
    with pytest.raises(ValueError, match=f"trajectory 1.*{message}"):
        writer.add(Trajectory(**given))


def test_a_data_set_appears_only_when_it_is_whole(tmp_path):
    def fail():
        with DatasetWriter(tmp_path / "data") as writer:
            writer.add(trajectory(0, 5))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(ValueError, match="no trajectory"), DatasetWriter(tmp_path / "data"):
        pass


def test_what_a_killed_writer_left_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    here = platform.node()
    writers = [f"{here}-{dead.pid}", f"{here}-{os.getppid()}", f"elsewhere-{dead.pid}"]
    left = [tmp_path / f".data.{one}.incomplete" for one in writers]
    for folder in left:
        folder.mkdir()
    with DatasetWriter(tmp_path / "data") as writer:
        writer.add(trajectory(0, 5))
    assert [folder.exists() for folder in left] == [False, True, True]  # the others may still be at work


def test_of_two_writers_the_first_wins(tmp_path):
    writers = [DatasetWriter(tmp_path / "data"), DatasetWriter(tmp_path / "data")]
    writers[1]._aside = tmp_path / ".another.incomplete"
    writers[1]._aside.mkdir()
    for number, writer in enumerate(writers):
        writer.add(trajectory(number, 5))
    first = writers[0].close()
    with pytest.raises(OSError, match="not empty"):
        writers[1].close()
    assert [*tmp_path.iterdir()] == [first.folder]
    np.testing.assert_array_equal(Dataset(first.folder)[0].observations, trajectory(0, 5).observations)


def test_arrays_may_be_used_again_after_they_were_added(tmp_path):
    obs, actions = np.zeros((3, 1)), np.zeros((2, 1))
    with DatasetWriter(tmp_path / "data") as writer:
        for number in range(3):
            obs[:] = number
            writer.add(Trajectory(obs, actions))
    assert [one.observations[0, 0] for one in Dataset(tmp_path / "data")] == [0.0, 1.0, 2.0]


def test_lists_and_numbers_of_numpy_are_taken(tmp_path):
    with DatasetWriter(tmp_path / "data", seed=np.int64(3)) as writer:
        writer.add(Trajectory([[0.0], [1.0]], [[0.5]]))
    dataset = Dataset(tmp_path / "data")
    assert dataset.about["seed"] == 3
    assert dataset[0].actions.tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": "x"}, r"format='x': dataset.json has a 'format' of its own"),
        ({"model": object}, r"model=<class 'object'>: dataset.json cannot keep it"),
    ],
)
def test_what_the_index_cannot_keep_is_refused(tmp_path, about, message):
    with pytest.raises(ValueError, match=message):
        DatasetWriter(tmp_path / "data", **about)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("of_data", "env", "differs"),
    [
        ("Maze/UMaze-v0", "Maze/UMaze-v0", False),
        ("Maze/UMaze-v0", "rllib_sami:Maze/UMaze-v0", False),
        ("Maze/UMaze-v0", "Maze/Large-v0", True),
        ("my_module:MyEnv", "my_module.MyEnv", False),
        ("my_module:MyEnv", "my_module.OtherEnv", True),
        ("envs.mazes:UMaze", envs.maze.UMaze, False),
        ("envs.mazes:UMaze", envs.maze.Large, True),
        ("Maze/UMaze-v0", envs.maze.Large, False),  # an id and a class are not compared
        ("my_maze", "Maze/Large-v0", False),
        ("my_maze", "your_maze", True),
        ("my_maze", lambda config: None, False),
        (None, "Maze/Large-v0", False),
    ],
)
def test_data_of_another_environment_are_known_by_its_name(tmp_path, of_data, env, differs):
    with DatasetWriter(tmp_path / "data", **({"env": of_data} if of_data else {})) as writer:
        writer.add(trajectory(0, 5))
    assert Dataset(tmp_path / "data").is_of_another(env) == differs


def test_nothing_is_overwritten(folder):
    with pytest.raises(ValueError, match="exists already"):
        DatasetWriter(folder)


class TestDamage:
    def test_no_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"no data set: no such folder.*rllib data make"):
            Dataset(tmp_path / "nothing")

    def test_another_folder(self, tmp_path):
        with pytest.raises(ValueError, match=r"it has no dataset\.json"):
            Dataset(tmp_path)

    @pytest.mark.parametrize("name", ["observations", "actions", "rewards", "lengths", "terminated"])
    def test_a_missing_file(self, folder, name):
        (folder / f"00001.{name}.npy").unlink()
        with pytest.raises(ValueError, match=f"00001.{name}.npy: missing"):
            Dataset(folder)

    def test_a_truncated_file(self, folder):
        path = folder / "00000.observations.npy"
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(ValueError, match=r"00000.observations.npy.*again"):
            Dataset(folder)

    def test_a_file_of_another_data_set(self, folder):
        np.save(folder / "00000.actions.npy", np.zeros((4, 1), np.float32))
        with pytest.raises(ValueError, match=r"00000.actions.npy has shape \[4, 1\]"):
            Dataset(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"format": 7}, "has format 7"), ({"shards": []}, "empty"), ({"shards": None}, "empty")],
    )
    def test_an_index_of_another_kind(self, folder, change, message):
        path = folder / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ValueError, match=message):
            Dataset(folder)

    def test_an_unreadable_index(self, folder):
        (folder / "dataset.json").write_text("{")
        with pytest.raises(ValueError, match="not the index"):
            Dataset(folder)

    def test_numbers_that_are_not_finite(self, folder):
        array = np.load(folder / "00001.observations.npy")
        array[2, 1] = np.inf
        np.save(folder / "00001.observations.npy", array)
        with pytest.raises(ValueError, match="trajectory 2: observations has a number that is not finite in step 2"):
            Dataset(folder).check_finite()


class TestRecipes:
    def test_a_maze_s_data_are_walks_in_it(self, tmp_path):
        dataset = recipes.make_maze(tmp_path / "maze", env="Maze/UMaze-v0", trajectories=5, min_steps=30, seed=1)
        assert len(dataset) == 5
        assert dataset.lengths.min() >= 30
        maze = envs.make("Maze/UMaze-v0")
        walls, middle = maze.layout(), (np.array(maze.layout().shape)[::-1] - 1) / 2
        for one in dataset:
            places = one.observations[:, :2] * maze.scale + middle
            assert not walls[tuple(np.rint(places[:, ::-1]).astype(int).T)].any()
            assert np.abs(np.diff(places, axis=0)).max() < 0.06
        again = recipes.make_maze(tmp_path / "again", env="Maze/UMaze-v0", trajectories=5, min_steps=30, seed=1)
        np.testing.assert_array_equal(again[4].actions, dataset[4].actions)
        other = recipes.make_maze(tmp_path / "other", env="Maze/UMaze-v0", trajectories=5, min_steps=30, seed=2)
        assert not np.array_equal(other[4].observations, dataset[4].observations)

    def test_the_scene_s_data_are_play_in_it(self, tmp_path):
        pytest.importorskip("ogbench")
        seen = []
        dataset = recipes.make_scene(
            tmp_path / "scene", trajectories=3, steps=25, seed=4, progress=lambda *one: seen.append(one)
        )
        assert seen == [(1, 3), (2, 3), (3, 3)]
        assert (dataset.lengths.tolist(), dataset.observation_dim, dataset.action_dim) == ([25] * 3, 22, 5)
        assert dataset.about.items() >= {"env": "Manipulation/Scene-v0", "seed": 4, "noise": 0.1}.items()
        dataset.check_finite()
        scene = envs.make("Manipulation/Scene-v0")
        observations, actions = play(scene, np.random.default_rng([4, 2]), steps=25)
        np.testing.assert_array_equal(dataset[2].observations, observations)
        np.testing.assert_array_equal(dataset[2].actions, actions)
        assert not dataset[2].rewards.any()
        assert not dataset.terminated.any()
        other = recipes.make_scene(tmp_path / "other", trajectories=3, steps=25, seed=4, noise=0.0)
        np.testing.assert_array_equal(other[2].observations[0], observations[0])
        assert not np.array_equal(other[2].actions, actions)

    def test_a_kitchen_s_data_are_scripts_at_work(self, tmp_path):
        pytest.importorskip("gymnasium_robotics")
        seen = []
        dataset = recipes.make_kitchen(tmp_path / "kitchen", trajectories=2, seed=1, progress=lambda *n: seen.append(n))
        assert seen == [(1, 2), (2, 2)]
        assert (dataset.observation_dim, dataset.action_dim, len(dataset)) == (30, 9, 2)
        assert dataset.lengths.min() >= 101
        dataset.check_finite()
        counts = dataset.about["subtasks"]
        assert sum(one["tried"] for one in counts.values()) == 8
        kitchen, done = envs.make("Kitchen/Mixed-v0"), 0
        for one in dataset:
            kitchen.reset(seed=0)
            kitchen.qpos[:] = one.observations[-1]
            done += sum(map(kitchen.is_done, counts))
        assert done == sum(one["done"] for one in counts.values()) >= 7
        again = recipes.make_kitchen(tmp_path / "again", trajectories=1, seed=1)
        np.testing.assert_array_equal(again[0].actions, dataset[0].actions)  # of its own, however many follow
        np.testing.assert_array_equal(again[0].observations, dataset[0].observations)
        other = recipes.make_kitchen(tmp_path / "other", trajectories=1, seed=2, env="Kitchen/Light-v0")
        assert other.about["env"] == "Kitchen/Light-v0"
        assert not np.array_equal(other[0].actions[:30], dataset[0].actions[:30])

    def test_it_is_made_once(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setenv(recipes.CACHE, str(tmp_path))
        recipe = {"make": "maze", "env": "Maze/UMaze-v0", "trajectories": 2}
        with caplog.at_level(logging.INFO, "rllib_sami"):
            first = recipes.made(recipe)
        assert first.folder == recipes.cached(recipe)
        assert tmp_path in first.folder.parents
        assert caplog.messages == ["Making data: 1 of 2 trajectories", "Making data: 2 of 2 trajectories"]
        written = first.folder.stat().st_mtime_ns
        assert recipes.made(recipe).num_steps == first.num_steps
        assert first.folder.stat().st_mtime_ns == written

    def test_it_is_taken_if_another_process_was_faster(self, tmp_path, monkeypatch):
        monkeypatch.setenv(recipes.CACHE, str(tmp_path))

        def make_twice(folder, trajectories=2, **more):
            recipes.make_maze(folder, "Maze/UMaze-v0", trajectories)
            return recipes.make_maze(folder, "Maze/UMaze-v0", trajectories)

        monkeypatch.setitem(recipes.RECIPES, "maze", make_twice)
        assert len(recipes.made({"make": "maze", "trajectories": 3})) == 3

    @pytest.mark.parametrize(
        ("recipe", "message"),
        [
            ({"make": "maize"}, "make='maize': no such recipe. Did you mean 'maze'"),
            ({"make": ["maze"]}, r"make=\['maze'\]: no such recipe"),
            ({"make": "maze", "env": "Maze/UMaze-v0", "min_steps": 900}, "min_steps=900: the longest of 9 walks"),
            ({"make": "maze", "env": "Maze/Big-v0"}, "env='Maze/Big-v0' is no maze"),
            ({"make": "maze", "trajectories": 0}, "trajectories=0: expected an integer >= 1"),
            ({"make": "maze", "trajectory": 3}, "'maze' has no argument 'trajectory'. Did you mean 'trajectories'"),
            ({"make": "scene", "steps": 0}, "steps=0: expected an integer >= 1"),
            ({"make": "scene", "trajectories": 1.5}, "trajectories=1.5: expected an integer >= 1"),
            ({"make": "scene", "noise": -0.1}, "noise=-0.1: expected a number from 0 to 1"),
            ({"make": "kitchen", "env": "Kitchen/Lite-v0"}, "env='Kitchen/Lite-v0' is no kitchen with sub-tasks. Did"),
            ({"make": "kitchen", "env": "Skills/Kitchen-v0"}, "env='Skills/Kitchen-v0' is no kitchen"),
            ({"make": "kitchen", "trajectories": 0}, "trajectories=0: expected an integer >= 1"),
            ({"make": "kitchen", "action_noise": -1}, "action_noise=-1: expected a number from 0 to 1"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, monkeypatch, recipe, message):
        monkeypatch.setenv(recipes.CACHE, str(tmp_path))
        monkeypatch.setattr(recipes, "MOST_WALKS", 9)
        with pytest.raises(ValueError, match=message):
            recipes.made(recipe)


class TestMazes:
    @pytest.mark.parametrize("name", ["UMaze", "Medium", "Large", "Paper"])
    def test_there_is_a_way_to_the_goal(self, name):
        maze = envs.make(f"Maze/{name}-v0")
        left = layouts.distances(maze.layout(), maze.goal)
        steps = left[maze.start]
        assert steps * 20 * 1.2 < maze.max_steps  # at full speed, with time to spare
        free = ~maze.layout()
        assert (left[free] >= 0).all()
        assert maze.layout()[[0, -1]].all()
        assert maze.layout()[:, [0, -1]].all()

    def test_the_planner_s_way_is_rewarded_at_the_goal_alone(self):
        maze = envs.make("Maze/UMaze-v0")
        maze.reset(seed=0)
        path = layouts.shortest_path(maze.layout(), maze.start, maze.goal, np.random.default_rng(0))
        assert (path[0], path[-1], len(path)) == (maze.start, maze.goal, 7)
        total, ended, target = 0.0, False, 0
        while not ended:
            waypoint = np.array(path[target][::-1])
            force = 10 * (waypoint - maze.coordinates) - maze.qvel
            _, reward, ended, truncated, info = maze.step(np.clip(force, -1, 1).astype(np.float32))
            total += reward
            target += target + 1 < len(path) and np.linalg.norm(waypoint - maze.coordinates) < 0.25
            assert not truncated
        assert (total, info["is_success"]) == (100.0, True)
        assert np.linalg.norm(maze.coordinates - maze.goal_coordinates) <= maze.goal_radius

    def test_physics_and_layout_are_those_of_point_maze(self):
        robotics = pytest.importorskip("gymnasium_robotics")
        gym.register_envs(robotics)
        theirs, ours = gym.make("PointMaze_Large-v3").unwrapped, envs.make("Maze/Large-v0", max_steps=600)
        assert (np.array(theirs.maze.maze_map) == 1).tolist() == ours.layout().tolist()
        theirs.reset(seed=0)
        ours.reset(seed=0)
        theirs.point_env.set_state(theirs.maze.cell_rowcol_to_xy(np.array([1, 1])), np.zeros(2))
        ours.place(np.array([1.0, 1.0]))
        rng, farthest = np.random.default_rng(0), 0.0
        for step in range(600):
            if step % 20 == 0:
                action = rng.uniform(-1, 1, 2)
            obs = theirs.step(action * [1, -1])[0]["observation"]  # their y points upwards
            ours.walk(action)
            here = (ours.coordinates - ours._middle()) * [1, -1]
            farthest = max(farthest, np.abs(here - ours._middle() * [-1, 1]).max())
            np.testing.assert_allclose(obs[:2], here, atol=1e-6)
            np.testing.assert_allclose(obs[2:], ours.qvel * [1, -1], atol=1e-5)
        assert farthest > 2.0

    def test_walls_stop_the_point(self):
        maze = envs.make("Maze/Large-v0")
        maze.reset(seed=0)
        for _ in range(200):
            maze.step(np.array([-1.0, -1.0], np.float32))
        np.testing.assert_allclose(maze.coordinates, [0.6, 0.6], atol=0.01)

    def test_wide_starts_avoid_walls(self):
        maze = envs.make("Maze/Paper-v0")
        starts = []
        for seed in range(60):
            maze.reset(seed=seed)
            starts.append(maze.coordinates.copy())
            assert not maze.layout()[tuple(np.rint(starts[-1][::-1]).astype(int))]
        spread = np.abs(np.array(starts) - maze.start[::-1])
        assert 1.0 < spread.max() <= 2.0

    def test_the_planner_leaves_the_episode_s_limit_alone(self):
        maze = envs.make("Maze/UMaze-v0")
        observations, actions = plan(maze, np.random.default_rng(0), max_steps=500)
        assert len(observations) == len(actions) + 1 > 20
        maze.reset(seed=0)
        assert not maze.is_success


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": np.zeros((3, 1))}, r"rewards have shape \[3, 1\]; expected \[T\]"),
        ({"rewards": np.array([0.0, 1e300, 0.0])}, "rewards has a number that is not finite in step 1"),
        ({"observations": np.zeros((4, 2), complex)}, "observations are of type complex128"),
        ({"terminated": np.array([True])}, "expected True or False"),
        ({"terminated": "no"}, "expected True or False"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, change, words):
    given = {"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1))}
    with DatasetWriter(tmp_path / "data") as writer:
        writer.add(Trajectory(**given, rewards=np.ones(3), terminated=np.bool_(True)))
        with pytest.raises(ValueError, match=words):
            writer.add(Trajectory(**given | change))
    assert Dataset(tmp_path / "data").terminated.tolist() == [True]


def test_a_link_to_an_empty_folder_is_written_to(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    with DatasetWriter(tmp_path / "data") as writer:
        writer.add(Trajectory(np.zeros((4, 2)), np.zeros((3, 1))))
    assert (tmp_path / "data").is_symlink()
    assert len(Dataset(tmp_path / "data")) == 1
    with pytest.raises(ValueError, match="another disk begins there"):
        DatasetWriter("/proc")
