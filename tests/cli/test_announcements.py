"""What is told while Tune runs: before what takes long, and once of what hinders learning."""

from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from rllib_sami.cli.announcements import Announcements, HealthWarnings
from rllib_sami.cli.steps import doing, quiet_option

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
    assert "the first update compiles" in first
    told_of_evaluation = [index for index, line in enumerate(lines) if "evaluation" in line]
    assert told_of_evaluation == [1], lines  # after iteration 1, once
    assert told({"evaluation_interval": 1}, 4, "-q") == []


def test_nothing_outside_a_command(capsys):
    doing("Waiting")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("trials", [1, 2])
def test_one_warning_for_each_symptom_of_each_trial(capsys, trials):
    callback = HealthWarnings()
    learned = {"default_policy": {"task_bound": 0.01, "log_k": 4.0}}
    all_trials = [SimpleNamespace(trial_id=f"t{index}") for index in range(trials)]
    for count in (0, 999, 1000, 1500):
        for trial in all_trials:
            result = {"health": {"tasks_at_chance": count, "skills_at_chance": 0}, "learners": learned}
            callback.on_trial_result(0, all_trials, trial, result)
    callback.on_trial_result(0, all_trials, all_trials[0], {})  # of another algorithm
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == trials
    assert all("`task_bound` is 0.010 of at most 4.00 nats, as for 1,000 updates" in line for line in lines)
    assert ("t1" in lines[-1]) == (trials == 2)
