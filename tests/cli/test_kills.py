"""`kill -9` at random moments, most of them while a checkpoint is being written: nothing that was saved is lost."""

import csv
import random
import time

import pytest
import yaml
from test_runs import TINY

from rllib_sami.checkpoints.files import check_files, manifest_of
from rllib_sami.exports.agents import load_exported
from rllib_sami_cli.folders import Run


def newest(folder):
    """The checkpoint that a resumed run goes on from, and its facts."""
    for trial in Run(folder).trials():
        if trial["checkpoint"]:
            check_files(trial["checkpoint"])
            return trial["checkpoint"], manifest_of(trial["checkpoint"])
    return None, {"training_iteration": 0}


# Many kills take minutes, as runs that learn do.
@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.learning)]
)
@pytest.mark.timeout(1800)
def test_kills_at_random_moments(start, write, tmp_path, kills):
    text = {"run": {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "stop": {"training_iteration": 10**6}, "config": TINY}}
    path = write("run.yaml", yaml.safe_dump(text))
    words = ("train", "file", path, "--local-dir", "results", "--checkpoint-freq", "1")
    folder, rng = tmp_path / "results" / "run", random.Random(0)
    before = 0
    for number in range(kills):
        command = start(*words, *(["--resume"] if before else []))
        deadline = time.monotonic() + 300
        while newest(folder)[1]["training_iteration"] < before + 2 and time.monotonic() < deadline:
            assert command.process.poll() is None, command.finish() or command.output
            time.sleep(0.2)
        time.sleep(rng.random())
        command.kill()
        time.sleep(1.0)  # Ray ends the trial's process
        checkpoint, facts = newest(folder)
        print(f"kill {number + 1}: {checkpoint.name}, {facts['num_env_steps_sampled_lifetime']} steps", flush=True)
        assert facts["training_iteration"] >= before + 2
        assert facts["num_env_steps_sampled_lifetime"] == 200 * facts["training_iteration"]
        before = facts["training_iteration"]

    # Tune's own state that was cut short, and a checkpoint, are passed over for those before them.
    state = max(folder.glob("experiment_state-*.json"))
    state.write_text("")
    rows = checkpoint / "replay_buffer" / "store.rows.npy"
    rows.write_bytes(rows.read_bytes()[:-1])
    former, facts = newest(folder)
    assert former != checkpoint
    last = facts["training_iteration"] + 2
    command = start(*words, "--resume", "--set", f"stop.training_iteration={last}")
    assert command.finish() == 0, command.output
    [file] = folder.glob("*/progress.csv")
    with open(file, newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert int(table[-1]["training_iteration"]) == last
    for row in table:
        steps = 200 * int(row["training_iteration"])
        assert float(row["num_env_steps_sampled_lifetime"]) == steps
        assert float(row["replay_buffer/num_env_steps_stored"]) == steps

    # One that Tune knows and that has changed in place is set aside for the one before it.
    checkpoint, facts = newest(folder)
    rows = checkpoint / "replay_buffer" / "store.rows.npy"
    content = bytearray(rows.read_bytes())
    content[-5] ^= 1
    rows.write_bytes(content)
    last += 1
    command = start(*words, "--resume", "--set", f"stop.training_iteration={last}")
    assert command.finish() == 0, command.output
    assert f"{checkpoint} is damaged" in command.output
    with open(file, newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [int(row["training_iteration"]) for row in table] == list(range(1, last + 1))

    # Its agent as data, with the record of how it came about.
    command = start("export", folder, "--out", "agent")
    assert command.finish() == 0, command.output
    agent = load_exported(tmp_path / "agent")
    assert agent.progress["training_iteration"] == last
    assert agent.env_steps() == 200 * last
    assert agent.progress["episode_return_mean"] == pytest.approx(float(table[-1]["env_runners/episode_return_mean"]))
    assert (agent.config.env, agent.config.env_config) == ("SaMI/Pendulum-v0", {"max_steps": 50})
    assert "rllib train file" in (tmp_path / "agent" / "README.md").read_text()
    assert sum(p.numel() for p in agent.module().parameters()) > 1000
