"""`rllib evaluate` as a terminal runs it: its processes, and what it says before anything is played."""

import multiprocessing
import os
import re
import subprocess
import sysconfig
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllib_sami.envs import ENVIRONMENTS
from rllib_sami_cli import main

RLLIB = Path(sysconfig.get_path("scripts"), "rllib")


Pendulum = ENVIRONMENTS["SaMI/Pendulum-v0"]


class Dies(Pendulum):
    """Takes its process with it, unless that is the first one."""

    def __init__(self, config=None):
        super().__init__(max_steps=5)

    def reset(self, **given):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().reset(**given)


def test_a_lost_process_is_told_in_one_line(checkpoints):
    words = ["evaluate", checkpoints / "plain", "--env", f"{__name__}.Dies", "--workers", "1", "-q"]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 2, done.output
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("Error: evaluate: workers=1: a process that played ended before its time.")
    assert "__name__ == '__main__'" in line


def test_environments_get_further_settings(checkpoints):
    words = ["evaluate", checkpoints / "plain", "--split", "extreme", "--episodes", "1", "-q", "--env-config"]
    done = CliRunner().invoke(main, [*map(str, words), '{"max_steps": 7}'])
    assert done.exit_code == 0, done.output
    assert "2 episodes" in done.stdout
    assert re.search(r"^extreme +0 .* 7$", done.stdout, re.MULTILINE), done.stdout
    done = CliRunner().invoke(main, [*map(str, words), '{"max_steps": 7}', "--name", "weekly"])
    assert done.stdout.startswith("weekly on SaMI/Pendulum-v0"), done.stdout
    done = CliRunner().invoke(main, [*map(str, words), "[7]"])
    assert "--env-config: a JSON object is needed" in done.stderr


class Breaks(Pendulum):
    """Raises in its third step."""

    def __init__(self, config=None):
        super().__init__(max_steps=5)
        self.taken = 0

    def step(self, action):
        self.taken += 1
        if self.taken == 3:
            raise RuntimeError("the motor\nburned out")
        return super().step(action)


def in_process(*words):
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.stderr


def installed(*words, workers=1):
    """The installed command, whose process starts some of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [RLLIB, *words, "--workers", str(workers)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("run", [in_process, installed])
def test_an_environment_that_raises_is_told_in_one_line(checkpoints, run):
    code, stderr = run("evaluate", str(checkpoints / "plain"), "--env", f"{__name__}.Breaks", "-q")
    assert code == 2, stderr
    [line] = stderr.strip().splitlines()
    assert re.fullmatch(
        r"Error: evaluate: The environment '.*Breaks' failed \(split train, task 0, episode 0, step 3\): "
        "RuntimeError: the motor burned out",
        line,
    )


class Meets(Pendulum):
    """Leaves a file with the number of its process and, if that is not the first one, waits for another such file."""

    def __init__(self, config=None):
        super().__init__(max_steps=5)

    def reset(self, **given):
        folder = Path(os.environ["MEETING"])
        (folder / str(os.getpid())).touch()
        until = time.monotonic() + 120
        while multiprocessing.parent_process() and len([*folder.iterdir()]) < 2:
            assert time.monotonic() < until, "there is only one process"
            time.sleep(0.01)
        return super().reset(**given)


def test_the_installed_command_finds_with_two_processes_what_one_finds(checkpoints, tmp_path, monkeypatch):
    words = ["evaluate", str(checkpoints / "plain"), "--env", f"{__name__}.Meets", "-q", "--out"]
    for name, run, processes in (("one", in_process, 1), ("two", partial(installed, workers=2), 2)):
        (tmp_path / "met" / name).mkdir(parents=True)
        monkeypatch.setenv("MEETING", str(tmp_path / "met" / name))
        assert run(*words, str(tmp_path / name)) == (0, "")
        assert len(os.listdir(tmp_path / "met" / name)) == processes
    one, two = ((tmp_path / name / "results.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


def test_an_agent_is_exported_with_its_returns_and_replaced_on_request_only(checkpoints, tmp_path):
    def run(run, *words):
        return CliRunner().invoke(main, [*map(str, ["export", checkpoints / run, "--out", tmp_path / "it", *words])])

    done = run("experiment/first", "--episodes", "2")
    assert done.exit_code == 0, done.output
    card, weights = ((tmp_path / "it" / name).read_bytes() for name in ("README.md", "model.safetensors"))
    assert b"2 episodes of each" in card
    assert str(tmp_path).encode() not in card + (tmp_path / "it/config.json").read_bytes()
    done = run("experiment/second")
    assert done.exit_code == 2
    assert "it has an exported agent. Give another folder, or --overwrite" in done.stderr
    assert (tmp_path / "it/model.safetensors").read_bytes() == weights
    assert run("experiment/second", "--overwrite").exit_code == 0
    assert "# TESAC on SaMI/Pendulum-v0" in (tmp_path / "it/README.md").read_text()
    done = CliRunner().invoke(main, ["export", str(tmp_path / "it"), "--out", str(tmp_path / "other")])
    assert done.exit_code == 2
    assert "is an exported agent already" in done.stderr


def test_what_becomes_of_the_folder(checkpoints, tmp_path, monkeypatch):
    def run(*words):
        return CliRunner().invoke(main, [*map(str, ["evaluate", checkpoints / "experiment/first", *words])])

    here = ["--episodes", "1", "--out", tmp_path / "results"]
    for more in ([], [], ["--overwrite", "--seed", "1"]):  # the same command again, another one
        done = run(*here, *more)
        assert done.exit_code == 0, done.output
    before = (tmp_path / "results/results.parquet").read_bytes()
    monkeypatch.setattr("rllib_sami.evaluation.play.evaluate", pytest.fail)
    done = run(*here)
    assert done.exit_code == 2
    assert "--seed 1" in done.stderr
    assert "--overwrite" in done.stderr
    assert (tmp_path / "results/results.parquet").read_bytes() == before
    (tmp_path / "file").touch()
    for folder in ("/proc/results", tmp_path / "file/results"):
        done = run("--out", folder)
        assert done.exit_code == 2
        assert "cannot be written to" in done.stderr
