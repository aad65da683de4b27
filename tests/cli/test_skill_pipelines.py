"""Skills first, then an agent whose actions they are: files of two stages, from the command line."""

import contextlib
import csv
import json
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from adapters.skill_agents import exported, skills_config
from processes import Command

from rllib_sami import CSFConfig, PlainSACConfig, SaCCMConfig
from rllib_sami.algorithms.skill_discovery.methods import METHODS
from rllib_sami_cli import runner
from rllib_sami_cli.experiment import Experiment, load, merge
from rllib_sami_cli.folders import Run
from rllib_sami_cli.resources import Limits
from rllib_sami_cli.schema import check, check_all
from rllib_sami_cli.train import _replace_algorithm

EXAMPLES = Path(__file__).parents[2] / "tuned_examples" / "csf"
FILES = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("**/*.yaml"))
PIPELINES = ("half_cheetah_goal", "half_cheetah_hurdle", "ant_multi_goal")
POINT, CONTROL = "Skills/PosturePoint-v0", "Skills/Control-v0"
SIZES = {key: [8] for key in ("actor_hidden", "critic_hidden", "representation_hidden")}
SKILLS = {
    "run": "CSF",
    "env": POINT,
    "stop": {"training_iteration": 2},
    "config": {
        **SIZES,
        "num_env_runners": 0,
        "num_envs_per_env_runner": 4,
        "rollout_fragment_length": 10,
        "env_config": {"max_steps": 10},
        "train_batch_size_per_learner": 16,
        "min_sample_timesteps_per_iteration": 80,
        "num_steps_sampled_before_learning_starts": 50,
    },
}
HIGHER = {
    "run": "PPO",
    "env": CONTROL,
    "stop": {"training_iteration": 2},
    "config": {
        "num_env_runners": 0,
        "env_config": {"env": POINT, "skills": "${skills.checkpoint}", "steps": 10},
        "train_batch_size_per_learner": 32,
        "minibatch_size": 16,
        "num_epochs": 1,
        "model_config": {"fcnet_hiddens": [8]},
    },
}


def pipeline(skills=None, control=None) -> str:
    """A file of two stages, with changes to each."""
    return yaml.safe_dump(
        {"skills": merge(SKILLS, skills or {}), "control": merge(HIGHER, control or {})}, sort_keys=False
    )


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """Exported agents that nobody trained."""
    root = tmp_path_factory.mktemp("agents")
    exported(root / "skills", skills_config(CSFConfig))
    exported(root / "half_cheetah", skills_config(env="Skills/HalfCheetah-v0"), obs_dim=18, action_dim=6)
    exported(root / "ant", skills_config(env="Skills/Ant-v0"), obs_dim=29)
    for config, more in ((PlainSACConfig(), {}), (SaCCMConfig(), {"context_dim": 3, "encoder_hidden_dim": 8})):
        config.environment(POINT).training(actor_hidden=[8], critic_hidden=[8], **more)
        exported(root / type(config).__name__.removesuffix("Config"), config)
    return root


# --- Which stages are trained, with which settings ------------------------------------------------------------------


@pytest.fixture
def trained(rllib, write, monkeypatch, agents):
    """Runs a file without Ray: returns the plans that would have been trained, by name, and the command's result.

    The checkpoint of each stage is that of an agent with skills.
    """
    monkeypatch.setattr(runner, "_start_ray", lambda session: None)

    def train(text, *words, skills="skills"):
        monkeypatch.setattr(runner, "last_checkpoint", lambda run, search: str(agents / skills))
        plans = {}

        def run_one(plan, run, session):
            plans[plan.name] = plan
            run.write(**runner.record_of(plan), finished=True)
            return 0

        monkeypatch.setattr(runner, "_run_one", run_one)
        path = text if isinstance(text, Path) else write("exp.yaml", text)
        result = rllib("train", "file", path, "--local-dir", "results", *words)
        assert result.exit_code == 0, (result.output, result.exception)
        return plans, result

    return train


def test_the_second_stage_gets_the_checkpoint_of_the_first(trained, agents):
    plans, _ = trained(pipeline())
    assert [*plans] == ["skills", "control"]
    assert plans["control"].config["env_config"] == {"env": POINT, "skills": str(agents / "skills"), "steps": 10}
    assert [plan.algorithm.__name__ for plan in plans.values()] == ["CSF", "PPO"]


def test_a_checkpoint_takes_the_place_of_a_stage(trained, agents, monkeypatch):
    monkeypatch.chdir(agents)
    for given in (agents / "skills", "skills"):  # relative to where the command runs
        plans, result = trained(pipeline(), "--checkpoint", f"skills={given}")
        assert [*plans] == ["control"]
        assert plans["control"].config["env_config"]["skills"] == str(agents / "skills")
        assert "skills:" not in result.output


@pytest.mark.parametrize(
    ("algorithm", "names", "trains"),
    [
        ("METRA", ["skills-metra", "control-metra"], ["METRA", "PPO"]),
        ("DIAYN", ["skills-diayn", "control-diayn"], ["DIAYN", "PPO"]),
        ("CSF", ["skills", "control"], ["CSF", "PPO"]),
    ],
)
def test_another_method_replaces_only_the_skills(trained, algorithm, names, trains):
    plans, _ = trained(pipeline(), "--algo", algorithm)
    assert [*plans] == names
    assert [plan.algorithm.__name__ for plan in plans.values()] == trains
    assert plans[names[1]].config["minibatch_size"] == 16


def test_another_algorithm_replaces_only_the_higher_level(trained):
    of_ppo = ("train_batch_size_per_learner", "minibatch_size", "num_epochs", "model_config")
    text = yaml.safe_load(pipeline())
    text["control"]["config"] = {key: value for key, value in HIGHER["config"].items() if key not in of_ppo}
    plans, _ = trained(yaml.safe_dump(text, sort_keys=False), "--algo", "PlainSAC")
    assert [*plans] == ["skills-plainsac", "control-plainsac"]
    assert [plan.algorithm.__name__ for plan in plans.values()] == ["CSF", "PlainSAC"]
    plans, _ = trained(yaml.safe_dump(text, sort_keys=False), "--algo", "PPO")
    assert [*plans] == ["skills", "control"]


def test_another_method_replaces_all_experiments_where_none_has_skills(trained):
    text = yaml.safe_dump({"one": {**SKILLS, "run": "PlainSAC", "config": {"num_env_runners": 0}}})
    plans, _ = trained(text, "--algo", "CSF")
    assert [(name, plan.algorithm.__name__) for name, plan in plans.items()] == [("one-csf", "CSF")]


# --- Mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["skils={}"], ["--checkpoint skils=", "expected STAGE=CHECKPOINT. Did you mean 'skills'?"]),
        (["skills"], ["--checkpoint skills=: expected STAGE=CHECKPOINT"]),
        (["skills="], ["--checkpoint skills=: expected STAGE=CHECKPOINT"]),
        (["control={}"], ["--checkpoint control: no other experiment of the file refers to its checkpoint"]),
        (["skills={}", "other={}"], ["--checkpoint other=", "expected STAGE=CHECKPOINT"]),
    ],
)
def test_a_checkpoint_for_no_stage(refused, write, agents, given, parts):
    words = [word for one in given for word in ("--checkpoint", one.format(agents / "skills"))]
    message = refused("train", "file", write("exp.yaml", pipeline()), *words)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("skills", "control", "parts"),
    [
        ({"config": {"skill_dim": 0}}, {}, ["'skills'", "`skill_dim` is 0, but must be an integer >= 1"]),
        ({"config": {"skill_dim": "two"}}, {}, ["'skills'", "skill_dim", "two"]),
        (
            {"run": "METRA", "config": {"skill_prior": "one_hot", "skill_dim": 1}},
            {},
            ["'skills'", "`skill_dim` is 1, but there must be at least 2 one-hot skills"],
        ),
        (
            {"run": "METRA", "config": {"skill_prior": "onehot"}},
            {},
            ["`skill_prior` is 'onehot', but must be one of ['sphere', 'one_hot']", "did you mean 'one_hot'?"],
        ),
        ({"run": "DIAYN", "config": {"skill_dim": 1}}, {}, ["at least 2 one-hot skills"]),
        ({"config": {"skil_dim": 2}}, {}, ["no setting 'skil_dim'", "Did you mean 'skill_dim'?"]),
        (
            {"config": {"evaluation_splits": ["train"], "evaluation_interval": 1}},
            {},
            ["'train' is no part of an evaluation of skills"],
        ),
        ({"run": "METRAA"}, {}, ["unknown algorithm 'METRAA'", "Did you mean 'METRA'?"]),
        ({}, {"env": "Skills/Controll-v0"}, ["unknown environment 'Skills/Controll-v0'"]),
        ({}, {"config": {"env_config": {"skills": "${skils.checkpoint}"}}}, ["no experiment 'skils'", "'skills'"]),
    ],
)
def test_a_mistake_in_a_pipeline_is_one_message_before_anything_starts(refused, write, skills, control, parts):
    message = refused("train", "file", write("exp.yaml", pipeline(skills, control)))
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message


def test_skills_are_not_for_discrete_actions(refused, write):
    config = {key: value for key, value in SKILLS["config"].items() if key != "env_config"}
    body = {**SKILLS, "env": "CartPole-v1", "config": config}
    message = refused("train", "file", write("exp.yaml", yaml.safe_dump({"it": body})))
    assert len(message.splitlines()) == 1
    assert "The environment 'CartPole-v1' has the action space Discrete(2), but only continuous actions" in message


def control_alone(skills, **changes) -> str:
    body = {"run": "PlainSAC", "env": CONTROL, "stop": {"training_iteration": 1}}
    return yaml.safe_dump({"it": {**body, "config": {"env_config": {"env": POINT, "skills": str(skills), **changes}}}})


@pytest.mark.parametrize(
    ("name", "changes", "parts"),
    [
        ("PlainSAC", {}, ["config.env_config", "it has no skills. Give a checkpoint of SkiMoPretrain"]),
        ("SaCCM", {}, ["it has no skills"]),
        ("nowhere", {}, ["nowhere': no such folder"]),
        ("skills", {"env": "Pendulum-v1"}, ["observations of 8 numbers, but 'Pendulum-v1' gives 3"]),
        ("skills", {"steps": 0}, ["steps=0: expected an integer >= 1"]),
        ("skills", {"stepps": 3}, ["stepps"]),
    ],
)
def test_a_low_level_that_does_not_fit_is_one_message(refused, write, agents, name, changes, parts):
    message = refused("train", "file", write("exp.yaml", control_alone(agents / name, **changes)))
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message


def test_a_low_level_that_fits_is_accepted(write, agents):
    [experiment] = load(write("exp.yaml", control_alone(agents / "skills")))
    assert check(experiment).algorithm.__name__ == "PlainSAC"


# --- The examples ---------------------------------------------------------------------------------------------------


@pytest.fixture
def warnings(monkeypatch, caplog):
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda message: True)
    return lambda: [message for message in caplog.messages if "no effect here" in message]


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(("common/", "flat_"))])
def test_an_example_is_accepted_and_ends_by_itself(name, warnings):
    experiments = load(EXAMPLES / name)
    plans = check_all(experiments, Limits(None, None))
    assert all(plan.stop for plan in plans)
    assert warnings() == []
    assert plans[0].algorithm.__name__ == "CSF"
    assert [plan.algorithm.__name__ in METHODS for plan in plans] == [True, False][: len(plans)]
    stem = Path(name).stem
    body = plans[-1].config["env_config"]["env"] if len(plans) == 2 else plans[0].config["env"]
    body = body.removeprefix("Skills/").removesuffix("-v0")
    assert body.removesuffix("Pixels").lower() == stem.replace("_", "")
    assert ("Pixels" in body) == (name in ("paper/quadruped.yaml", "paper/humanoid.yaml"))
    assert len(plans) == 2 or stem not in PIPELINES


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("common/")])
def test_a_common_part_is_accepted_once_it_has_a_task_and_skills(name, warnings, agents):
    [experiment] = load(EXAMPLES / name)
    settings = {"env_config": {"env": POINT, "skills": str(agents / "skills")}}
    plan = check(replace(experiment, body=merge(experiment.body, {"config": settings})))
    assert (plan.config["env"], bool(plan.stop)) == (CONTROL, True)
    assert warnings() == []


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("algorithm", ["CSF", "METRA", "CIC"])
def test_pipelines_are_for_other_methods(trained, name, algorithm):
    body = "ant" if name.startswith("ant") else "half_cheetah"
    plans, _ = trained(EXAMPLES / f"{name}.yaml", "--algo", algorithm, skills=body)
    end = "" if algorithm == "CSF" else f"-{algorithm.lower()}"
    assert [*plans] == [f"{name}_skills{end}", f"{name}{end}"]
    first, second = plans.values()
    assert (first.algorithm.__name__, first.config["env"].lower()) == (
        algorithm,
        f"skills/{body.replace('_', '')}-v0",
    )
    assert second.algorithm.__name__ == ("PlainSAC" if body == "ant" else "PPO")
    assert second.config["env_config"]["skills"].endswith(f"/{body}")


# --- Real runs ------------------------------------------------------------------------------------------------------


def rows(folder: Path) -> list[int]:
    """The iterations in the only trial's progress.csv in a run's folder, which result.json has too."""
    [table], [lines] = folder.glob("*/progress.csv"), folder.glob("*/result.json")
    with open(table, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    iterations = [json.loads(line)["training_iteration"] for line in lines.read_text().splitlines()]
    assert [int(row["training_iteration"]) for row in found] == iterations
    steps = [int(float(row["num_env_steps_sampled_lifetime"])) for row in found]
    assert steps == [iteration * (80 if folder.name.startswith("skills") else 32) for iteration in iterations]
    return iterations


def saved(folder: Path) -> int:
    """The iteration at which the newest checkpoint of a run was saved."""
    for trial in Run(folder).trials() if folder.is_dir() else ():
        if trial["checkpoint"]:
            with open(trial["checkpoint"] / "algorithm_state.pkl", "rb") as file:
                return int(pickle.load(file)["training_iteration"])
    return 0


def kill_once_saved(command: Command, folder: Path, iteration: int) -> int:
    """Kills a command once a checkpoint of a run is there; returns the newest one's iteration."""
    deadline = time.monotonic() + 240
    found = 0
    while found < iteration:
        assert command.process.poll() is None, command.finish() and command.output
        assert time.monotonic() < deadline
        time.sleep(0.05)
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):  # it is being written
            found = saved(folder)
    command.kill()
    time.sleep(1.0)  # Ray ends its processes
    return saved(folder)


def command_for(write, skills=2, control=2):
    stop = [{"stop": {"training_iteration": number}} for number in (skills, control)]
    path = write("run.yaml", pipeline(*stop))
    return ("train", "file", path, "--local-dir", "results", "--checkpoint-freq", "1")


@pytest.mark.repeated
@pytest.mark.timeout(900)
def test_both_stages_are_trained_the_second_on_the_skills_of_the_first(start, write, tmp_path):
    command = start(*command_for(write))
    assert command.finish() == 0, command.output
    results = tmp_path / "results"
    assert [rows(results / name) for name in ("skills", "control")] == [[1, 2], [1, 2]]
    record = yaml.safe_load((results / "control" / "experiment.yaml").read_text())
    newest = max((results / "skills").glob("*/checkpoint_*"))
    assert record["checkpoints_used"] == {"skills": str(newest)}
    assert record["config"]["env_config"]["skills"] == str(newest)
    assert "PPO on Skills/Control-v0" in command.output
    assert "Traceback" not in command.output


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_a_kill_in_the_second_stage_loses_nothing(start, write, tmp_path):
    words, results = command_for(write, control=10**6), tmp_path / "results"
    before = kill_once_saved(start(*words), results / "control", 3)
    used = yaml.safe_load((results / "control" / "experiment.yaml").read_text())["checkpoints_used"]
    command = start(*words, "--resume")
    assert command.wait_for_row() == before + 1
    command.signal(signal.SIGINT)
    assert command.finish() == 130, command.output
    assert "skills: finished already, in " in command.output
    assert rows(results / "skills") == [1, 2]
    iterations = rows(results / "control")
    assert iterations == [*range(1, len(iterations) + 1)]
    assert saved(results / "control") == len(iterations) > before
    assert yaml.safe_load((results / "control" / "experiment.yaml").read_text())["checkpoints_used"] == used
    assert {entry.name for entry in results.iterdir()} == {"skills", "control"}


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_a_kill_in_the_first_stage_goes_on_with_it_and_then_with_the_second(start, write, tmp_path):
    words, results = command_for(write, skills=40, control=1), tmp_path / "results"
    before = kill_once_saved(start(*words), results / "skills", 2)
    assert before < 40
    assert not (results / "control").exists()
    command = start(*words, "--resume")
    assert command.wait_for_row() == before + 1
    assert command.finish() == 0, command.output
    assert "finished already" not in command.output
    assert rows(results / "skills") == [*range(1, 41)]
    assert rows(results / "control") == [1]
    [used] = yaml.safe_load((results / "control" / "experiment.yaml").read_text())["checkpoints_used"].values()
    assert used == str(max((results / "skills").glob("*/checkpoint_*")))
    assert {entry.name for entry in results.iterdir()} == {"skills", "control"}


@pytest.mark.parametrize(
    ("changes", "words", "part"),
    [
        ({}, ("--checkpoint", "skills=/nowhere"), "nowhere"),
        ({"skills": {"config": {"skill_prior": "one_hot"}}}, (), "'skill_prior' is 'one_hot'"),
        ({"control": {"config": {"env_config": {"stepps": 3}}}}, ("--checkpoint", "skills={}"), "stepps"),
        ({"control": {"env": "Skills/Controll-v0"}}, (), "Did you mean 'Skills/Control-v0'"),
    ],
)
def test_mistakes_that_only_the_second_stage_would_meet_are_told_first(refused, write, agents, changes, words, part):
    words = [word.format(agents / "skills") for word in words]
    assert part in refused("train", "file", write("exp.yaml", pipeline(**changes)), *words)


def test_a_class_path_of_a_method_replaces_the_skills():
    both = [Experiment("skills", {"run": "CSF"}), Experiment("control", {"run": "PPO"})]
    _replace_algorithm(both, "rllib_sami.METRA")
    assert [one.body["run"] for one in both] == ["rllib_sami.METRA", "PPO"]
