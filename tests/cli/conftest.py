"""What the command-line tests share: a runner, files, and a Ray that must not start."""

import logging
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from processes import Command

from rllib_sami_cli import main


@pytest.fixture(autouse=True)
def restored_process(monkeypatch):
    """The command sets environment variables, log levels and sys.path of its process; tests must not see them."""
    environment, path = dict(os.environ), list(sys.path)
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.rllib", "ray.tune", "ray.train", "ray.data")}
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def rllib(tmp_path, monkeypatch):
    """Runs the command in this process, in an empty folder; starting Ray is a failure."""
    import ray

    def refuse(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # it would end the cluster that all tests share
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words])

    return run


@pytest.fixture
def refused(rllib):
    """Runs the command, checks that it ends with one message and exit code 2, and returns the message."""

    def run(*words: str) -> str:
        result = rllib(*words)
        assert result.exit_code == 2, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        assert result.stdout == ""
        assert sum(line.startswith("Error: ") for line in result.stderr.splitlines()) == 1
        # What was being done is told before, in lines that end with an ellipsis.
        return "".join(line for line in result.stderr.splitlines(True) if not line.endswith(" ...\n"))

    return run


@pytest.fixture
def write(tmp_path):
    """Writes a file into the test's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def start(tmp_path):
    """Starts the command as a process in the test's folder; what still runs afterwards is killed."""
    commands = []

    def start_command(*words: object) -> Command:
        commands.append(Command(*words, cwd=tmp_path))
        return commands[-1]

    yield start_command
    for command in commands:
        command.kill()
