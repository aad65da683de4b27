"""Which run `--resume` means."""

import json
import os

import pytest
import torch
from ray import tune

import rllib_sami
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import Experiment
from rllib_sami_cli.folders import Run, find_runs
from rllib_sami_cli.resources import NO_LIMITS, Limits
from rllib_sami_cli.resume import as_started, check_resumable, choose_run, record_of
from rllib_sami_cli.schema import Plan, check
from rllib_sami_cli.smoke import shrink


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


def test_checkpoints_are_named_where_tune_s_state_is_damaged(plan, make, tmp_path):
    run = make("ant", "2026-01-01", 3, checkpoint=False)
    (run.path / "experiment_state-2026.json").write_text('{"trial_da')
    assert run.orphaned_checkpoint() is None
    newest = run.path / "trial" / "checkpoint_000002"
    for folder in (newest, newest.with_name("checkpoint_000001")):
        folder.mkdir(parents=True)
        (folder / "rllib_checkpoint.json").write_text("{}")
    with pytest.raises(UserError, match=f"without --resume: --restore {newest}"):
        chosen(plan, tmp_path)
    plan.stage = "ant"
    with pytest.raises(UserError, match=f"without --resume: --set ant.restore={newest}, and --checkpoint for"):
        chosen(plan, tmp_path, alone=False)
    (run.path / "experiment_state-2025.json").write_text("{}")  # Tune takes the one before
    assert run.orphaned_checkpoint() is None


def test_a_finished_one_goes_on_when_its_criteria_are_raised(plan, make, tmp_path):
    run = make("ant", "2026-01-01", 10, finished=True)
    with pytest.raises(UserError, match="is finished: its stop criteria are met"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])
    plan.stop = {"training_iteration": 20}
    assert chosen(plan, tmp_path) == run.path.name
    check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])


def test_a_run_with_the_same_settings_goes_on_rather_than_a_newer_one(plan, make, tmp_path):
    ours = make("ant", "2026-01-01", 10, finished=True)
    plan.config = {"gamma": 0.5}
    make("ant_2026-01-02_00-00-00", "2026-01-02", 10, finished=True)
    assert chosen(plan, tmp_path) == "ant_2026-01-02_00-00-00"
    plan.config = {"gamma": 0.9}
    assert chosen(plan, tmp_path, alone=False) == ours.path.name
    plan.config = {"gamma": 0.1}
    assert chosen(plan, tmp_path) == "ant_2026-01-02_00-00-00"  # for the message


def test_a_checkpoint_that_another_stage_has_used_is_not_trained_on(plan, make, tmp_path):
    first = make("ant", "2026-01-01", 10, finished=True)
    second = make("bee", "2026-01-01", 10, finished=True)
    second.write(checkpoints_used={"ant": str(first.path / "trial" / "checkpoint_1")})
    other = Plan("bee", Run, {"gamma": 0.9}, {"training_iteration": 20}, {}, checkpoints={})
    check_resumable([(plan, first), (other, second)])  # the last one alone
    raised = Plan("ant", Run, {"gamma": 0.9}, {"training_iteration": 20}, {})
    with pytest.raises(UserError, match=r"ant is finished, and .*bee was trained with its checkpoint"):
        check_resumable([(raised, first), (other, second)])


def test_without_a_checkpoint(plan, make, tmp_path):
    make("ant", "2026-01-01", 1, checkpoint=False)
    with pytest.raises(UserError, match="ended before its first checkpoint"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])
    # Beside other experiments it starts over, in a folder of its own, unless it is still running.
    assert chosen(plan, tmp_path, alone=False).startswith("ant_")
    [run] = find_runs(tmp_path, "ant")
    assert run.lock()
    with pytest.raises(UserError, match="is still running in another process"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True, alone=False))])


def test_what_was_started_over_does_not_hide_the_run_that_finished(plan, make, tmp_path):
    make("ant", "2026-01-01", 1, checkpoint=False)
    make("ant_2026-01-02_00-00-00", "2026-01-02", 10, finished=True)
    assert chosen(plan, tmp_path, alone=False) == "ant_2026-01-02_00-00-00"
    with pytest.raises(UserError, match="is finished"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])
    make("ant_2026-01-03_00-00-00", "2026-01-03", 1, checkpoint=False)  # and started over again
    assert chosen(plan, tmp_path, alone=False) not in ("ant", "ant_2026-01-02_00-00-00")


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


def test_a_run_whose_state_tune_cannot_load_is_refused_instead_of_started_over(plan, make, tmp_path):
    run = make("ant", "2026-01-01", 1)
    gone = b"cno_such_module\nStopper\n.".hex()
    state = {"trial_data": [], "stopper": {"_type": "CLOUDPICKLE_FALLBACK", "value": gone}}
    (run.path / "experiment_state-1.json").write_text(json.dumps(state))
    (run.path / "experiment_state-2.json").write_text("half")  # by a kill; Tune takes the one before
    with pytest.raises(UserError, match=r"experiment_state-1\.json cannot be read: .*no_such_module.*--restore"):
        check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])


def test_a_run_from_before_its_algorithm_moved_is_the_same_run(plan, make, tmp_path):
    plan.algorithm = rllib_sami.SaCCM
    run = make("ant", "2026-01-01", 1)
    run.write(run="rllib_sami.presets.SaCCM")
    check_resumable([(plan, choose_run(plan, str(tmp_path), resume=True))])


def test_an_unchanged_search_is_not_checked_again(plan, make):
    plan.config = {"env_config": {"gravity": tune.choice([1, 2])}}
    assert as_started(plan, make("ant", "2026-01-01", 1)) is plan


class TestOptions:
    """What the command line said of a run when it began still holds when it is resumed without a word of it."""

    BEGUN = ("--set", "gamma=0.9", "--set", "env_config.max_steps=7", "--seed", "3", "--checkpoint-freq", "5")

    @pytest.fixture
    def resumed(self, rllib, write, monkeypatch):
        """Begins a run with options, has it stop, and resumes it with others: the plan, or the message."""
        from rllib_sami_cli import runner

        text = {"pole": {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "stop": {"training_iteration": 9}}}
        path = write("pole.yaml", json.dumps(text))
        plans = []
        monkeypatch.setattr(runner, "_start_ray", lambda session: None)
        monkeypatch.setattr(runner, "_run_one", lambda plan, run, *rest: plans.append((plan, run)) or 0)
        trial = {"status": "", "result": {"training_iteration": 9}, "checkpoint": path.parent}
        monkeypatch.setattr(Run, "trials", lambda run: [trial])

        def resume(*options, begun=self.BEGUN, finished=False):
            words = ("train", "file", path, "--local-dir", "results")
            assert rllib(*words, *begun).exit_code == 0
            plan, run = plans.pop()
            run.write(**record_of(plan), started="2026-01-01", finished=finished)
            result = rllib(*words, "--resume", *options)
            return plans.pop()[0] if plans else result.stderr

        return resume

    def test_need_not_be_repeated(self, resumed):
        plan = resumed()
        assert (plan.config["gamma"], plan.config["seed"]) == (0.9, 3)
        assert plan.config["env_config"] == {"max_steps": 7}
        assert plan.checkpoint_config == {"checkpoint_frequency": 5}

    def test_may_be_repeated(self, resumed):
        assert resumed(*self.BEGUN).config["gamma"] == 0.9

    def test_may_not_be_contradicted(self, resumed):
        assert "other settings (config/gamma: 0.9 -> 0.5)" in resumed("--set", "gamma=0.5")

    def test_new_ones_are_refused(self, resumed):
        assert "other settings (config/tau: (not set) -> 0.5)" in resumed("--set", "tau=0.5")

    def test_stop_criteria_are_today_s_or_else_those_of_the_run(self, resumed):
        begun = ("--set", "stop.training_iteration=20")
        assert resumed(begun=begun).stop == {"training_iteration": 20}
        assert resumed("--set", "stop.training_iteration=30", begun=begun).stop == {"training_iteration": 30}

    def test_of_a_finished_run_with_raised_criteria(self, resumed):
        plan = resumed("--set", "stop.training_iteration=30", finished=True)
        assert (plan.config["gamma"], plan.stop) == (0.9, {"training_iteration": 30})

    def test_those_of_a_command_are_forgotten(self, resumed):
        assert resumed(begun=("--set", "time_budget_s=5")).time_budget_s is None


class TestAuto:
    """Settings that the file leaves to the machine stay as the first machine had them."""

    AUTO = {"num_env_runners": "auto", "num_gpus_per_learner": "auto"}  # noqa: RUF012

    @pytest.fixture
    def on(self, monkeypatch):
        """Checks the experiment on a machine with so many cores, with a GPU or not."""

        def check_on(cores, gpu=False, limits=NO_LIMITS, **config):
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
            monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
            body = {"run": "SAC", "env": "Pendulum-v1", "stop": {"training_iteration": 10}, "config": config}
            return check(Experiment("ant", body), limits)

        return check_on

    @pytest.fixture
    def started(self, make, tmp_path):
        """Makes a run of a plan that can go on."""

        def start(plan):
            run = make("ant", "2026-01-01", 3)
            run.write(**record_of(plan))
            return run

        return start

    @pytest.mark.parametrize(("then", "now"), [(2, 8), (8, 2)])
    def test_on_another_machine(self, on, started, then, now):
        plan = on(then, **self.AUTO)
        started(plan)
        later = on(now, gpu=True, **self.AUTO)
        assert later.config != plan.config
        [run] = find_runs(started(plan).path.parent, "ant")
        resumed = as_started(later, run)
        assert (resumed.config, resumed.bundles) == (plan.config, plan.bundles)
        check_resumable([(resumed, run)])

    def test_a_number_in_the_file_is_compared(self, on, started):
        run = started(on(8, **self.AUTO))
        later = as_started(on(8, num_env_runners=3, num_gpus_per_learner="auto"), run)
        with pytest.raises(UserError, match=r"other settings \(config/num_env_runners: 6 -> 3\)"):
            check_resumable([(later, run)])
        check_resumable([(as_started(on(2, num_env_runners=6, num_gpus_per_learner="auto"), run), run)])

    def test_a_file_that_did_not_mention_it_before(self, on, started):
        run = started(on(8))
        later = as_started(on(8, **self.AUTO), run)
        assert "num_env_runners" not in later.config
        check_resumable([(later, run)])

    def test_a_smoke_run(self, on, started):
        run = started(shrink(on(8, **self.AUTO)))
        later = shrink(on(2, **self.AUTO))
        assert (run.record["config"]["num_env_runners"], later.config["num_env_runners"]) == (1, 0)
        check_resumable([(as_started(later, run), run)])

    def test_on_the_command_line(self, on, started, rllib, write):
        plan = on(2, **self.AUTO)
        started(plan)
        on(8)
        text = {"ant": {"run": "SAC", "env": "Pendulum-v1", "stop": plan.stop, "config": self.AUTO}}
        words = ("train", "file", write("ant.yaml", json.dumps(text)), "--resume", "--local-dir", ".")
        result = rllib(*words)
        assert "Ray was started" in result.stderr, result.output
        result = rllib(*words, "--set", "num_env_runners=1")
        assert "other settings (config/num_env_runners: 0 -> 1)" in result.stderr

    def test_what_ray_may_use_counts_in_a_new_run(self, on):
        assert on(8, limits=Limits(cpus=4), **self.AUTO).config["num_env_runners"] == 2


def test_unless_asked_to_resume_a_run_is_new(plan, make, tmp_path):
    make("ant", "2026-01-01", 1)
    assert not choose_run(plan, str(tmp_path), resume=False).record
