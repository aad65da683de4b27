"""Every example file passes the check of the command, and is what its name says."""

from pathlib import Path

import pytest

from rllib_sami_cli.experiment import load
from rllib_sami_cli.schema import check

EXAMPLES = Path(__file__).parents[2] / "tuned_examples"
FILES = sorted(path for path in EXAMPLES.glob("**/*.yaml") if path.parent.name != "common")


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
        if path.parent.name == "csf":
            assert plan.algorithm.__name__ == "CSF"
            name = plan.config["env"].removeprefix("Skills/").removesuffix("-v0").lower()
            assert name == path.stem.replace("_", "")
    assert "no effect here" not in caplog.text


@pytest.mark.parametrize("algorithm", ["METRA", "DIAYN", "VISR", "CIC", "DADS"])
def test_examples_with_skills_are_for_every_method(algorithm, caplog):
    for path in (EXAMPLES / "csf").glob("*.yaml"):
        for experiment in load(path):
            assert check(dataclasses.replace(experiment, run=algorithm)).algorithm.__name__ == algorithm


def test_the_twenty_are_there():
    names = {path.stem for path in FILES}
    for algorithm in ("tesac", "ccm", "satesac", "saccm"):
        for environment in ("ant", "half_cheetah", "crippled_half_cheetah", "pendulum", "cartpole"):
            assert f"{algorithm}_{environment}" in names
