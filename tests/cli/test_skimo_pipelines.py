"""Skills from data, then a task: files of two stages, from the command line."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import Command

from rllib_sami.datasets import DatasetWriter, Trajectory, recipes
from rllib_sami_cli.experiment import load, merge
from rllib_sami_cli.resources import Limits
from rllib_sami_cli.schema import check_all

EXAMPLES = Path(__file__).parents[2] / "tuned_examples" / "skimo"
SKILLS = {"num_updates_per_iteration": 3, "train_batch_size_per_learner": 8, "num_units": 8, "latent_state_dim": 4}
TASK = {
    "num_steps_sampled_before_learning_starts": 300,
    "min_sample_timesteps_per_iteration": 300,
    "train_batch_size_per_learner": 8,
    "evaluation_interval": 0,
    "planner": "cem",
    "num_plan_samples": 8,
    "num_plan_elites": 4,
}


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """The chain of the U maze, both stages as short as can be; its data are made in the test's own folder."""
    monkeypatch.setenv("RLLIB_SAMI_DATA", str(tmp_path / "made"))
    experiments = yaml.safe_load((EXAMPLES / "u_maze.yaml").read_text())
    for name, body in experiments.items():
        body["extends"] = str(EXAMPLES / body["extends"])
        more = {"u_maze_skills": SKILLS, "u_maze_skimo": TASK}[name]
        experiments[name] = merge(body, {"stop": {"training_iteration": 2}, "config": more})
        experiments[name]["stop"].pop("num_env_steps_sampled_lifetime", None)
    experiments["u_maze_skills"]["config"]["data"]["trajectories"] = 5
    experiments["u_maze_skimo"]["config"]["env_config"]["max_steps"] = 60
    return experiments


def test_one_file_makes_the_data_and_trains_both_stages(start, write, tmp_path, chain):
    results = tmp_path / "results"
    command: Command = start(
        "train", "file", write("chain.yaml", yaml.safe_dump(chain, sort_keys=False)), "--storage-path", results
    )
    assert command.finish() == 0, command.output
    assert {entry.name for entry in results.iterdir()} == {"u_maze_skills", "u_maze_skimo"}
    [made] = (tmp_path / "made").iterdir()
    assert json.loads((made / "dataset.json").read_text())["shards"][0]["trajectories"] == 5
    assert "cloning error" in command.output
    for agent, name in (("u_maze_skimo", "Skills/Control-v0 (Maze/UMaze)"), ("u_maze_skills", "Maze/UMaze-v0")):
        out = f"ev_{agent}"
        played: Command = start("evaluate", results / agent, "--episodes", "1", "--out", out)
        assert played.finish() == 0, played.output
        assert name in json.loads((tmp_path / out / "provenance.json").read_text())["max_steps"]
    with np.load(tmp_path / "ev_u_maze_skimo" / "paths.npz") as found:  # 60 steps are six skills, each with a value
        assert np.isfinite(found["values"]).sum(axis=1).tolist() == [6]
    shown: Command = start("data", "show", made, "--skills", results / "u_maze_skills", "--out", "paths.png")
    assert shown.finish() == 0, shown.output
    assert re.search(r"imagined in a row: .*\(cells\)\n  after  1: [\d.]+, of staying there [\d.]+", shown.output)


@pytest.mark.repeated
def test_a_data_set_may_be_given_by_a_relative_path(start, write, tmp_path, chain):
    recipes.make_maze(tmp_path / "walks", env="Maze/UMaze-v0", trajectories=5, min_steps=30)
    body = chain["u_maze_skills"] | {"stop": {"training_iteration": 1}}
    body["config"]["data"] = "walks"
    file = write("skills.yaml", yaml.safe_dump({"skills": body}))
    command: Command = start("train", "file", file, "--storage-path", tmp_path / "results")
    assert command.finish() == 0, command.output
    record = yaml.safe_load((tmp_path / "results" / "skills" / "experiment.yaml").read_text())
    assert record["config"]["data"] == str(tmp_path / "walks")


def test_spirl_learns_with_the_same_file(write, chain):
    text = yaml.safe_dump(chain, sort_keys=False)
    skills, task = load(write("chain.yaml", text))
    plans = check_all([skills, dataclasses.replace(task, body=task.body | {"run": "SPiRL"})], Limits(None, None))
    assert [plan.algorithm.__name__ for plan in plans] == ["SkiMoPretrain", "SPiRL"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u_maze_skills": {"config": {"data": "/nowhere"}}}, "`data`: /nowhere is no data set: no such folder."),
        ({"u_maze_skills": {"config": {"data": {"make": "mace"}}}}, "make='mace': no such recipe. Did you mean 'maze'"),
        (
            {"u_maze_skills": {"config": {"data": {"trajectories": 0}}}},
            "data: trajectories=0: expected an integer >= 1",
        ),
        ({"u_maze_skills": {"config": {"num_skills": 90}}}, "`data`: "),
        ({"u_maze_skimo": {"config": {"env_config": {"max_stepz": 9}}}}, "max_stepz=9: UMaze has no such argument"),
        ({"u_maze_skills": {"config": {"skill_encoder": "gru"}}}, "'gru'"),
        ({"u_maze_skills": {"config": {"planner": "cem"}}}, "It is one of SkiMo and TDMPC: in a file of several"),
        ({"u_maze_skimo": {"config": {"planner": "mppi"}}}, "`planner` is 'mppi', but must be one of ['cem', 'none']"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(refused, write, chain, change, message):
    text = yaml.safe_dump({name: merge(body, change.get(name, {})) for name, body in chain.items()}, sort_keys=False)
    assert message in refused("train", "file", write("chain.yaml", text))


def test_an_environment_without_skills_is_told(refused, write, chain):
    body = {**chain["u_maze_skimo"], "env": "Maze/UMaze-v0"}
    del body["config"]["env_config"]
    assert "set `env` to 'Skills/Control-v0'" in refused(
        "train", "file", write("task.yaml", yaml.safe_dump({"a": body}))
    )


def test_the_guide_s_file_for_an_environment_of_one_s_own_is_right(write, tmp_path, monkeypatch, caplog):
    guide = (EXAMPLES.parents[1] / "docs" / "skimo.md").read_text("utf-8")
    [file] = re.findall(r"```yaml\n(my_skills:\n.*?)```", guide, re.DOTALL)
    write("my_module.py", "from rllib_sami.envs import Pendulum\n\n\nclass MyEnv(Pendulum):\n"
                          "    def __init__(self, env_config=None):\n        super().__init__()\n")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with DatasetWriter("data/my_env", env="my_module:MyEnv") as writer:
        writer.add(Trajectory(np.zeros((51, 3)), np.zeros((50, 1))))
    skills, task = check_all(load(write("elsewhere/my_env.yaml", file)), Limits(None, None))
    assert skills.config["data"] == str(tmp_path / "data" / "my_env")
    assert (task.algorithm.__name__, skills.config["num_skills"]) == ("SkiMo", task.config["num_skills"])
    assert not any(record.name.startswith("rllib_sami") for record in caplog.records)  # of another environment


def test_the_large_maze_has_the_settings_of_its_parts():
    skills, task = check_all(load(EXAMPLES / "maze_large.yaml"), Limits(None, None))
    assert (skills.config["num_skills"], task.config["num_skills"]) == (5, 5)
    assert task.config["env_config"]["env"] == skills.config["env"] == skills.config["data"]["env"]


def test_the_scene_has_data_for_its_windows(monkeypatch, tmp_path):
    pytest.importorskip("ogbench")
    monkeypatch.setenv("RLLIB_SAMI_DATA", str(tmp_path))
    skills, task = check_all(load(EXAMPLES / "scene.yaml"), Limits(None, None))
    assert [*tmp_path.iterdir()] == []  # checks make nothing
    data = skills.config["data"]
    assert data["trajectories"] * data["steps"] == 500_000
    assert data["steps"] > 100 >= 10 * skills.config["num_skills"]
    assert task.config["env_config"]["env"] == skills.config["env"] == "Manipulation/Scene-v0"
    assert skills.config["num_skills"] == task.config["num_skills"]


def test_the_kitchen_has_the_paper_s_settings(monkeypatch, tmp_path):
    pytest.importorskip("gymnasium_robotics")
    monkeypatch.setenv("RLLIB_SAMI_DATA", str(tmp_path))
    skills, task = check_all(load(EXAMPLES / "kitchen.yaml"), Limits(None, None))
    assert (skills.config["skill_encoder"], skills.config["latent_state_dim"]) == ("lstm", 256)
    assert (task.config["tune_alpha"], task.config["initial_alpha"]) == (False, 0.5)
    assert task.config["env_config"]["env"] == skills.config["env"] == "Kitchen/Mixed-v0"
