"""Paths of the agents of which an environment is made: absolute in every form."""

import pytest

from rllib_sami_cli import catalog
from rllib_sami_cli.experiment import Experiment, load
from rllib_sami_cli.schema import check

STRIDING = "Reuse/Striding-v0"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Experiments ``toy`` and ``low_level`` with what look like checkpoints, of which no environment is made."""
    for name in ("toy", "low_level"):
        checkpoint = tmp_path / name / "trial" / "checkpoint_000003"
        checkpoint.mkdir(parents=True)
        (checkpoint / "rllib_checkpoint.json").write_text("{}")
    for name in ("try_environment", "check_trainable"):
        monkeypatch.setattr(catalog, name, lambda *arguments: None)
    monkeypatch.chdir(tmp_path)
    return {name: str(tmp_path / name / "trial" / "checkpoint_000003") for name in ("toy", "low_level")}


def checked(env=STRIDING, **changes):
    """The plan of an experiment with two agents."""
    config = {"env_config": {"toy": "toy", "low_level": "low_level"} | changes}
    return check(Experiment("striding", {"run": "PlainSAC", "env": env, "config": config}))


@pytest.mark.parametrize("env", [STRIDING, {"grid_search": [STRIDING]}])
def test_found_in_search_spaces(folders, env):
    plan = checked(env, toy={"grid_search": ["toy", "toy/trial"]}, low_level={"choice": ["low_level"]})
    env_config = plan.config["env_config"]
    assert env_config["toy"] == {"grid_search": [folders["toy"]] * 2}
    assert env_config["low_level"].categories == [folders["low_level"]]


def test_found_in_a_python_file(folders, write):
    text = f"""
from rllib_sami import PlainSACConfig
config = PlainSACConfig().environment("{STRIDING}", env_config={{"toy": "toy", "low_level": "low_level"}})
"""
    [experiment] = load(write("striding.py", text))
    assert check(experiment).config["env_config"] == folders


def test_a_setting_of_another_name_is_left_alone(folders):
    assert checked(body="toy").config["env_config"] == {**folders, "body": "toy"}
