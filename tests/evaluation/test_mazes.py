"""Paths in mazes: they are kept, drawn over the walls, and agents of different environments share a page."""

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from rllib_sami.env_runners.episodes import EpisodeSpec, Slot
from rllib_sami.envs.maze import Large, UMaze
from rllib_sami.evaluation import tables
from rllib_sami.evaluation.paths import Paths
from rllib_sami.evaluation.reporting import report
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.mazes import maze_of, walks

CONTROL = "Skills/Control-v0 (Maze/UMaze)"


def results_of(agents):
    """Two episodes of each agent, of which the first reaches the goal; every agent in an environment of its own."""
    rows = [
        {
            **{"algorithm": agent, "run": agent, "seed": 0, "env_steps": 0, "context": "learned", "explore": False},
            **{"environment": environment, "split": "train", "task_id": 0, "episode": episode, "episode_seed": episode},
            **{"return": 100.0 * (episode == 0), "length": 3, "success": episode == 0},
        }
        for agent, environment in agents.items()
        for episode in range(2)
    ]
    places = np.stack([[[1, 1], [2, 1], [3, 1], [3, 2]]] * len(rows)).astype(float)
    places[1::2, 3] = np.nan
    nothing = np.full((len(rows), 1), np.nan)
    return Results(pd.DataFrame(rows), paths=Paths(places, nothing, nothing))


@pytest.mark.parametrize(
    ("name", "maze"),
    [
        ("Maze/Large-v0", Large),
        (CONTROL, UMaze),
        ("SaMI/Ant-v0", None),
        ("Skills/Control-v0 (HalfCheetahGoal)", None),
        ("Reuse/Striding-v0 (HalfCheetah)", None),
    ],
)
def test_environments_are_known_by_their_names(name, maze):
    assert maze_of(name) is maze


def test_the_path_of_an_episode_in_a_maze_is_kept():
    env = gym.make("Maze/UMaze-v0", max_steps=5)
    slot = Slot(env, np.zeros(4, np.float32))
    slot.reset(EpisodeSpec("train", 0, 0, 3, 3))
    places = [env.unwrapped.coordinates.copy()]
    while not slot.done:
        slot.step(np.array([1.0, 0.0], np.float32))
        places.append(env.unwrapped.coordinates.copy())
    episode = slot.result(None)
    np.testing.assert_array_equal(episode.path, places)
    assert Paths.of([episode]).coordinates.shape == (1, 6, 2)


def test_paths_are_drawn_once_for_each_maze(tmp_path):
    results = results_of({"SkiMo": CONTROL, "PlainSAC": "Maze/UMaze-v0", "SPiRL": "Maze/Large-v0"})
    section = walks(results)
    assert [plot.name for plot in section.plots] == ["paths_umaze", "paths_large"]
    titles = [axis.get_title() for axis in section.plots[0].draw().axes]
    assert sorted(titles) == ["PlainSAC: 50% of 2", "SkiMo: 50% of 2"]
    lines = [line.get_xydata() for axis in section.plots[0].draw().axes for line in axis.lines]
    assert sum(len(line) == 4 for line in lines) == 2
    assert sum(len(line) == 3 for line in lines) == 2  # episodes that ended before
    page = report(results, tmp_path / "report").read_text("utf-8")
    assert "Paths in mazes" in page


def test_values_colour_the_points_that_they_are_of(tmp_path):
    results = results_of({"SkiMo": CONTROL})
    results.paths.values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]], np.float32)
    results.save(tmp_path)
    figure = walks(Results.load(tmp_path)).plots[0].draw()
    (dots,) = figure.axes[0].collections
    np.testing.assert_array_equal(dots.get_offsets(), [[1, 1], [2, 1], [3, 1], [1, 1], [2, 1]])
    np.testing.assert_array_equal(dots.get_array(), [1, 2, 3, 4, 5])
    assert figure.axes[1].get_ylabel() == "value"


def test_agents_in_different_environments_are_not_put_together():
    results = results_of({"SkiMo": CONTROL, "PlainSAC": "Maze/UMaze-v0"})
    assert tables.improvements(results.episodes).empty
    assert set(tables.per_split(results.episodes, resamples=10)["environment"]) == {CONTROL, "Maze/UMaze-v0"}
