"""Which run `--resume` means."""

import pytest

from rllib_sami.cli.errors import UserError
from rllib_sami.cli.folders import Run
from rllib_sami.cli.resume import check_resumable, choose_run, record_of
from rllib_sami.cli.schema import Plan


@pytest.fixture
def plan():
    return Plan("ant", Run, {"gamma": 0.9}, {"training_iteration": 10}, {})


@pytest.fixture
def make(tmp_path, plan, monkeypatch):
    """Makes a run that stopped at an iteration, with a checkpoint or not."""
    states = {}
    monkeypatch.setattr(Run, "trials", lambda run: states[run.path])

    def make_run(name, started, iteration, *, finished=False, checkpoint=True):
        run = Run(tmp_path / name)
        run.write(**record_of(plan), started=started, finished=finished)
        result = {"training_iteration": iteration}
        states[run.path] = [{"status": "", "result": result, "checkpoint": run.path if checkpoint else None}]
        return run

    return make_run


def chosen(plan, tmp_path, **options):
    return choose_run(plan, str(tmp_path), resume=True, **options).path.name


def test_the_newest_that_can_go_on(plan, make, tmp_path):
    make("ant", "2026-01-01", 3)
    make("ant_2026-01-02_00-00-00", "2026-01-02", 5)
    make("ant_2026-01-03_00-00-00", "2026-01-03", 10, finished=True)
    make("ant_2026-01-04_00-00-00", "2026-01-04", 1, checkpoint=False)
    assert chosen(plan, tmp_path) == "ant_2026-01-02_00-00-00"


def test_a_finished_one_goes_on_when_its_criteria_are_raised(plan, make, tmp_path):
    run = make("ant", "2026-01-01", 10, finished=True)
    with pytest.raises(UserError, match="is finished: its stop criteria are met"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])
    plan.stop = {"training_iteration": 20}
    assert chosen(plan, tmp_path) == run.path.name
    check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])


def test_without_a_checkpoint(plan, make, tmp_path):
    make("ant", "2026-01-01", 1, checkpoint=False)
    with pytest.raises(UserError, match="ended before its first checkpoint"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])
    # Beside other experiments it begins anew, in a folder of its own.
    assert chosen(plan, tmp_path, alone=False).startswith("ant_")


def test_of_several_the_missing_begin_and_the_finished_are_skipped(plan, make, tmp_path):
    make("ant", "2026-01-01", 10, finished=True)
    other = Plan("bee", Run, {}, {}, {})
    jobs = [(each, choose_run(each, str(tmp_path), resume=True, alone=False)) for each in (plan, other)]
    check_resumable(jobs)
    assert [bool(run.record) for _, run in jobs] == [True, False]


def test_other_settings_are_refused(plan, make, tmp_path):
    make("ant", "2026-01-01", 1)
    plan.config = {"gamma": 0.5}
    with pytest.raises(UserError, match=r"other settings \(config/gamma: 0.9 -> 0.5\)"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])


def test_unless_asked_to_resume_a_run_is_new(plan, make, tmp_path):
    make("ant", "2026-01-01", 1)
    assert not choose_run(plan, str(tmp_path), resume=False).record
