"""What is told while Tune runs before what takes long."""

from types import SimpleNamespace

import click
from click.testing import CliRunner

from rllib_sami_cli.progress import Announcements
from rllib_sami_cli.steps import doing, quiet_option

TRIAL = SimpleNamespace(trial_id="t")


def told(settings, results, *words):
    @click.command()
    @quiet_option
    def command():
        callback = Announcements(settings)
        callback.on_trial_start(0, [], TRIAL)
        for iteration in range(1, results + 1):
            callback.on_trial_result(0, [], TRIAL, {"training_iteration": iteration})
            doing(f"{iteration}")

    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.exception
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_lines_before_silences():
    assert told({}, 2) == ["Training ...", "1 ...", "2 ..."]
    [first, *lines] = told({"compile_update": True, "evaluation_interval": 3}, 6)
    assert "compiling the first update" in first
    told_of_evaluation = [index for index, line in enumerate(lines) if "evaluation" in line]
    assert told_of_evaluation == [1], lines  # after iteration 1, once
    assert told({"evaluation_interval": 1}, 4, "-q") == []


def test_nothing_outside_a_command(capsys):
    doing("Waiting")
    assert capsys.readouterr().err == ""
