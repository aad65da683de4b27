"""Task inference on a toy, then on another body: files of four stages, from the command line."""

import json
from pathlib import Path

import pytest
import yaml
from adapters.test_task_transfer import agents  # noqa: F401
from processes import Command

from rllib_sami_cli.experiment import load, merge
from rllib_sami_cli.resources import Limits
from rllib_sami_cli.schema import check_all

EXAMPLES = Path(__file__).parents[2] / "tuned_examples" / "reuse"
BODIES = ("point_mass", "half_cheetah", "walker", "hopper")
TINY = {
    "actor_hidden": [8],
    "critic_hidden": [8],
    "train_batch_size_per_learner": 16,
    "num_steps_sampled_before_learning_starts": 50,
    "min_sample_timesteps_per_iteration": 100,
    "num_envs_per_env_runner": 4,
    "num_gpus_per_learner": 0,
    "evaluation_interval": 0,
}


def tiny_chain() -> str:
    """The chain on a point mass, every stage as short as can be."""
    experiments = yaml.safe_load((EXAMPLES / "point_mass.yaml").read_text())
    for name, body in experiments.items():
        body["extends"] = str(EXAMPLES / body["extends"])
        more = {"window": 4, "encoder_hidden_dim": 8, "predicted_steps": 3} if name == "toy" else {}
        limits = {"env_config": {"max_steps": 40}}
        experiments[name] = merge(body, {"stop": {"training_iteration": 2}, "config": TINY | more | limits})
        experiments[name]["stop"].pop("num_env_steps_sampled_lifetime", None)
    return yaml.safe_dump(experiments, sort_keys=False)


@pytest.mark.repeated
def test_one_file_trains_the_chain_and_its_last_stage_is_evaluated(start, write, tmp_path):
    results = tmp_path / "results"
    command: Command = start("train", "file", write("chain.yaml", tiny_chain()), "--storage-path", results)
    assert command.finish() == 0, command.output
    stages = ["toy", "point_mass_low_level", "point_mass_striding", "point_mass_transfer"]
    assert {entry.name for entry in results.iterdir()} == {*stages}
    for number, used in ((1, 0), (2, 2), (3, 3)):
        record = yaml.safe_load((results / stages[number] / "experiment.yaml").read_text())
        assert len(record.get("checkpoints_used") or {}) == used
    evaluated: Command = start("evaluate", results / stages[3], "--split", "grid", "--episodes", "1", "--out", "ev")
    assert evaluated.finish() == 0, evaluated.output
    assert json.loads((tmp_path / "ev" / "provenance.json").read_text())["max_steps"] == {
        "Reuse/HighLevel-v0 (PointMass)": 40
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("toy=low_level", "has no method `observe_body`"),
        ("toy=heedless", "the agent infers no task"),
        ("point_mass_low_level=toy", "low_level='{}/toy': it was trained on 'Reuse/Toy-v0', but must be of"),
    ],
)
def test_a_ready_stage_of_another_kind_is_told_before_any_is_trained(refused, write, agents, given, words):  # noqa: F811
    stage, _, folder = given.partition("=")
    message = refused("train", "file", write("chain.yaml", tiny_chain()), "--checkpoint", f"{stage}={agents / folder}")
    assert words.format(agents) in message


def test_agents_of_an_environment_are_found_from_any_folder(agents, write, tmp_path, monkeypatch):  # noqa: F811
    experiments = yaml.safe_load(tiny_chain())
    experiments = {"point_mass_striding": experiments["point_mass_striding"]}
    paths = {"toy": "toy", "low_level": str(agents / "low_level")}
    monkeypatch.chdir(agents)
    experiments["point_mass_striding"]["config"]["env_config"] = paths
    [plan] = check_all(load(write("one.yaml", yaml.safe_dump(experiments)), []), Limits())
    assert plan.config["env_config"] == {"toy": str(agents / "toy"), "low_level": str(agents / "low_level")}


@pytest.mark.parametrize("body", BODIES)
def test_the_files_are_valid_as_far_as_that_is_known_before(body):
    experiments = load(EXAMPLES / f"{body}.yaml", [])
    plans = check_all(experiments, Limits())
    stages = [f"{body}_{stage}" for stage in ("low_level", "striding", "transfer")]
    assert [plan.name for plan in plans] == ["toy", *stages]


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        ("point_mass_low_level", {"body": "Reuse/PointMas-v0"}, "PointMas"),
        ("point_mass_low_level", {"quantities": ["stand"]}, "no quantity 'stand'"),
        ("point_mass_striding", {"fixed_stride": 0}, "fixed_stride=0"),
        ("point_mass_striding", {"toy": "{}/multi"}, "no quantity 'height'"),
        ("point_mass_transfer", {"striding": "{}/low_level"}, "must be of Reuse/Striding-v0"),
        ("point_mass_transfer", {"striding": None}, "needs `striding`"),
    ],
)
def test_mistakes_of_a_stage_are_told_before_any_is_trained(refused, write, agents, stage, changes, words):  # noqa: F811
    experiments = yaml.safe_load(tiny_chain())
    changes = {key: value.format(agents) if isinstance(value, str) else value for key, value in changes.items()}
    experiments[stage] = merge(experiments[stage], {"config": {"env_config": changes}})
    ready = {"toy": "toy", "point_mass_low_level": "low_level", "point_mass_striding": "striding"}
    text = yaml.safe_dump(experiments, sort_keys=False)
    given = []
    for name, folder in ready.items():
        if name != stage and f"${{{name}.checkpoint}}" in text:
            given += ["--checkpoint", f"{name}={agents / folder}"]
    assert words in refused("train", "file", write("chain.yaml", text), *given)
