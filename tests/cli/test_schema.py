"""What the check accepts, and what it makes of it."""

from dataclasses import replace
from typing import Literal

import pytest

from rllib_sami.datasets import recipes
from rllib_sami.registration import ALGORITHMS
from rllib_sami_cli.ending import MetricStopper
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import Experiment
from rllib_sami_cli.resources import check_resources
from rllib_sami_cli.schema import check
from rllib_sami_cli.smoke import shrink
from rllib_sami_cli.stop import check_stop, lookup, reached
from rllib_sami_cli.typecheck import describe, fits


def plan(config=None, run="SAC", env="Pendulum-v1", **body):
    return check(Experiment("test", {"run": run, "env": env, "config": config or {}, **body}))


@pytest.mark.parametrize("run", ["SAC", "PPO", "DQN", "APPO", "IMPALA", "DreamerV3", "ray.rllib.algorithms.tqc.TQC"])
def test_any_algorithm_of_rllib(run):
    env = "CartPole-v1" if run == "DQN" else "Pendulum-v1"
    assert plan(run=run, env=env).algorithm.__name__ == run.rpartition(".")[2]


def test_an_environment_by_module_and_name_is_the_dotted_path_that_rllib_imports():
    places = {"gymnasium.envs.classic_control.pendulum": "PendulumEnv", "rllib_sami": "SaMI/Pendulum-v0"}
    names = [f"{module}:{name}" for module, name in places.items()]
    dotted = ["gymnasium.envs.classic_control.pendulum.PendulumEnv", "rllib_sami:SaMI/Pendulum-v0"]
    assert [plan(env=name).config["env"] for name in names] == dotted
    assert plan(env={"grid_search": names[:1]}).config["env"] == {"grid_search": dotted[:1]}


def test_an_empty_env_config_is_none():
    assert plan({"env_config": None}).config["env_config"] == {}


OF_DATA = ("SkiMoPretrain", "SkiMo", "SPiRL")  # which need data, and skills learned from them


@pytest.mark.parametrize("run", [*(name for name in ALGORITHMS if name not in OF_DATA), "rllib_sami.SaCCM"])
def test_our_algorithms_on_our_environments(run):
    assert plan(run=run, env="SaMI/Pendulum-v0", config={"env_config": {"split": "moderate"}}).bundles


def test_every_public_default_is_accepted():
    """The schema may not refuse what an algorithm itself starts from."""
    from rllib_sami_cli.config_schema import ConfigSchema

    for experiment in (plan(), plan(run="SaCCM", env="SaMI/Pendulum-v0"), plan(run="PPO"), plan(run="DreamerV3")):
        schema = ConfigSchema.of(experiment.algorithm)
        for key in schema.public_keys:
            if key in schema.defaults:
                schema.check({key: schema.defaults[key]}, "test")


def test_whole_numbers_written_as_floats_and_the_other_way_round():
    config = plan({"train_batch_size_per_learner": 1e3, "gamma": 1, "actor_lr": [[0, 1e-3], [1e4, 1e-4]]}).config
    assert config["train_batch_size_per_learner"] == 1000
    assert isinstance(config["train_batch_size_per_learner"], int)
    assert plan({"num_cpus_per_env_runner": 0.5}).config["num_cpus_per_env_runner"] == 0.5  # RLlib declares it an int


def test_settings_beyond_the_obvious():
    config = plan(
        {
            "target_entropy": "auto",
            "grad_clip": None,
            "replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 1000},
            "callbacks": "ray.rllib.callbacks.callbacks.RLlibCallback",
            "evaluation_config": {"explore": False, "env_config": {"g": 9.81}},
            "evaluation_interval": 1,
            "model_config": {"fcnet_hiddens": [32, 32], "a_key_of_my_own_module": 1},
            "num_gpus_per_learner": 0,
        }
    ).config
    # AlgorithmConfig takes the model's settings under this name only.
    assert config["_model_config"]["fcnet_hiddens"] == [32, 32]
    assert "model_config" not in config


def test_a_file_for_rllibs_sac_trains_ours():
    """The settings of RLlib's halfcheetah-sac.yaml."""
    model = {"fcnet_activation": "relu", "fcnet_hiddens": [64, 64]}
    config = {
        "framework": "torch",
        "q_model_config": model,
        "policy_model_config": model,
        "n_step": 1,
        "target_network_update_freq": 1,
        "optimization": {"actor_learning_rate": 0.0003},
        "num_gpus": 0,
        "clip_actions": False,
        "normalize_actions": True,
    }
    assert plan(config, run="PlainSAC", env="SaMI/Pendulum-v0").bundles


def test_what_only_rllibs_old_api_stack_reads_is_taken_there():
    old = {"enable_rl_module_and_learner": False, "enable_env_runner_and_connector_v2": False}
    config = {"observation_filter": "MeanStdFilter", "model": {"fcnet_hiddens": [32]}}
    assert plan(old | config, run="PPO").config["observation_filter"] == "MeanStdFilter"
    with pytest.raises(UserError, match="'observation_filter' is 'MeanStdFilter', but has no effect here"):
        plan(config, run="PPO")


def test_what_has_no_effect_but_misleads_nobody_is_taken_with_a_warning(caplog, monkeypatch):
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda key: True)
    caplog.set_level("WARNING", "rllib_sami.config.unused_settings")  # the learning benchmark silences it
    for run in ("PPO", "PlainSAC"):
        caplog.clear()
        plan({"compress_observations": True}, run=run)
        said = {record.getMessage() for record in caplog.records if "compress_observations" in record.getMessage()}
        assert [line.partition(" is ")[0] for line in said] in (
            ["PPO: `compress_observations`"],
            ["PlainSACConfig: `compress_observations`"],
        )


def test_grid_search_is_kept_and_all_alternatives_are_validated():
    grid = {"grid_search": [0.9, 0.99]}
    assert plan({"gamma": grid}, num_samples=2).config["gamma"] == grid
    with pytest.raises(UserError, match="temperature"):
        plan({"temperature": {"grid_search": [0.1, -1]}}, run="SaCCM", env="SaMI/Pendulum-v0")
    with pytest.raises(UserError, match="CartPole-v1"):
        plan(run="SaCCM", env={"grid_search": ["SaMI/Pendulum-v0", "CartPole-v1"]})


def test_checkpoint_config():
    checked = plan(
        checkpoint_config={
            "checkpoint_score_attribute": "min-env_runners/episode_len_mean",
            "checkpoint_frequency": 2.0,
        }
    )
    assert checked.checkpoint_config == {
        "checkpoint_score_attribute": "env_runners/episode_len_mean",
        "checkpoint_score_order": "min",
        "checkpoint_frequency": 2,
    }


def test_stop_is_flattened_and_null_takes_a_criterion_away():
    stop = {"env_runners": {"episode_return_mean": 3}, "training_iteration": None, "learners/my/own_metric": 1}
    assert check_stop(stop, "test") == {"env_runners/episode_return_mean": 3, "learners/my/own_metric": 1}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"evaluation_interval": 1, "custom_evaluation_function": "my_module.evaluate"},
        {"evaluation_interval": 1, "callbacks": "ray.rllib.callbacks.callbacks.RLlibCallback"},
    ],
)
def test_stop_on_evaluation(config):
    own = {"evaluation/extreme/return_mean": 1}
    usual = {"evaluation/env_runners/episode_return_mean": 1}
    if not config:
        for stop in (own, usual):
            with pytest.raises(UserError, match=r"in no result without evaluation: set config.evaluation_interval"):
                plan(config, stop=stop)
        config = {"evaluation_interval": 1}
        with pytest.raises(UserError, match="return in evaluation is 'evaluation/env_runners/episode_return_mean'"):
            plan(config, stop=own)
        assert plan(config, stop=usual).stop == usual
    else:
        assert plan(config, stop=own).stop == own


def test_stop_on_the_evaluation_of_a_split():
    def checked(metric, **settings):
        config = {"evaluation_interval": 1, **settings}
        return plan(config, run="SaCCM", env="SaMI/Pendulum-v0", stop={metric: 1}).stop

    for name in ("extreme/return_mean", "train/success_rate", "moderate/return_by_task/1", "own/return_mean"):
        assert checked(f"evaluation/{name}") == {f"evaluation/{name}": 1}
    for name in ("extreme/return_men", "extreme", "extrem/return_mean", "train/return_by_task", "train/return_mean/1"):
        with pytest.raises(UserError, match=r"'evaluation/(train|extreme)/return_mean' \(evaluated: train, moderate"):
            checked(f"evaluation/{name}")
    with pytest.raises(UserError, match=r"\(evaluated: train\)"):
        checked("evaluation/extreme/return_mean", evaluation_splits=["train"])
    with pytest.raises(UserError, match="no such split"):
        checked("evaluation/trian/return_mean", evaluation_splits=["trian"])


def test_stop_on_results():
    result = {"training_iteration": 3, "env_runners": {"episode_return_mean": float("nan")}, "done": True}
    assert lookup(result, "env_runners/episode_return_mean") is None
    assert lookup(result, "env_runners/nothing/there") is None
    assert reached(result, {"env_runners/episode_return_mean": 0}) is None
    assert reached(result, {"env_runners/episode_return_mean": 0, "training_iteration": 3}) == "training_iteration"


def test_resources_that_are_not_there():
    needed = [{"CPU": 1}, {"CPU": 1, "GPU": 0.5}]
    check_resources(needed, {"CPU": 2, "GPU": 1}, "test")
    with pytest.raises(UserError, match=r"needs 2 CPU, and there are 1. Lower num_env_runners"):
        check_resources(needed, {"CPU": 1, "GPU": 1}, "test")
    with pytest.raises(UserError, match=r"needs 0.5 GPU, and there are 0. Set num_gpus_per_learner=0"):
        check_resources(needed, {"CPU": 8}, "test")
    with pytest.raises(UserError, match=r"keeps its env runners: let Ray count more, --ray-num-cpus 2, .*--restore"):
        check_resources(needed, {"CPU": 1, "GPU": 1}, "test", resumed=True)
    with pytest.raises(UserError, match=r"keeps its GPU: .*--restore"):
        check_resources(needed, {"CPU": 2}, "test", resumed=True)


def test_smoke_is_short_and_has_a_name_of_its_own():
    small = shrink(plan({"num_env_runners": 7, "gamma": 0.5}, stop={"training_iteration": 1000}))
    assert small.name == "test-smoke"
    assert small.stop == {"training_iteration": 3}
    assert small.config["num_env_runners"] == 1
    assert sum(bundle["CPU"] for bundle in small.bundles) == 2
    assert small.config["gamma"] == 0.5
    assert small.config["num_steps_sampled_before_learning_starts"] <= 100


def test_smoke_makes_little_data_and_takes_what_is_there(monkeypatch, tmp_path):
    monkeypatch.setenv(recipes.CACHE, str(tmp_path))
    recipe = {"make": "maze", "env": "Maze/UMaze-v0", "trajectories": 600}

    def data(recipe):
        return shrink(plan(run="SkiMoPretrain", env="Maze/UMaze-v0", config={"data": recipe})).config["data"]

    assert data(recipe) == recipe | {"trajectories": 10}
    few = recipe | {"trajectories": 3}
    assert data(few) == few
    enough = recipe | {"trajectories": 12}
    recipes.made(enough)
    assert data(enough) == enough


def test_smoke_leaves_what_the_command_line_says():
    given = {"config": {"num_env_runners": 2, "evaluation_num_env_runners": 1}, "stop": {"training_iteration": 7}}
    settings = {"evaluation_parallel_to_training": True, "evaluation_interval": 1, "evaluation_duration": 50}
    small = shrink(
        replace(plan({**given["config"], **settings}, stop={"training_iteration": 7}, max_failures=0), given=given)
    )
    assert small.stop == {"training_iteration": 7}
    assert (small.config["num_env_runners"], small.config["evaluation_num_env_runners"]) == (2, 1)
    assert small.config["evaluation_parallel_to_training"] is True
    assert small.config["evaluation_duration"] == 2
    given = {"config": {"contrast_interval": 8}}
    small = shrink(replace(plan(run="CCM", env="SaMI/Pendulum-v0", config=given["config"]), given=given))
    assert small.config["contrast_interval"] == 8
    assert "updates_per_batch" not in small.config


def test_a_smoke_run_waits_for_an_episode_but_not_for_ever():
    def ends(iteration, episodes, within=100, budget=None, steps=10):
        result = {"training_iteration": iteration, "env_runners": {"num_episodes_lifetime": episodes}}
        result["num_env_steps_sampled_lifetime"] = steps
        return MetricStopper({"training_iteration": 3}, budget, within)("t", result)

    assert [ends(2, 1), ends(3, 0), ends(3, 1), ends(99, 0), ends(100, 0)] == [False, False, True, False, True]
    assert ends(3, 0, within=0)
    assert ends(3, 0, steps=0)  # with a data set, no episode will end
    assert ends(1, 0, budget=0.0)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True),
        (True, int, False),
        (1e6, int, True),
        (1.5, int, False),
        ("a", int | str, True),
        (None, int | None, True),
        ([1, "a"], list[int], False),
        ([1, 2], tuple[int, int], True),
        ([1, 2, 3], tuple[int, int], False),
        ("x", Literal["x", "y"], True),
        ("z", Literal["x", "y"], False),
        ({"a": 1}, dict[str, int], True),
        ("my.module.Class", type, True),
        (3, type, False),
    ],
)
def test_types(value, hint, expected):
    assert fits(value, hint) is expected


def test_types_in_words():
    assert describe(int | None) == "an integer or null"
    assert describe(float | list[list[float]]) == "a number or a list"
