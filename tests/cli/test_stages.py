"""Stages: an experiment that starts from the checkpoint of an earlier one of its file."""

# ruff: noqa: E501 - one mistake per line reads best
import itertools
import shutil

import pytest
import yaml

from rllib_sami_cli import runner
from rllib_sami_cli.folders import Run

FIRST = {"run": "PlainSAC", "env": "SaMI/Pendulum-v0", "stop": {"training_iteration": 2}, "config": {}}


OWN_BODY = """
from pathlib import Path
import gymnasium, numpy

class Body(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), numpy.float32)

    def __init__(self, env_config):
        if Path("deleted").exists():
            raise ValueError(f"no checkpoint {env_config['policy']}")

    def reset(self, *, seed=None, options=None):
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        return numpy.zeros(2, numpy.float32), 0.0, False, True, {}
"""


def two_stages(first=None, **second):
    """A file of two experiments, of which the second refers to the first."""
    return yaml.safe_dump({"first": FIRST | (first or {}), "second": {**FIRST, **second}}, sort_keys=False)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (two_stages(restore="${frist.checkpoint}"), ["'second', restore: '${frist.checkpoint}'", "Did you mean 'first'?"]),
        (two_stages(config={"env_config": {"policy": ["${second.checkpoint}"]}}), ["config:", "from its own checkpoint"]),
        (two_stages({"restore": "${second.checkpoint}"}), ["'first', restore", "'second' comes later", "before 'first'"]),
        (two_stages(restore="${first.weights}"), ["no 'weights' to refer to. Write ${first.checkpoint}."]),
        (two_stages({"checkpoint_config": {"checkpoint_at_end": False}}, restore="${first.checkpoint}"),
         ["'first' has checkpoint_at_end: false and no checkpoint_frequency"]),
        (two_stages(storage_path="${first.checkpoint}"), ["storage_path:", "replaced in config and restore only"]),
        (two_stages(run="TESAC", restore="${first.checkpoint}"), ["'first' trains PlainSAC, and TESAC cannot start"]),
        (two_stages(restore="${first.checkpoint}", config={"gama": 1}), ["no setting 'gama'"]),
    ],
)  # fmt: skip
def test_refused_before_any_training(refused, write, text, parts):
    message = refused("train", "file", write("exp.yaml", text))
    for part in parts:
        assert part in message


@pytest.fixture
def trained(rllib, write, tmp_path, monkeypatch):
    """Runs a file without Ray: returns the plans that would have been trained, by name; some fail."""
    monkeypatch.setattr(runner, "_start_ray", lambda session: None)
    monkeypatch.setattr(Run, "trials", lambda run: run.record["trials"])
    monkeypatch.setattr("rllib_sami_cli.schema.checkpoints.check_restore", lambda path, algorithm: path)
    times = itertools.count()

    def train(text, *words, fails=(), storage=("--local-dir", "results")):
        plans = {}

        def run_one(plan, run, session):
            plans[plan.name] = plan
            trials = [
                {"result": {"env_runners": {"episode_return_mean": value}}, "checkpoint": run.path / f"t{value}" / "c"}
                for value in (1, 3, 2)
            ]
            finished = plan.name not in fails
            started = run.record.get("started", f"{next(times):03}")
            run.write(**runner.record_of(plan), finished=finished, started=started)
            run.record["trials"] = trials
            Run.write(run, trials=[{**trial, "checkpoint": str(trial["checkpoint"])} for trial in trials])
            return int(not finished)

        monkeypatch.setattr(runner, "_run_one", run_one)
        result = rllib("train", "file", write("exp.yaml", text), *storage, *words)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return plans, result

    return train


@pytest.fixture
def checkpoint(tmp_path):
    """A folder that looks like a checkpoint."""
    folder = tmp_path / "ready" / "checkpoint_000003"
    folder.mkdir(parents=True)
    (folder / "rllib_checkpoint.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("words", "name"),
    [((), "first"), (("--smoke",), "first-smoke"), (("--algo", "RecurrentSAC"), "first-recurrentsac")],
)
def test_references_become_the_best_trials_checkpoint(trained, tmp_path, words, name):
    variables = {"choice": [{"PRIOR": "${first.checkpoint}/module", "HOME": "${HOME}"}]}
    config = {"extra_python_environs_for_worker": variables}
    plans, result = trained(two_stages(restore="${first.checkpoint}", config=config), *words)
    assert result.exit_code == 0, result.output
    assert plans[name].restore is None
    path = str(tmp_path / "results" / name / "t3" / "c")
    second = plans[name.replace("first", "second")]
    assert (second.restore, second.checkpoints) == (path, {"first": path})
    [filled] = second.config["extra_python_environs_for_worker"].categories
    assert filled == {"PRIOR": f"{path}/module", "HOME": "${HOME}"}


def test_an_environment_that_needs_a_checkpoint_is_built_when_there_is_one(trained):
    plans, result = trained(two_stages(config={"env_config": {"policy": "${first.checkpoint}"}}))
    assert [*plans] == ["first"]
    assert result.exit_code == 2
    assert "Error: second: The environment 'SaMI/Pendulum-v0' failed" in result.stderr


def test_the_environment_of_a_finished_stage_is_not_made_again(trained, write):
    write("own_body.py", OWN_BODY)
    second = {"env": "own_body.Body", "config": {"env_config": {"policy": "${first.checkpoint}"}}}
    text = yaml.safe_dump(yaml.safe_load(two_stages(**second)) | {"third": FIRST}, sort_keys=False)
    plans, result = trained(text, fails=["third"])
    assert [*plans] == ["first", "second", "third"], result.output
    write("deleted", "the checkpoint of the first stage")
    plans, result = trained(text, "--resume")
    assert [*plans] == ["third"], result.output
    assert "second: finished already" in result.output


def test_a_stage_that_is_ready_stays_so_when_the_others_are_resumed(trained, checkpoint):
    text, ready = two_stages(restore="${first.checkpoint}"), str(checkpoint)
    trained(text, "--checkpoint", f"first={ready}", fails=["second"])
    plans, result = trained(text, "--resume")
    assert [*plans] == ["second"], result.output
    assert plans["second"].restore == ready


def test_ready_stages_of_an_older_chain_do_not_count(trained, checkpoint, tmp_path):
    text = two_stages(restore="${first.checkpoint}")
    trained(text, "--checkpoint", f"first={checkpoint}", fails=["second"])
    trained(text, fails=["first"])
    plans, result = trained(text, "--resume")
    assert [*plans] == ["first", "second"], result.output
    assert plans["second"].restore == str(tmp_path / "results/first/t3/c")
    [new] = (tmp_path / "results").glob("second_*")
    assert plans["second"].ready == {}
    assert (new / "experiment.yaml").is_file()


def test_a_stage_that_had_not_begun_gets_the_options_of_the_others(trained):
    text = two_stages(restore="${first.checkpoint}")
    trained(text, "--set", "gamma=0.5", fails=["first"])
    plans, result = trained(text, "--resume")
    assert [plan.config["gamma"] for plan in plans.values()] == [0.5, 0.5], result.output


class TestSettingsOfOneStage:
    text = two_stages(restore="${first.checkpoint}")

    def test_the_others_keep_theirs(self, trained):
        words = ("--set", "gamma=0.5", "--set", "second.gamma=0.7", "--set", "first.stop.training_iteration=7")
        plans, result = trained(self.text, *words)
        assert [plan.config["gamma"] for plan in plans.values()] == [0.5, 0.7], result.output
        assert [plan.stop["training_iteration"] for plan in plans.values()] == [7, 2]

    def test_one_that_had_not_begun_remembers_its_own(self, trained):
        words = ("--set", "first.gamma=0.5", "--set", "second.gamma=0.7")
        trained(self.text, *words, fails=["first"])
        plans, result = trained(self.text, "--resume")
        assert [plan.config["gamma"] for plan in plans.values()] == [0.5, 0.7], result.output

    def test_criteria_of_a_finished_one_are_raised(self, trained):
        trained(self.text, fails=["second"])
        plans, result = trained(self.text, "--resume", "--set", "second.stop.training_iteration=9")
        assert {name: plan.stop["training_iteration"] for name, plan in plans.items()} == {"second": 9}, result.output

    def test_one_that_is_not_trained_has_none(self, trained, checkpoint):
        words = ("--checkpoint", f"first={checkpoint}", "--set", "first.gamma=0.5")
        _, result = trained(self.text, *words)
        assert "--set first.gamma=0.5: 'first' is not trained, because it has a checkpoint." in result.stderr

    def test_a_file_with_one_experiment_has_only_keys(self, trained):
        plans, result = trained(yaml.safe_dump({"model": FIRST}), "--set", "model.fcnet_hiddens=[8]")
        assert plans["model"].config["model"] == {"fcnet_hiddens": [8]}, result.output


def test_ready_stages_are_remembered_where_the_file_puts_results(trained, checkpoint, tmp_path):
    folder = {"storage_path": str(tmp_path / "store")}
    text = two_stages(folder, restore="${first.checkpoint}", **folder)
    trained(text, "--checkpoint", f"first={checkpoint}", fails=["second"], storage=())
    plans, result = trained(text, "--resume", storage=())
    assert [*plans] == ["second"], result.output


def test_ready_stages_are_remembered_under_another_name(trained, checkpoint):
    text, name = two_stages(restore="${first.checkpoint}"), ("--experiment-name", "mine")
    trained(text, *name, "--checkpoint", f"first={checkpoint}", fails=["mine"])
    plans, result = trained(text, *name, "--resume")
    assert [*plans] == ["mine"], result.output
    assert plans["mine"].restore == str(checkpoint)


def test_a_ready_stage_keeps_its_checkpoint_when_its_folder_gets_a_newer_one(trained, checkpoint, tmp_path):
    text = two_stages(config={"extra_python_environs_for_worker": {"PRIOR": "${first.checkpoint}"}})
    words = ("--checkpoint", f"first={checkpoint.parent}")
    trained(text, *words, fails=["second"])
    newer = checkpoint.with_name("checkpoint_000004")
    shutil.copytree(checkpoint, newer)
    plans, result = trained(text, *words, "--resume", fails=["second"])
    assert result.exit_code == 1, result.output
    assert plans["second"].config["extra_python_environs_for_worker"] == {"PRIOR": str(checkpoint)}
    _, result = trained(text, "--checkpoint", f"first={newer}", "--resume")
    assert f"{checkpoint} -> {newer}" in result.stderr


def test_the_run_that_remembers_a_missing_checkpoint_is_named(trained, checkpoint, tmp_path):
    text = two_stages(restore="${first.checkpoint}")
    trained(text, "--checkpoint", f"first={checkpoint}", fails=["second"])
    checkpoint.rename(tmp_path / "elsewhere")
    _, result = trained(text, "--resume")
    begun = f"--resume: {tmp_path}/results/second was started with --checkpoint first={checkpoint}"
    assert f"{begun}: {checkpoint}: no such folder." in result.stderr
    assert "Put it back, or start over without --resume." in result.stderr


def test_a_checkpoint_of_a_stage_is_looked_for_at_once(trained, checkpoint, tmp_path):
    text = two_stages(restore="${first.checkpoint}")
    (tmp_path / "file").write_text("x")
    for given, words in (
        (["first=/nope"], "--checkpoint first=/nope: /nope: no such folder."),
        (["first=file"], "--checkpoint first=file: file is no checkpoint"),
        ([f"first={checkpoint}", f"first={checkpoint}"], "'first' has"),
    ):
        plans, result = trained(text, *(word for one in given for word in ("--checkpoint", one)))
        assert (plans, result.exit_code) == ({}, 2)
        assert words in result.stderr


def test_after_a_failure_only_stages_that_do_not_need_its_checkpoint_are_started(trained):
    text = yaml.safe_load(two_stages(restore="${first.checkpoint}"))
    text = {**text, "third": FIRST | {"restore": "${second.checkpoint}"}, "fourth": FIRST}
    plans, result = trained(yaml.safe_dump(text, sort_keys=False), fails=["first"])
    assert [*plans] == ["first", "fourth"]
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-3:-1] == [
        f"{name}: not started, because '{other}' did not finish with a checkpoint."
        for name, other in (("second", "first"), ("third", "second"))
    ]


def test_a_resumed_stage_keeps_its_checkpoint_and_belongs_to_its_first_stage(trained, tmp_path):
    text = two_stages(restore="${first.checkpoint}")
    trained(text, fails=["second"])
    plans, result = trained(text, "--resume")
    assert [*plans] == ["second"]
    assert "first: finished already" in result.output
    assert plans["second"].restore == str(tmp_path / "results/first/t3/c")
    trained(text, fails=["first"])  # a new run of the first stage only
    plans, _ = trained(text, "--resume")
    assert [*plans] == ["first", "second"]
    [path] = (tmp_path / "results").glob("first_*")
    assert plans["second"].restore == str(path / "t3/c")
