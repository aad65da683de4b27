"""Every example file passes the check of the command, and is what its name says."""

import dataclasses
from pathlib import Path

import pytest

from rllib_sami.algorithms.skill_discovery.methods import METHODS
from rllib_sami_cli.experiment import load
from rllib_sami_cli.resources import Limits
from rllib_sami_cli.runner import CHECKPOINT_DEFAULTS
from rllib_sami_cli.schema import check, check_all

EXAMPLES = Path(__file__).parents[2] / "tuned_examples"
FILES = sorted(path for path in EXAMPLES.glob("**/*.yaml") if path.parent.name != "common")
OF_SKILLS = [EXAMPLES / "csf" / f"{name}.yaml" for name in ("posture_point", "half_cheetah", "ant")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_checks(path, monkeypatch, caplog):
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda message: True)
    for experiment in load(path):
        plan = check(experiment)
        assert plan.stop, "an example has to end by itself"
        algorithm, _, environment = path.stem.partition("_")
        if algorithm in ("saccm", "satesac", "ccm", "tesac"):
            assert plan.algorithm.__name__.lower() == algorithm
            name = plan.config["env"].removeprefix("SaMI/").removesuffix("-v0").lower()
            assert name == environment.replace("_", "")
    assert "no effect here" not in caplog.text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_a_killed_run_loses_less_than_a_third(path):
    for experiment in load(path):
        plan = check(experiment)
        settings = {**plan.algorithm.get_default_config().to_dict(), **plan.config}
        iteration = settings["min_sample_timesteps_per_iteration"] or settings["train_batch_size_per_learner"]
        frequency = (CHECKPOINT_DEFAULTS | plan.checkpoint_config)["checkpoint_frequency"]
        if "training_iteration" in plan.stop:
            assert frequency < plan.stop["training_iteration"] / 3
        else:
            assert frequency * iteration < plan.stop["num_env_steps_sampled_lifetime"] / 3


@pytest.mark.parametrize("algorithm", [*METHODS])
def test_examples_of_skills_are_for_every_method(algorithm):
    for path in OF_SKILLS:
        [experiment] = load(path)
        assert experiment.body["run"] == "CSF"
        plan = check(dataclasses.replace(experiment, body=experiment.body | {"run": algorithm}))
        assert plan.algorithm.__name__ == algorithm
        name = plan.config["env"].removeprefix("Skills/").removesuffix("-v0").lower()
        assert name == path.stem.replace("_", "")


@pytest.mark.parametrize(("name", "algorithm"), [("flat_ppo", "PPO"), ("flat_sac", "PlainSAC")])
def test_agents_without_skills_take_as_many_steps_of_the_body(name, algorithm):
    (plan,) = check_all(load(EXAMPLES / "csf" / f"{name}.yaml"), Limits(None, None))
    assert plan.algorithm.__name__ == algorithm
    skills, control = check_all(load(EXAMPLES / "csf" / "half_cheetah_goal.yaml"), Limits(None, None))
    assert plan.config["env"] == control.config["env_config"]["env"]
    steps = "num_env_steps_sampled_lifetime"
    assert plan.stop[steps] == pytest.approx(skills.stop[steps] + 25 * control.stop[steps], rel=0.01)


def test_the_twenty_are_there():
    names = {path.stem for path in FILES}
    for algorithm in ("tesac", "ccm", "satesac", "saccm"):
        for environment in ("ant", "half_cheetah", "crippled_half_cheetah", "pendulum", "cartpole"):
            assert f"{algorithm}_{environment}" in names
