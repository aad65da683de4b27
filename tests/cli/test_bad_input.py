"""Every mistake gets one message that names it, exit code 2, no traceback, and no Ray."""

# ruff: noqa: E501 - one mistake per line reads best
import json
import pickle
import re
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"
GOOD = {"run": "SaCCM", "env": "SaMI/Pendulum-v0"}


def experiment(**changes) -> str:
    return json.dumps({"my-run": {**GOOD, **changes}})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["the file is empty"]),
        ("# only a comment\n", ["the file is empty"]),
        ("a:\n  b: [1, 2\n  c: 3\n", ["line 3", "not valid YAML"]),
        ("- a\n- b\n", ["a mapping 'name: {run, env, stop, config}' is needed, not a list"]),
        ("a: 3\n", ["'a' must be a mapping"]),
        ("e:\n  run: SAC\n  env: X\n  run: PPO\n", ["line 4", "key 'run' is already given in line 2"]),
        ("x-a: {run: SAC}\n", ["no experiment in it"]),
        (experiment(run="SaCMM"), ["unknown algorithm 'SaCMM'", "Did you mean 'SaCCM'?", "SaTESAC", "SaMI", "PPO"]),
        (experiment(run=None), ["which algorithm?"]),
        (experiment(run="nowhere.Algo"), ["'nowhere.Algo' cannot be imported"]),
        (experiment(run="pathlib.Path"), ["'pathlib.Path' is not an RLlib Algorithm class"]),
        (experiment(env="SaMI/Pendulm-v0"), ["unknown environment 'SaMI/Pendulm-v0'", "Did you mean 'SaMI/Pendulum-v0'?"]),
        (experiment(env="Pendulum"), ["Did you mean 'SaMI/Pendulum-v0'?", "SaMI/Ant-v0"]),
        (experiment(env=None), ["which environment?", "SaMI/Ant-v0"]),
        (experiment(env="my_package.Env"), ["'my_package.Env' cannot be imported"]),
        (experiment(env="my_package:Env"), ["module 'my_package' cannot be imported", "Write my_module:MyEnv"]),
        (experiment(env="fractions:Fracton"), ["module 'fractions' has no 'Fracton'"]),
        (experiment(env="fractions:Fraction"), ["does not derive from gymnasium.Env: write class Fraction(gymnasium.Env)"]),
        (experiment(env="math:pi"), ["'math.pi' is a float, but must be a gymnasium.Env class"]),
        (experiment(run="PPO", env="gymnasium:Env"), ["is made with one argument, the env_config", "too many positional", "__init__(self, env_config=None)"]),
        (experiment(env="no_module:Env-v0"), ["module 'no_module' cannot be imported"]),
        (experiment(confg={}), ["unknown key 'confg'", "Did you mean 'config'?"]),
        (experiment(config=[1]), ["'config' is [1], but must be a mapping"]),
        (experiment(num_samples="many"), ["'num_samples' is 'many', but must be an integer"]),
        (experiment(num_samples=0), ["'num_samples' is 0, but must be an integer >= 1, or -1 for no end"]),
        (experiment(max_failures=-2), ["'max_failures' is -2, but must be an integer >= 0"]),
        (experiment(time_budget_s=-1), ["'time_budget_s' is -1, but must be a number > 0 of seconds"]),
        ("e: {run: SaCCM, env: X, stop: {training_iteration: .nan}}", ["'training_iteration' is nan, but must be a number"]),
        ("e: {run: SaCCM, env: X, config: &c {model: *c}}", ["an anchor (&name) contains its own alias"]),
        ("e: " + "[" * 3000, ["it is nested too deeply"]),
        (experiment(stop={"episode_reward_mean": 1}), ["stop", "write 'env_runners/episode_return_mean'"]),
        (experiment(stop={"timesteps_total": 1}), ["write 'num_env_steps_sampled_lifetime'"]),
        (experiment(stop={"num_env_steps_trained_lifetime": 1}), ["write 'learners/__all_modules__/num_env_steps_trained_lifetime'"]),
        (experiment(stop={"evaluation/moderate/return_mean": 1}), ["'evaluation/moderate/return_mean' is in no result"]),
        (experiment(stop={"trainng_iteration": 1}), ["Did you mean 'training_iteration'?"]),
        (experiment(stop={"env_runners": {"episode_retrun_mean": 1}}), ["Did you mean 'env_runners/episode_return_mean'?"]),
        (experiment(stop={"training_iteration": "many"}), ["'training_iteration' is 'many', but must be a number"]),
        (experiment(checkpoint_config={"frequency": 1}), ["checkpoint_config: unknown key 'frequency'", "checkpoint_frequency"]),
        (experiment(checkpoint_config={"checkpoint_at_end": 3}), ["'checkpoint_at_end' is 3, but must be true or false"]),
        (experiment(checkpoint_config={"checkpoint_score_attribute": "min-trainng_iteration"}), ["Did you mean 'training_iteration'?"]),
        (experiment(checkpoint_config={"num_to_keep": 0}), ["'num_to_keep' must be at least 1"]),
        (experiment(config={"gama": 0.9}), ["experiment 'my-run', config: SaCCM has no setting 'gama'", "Did you mean 'gamma'?"]),
        (experiment(config={"split": "extreme"}), ["SaCCM has no setting 'split'. The environment has: env_config.split."]),
        (experiment(config={"length": 2}), ["The environment has: env_config.length."]),
        (experiment(config={"gamma": "high"}), ["'gamma' is 'high', but must be a number."]),
        (experiment(config={"train_episodes": 2.5}), ["'train_episodes' is 2.5, but must be an integer."]),
        (experiment(config={"normalize_context": "maybe"}), ["but must be true or false."]),
        (experiment(config={"actor_hidden": 256}), ["'actor_hidden' is 256, but must be a list."]),
        (experiment(config={"num_workers": 2}), ["'num_workers' is now called 'num_env_runners'"]),
        (experiment(run="PPO", env="Pendulum-v1", config={"sgd_minibatch_size": 16}), ["'sgd_minibatch_size' is now called 'minibatch_size'"]),
        (experiment(run="PPO", env="Pendulum-v1", config={"model": {"fcnet_hiddens": [9]}}), ["'model' is", "uses 'model_config'"]),
        (experiment(run="SAC", env="Pendulum-v1", config={"optimization": {}, "horizon": 9}), ["2 mistakes", "'actor_lr'", "'max_episode_steps'"]),
        (experiment(config={"n_step": 3}), ["'n_step' is 3, but has no effect here. Targets look one step ahead."]),
        (experiment(config={"model_config": {"fcnet_activation": "tanh"}}), ["`model_config.fcnet_activation` is 'tanh'"]),
        (experiment(config={"num_env_runners": -1}), ["cannot be negative"]),
        (experiment(config={"stop": {}}), ["It belongs one level up, beside 'config'"]),
        (experiment(config={"temperature": -1}), ["`temperature` is -1"]),
        (experiment(config={"encoder_type": "lstn"}), ["`encoder_type` is 'lstn'", "lstm"]),
        (experiment(config={"env_config": {"split": "trian"}}), ["config.env_config", "split='trian'", "Did you mean 'train'?", "extreme"]),
        (experiment(config={"env_config": {"spilt": "train"}}), ["spilt", "Did you mean 'split'?"]),
        (experiment(config={"env_config": {"mass": -1}}), ["mass=-1"]),
        (experiment(config={"replay_buffer_config": {"capactiy": 9}}), ["config.replay_buffer_config: unknown key 'capactiy'", "Did you mean 'capacity'?"]),
        (experiment(config={"evaluation_config": {"explor": False}}), ["config.evaluation_config", "Did you mean 'explore'?"]),
        (experiment(config={"gamma": {"grid_search": [0.9, "much"]}}), ["'gamma' is 'much'"]),
        (experiment(config={"gamma": {"grid_search": 0.9}}), ["config.gamma: grid_search: a list of alternatives is needed"]),
        (experiment(run="SAC", config={"model_config": {"fcnet_hidens": [1]}}), ["Did you mean 'fcnet_hiddens'?"]),
        (experiment(run="PPO", config={"minibatch_size": 10**6}), ["PPO refuses these settings", "minibatch_size"]),
        (experiment(env="CartPole-v1"), ["Discrete(2)", "only continuous actions"]),
        (experiment(env="Pendulum-v1"), ["gives no 'task_id' in its reset infos"]),
        (experiment(restore="nowhere"), ["restore: nowhere: no such folder"]),
        (experiment(storage_path="s3://bucket"), ["only folders of this machine"]),
    ],
)  # fmt: skip
def test_in_a_file(refused, write, text, parts):
    message = refused("train", "file", write("exp.yaml", text))
    assert "exp.yaml" in message or "storage_path" in text
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train", "file", "nope.yaml"], ["nope.yaml: no such file"]),
        (["train", "file", "."], ["is a folder, not a file"]),
        (["train", "file", "ecxp.yaml"], ["no such file. Did you mean 'exp.yaml'?"]),
        (["train", "file", "notes.txt"], ["must end in .yaml, .yml, .json or .py"]),
        (["train", "file", "broken.py"], ["broken.py: running it failed: ZeroDivisionError"]),
        (["train", "file", "useless.py"], ["a variable `config` is needed"]),
        (["train", "file", "ends.py"], ["it ended itself with sys.exit()"]),
        (["train", "file", "stop.py"], ["`stop` is 5, but must be a dict such as {'training_iteration': 100}"]),
        (["train", "file", "exp.yaml", "more", "--", "x"], ["unexpected 'more'", "come after '--'"]),
        (["train", "file", "exp.yaml", "--", "--x", "1"], ["exp.yaml: --x 1 after '--' is for Python files"]),
        (["train", "exp.yaml"], ["rllib train file exp.yaml"]),
        (["train", "--seed", "1", "file", "exp.yaml"], ["write options after 'file'"]),
        (["train", "run", "--algo", "SaCCM"], ["--env is missing"]),
        (["train", "--env", "SaMI/Ant-v0"], ["--algo is missing"]),
        (
            ["train", "file", "exp.yaml", "--stop", "{training"],
            ["--stop, line 1, column 10: not valid YAML", "Write for example --stop '{"],
        ),
        (["train", "file", "exp.yaml", "--config", "[1]"], ["--config: a JSON object is needed"]),
        (["train", "file", "exp.yaml", "--set", "gamma"], ["the form is key=value"]),
        (["train", "file", "exp.yaml", "--set", "gama=1"], ["Did you mean 'gamma'?"]),
        (["train", "file", "exp.yaml", "--set", "gamma=[1"], ["--set gamma=[1", "not valid YAML"]),
        (["train", "file", "exp.yaml", "--algo", "SaCC"], ["Did you mean 'SaCCM'?"]),
        (["train", "file", "exp.yaml", "--scheduler", "pbtt"], ["unknown scheduler 'pbtt'. Did you mean 'pbt'?"]),
        (["train", "file", "exp.yaml", "-n", "a/b"], ["cannot be a folder's name"]),
        (["train", "file", "exp.yaml", "-n", "a\nb"], ["the name 'a\\nb' cannot be a folder's name"]),
        (["train", "file", "exp.yaml", "-n", "a" * 201], ["Use up to 200 bytes"]),
        (["train", "file", "exp.yaml", "--local-dir", "exp.yaml/x"], ["--local-dir", "exp.yaml cannot be written to"]),
        (
            ["train", "file", "exp.yaml", "--config", '{"lr": 1, "lr": 2}'],
            ["--config, line 1", "key 'lr' is already given in line 1"],
        ),
        (["train", "file", "exp.yaml", "--resume", "--local-dir", "here"], ["--resume: no run of 'my-run' in", "here"]),
        (["train", "file", "exp.yaml", "--restore", "."], ["is no checkpoint of an RLlib algorithm"]),
        (["train", "file", "exp.yaml", "--restore", str(MODELS / "saccm_pendulum")], ["is an exported agent"]),
        (["train", "file", "exp.yaml", "--checkpoint-freq", "-1"], ["--checkpoint-freq"]),
        (
            ["train", "file", "exp.yaml", "--evaluate", "--no-checkpoint-at-end"],
            ["--evaluate: my-run has", "Leave one"],
        ),
        (["train", "file", "exp.yaml", "--nonsense"], ["--nonsense"]),
        (
            ["train", "run", "--algo", "SaCCM", "--env", "ends:Env"],
            ["'ends' cannot be imported: it called sys.exit(0)"],
        ),
        (["train", "run", "--algo", "ends.Algo", "--env", "X"], ["'ends.Algo' cannot be imported: it called sys.exit"]),
        (["evaluate", "nowhere"], ["nowhere: no such folder"]),
        (["evaluate", "."], ["is no checkpoint of an RLlib algorithm"]),
        (["envs", "Antt"], ["unknown environment 'Antt'. Did you mean 'SaMI/Ant-v0'?"]),
        (["envs", "Ant", "--split", "extrem"], ["Did you mean 'extreme'?"]),
        (["envs", "--split", "train"], ["of which environment?"]),
    ],
)
def test_on_the_command_line(refused, write, words, parts):
    write("exp.yaml", experiment())
    write("notes.txt", "hello")
    write("broken.py", "1 / 0\n")
    write("useless.py", "x = 1\n")
    write("ends.py", "import sys; sys.exit(0)\n")
    write("stop.py", "config, stop = {}, 5\n")
    message = refused(*words)
    for part in parts:
        assert part in message


def test_observations_that_are_images(refused, write):
    path = write(
        "camera.py",
        """
import gymnasium
import numpy as np
from ray.tune import register_env

from rllib_sami import SaCCMConfig


class Camera(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros((8, 8, 3), np.uint8), {"task_id": 0}

    def step(self, action):
        return np.zeros((8, 8, 3), np.uint8), 0.0, False, True, {}


register_env("Camera", lambda context: Camera())
config = SaCCMConfig().environment("Camera")
stop = {"training_iteration": 1}
""",
    )
    message = refused("train", "file", path)
    assert (
        "The environment 'Camera' has observations of shape [8, 8, 3] and type uint8, but only flat ones are supported"
        in message
    )
    assert len(message.splitlines()) == 1


MISTAKES = """
first:
  run: PlainSAC
  env: SaMI/Pendulum-v0
  stop: {trainng_iteration: 3, episode_reward_mean: 3}
  config:
    num_workers: 2
    tau: 3
    gama: 0.9
    model_config: {fcnet_activation: tanh}
    evaluation_config: {explor: true, gamma: high}
    replay_buffer_config: {capacity: 1}
  checkpoint_config: {frequency: 3, num_to_keep: x}
  confg: {}
second: {run: SaCMM, env: CartPole-v1}
third: {run: PPO, env: CartPole-v1, config: {minibatch_size: 1000000}}
"""


def test_all_mistakes_of_a_file_are_told_in_its_order(refused, write):
    head, *lines = refused("train", "file", write("exp.yaml", MISTAKES), "--set", "lr=1").splitlines()
    assert head == f"Error: {len(lines)} mistakes:"
    named = ["trainng_iteration", "episode_reward_mean", "num_workers", "tau", "gama", "model_config.fcnet_activation"]
    named += ["explor", "gamma", "replay_buffer_config", "lr", "frequency", "num_to_keep", "confg"]
    experiments = ["first"] * len(named) + ["second", "third"]
    for line, name, key in zip(lines, experiments, [*named, "SaCMM", "minibatch_size"], strict=True):
        assert line.startswith(f"  exp.yaml, experiment '{name}'") or f"experiment '{name}'" in line
        assert re.search(rf"['`]{key}\b", line)


def test_a_misspelt_setting_is_not_missed_by_others(refused, write):
    config = {"acting_encodr": "online", "updates_per_batch": 1, "contrast_interval": 1, "encoder_loss": "both"}
    [line] = refused("train", "file", write("exp.yaml", experiment(config=config))).splitlines()
    assert "Did you mean 'acting_encoder'?" in line


def test_all_mistakes_of_set_are_told(refused, write):
    message = refused("train", "file", write("exp.yaml", experiment()), "--set", "gamma", "--set", "gamma=[1")
    assert message.startswith("Error: 2 mistakes:\n  --set gamma: the form is key=value")


def test_an_address_where_no_cluster_answers(refused, write, tmp_path):
    words = ("train", "file", write("exp.yaml", experiment()), "--storage-path", tmp_path / "results")
    assert "127.0.0.1:1: no Ray cluster answers there" in refused(*words, "--ray-address", "127.0.0.1:1")
    assert not list(tmp_path.glob("results/*/*"))


def test_several_experiments_cannot_share_one_name(refused, write):
    path = write("two.yaml", "a: {run: SAC, env: Pendulum-v1}\nb: {run: PPO, env: Pendulum-v1}\n")
    assert "the file has 2 experiments" in refused("train", "file", path, "--experiment-name", "c")


def test_checkpoint_of_another_or_an_unknown_algorithm(refused, write, tmp_path):
    from ray.rllib.algorithms.ppo import PPO, PPOConfig

    write("exp.yaml", experiment())
    write("ckpt/rllib_checkpoint.json", "{}")
    arguments = {"class": PPO, "ctor_args_and_kwargs": ((PPOConfig().get_state(),), {})}
    (tmp_path / "ckpt/class_and_ctor_args.pkl").write_bytes(pickle.dumps(arguments))
    message = refused("train", "file", "exp.yaml", "--restore", "ckpt")
    assert "is a checkpoint of PPO, but SaCCM is to be trained" in message
    assert "no single agent's RLModule in it" in refused("evaluate", "ckpt", "--env", "Pendulum-v1")

    arguments = {"class": PPO, "ctor_args_and_kwargs": ((PPOConfig().environment("my-env").get_state(),), {})}
    (tmp_path / "ckpt/class_and_ctor_args.pkl").write_bytes(pickle.dumps(arguments))
    message = refused("evaluate", "ckpt")
    assert "its environment 'my-env' was registered by the script that trained it" in message
    assert "--env my_module:MyEnv" in message

    (tmp_path / "ckpt/class_and_ctor_args.pkl").write_bytes(b"cgone_module\nGone\n.")
    assert "whose code is not here" in refused("evaluate", "ckpt")
    (tmp_path / "ckpt/class_and_ctor_args.pkl").write_bytes(b"no pickle")
    assert "cannot be read" in refused("evaluate", "ckpt")


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        (("evaluate", "nowhere"), "rllib_sami.exports.checkpoints.find_all"),
        (("export", "nowhere", "--out", "it"), "rllib_sami.exports.checkpoints.find"),
        (("report", "nowhere", "--out", "it"), "rllib_sami.evaluation.results.Results.load"),
    ],
)
def test_ctrl_c_ends_the_other_commands_in_one_line(rllib, monkeypatch, words, moment):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupt)
    result = rllib(*words, "-q")
    assert result.exit_code == 130
    assert re.fullmatch(r"\nStopped: no.* written\.\n", result.output)


@pytest.mark.parametrize("moment", ["rllib_sami_cli.catalog.prepare", "ray.init"])
def test_ctrl_c_before_training(rllib, write, monkeypatch, moment, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    path = write("exp.yaml", experiment())
    monkeypatch.setattr(moment, interrupt)
    result = rllib("train", "file", path, "--local-dir", "results")
    assert result.exit_code == 130
    assert "nothing was trained" in result.stderr
    assert "Aborted!" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_the_cause_is_shown_with_vv(rllib, write):
    path = write("exp.yaml", experiment(config={"temperature": -1}))
    result = rllib("train", "file", path, "-vv")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
