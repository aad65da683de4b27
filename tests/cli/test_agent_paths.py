"""Paths of the agents of which an environment is made: absolute in every form, and kept by a resumed run."""

import shutil

import pytest
import yaml

from rllib_sami_cli import catalog
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import Experiment, load
from rllib_sami_cli.folders import Run
from rllib_sami_cli.resume import as_started, check_resumable, choose_run, record_of
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


class TestResumed:
    @pytest.fixture
    def resumed(self, tmp_path, monkeypatch):
        """Resumes a run, of which there is a record, with a plan: the plan that is then trained."""
        monkeypatch.setattr(Run, "trials", lambda run: [{"status": "", "result": {}, "checkpoint": tmp_path}])

        def resume(record, plan):
            Run(tmp_path / "results" / "striding").write(**record)
            run = choose_run(plan, str(tmp_path / "results"), resume=True)
            plan = as_started(plan, run)
            check_resumable([(plan, run)])
            return plan

        return resume

    @pytest.mark.parametrize("form", ["{}", "{{choice: [{}]}}"])
    def test_an_agent_stays_when_its_folder_gets_a_newer_checkpoint(self, folders, resumed, form):
        given = yaml.safe_load(form.format("toy"))
        record = record_of(checked(toy=given))
        shutil.copytree(folders["toy"], "toy/trial/checkpoint_000004")
        plan = resumed(record, checked(toy=given))
        assert record_of(plan) == record
        assert "checkpoint_000003" in record["config"]["env_config"]["toy"]

    def test_another_agent_is_refused(self, folders, resumed):
        record = record_of(checked())
        shutil.copytree("toy", "other")
        with pytest.raises(UserError, match=r"other settings \(config/env_config/toy: .*toy/trial.* -> .*other/trial"):
            resumed(record, checked(toy="other"))

    def test_a_run_of_an_earlier_version_had_them_as_they_were_given(self, folders, resumed):
        record = record_of(checked())
        del record["agents"]
        record["config"]["env_config"] = {"toy": "toy", "low_level": "low_level"}
        assert resumed(record, checked()).config["env_config"] == folders
