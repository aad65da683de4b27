"""Files to experiments: loading, inheritance, merging, overrides."""

import sys

import pytest

from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import apply_settings, load, merge, parse_yaml
from rllib_sami_cli.runner import Session


def test_several_experiments_anchors_and_templates(write):
    path = write(
        "two.yaml",
        """
        x-common: &common {run: SAC, env: Pendulum-v1, config: {gamma: 0.9}}
        .stop: &stop {training_iteration: 3}
        first: {<<: *common, stop: *stop}
        second:
          <<: *common
          run: PPO
        """,
    )
    first, second = load(path)
    assert (first.name, first.body["run"], first.body["stop"]) == ("first", "SAC", {"training_iteration": 3})
    assert (second.name, second.body["run"], second.body["config"]) == ("second", "PPO", {"gamma": 0.9})


def test_numbers_that_yaml_1_1_reads_as_text():
    values = parse_yaml("[5e-4, 1e6, -2.5e+3, .5, 1_000, 3, 5e, e5, 1.5, 1.e3, 0x1F]", "test")
    assert values == [5e-4, 1e6, -2500.0, 0.5, 1000, 3, "5e", "e5", 1.5, 1000.0, 31]


def test_json_file(write):
    [experiment] = load(write("a.json", '{"e": {"run": "SAC", "env": "Pendulum-v1", "config": {"gamma": 9e-1}}}'))
    assert experiment.body["config"] == {"gamma": 0.9}


def test_merge_is_deep_but_search_spaces_and_lists_are_replaced():
    base = {"config": {"a": {"x": 1, "y": 2}, "lr": {"grid_search": [1, 2]}, "sizes": [1, 2]}}
    over = {"config": {"a": {"y": 3}, "lr": {"grid_search": [3]}, "sizes": [4]}}
    assert merge(base, over) == {"config": {"a": {"x": 1, "y": 3}, "lr": {"grid_search": [3]}, "sizes": [4]}}
    assert base["config"]["a"] == {"x": 1, "y": 2}


class TestExtends:
    """An experiment inherits from other files."""

    @pytest.fixture(autouse=True)
    def files(self, write):
        write("base/ant.yaml", "env: SaMI/Ant-v0\nstop: {training_iteration: 9}\nconfig: {gamma: 0.99, tau: 0.1}\n")
        write("base/big.yaml", "config: {context_dim: 12, gamma: 0.9}\n")
        write("named.yaml", "one: {env: A, config: {gamma: 0.1}}\ntwo: {env: B}\n")

    def test_of_an_experiment(self, write):
        path = write("saccm_ant.yaml", "saccm-ant:\n  extends: base/ant.yaml\n  run: SaCCM\n  config: {tau: 0.2}\n")
        [experiment] = load(path)
        assert experiment.name == "saccm-ant"
        assert experiment.body == {
            "run": "SaCCM",
            "env": "SaMI/Ant-v0",
            "stop": {"training_iteration": 9},
            "config": {"gamma": 0.99, "tau": 0.2},
        }

    def test_of_a_whole_file_and_of_several_the_last_wins(self, write):
        path = write("both.yaml", "extends: [base/ant.yaml, base/big.yaml]\none: {run: CCM}\ntwo: {run: TESAC}\n")
        bodies = [experiment.body for experiment in load(path)]
        assert [body["run"] for body in bodies] == ["CCM", "TESAC"]
        assert all(body["config"] == {"gamma": 0.9, "tau": 0.1, "context_dim": 12} for body in bodies)

    def test_a_file_of_one_nameless_experiment_takes_the_files_name(self, write):
        [experiment] = load(write("tesac_ant.yaml", "extends: base/ant.yaml\nrun: TESAC\n"))
        assert (experiment.name, experiment.body["run"]) == ("tesac_ant", "TESAC")
        assert experiment.body["env"] == "SaMI/Ant-v0"

    def test_of_a_named_experiment_and_in_a_chain(self, write):
        write("middle.yaml", "m: {extends: 'named.yaml#one', config: {tau: 0.5}}\n")
        [experiment] = load(write("top.yaml", "t: {extends: middle.yaml, run: SAC}\n"))
        assert experiment.body == {"run": "SAC", "env": "A", "config": {"gamma": 0.1, "tau": 0.5}}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("e: {extends: nowhere.yaml}", "nowhere.yaml: no such file"),
            ("e: {extends: base/ants.yaml}", "Did you mean 'ant.yaml'?"),
            ("e: {extends: 3}", "must be a file name or a list"),
            ("e: {extends: named.yaml}", "which experiment of it? write named.yaml#NAME. Valid: one, two."),
            ("e: {extends: 'named.yaml#on'}", "Did you mean 'one'?"),
            ("e: {extends: self.yaml}", "circle"),
        ],
    )
    def test_mistakes(self, write, text, message):
        with pytest.raises(UserError) as caught:
            load(write("self.yaml", text))
        assert message in str(caught.value)


def test_an_experiment_may_be_named_like_a_key(write):
    [experiment] = load(write("a.yaml", "run: {run: SAC, env: Pendulum-v1}\n"))
    assert (experiment.name, experiment.body["run"]) == ("run", "SAC")


def test_keys_of_older_files_move_to_their_place(write):
    path = write("old.yaml", "e: {run: SAC, local_dir: here, checkpoint_freq: 5, keep_checkpoints_num: 3}\n")
    [experiment] = load(path)
    assert experiment.body == {
        "run": "SAC",
        "storage_path": "here",
        "checkpoint_config": {"checkpoint_frequency": 5, "num_to_keep": 3},
    }


def test_python_file(write):
    path = write(
        "cfg.py",
        "from ray.rllib.algorithms.ppo import PPOConfig\n"
        "config = PPOConfig().environment('Pendulum-v1')\nstop = {'training_iteration': 2}\n",
    )
    [experiment] = load(path)
    assert experiment.name == "cfg"
    assert experiment.body["run"].__name__ == "PPO"
    assert experiment.body["stop"] == {"training_iteration": 2}
    assert experiment.config_object.env == "Pendulum-v1"


def test_a_python_file_reads_its_own_arguments(write, monkeypatch):
    path = write(
        "cfg.py",
        "import argparse, sys\n"
        "from ray.rllib.algorithms.ppo import PPOConfig\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--gamma', type=float, default=0.5)\n"
        "config = PPOConfig().training(gamma=parser.parse_args().gamma)\n"
        "stop = {'name': sys.argv[0]}\n",
    )
    ours = ["rllib", "train", "file", "cfg.py", "--seed", "3"]
    monkeypatch.setattr("sys.argv", ours)
    for arguments, gamma in (([], 0.5), (["--gamma", "0.7"], 0.7)):
        [experiment] = load(path, arguments)
        assert experiment.config_object.gamma == gamma
        assert experiment.body["stop"] == {"name": str(path)}
        assert sys.argv is ours
    with pytest.raises(SystemExit):  # argparse says what is wrong with them
        load(path, ["--seed", "3"])
    assert sys.argv is ours


def test_how_to_resume_with_arguments_of_the_file():
    session = Session(["rllib", "train", "file", "cfg.py", "--seed", "3", "--", "--resume", "yes"])
    assert session.resume_command == "rllib train file cfg.py --seed 3 --resume -- --resume yes"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("gamma=0.9", {"config": {"tau": 1, "gamma": 0.9}}),
        ("config.gamma=0.9", {"config": {"tau": 1, "gamma": 0.9}}),
        ("lr=5e-4", {"config": {"tau": 1, "lr": 5e-4}}),
        ("stop.training_iteration=3", {"config": {"tau": 1}, "stop": {"training_iteration": 3}}),
        ("stop.env_runners/x_mean=-200", {"config": {"tau": 1}, "stop": {"env_runners/x_mean": -200}}),
        ("env_config.split=extreme", {"config": {"tau": 1, "env_config": {"split": "extreme"}}}),
        ("env=SaMI/Ant-v0", {"config": {"tau": 1}, "env": "SaMI/Ant-v0"}),
        ("sizes=[64, 64]", {"config": {"tau": 1, "sizes": [64, 64]}}),
        ("tau={grid_search: [1, 2]}", {"config": {"tau": {"grid_search": [1, 2]}}}),
        ("flag=true", {"config": {"tau": 1, "flag": True}}),
        ("name=a=b", {"config": {"tau": 1, "name": "a=b"}}),
        ("nothing=", {"config": {"tau": 1, "nothing": None}}),
    ],
)  # fmt: skip
def test_set(setting, expected):
    assert apply_settings({"config": {"tau": 1}}, [setting]) == expected


@pytest.mark.parametrize("setting", ["gamma", "=1", ".gamma=1", "a..b=1"])
def test_set_in_the_wrong_form(setting):
    with pytest.raises(UserError, match="the form is key=value"):
        apply_settings({}, [setting])
