"""Real runs: each starts the command as a process, with a Ray of its own."""

import csv
import json
import sys
from pathlib import Path

import pytest
import yaml

from rllib_sami.evaluation import Results
from rllib_sami_cli.runner import _root_message
from rllib_sami_cli.stop import KNOWN, check_stop, flatten

pytestmark = pytest.mark.timeout(900)

TINY = {
    "num_env_runners": 0,
    "num_envs_per_env_runner": 4,
    "min_sample_timesteps_per_iteration": 200,
    "num_steps_sampled_before_learning_starts": 400,
    "train_episodes": 2,
    "updates_per_batch": 1,
    "contrast_interval": 1,
    "loss_timesteps": 32,
    "updates_per_env_step": 0.01,
    "env_config": {"max_steps": 50},
}


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the only trial's progress.csv in a run's folder; result.json has the same iterations."""
    [table], [lines] = folder.glob("*/progress.csv"), folder.glob("*/result.json")
    with open(table, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    iterations = [json.loads(line)["training_iteration"] for line in lines.read_text().splitlines()]
    assert [int(row["training_iteration"]) for row in found] == iterations
    return found


def test_smoke_of_a_file_then_evaluate(start, rllib, refused, write, tmp_path):
    """Two experiments, one of them with a search space, one Ray, which cannot be reached from elsewhere."""
    search = {"gamma": {"grid_search": [0.9, 0.99]}, "train_batch_size_per_learner": 64, "minibatch_size": 64}
    text = {
        "skilled": {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "config": {**TINY, "evaluation_interval": 1}},
        "plain": {"run": "PPO", "env": "Pendulum-v1", "config": {"num_env_runners": 0, "num_epochs": 1, **search}},
    }
    path = write("two.yaml", yaml.safe_dump(text, sort_keys=False))
    command = start("train", "file", path, "--smoke", "--evaluate", "--seed", "3", "--local-dir", "results")
    command.wait_for_row()
    if sys.platform == "linux":
        addresses = command.listening()
        assert len(addresses) >= 4  # Ray's store, node, worker and driver
        assert all((getattr(one, "ipv4_mapped", None) or one).is_loopback for one in addresses), addresses
    taken = tmp_path / "results" / "plain-smoke"  # by another command, while the first experiment trains
    taken.mkdir()
    (taken / "experiment.yaml").touch()
    assert command.finish() == 0, command.output
    output = command.output
    [plain] = (tmp_path / "results").glob("plain-smoke_*")
    assert [file.name for file in taken.iterdir()] == ["experiment.yaml"]
    # What was trained is played: one agent of the first experiment, the better one of the second's two.
    played = [line.split(",")[0] for line in output.splitlines() if " on " in line and "checkpoint_" in line]
    assert played == ["SaCCM on SaMI/Pendulum-v0", "PPO on Pendulum-v1"]
    assert "SaCCM, train, mean over episodes: return" in output
    assert "skilled-smoke: SaCCM on SaMI/Pendulum-v0" in output
    assert "by task" in output
    assert "WARNING" not in output
    for word in ("iter", "env steps", "return", "steps/s", "updates/s", "elapsed", "left"):
        assert word in output
    folder = tmp_path / "results" / "skilled-smoke"
    [trial] = [entry for entry in folder.iterdir() if entry.is_dir()]
    assert {"progress.csv", "result.json"} <= {entry.name for entry in trial.iterdir()}
    assert list(trial.glob("events.out.tfevents.*"))
    assert [row["training_iteration"] for row in rows(folder)] == ["1", "2", "3"]
    # Every metric that the command offers for stop criteria is there, and every one that is there is taken.
    last = flatten(json.loads((trial / "result.json").read_text().splitlines()[-1]))
    assert {*last} >= KNOWN
    settings = {"evaluation_interval": 1}
    for name in last:
        if name.startswith(("env_runners/", "learners/", "evaluation/env_runners/", "replay_buffer/")):
            check_stop({name: 1}, "test", settings)
    record = yaml.safe_load((folder / "experiment.yaml").read_text())
    assert record["finished"] is True
    assert record["config"]["seed"] == 3
    assert len(list(plain.glob("PPO*/checkpoint_*"))) == 2

    # The line that the end of the output offers works, and gives the same episodes again.
    [offered] = [
        line.split() for line in output.splitlines() if line.startswith("  rllib evaluate") and "SaCCM" in line
    ]
    for name in ("a", "b"):
        result = rllib(*offered[1:], "--episodes", "2", "--out", name)
        assert result.exit_code == 0, result.output
        assert f"Written: {name}" in result.output
    assert (tmp_path / "a/results.parquet").read_bytes() == (tmp_path / "b/results.parquet").read_bytes()
    episodes = Results.load(tmp_path / "a").episodes
    assert episodes.groupby("split")["task_id"].nunique().to_dict() == {"train": 4, "moderate": 4, "extreme": 2}
    assert len(episodes) == 2 * 10
    assert (episodes["length"] == 50).all()
    # An experiment's folder stands for its newest checkpoint; RLlib's own agents play too.
    assert "PPO on Pendulum-v1" in rllib("evaluate", plain, "--episodes", "1").output
    assert "Did you mean 'extreme'?" in refused("evaluate", "results/skilled-smoke", "--split", "extrem")
    message = refused("evaluate", "results/skilled-smoke", "--env", "SaMI/CartPole-v0")
    assert "trained on 3 observations and 1 actions, but this environment has 4 and 1" in message

    again = ("train", "file", path, "--smoke", "--seed", "3", "--local-dir", "results", "--resume")
    assert "is finished: its stop criteria are met" in refused(*again)


def test_a_failure_of_the_users_environment(start, write, tmp_path):
    """One line with the cause, the place of the traceback, exit code 1; classes of the current folder are found."""
    write(
        "my_env.py",
        """
import logging

import gymnasium
import numpy as np


class Broken(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, context):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        print("chatter")
        logging.getLogger("rllib_sami.test").warning("the motor is hot")
        return np.zeros(2, np.float32), {"task_id": 0}

    def step(self, action):
        self.steps += 1
        if self.steps > 60:
            raise RuntimeError("the motor burned out")
        return np.zeros(2, np.float32), 0.0, False, self.steps % 20 == 0, {}
""",
    )
    command = start("train", "--algo", "SaTESAC", "--env", "my_env:Broken", "--local-dir", "results")
    assert command.finish() == 1, command.output
    output = command.output
    assert "RuntimeError: the motor burned out" in output
    assert "Warning: the motor is hot" in output  # what this package says in the trial's process, and nothing else
    assert output.count("chatter") == 1  # the check's own, in this process
    silences = ("Loading RLlib", "Checking settings", "Starting Ray", "Building environments", "Training", "Stopping")
    places = [output.index(words) for words in silences]
    assert places == sorted(places)
    assert "Traceback" not in output
    assert "--resume" not in output
    [path] = [line.split(": ", 1)[1] for line in output.splitlines() if "full traceback" in line]
    assert "the motor burned out" in Path(path).read_text()


CREATION = """The actor died because of an error raised in its creation task, \x1b[36mray::SaCCM.__init__()\x1b[39m
           ^^^^^^^^^^^^^
  File "algorithm.py", line 738, in setup
    update_global_seed_if_necessary(self.config.framework_str, self.config.seed)
"""
NESTED = """\x1b[36mray::SaCCM.train()\x1b[39m (pid=1, ip=127.0.0.1)
  File "trainable.py", line 331, in train
    raise skipped from exception_cause(skipped)
ray.exceptions.RayTaskError(OSError): \x1b[36mray::EnvRunner.sample()\x1b[39m (pid=2)
  File "env.py", line 3, in step
    self.load()
OSError: no such map

During handling of the above exception, another exception occurred:

\x1b[36mray::EnvRunner.sample()\x1b[39m (pid=2)
  File "env.py", line 5, in step
    raise Broken
"""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError(f"{CREATION}ValueError: Seed must be between 0 and 1"),
            "ValueError: Seed must be between 0 and 1",
        ),
        (RuntimeError(f"{NESTED}my_env.Broken: database\ngone: at once"), "Broken: database gone: at once"),
        (RuntimeError(f"{CREATION}{NESTED}AssertionError"), "AssertionError"),
        (OSError("The actor died.\n\tpid: 3\nThe actor is dead"), "OSError: The actor died. pid: 3 The actor is dead"),
        (ValueError("2 mistakes:\n  `lr` is 3\nHint: 4"), "ValueError: 2 mistakes: `lr` is 3 Hint: 4"),
        (None, "failed"),
    ],
)
def test_of_a_remote_traceback_the_exception_itself_is_told(error, message):
    assert _root_message(error) == message
