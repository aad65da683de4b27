"""What a run prints while it trains, on results made by hand."""

import io
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from rllib_sami_cli import progress as module
from rllib_sami_cli.ending import MissingMetrics
from rllib_sami_cli.progress import Announcements, Progress, duration, returns
from rllib_sami_cli.steps import doing, quiet_option


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.seconds)
    return now


def result(iteration, *, value=None, by_task=None, evaluation=None, **more):
    env_runners = {"episode_return_mean": float("nan") if value is None else value}
    if by_task:
        env_runners["return_by_task"] = by_task
    return {
        "training_iteration": iteration,
        "num_env_steps_sampled_lifetime": 1000 * iteration,
        "time_this_iter_s": 2.0,
        "time_total_s": 2.0 * iteration,
        "env_runners": env_runners,
        "learners": {"default_policy": {"num_updates_lifetime": 50 * iteration}},
        "evaluation": {} if evaluation is None else {"env_runners": {"episode_return_mean": evaluation}},
        **more,
    }


class Table:
    """A progress callback that prints into a text."""

    def __init__(self, stop, interval=10.0):
        self.text = io.StringIO()
        self.progress = Progress(stop, interval, Console(file=self.text, width=200, highlight=False))
        self.trial = SimpleNamespace(trial_id="t", experiment_tag="0", last_result={})

    def report(self, result):
        self.progress.on_trial_result(0, [self.trial], self.trial, result)

    @property
    def rows(self):
        lines = [line.split() for line in self.text.getvalue().splitlines()]
        return [line for line in lines if line and line[0].replace(",", "").isdigit()]


def test_a_resumed_run_shows_the_last_return_that_is_known(clock):
    table = Table({})
    assert table.progress.lacks_return([table.trial])
    table.trial.last_result = result(6, value=-50.0)
    table.report(result(7))
    assert table.rows[-1][2] == "-50.0"
    assert not table.progress.lacks_return([table.trial])


def test_rows_rates_and_time_left(clock):
    table = Table({"num_env_steps_sampled_lifetime": 10_000, "env_runners/episode_return_mean": 0}, interval=0)
    table.report(result(1, value=-100.0))
    clock.seconds += 2
    table.report(result(2, value=-50.0))
    iteration, steps, value, steps_rate, update_rate, elapsed, left = table.rows[-1]
    assert (iteration, steps, value) == ("2", "2,000", "-50.0")
    assert (float(steps_rate), float(update_rate)) == (500.0, 25.0)
    assert elapsed == "4s"
    assert left == "16s"  # 8,000 steps at 500 a second


def test_one_row_each_interval_and_the_last_is_never_lost(clock):
    table = Table({})
    for iteration in range(1, 8):
        table.report(result(iteration))
        clock.seconds += 4
    assert [row[0] for row in table.rows] == ["1", "4", "7"]
    table.report(result(8))
    table.progress.on_trial_complete(0, [table.trial], table.trial)
    assert [row[0] for row in table.rows] == ["1", "4", "7", "8"]
    table.progress.flush([table.trial])
    assert len(table.rows) == 4


def test_the_last_return_known_stands_where_no_episode_ended(clock):
    table = Table({}, interval=0)
    table.report(result(1, value=-3.0, by_task={"0": -2.0, "10": -4.0, "2": -5.0}, evaluation=-7.0))
    clock.seconds += 1
    table.report(result(2, by_task={"0": float("nan"), "2": -1.0}))
    assert [row[2] for row in table.rows] == ["-3.00", "-3.00"]
    text = table.text.getvalue()
    assert "by task   0: -2.00  2: -5.00  10: -4.00" in text
    assert "by task   0: -2.00  2: -1.00  10: -4.00" in text
    assert text.count("evaluation  -7.00") == 1


def test_evaluation_by_split(clock):
    table = Table({}, interval=0)
    of_splits = {"extreme": {"return_mean": -2.5}, "train": {"return_mean": -1.0}, "num_healthy_workers": 1}
    of_splits["env_steps"] = 4_000
    table.report(result(1) | {"evaluation": of_splits | {"env_runners": {"episode_return_mean": -1.75}}})
    assert "evaluated at 4,000 steps   train: -1.00  extreme: -2.50\n" in table.text.getvalue()


def test_no_line_by_task_where_there_are_no_tasks(clock):
    table = Table({}, interval=0)
    table.report(result(1, value=-3.0, by_task={"0": -3.0}))
    assert "by task" not in table.text.getvalue()


def test_health_has_a_column_where_it_is_watched(clock):
    table = Table({}, interval=0)
    table.report(result(1, health={"tasks_at_chance": 10, "contexts_equal": 0}))
    clock.seconds += 1
    table.report(result(2, health={"tasks_at_chance": 1000, "contexts_equal": 1200}))
    assert table.text.getvalue().splitlines()[0].endswith("left  health")
    assert [row[7:] for row in table.rows] == [["ok"], ["tasks", "at", "chance,", "contexts", "equal"]]


def test_returns():
    assert returns({"env_runners": None, "evaluation": 3}) == {}
    assert returns(result(1, value=2.0)) == {"env_runners/episode_return_mean": 2.0}


class TestMissingMetrics:
    """A criterion that nothing reports is told, once."""

    @pytest.fixture
    def report(self, capsys):
        def run(stop, *results, patience=3):
            callback = MissingMetrics(stop, patience)
            for each in results:
                callback.on_trial_result(0, [], None, each)
            return capsys.readouterr().err

        return run

    def test_once_with_names_like_it(self, report):
        stop = {"learners/default_policy/num_update_lifetime": 5, "training_iteration": 9}
        text = report(stop, *[result(iteration) for iteration in range(1, 10)])
        assert text.count("Warning:") == len(text.splitlines()) == 1
        assert "'learners/default_policy/num_update_lifetime' is not in the results so far" in text
        assert "Like it: learners/default_policy/num_updates_lifetime" in text

    def test_the_same_name_elsewhere(self, report):
        text = report({"custom_metrics/num_updates_lifetime": 5}, *[result(iteration) for iteration in range(1, 4)])
        assert "Like it: learners/default_policy/num_updates_lifetime" in text

    def test_a_group_is_no_metric(self, report):
        assert "'learners/default_policy'" in report({"learners/default_policy": 5}, *[result(i) for i in range(1, 4)])

    def test_success_that_the_environment_does_not_know(self, report):
        stop = {"env_runners/success_rate": 1.0}
        unknown = {"success_rate": float("nan")}
        results = [result(number, value=1.0) for number in range(3)]
        for each in results:
            each["env_runners"] |= unknown
        assert "'env_runners/success_rate' is not in the results so far" in report(stop, *results)
        results[1]["env_runners"]["success_rate"] = 0.0
        assert report(stop, *results) == ""

    def test_what_comes_late_is_waited_for(self, report):
        stop = {"learners/p/loss": 1, "env_runners/own": 1, "evaluation/env_runners/own": 1, "perf/slow": 1}
        early = [result(iteration, learners={}) for iteration in range(1, 20)]
        for each in early[1:]:
            each["perf"] = {"slow": float("nan")}
        assert report(stop, *early) == ""
        late = result(20, value=1.0, evaluation=1.0, learners={"p": {"loss": 1.0}})
        late["env_runners"]["own"] = late["evaluation"]["env_runners"]["own"] = 1.0
        bare = result(21, value=1.0, evaluation=1.0)
        nothing = {"learners": {"p": {"other": float("nan"), "num_updates_lifetime": 0}}, "evaluation": {"n": 0}}
        assert report(stop, *[each | nothing for each in early]) == ""
        assert report(stop, *early, late, bare, bare, bare, bare) == ""
        assert report(stop, bare, bare, bare, bare).count("Warning:") == 4


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (float("inf"), "-"), (42.4, "42s"), (185, "3m05s"), (7620, "2h07m")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({"sance_bound": 1.5, "log_k": 4.852}, "1.50/4.85"),
        ({"sance_bound": 1.5, "task_bound": 4.8, "skill_bound": -0.3, "log_k": 4.852}, "4.80/4.85"),
        ({"sance_bound": float("nan"), "log_k": float("nan")}, "-"),
    ],
)
def test_a_contrast_has_a_column_with_its_bound(clock, metrics, shown):
    table = Table({})
    table.report(result(1, learners={"default_policy": metrics}))
    assert table.text.getvalue().splitlines()[0].endswith("left  bound/most")
    assert table.rows[0][-1] == shown


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


def test_a_line_is_printed_before_whatever_takes_long():
    assert told({}, 2) == ["Training ...", "1 ...", "2 ..."]
    [first, *lines] = told({"compile_update": True, "evaluation_interval": 3}, 6)
    assert "compiling the first update" in first
    told_of_evaluation = [index for index, line in enumerate(lines) if "evaluation" in line]
    assert told_of_evaluation == [1], lines  # after iteration 1, once
    assert told({"evaluation_interval": 1}, 4, "-q") == []


def test_nothing_outside_a_command(capsys):
    doing("Waiting")
    assert capsys.readouterr().err == ""
