"""`rllib data`: making, looking at and converting data sets."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rllib_sami.datasets import Dataset
from rllib_sami.envs.manipulation import arm


@pytest.fixture
def made(rllib, tmp_path):
    result = rllib("data", "make", "maze", "--env", "Maze/UMaze-v0", "--trajectories", "3", "--out", "data/maze")
    assert result.exit_code == 0, result.output
    return result


def test_what_was_made_is_shown(made, rllib, tmp_path):
    dataset = Dataset("data/maze")
    assert made.stdout.splitlines() == [  # no progress where there is no terminal
        f"Written: {dataset.folder} (3 trajectories, {dataset.num_steps:,} steps)",
        f"Next: rllib train file FILE --set STAGE.data={dataset.folder} (the STAGE of FILE that runs SkiMoPretrain)",
    ]
    result = rllib("data", "show", "data/maze")
    assert result.exit_code == 0, result.output
    lines = dict(line.split("  ", 1) for line in result.output.splitlines() if "  " in line)
    assert lines["environment"].strip() == "Maze/UMaze-v0"
    assert lines["steps"].strip() == f"{dataset.num_steps:,}"
    assert "Drawn: data/maze/paths.png" in result.output
    assert (tmp_path / "data/maze/paths.png").stat().st_size > 5_000


def test_the_kitchen_s_data_tell_what_was_done(rllib):
    pytest.importorskip("gymnasium_robotics")
    result = rllib("data", "make", "kitchen", "--trajectories", "1", "--action-noise", "0.05", "--out", "data/kitchen")
    assert result.exit_code == 0, result.output
    dataset = Dataset("data/kitchen")
    assert dataset.about["action_noise"] == 0.05
    told = [line for line in result.output.splitlines() if line.startswith("Sub-tasks done: 100.0% (")]
    assert len(told) == 1
    assert told[0].count("1 of 1") == 4
    shown = rllib("data", "show", "data/kitchen").output
    assert "sub-tasks done             100.0% (" in shown


def test_without_the_simulator_the_kitchen_s_data_are_not_made(rllib, monkeypatch, tmp_path):
    from rllib_sami.envs.kitchen import simulation

    simulation.load.cache_clear()
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    result = rllib("data", "make", "kitchen", "--out", "new")
    assert result.exit_code == 2
    assert "gymnasium_robotics, which is not installed: pip install 'rllib-sami[robotics]'" in result.stderr
    assert not (tmp_path / "new").exists()


def test_conversion_and_other_numbers_of_the_observation(rllib, tmp_path):
    obs, steps = np.arange(30.0).reshape(10, 3), np.zeros((10, 1))
    np.savez(tmp_path / "flat.npz", observations=obs, actions=steps, terminals=np.zeros(10))
    result = rllib("data", "convert", "flat.npz", "out", "--format", "d4rl")
    assert result.exit_code == 0, result.output
    assert "(1 trajectory, 9 steps)" in result.output
    result = rllib("data", "show", "out", "--dims", "1,2", "--out", "picture.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "picture.png").is_file()


@pytest.fixture
def raw(tmp_path):
    """Data whose actions are those of Pendulum, ±2."""
    actions = np.linspace(-2, 2, 9)[:, None]
    content = {"observations": np.zeros((9, 3)), "next_observations": np.zeros((9, 3)), "actions": actions}
    np.savez(tmp_path / "raw.npz", **content, terminals=np.zeros(9), timeouts=np.zeros(9))
    (tmp_path / "own.py").write_text("from gymnasium.envs.classic_control import PendulumEnv\n\n\n"
                                     "def make(config):\n    return PendulumEnv()\n")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "least"),
    [
        (("--env", "Pendulum-v1"), -1.0),
        (("--env", "own:make"), -1.0),
        (("--action-bounds", "-4,4"), -0.5),
        (("--env", "Pendulum-v1", "--action-bounds", "-4,4"), -0.5),
    ],
)
def test_actions_are_scaled_from_the_bounds_of_the_environment_or_given_ones(rllib, raw, words, least):
    result = rllib("data", "convert", "raw.npz", "out", "--format", "d4rl", *words)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(Dataset("out")[0].actions[:, 0], np.linspace(least, -least, 9), atol=1e-6)
    assert ("Actions are scaled to ±1 from those of" in result.stdout) == ("--action-bounds" not in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "actions go to 2, but must be within ±1"),
        (("--env", "Robot-v0"), "actions go to 2, but must be within ±1"),  # not known here
        (("--env", "CartPole-v1"), "--env CartPole-v1: actions are of Discrete(2), which is no bounded Box. Or give"),
        (("--env", "own:Missing"), "Or give the bounds of its actions: --action-bounds LOW,HIGH."),
        (("--action-bounds", "env"), "--action-bounds env: of which environment? Give --env ID, too."),
        (("--action-bounds", "2"), "--action-bounds 2: expected env, or two numbers such as -2,2."),
        (("--action-bounds", "2,-2"), "--action-bounds 2,-2: expected env, or two numbers such as -2,2."),
    ],
)
def test_bounds_that_are_missing_or_wrong_are_told(rllib, raw, tmp_path, words, message):
    result = rllib("data", "convert", "raw.npz", "out", "--format", "d4rl", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("agent", ["skimo_u_maze", "skimo_maze_large"])
def test_skills_of_another_environment_than_the_data_s_are_told(made, rllib, caplog, agent):
    result = rllib("data", "show", "data/maze", "--skills", Path(__file__).parents[2] / "models" / agent)
    assert result.exit_code == 0, result.output
    told = [line for line in caplog.messages if "its skills are of 'Maze/Large-v0', but the data" in line]
    assert len(told) == (agent == "skimo_maze_large")


def test_play_in_the_scene_is_made_and_shown(rllib, tmp_path, monkeypatch):
    pytest.importorskip("ogbench")
    words = ("--trajectories", "2", "--steps", "15", "--noise", "0.2", "--seed", "3", "--out", "scene")
    result = rllib("data", "make", "scene", *words)
    assert result.exit_code == 0, result.output
    dataset = Dataset("scene")
    assert dataset.lengths.tolist() == [15, 15]
    assert (dataset.about["seed"], dataset.about["noise"]) == (3, 0.2)
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path: drawn.append((figure, path)))
    result = rllib("data", "show", "scene", "--dims", "0,13")
    assert result.exit_code == 0, result.output
    assert "OGBench's oracles" in result.output
    [(figure, path)] = drawn
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("gripper's x", "cube's z")
    assert path == Path("scene/paths.png")


def test_the_scene_s_missing_package_is_told(rllib, tmp_path, monkeypatch):
    arm.load.cache_clear()
    monkeypatch.setitem(sys.modules, "ogbench", None)
    result = rllib("data", "make", "scene", "--out", "new")
    assert result.exit_code == 2
    assert "pip install 'rllib-sami[ogbench]'" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "nothing"), "nothing is no data set: no such folder."),
        (("show", "data/maze", "--dims", "1"), "--dims 1: expected two numbers such as 0,1."),
        (("show", "data/maze", "--dims", "0,4"), "--dims 0,4: observations have the numbers 0 to 3."),
        (("show", "data/maze", "--skills", "nothing"), "data: nothing: no such folder"),
        (("show", "data/maze", "--out", "new/a.png"), "No such file or directory"),
        (("show", "data/maze", "--out", "a.foo"), "Format 'foo' is not supported"),
        (("make", "maze", "--env", "SaMI/Ant-v0", "--out", "new"), "env='SaMI/Ant-v0' is no maze."),
        (("make", "maze", "--out", "data/maze"), "data/maze exists already."),
        (("convert", "nothing", "new", "--format", "d4rl"), "nothing: no such file or folder."),
        (("convert", "data/maze", "new", "--format", "d4lr"), "'d4lr' is not one of"),
    ],
)
def test_mistakes_are_told_in_a_line(made, rllib, tmp_path, words, message):
    result = rllib("data", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "new").exists()
