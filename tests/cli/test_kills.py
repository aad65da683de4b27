"""Kills, signals and damage: nothing that was saved is lost, and a resumed run goes on in its folder."""

import os
import pickle
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from test_runs import TINY, rows

from rllib_sami.checkpoints.files import check_files, manifest_of
from rllib_sami.exports.agents import load_exported
from rllib_sami_cli.ending import CheckpointNotes
from rllib_sami_cli.folders import Run


def newest(folder):
    """The checkpoint that a resumed run goes on from, and the iteration at which it was saved."""
    for trial in Run(folder).trials():
        if trial["checkpoint"]:
            check_files(trial["checkpoint"])
            with open(trial["checkpoint"] / "algorithm_state.pkl", "rb") as file:
                iteration = pickle.load(file)["training_iteration"]
            facts = manifest_of(trial["checkpoint"])
            assert facts["training_iteration"] == iteration
            assert facts["num_env_steps_sampled_lifetime"] == 200 * iteration
            return trial["checkpoint"], iteration
    return None, 0


def wait_until(command, folder, is_it):
    """Waits until the iteration of the newest checkpoint fulfils a condition."""
    deadline = time.monotonic() + 240
    while not is_it(newest(folder)[1]):
        assert command.process.poll() is None, command.finish() and command.output
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count_files(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


def kill_while_writing(command, folder, share):
    """Kills a command and its trial when a share of a checkpoint is written; returns whether that cut it short.

    A checkpoint is written into a temporary folder (the first half), and copied from there to the trial's (the other).
    """
    (trial,) = (path for path in folder.iterdir() if path.is_dir())
    temporary, family, aside = Path(tempfile.gettempdir()), {str(pid) for pid in command.family()}, None
    whole, deadline = count_files(newest(folder)[0]), time.monotonic() + 120
    while aside is None:
        assert time.monotonic() < deadline
        found = (name for name in os.listdir(temporary) if name.endswith(".writing"))
        aside = next((name for name in found if name.removesuffix(".writing").rpartition("-")[2] in family), None)
    pid, former = int(aside.removesuffix(".writing").rpartition("-")[2]), set(os.listdir(trial))
    while True:
        os.kill(pid, signal.SIGSTOP)  # the whole of it takes milliseconds
        copies = [trial / name for name in os.listdir(trial) if name not in former]
        written = whole + count_files(copies[0]) if copies else count_files(temporary / aside)
        if written >= max(1, 2 * whole * share):
            break
        os.kill(pid, signal.SIGCONT)
        assert time.monotonic() < deadline
        time.sleep(0.0002)
    command.kill(pid)
    for name in (aside, aside.split(".")[1]):
        shutil.rmtree(temporary / name, ignore_errors=True)
    return written < 2 * whole


# Many kills take minutes, as runs that learn do.
@pytest.mark.parametrize(
    "more_kills", [pytest.param(0, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.learning)]
)
@pytest.mark.timeout(1800)
def test_a_stage_goes_on_from_its_last_checkpoint(start, rllib, refused, write, tmp_path, monkeypatch, more_kills):
    """After each kind of end it has its counters, its buffer and exactly one row per iteration."""
    # Tune writes its own state, and copies its files, at every twentieth checkpoint only.
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1000")
    config = {**TINY, "num_steps_sampled_before_learning_starts": 600}
    body = {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "config": config}
    first = {**body, "stop": {"num_env_steps_sampled_lifetime": 200}}
    second = {**body, "restore": "${first.checkpoint}", "stop": {"training_iteration": 10**6}}
    path = write("run.yaml", yaml.safe_dump({"first": first, "run": second}, sort_keys=False))
    words = ("train", "file", path, "--local-dir", "results", "--checkpoint-freq", "1", "--keep-checkpoints-num", "20")
    folder, rng = tmp_path / "results" / "run", random.Random(0)

    command = start(*words)
    assert (command.wait_for_row(), command.wait_for_row()) == (1, 2)
    wait_until(command, folder, bool)
    assert "is still running in another process" in refused(*words, "--resume")
    wait_until(command, folder, lambda iteration: iteration % 20 in range(6, 16))  # Tune knows older ones only
    before = newest(folder)[1]
    cut = [kill_while_writing(command, folder, 0.7 * rng.random())]
    time.sleep(1.0)  # Ray ends its processes
    saved = newest(folder)[1]
    assert saved >= before > 0
    [checkpoint] = (tmp_path / "results" / "first").glob("*/checkpoint_*")
    assert yaml.safe_load((folder / "experiment.yaml").read_text())["checkpoints_used"] == {"first": str(checkpoint)}
    message = refused(*words, "--resume", "--set", "gamma=0.5")
    assert "was started with other settings (config/gamma: (not set) -> 0.5)" in message

    while len(cut) <= more_kills or not any(cut):  # copying may be faster than the kill
        command = start(*words, "--resume")
        assert command.wait_for_row() == saved + 1
        wait_until(command, folder, lambda iteration: iteration >= saved + 2)  # noqa: B023
        before, share = newest(folder)[1], 0.9 * rng.random()
        cut.append(kill_while_writing(command, folder, share))
        time.sleep(1.0)
        saved = newest(folder)[1]
        assert saved >= before
        print(f"kill {len(cut)} at {share:.2f} of a checkpoint: iteration {saved}, cut short: {cut[-1]}", flush=True)
    assert sum(cut) > more_kills / 2

    for number in (signal.SIGTERM, signal.SIGINT):
        command = start(*words, "--resume")
        assert command.wait_for_row() == saved + 1
        if number == signal.SIGTERM:
            command.process.terminate()  # as `timeout` does: the command first, then its group with it
        command.signal(number)
        assert command.finish() == 130, command.output
        output = command.output
        assert "Stopping after this iteration, with a checkpoint" in output
        assert "first: finished already" in output
        assert "Traceback" not in output
        saved = max(int(row["training_iteration"]) for row in rows(folder))
        checkpoint, iteration = newest(folder)
        assert iteration == saved
        if number == signal.SIGTERM:
            # A state of Tune that was cut short, and a checkpoint, are passed over for those before them.
            max(folder.glob("experiment_state-*.json")).write_text("")
            file = checkpoint / "replay_buffer" / "store.rows.npy"
            file.write_bytes(file.read_bytes()[:-1])
            former, saved = newest(folder)
            assert former != checkpoint
    goes_on = output.splitlines()[output.splitlines().index("Go on with:") + 1].split()
    assert goes_on == ["rllib", *map(str, words), "--resume"]

    # A checkpoint that Tune knows and that has changed in place is set aside for the one before it.
    file = checkpoint / "replay_buffer" / "store.rows.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    last = saved + 1
    command = start(*goes_on[1:], "--set", f"stop.training_iteration={last}")
    assert command.finish() == 0, command.output
    assert f"{checkpoint} is damaged" in command.output
    table = rows(folder)
    assert [int(row["training_iteration"]) for row in table] == list(range(2, last + 1))
    # 200 steps an iteration from the first stage on, all of them still in the buffer.
    for row in table:
        steps = 200 * int(row["training_iteration"])
        assert float(row["num_env_steps_sampled_lifetime"]) == steps
        assert float(row["replay_buffer/num_env_steps_stored"]) == steps
    # Losses are there, though learning began after the first row was written.
    assert table[0]["learners/default_policy/critic_loss"] == "nan"
    assert float(table[-1]["learners/default_policy/critic_loss"]) > 0
    assert {entry.name for entry in (tmp_path / "results").iterdir()} == {"first", "run"}
    assert [row["training_iteration"] for row in rows(tmp_path / "results" / "first")] == ["1"]

    # Its agent as data, with the record of how it came about.
    exported = rllib("export", folder, "--out", "agent")
    assert exported.exit_code == 0, exported.output
    agent = load_exported(tmp_path / "agent")
    assert agent.progress["training_iteration"] == last
    assert agent.env_steps() == 200 * last
    assert agent.progress["episode_return_mean"] == pytest.approx(float(table[-1]["env_runners/episode_return_mean"]))
    assert (agent.config.env, agent.config.env_config) == ("SaMI/Pendulum-v0", {"max_steps": 50})
    assert "rllib train file" in (tmp_path / "agent" / "README.md").read_text()
    assert sum(p.numel() for p in agent.module().parameters()) > 1000


def test_a_checkpoint_deleted_before_a_kill_gets_an_empty_folder_that_tune_can_delete(tmp_path):
    gone = SimpleNamespace(checkpoint=SimpleNamespace(path=str(tmp_path / "t" / "checkpoint_000001")))
    manager = SimpleNamespace(best_checkpoint_results=[gone], latest_checkpoint_result=gone)
    trial = SimpleNamespace(trial_id="t", relative_logdir="t", run_metadata=SimpleNamespace(checkpoint_manager=manager))
    CheckpointNotes(Run(tmp_path), resumed=True).on_step_begin(0, [trial])
    assert (tmp_path / "t" / "checkpoint_000001").is_dir()
