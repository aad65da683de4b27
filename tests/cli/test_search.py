"""`search`: what an experiment may say of it, what comes of it, and a search in earnest."""

import json
from pathlib import Path

import gymnasium
import pytest
import yaml
from ray import tune
from ray.tune.registry import register_env
from ray.tune.search.variant_generator import generate_variants

from rllib_sami_cli import catalog
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import Experiment, load, merge
from rllib_sami_cli.folders import plain
from rllib_sami_cli.schema import check
from rllib_sami_cli.search import create_algorithm, create_scheduler
from rllib_sami_cli.spaces import chosen, searched

RATE = {"encoder_lr": {"loguniform": [1e-4, 1e-3]}}
STOP = {"num_env_steps_sampled_lifetime": 8000}


def plan(search, stop=STOP, **config):
    """The checked search of SaCCM on the pendulum."""
    catalog.prepare(0)
    body = {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "stop": stop, "config": {"evaluation_interval": 2, **config}}
    return check(Experiment("e", {**body, "search": search}))


def refused(search, **config):
    """The message that refuses a search."""
    with pytest.raises(UserError) as error:
        plan(search, **config)
    return str(error.value)


@pytest.mark.parametrize(
    ("space", "sampled"),
    [
        ({"uniform": [0.1, 0.2]}, lambda value: 0.1 <= value <= 0.2),
        ({"loguniform": [0.1, 0.2]}, lambda value: 0.1 <= value <= 0.2),
        ({"choice": [0.1, 0.3]}, lambda value: value in (0.1, 0.3)),
    ],
)
def test_spaces_become_those_of_tune(space, sampled):
    domain = plan({}, temperature=space).config["temperature"]
    assert all(sampled(domain.sample()) for _ in range(20))


def test_spaces_within_a_mapping_are_searched_and_checked():
    """Tune searches them too, and names them with slashes."""
    given = {"max_steps": {"grid_search": [20, 30]}, "split": {"choice": ["train", "moderate"]}}
    config = plan({}, env_config=given).config
    assert {*searched(config)} == {"env_config/max_steps", "env_config/split"}
    variants = [found for _, found in generate_variants({"env_config": config["env_config"]})]
    assert sorted(one["env_config"]["max_steps"] for one in variants) == [20, 30]
    assert {chosen(one, "env_config/split") for one in variants} <= {"train", "moderate"}
    for wrong in ({"split": {"choice": ["train", "trian"]}}, {"split": {"choice": []}}, {"max_steps": {"choice": [0]}}):
        with pytest.raises(UserError, match="env_config"):
            plan({}, env_config=given | wrong)
    assert "cannot search 'env_config/split'" in refused({"scheduler": "pbt"}, env_config={"split": given["split"]})
    buffer = plan({}, replay_buffer_config={"capacity": tune.choice([5_000, 6_000])}).config["replay_buffer_config"]
    assert buffer["capacity"].sample() in (5_000, 6_000)
    with pytest.raises(UserError, match="capacity"):
        plan({}, replay_buffer_config={"capacity": {"grid_search": [5_000, 0]}})


def test_numbers_between_the_ends_of_a_range_must_fit_too():
    assert "max_steps=25.0: expected an integer" in refused({}, env_config={"max_steps": {"uniform": [20, 30]}})


def test_a_whole_env_config_may_be_searched():
    config = plan({}, env_config={"grid_search": [{"max_steps": 20}, {"max_steps": 30, "split": "moderate"}]}).config
    variants = [
        found["env_config"]["max_steps"] for _, found in generate_variants({"env_config": config["env_config"]})
    ]
    assert variants == [20, 30]
    assert "max_steps=0" in refused({}, env_config={"choice": [{"max_steps": 20}, {"max_steps": 0}]})


def test_what_a_function_gives_is_left_to_the_trial():
    late = tune.sample_from(lambda spec: 20)
    assert plan({}, env_config={"max_steps": late}).config["env_config"] == {"max_steps": late}
    assert plan({}, gamma=late).config["gamma"] is late


def test_a_mapping_of_one_s_own_environment_is_no_search_space():
    """Such as the range that friction is drawn from in each episode."""
    register_env("own", lambda config: gymnasium.make("Pendulum-v1"))
    catalog.prepare(0)
    given = {"friction": {"uniform": [0.5, 1.5]}, "mass": tune.choice([1.0, 2.0]), "length": {"grid_search": [1, 2]}}
    body = {"run": "PlainSAC", "env": "own", "config": {"env_config": given}}
    assert check(Experiment("e", body)).config["env_config"] == given


def test_optuna_proposes_settings_within_a_mapping():
    checked = plan({"algorithm": "optuna"}, env_config={"max_steps": {"choice": [20, 30]}, "split": "train"}, **RATE)
    algorithm = create_algorithm(checked.search, checked.config, [{"CPU": 1}], {"CPU": 2})
    proposed = algorithm.suggest("trial")
    assert proposed["env_config"]["max_steps"] in (20, 30)
    assert 1e-4 <= proposed["encoder_lr"] <= 1e-3


def test_whole_numbers_stay_whole():
    assert plan({}, context_dim={"randint": [3, 5]}).config["context_dim"].sample() in (3, 4)
    assert isinstance(plan({}, context_dim={"choice": [3.0]}).config["context_dim"].sample(), int)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            {"temperature": {"logunifrom": [0.1, 1]}},
            ["config.temperature", "'logunifrom'", "Did you mean 'loguniform'"],
        ),
        ({"temperature": {"loguniform": [0, 1]}}, ["config.temperature", "above 0", "[0, 1]"]),
        ({"temperature": {"uniform": [2, 1]}}, ["[lowest, highest]", "[2, 1]"]),
        ({"temperature": {"choice": []}}, ["a list of alternatives"]),
        ({"temperature": {"choice": [0.1, "warm"]}}, ["'warm'", "a number"]),
        ({"context_dim": {"uniform": [2, 8]}}, ["'context_dim' must be an integer"]),
        ({"temprature": {"uniform": [0.1, 1]}}, ["no setting 'temprature'", "Did you mean 'temperature'"]),
        ({"gamma": {"uniform": [0.9, 1.5]}}, ["gamma", "1.5"]),  # the ends are tried
    ],
)
def test_impossible_spaces_are_refused(setting, words):
    message = refused({}, **setting)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("search", "config", "words"),
    [
        ({"metrik": "x"}, {}, ["unknown key 'metrik'", "Did you mean 'metric'"]),
        ({"algorithm": "optunna"}, {}, ["unknown algorithm 'optunna'", "'optuna'"]),
        ({"scheduler": "ahsa"}, {}, ["unknown scheduler 'ahsa'", "'asha'"]),
        ({"scheduler": {"type": "asha", "grace": 3}}, {}, ["has no 'grace'", "grace_period"]),
        ({"scheduler": {"type": "asha", "grace_period": 9000}}, {}, ["grace_period must be <= max_t"]),
        ({"scheduler": {"type": "asha", "time_attr": "steps"}}, {}, ["'steps'", "training_iteration"]),
        ({"mode": "best"}, {}, ["'best'", "'max' or 'min'"]),
        ({"metric": "evaluation/extreme/return_mean"}, {}, ["extreme split", "evaluation/moderate/return_mean"]),
        ({"metric": "evaluation/env_runners/episode_return_mean"}, {}, ["extreme split"]),  # the mean over all splits
        ({}, {"evaluation_interval": None}, ["evaluation_interval", "env_runners/episode_return_mean"]),
        ({}, {"evaluation_splits": ["train"]}, ["unknown metric 'evaluation/moderate/return_mean'"]),
        ({"scheduler": "pbt"}, {}, ["nothing to search"]),
        ({"scheduler": "pbt"}, {"context_dim": {"choice": [3, 6]}}, ["cannot search 'context_dim'", "asha"]),
        ({"scheduler": "pbt"}, {"gamma": {"grid_search": [0.9]}}, ["grid_search", "choice"]),
        ({"scheduler": "pbt", "algorithm": "optuna"}, RATE, ["leave 'algorithm' out"]),
        ({"algorithm": "optuna"}, {}, ["nothing to search"]),
    ],
)
def test_bad_searches_are_refused(search, config, words):
    message = refused(search, **config)
    assert "experiment 'e'" in message or "command line" in message
    assert all(word in message for word in words), message


def test_skills_are_chosen_by_what_nothing_was_learned_from():
    catalog.prepare(0)
    error, data = "validation/behaviour_cloning_error", {"make": "maze", "env": "Maze/UMaze-v0", "trajectories": 1000}
    config = {"data": data, "model_lr": {"loguniform": [1e-4, 1e-3]}}
    body = {"run": "SkiMoPretrain", "env": "Maze/UMaze-v0", "stop": {error: 0.5}, "config": config}
    searched = {**body, "search": {"metric": error, "mode": "min"}}
    made = check(Experiment("e", searched))
    assert (made.search.metric, made.stop) == (error, {error: 0.5})
    wrong = [
        ({"search": {}}, f"name another metric, such as '{error}'"),
        ({"stop": {"validation/behavior_cloning_error": 1}}, f"Did you mean '{error}'"),
        ({"config": config | {"validation_fraction": 0}}, "with a `validation_fraction` above 0"),
    ]
    for change, words in wrong:
        with pytest.raises(UserError, match=words):
            check(Experiment("e", searched | change))
    assert "SkiMoPretrain reports it" in refused({"metric": error})


def test_schedulers_count_what_the_run_stops_at():
    asha = plan({"scheduler": "asha"}, **RATE)
    scheduler = create_scheduler(asha.search, asha.config, asha.stop, "")
    assert (scheduler._time_attr, scheduler._max_t) == ("num_env_steps_sampled_lifetime", 8000)
    assert asha.search.metric == "evaluation/moderate/return_mean"
    by_iteration = plan({"scheduler": "asha"}, stop={"training_iteration": 16})
    scheduler = create_scheduler(by_iteration.search, by_iteration.config, by_iteration.stop, "")
    assert (scheduler._time_attr, scheduler._max_t) == ("training_iteration", 16)


def test_population_changes_what_has_a_space_and_stays_within():
    made = plan({"scheduler": "pbt"}, gamma={"uniform": [0.9, 0.99]}, pairing={"choice": ["task", "skill"]}, **RATE)
    scheduler = create_scheduler(made.search, made.config, made.stop, "")
    assert set(scheduler._hyperparam_mutations) == {"gamma", "pairing", "encoder_lr"}
    changed = scheduler._custom_explore_fn({"gamma": 1.18, "encoder_lr": 8e-5, "pairing": "task", "tau": 5})
    assert changed == {"gamma": 0.99, "encoder_lr": 1e-4, "pairing": "task", "tau": 5}


def test_results_without_a_number_do_not_count():
    asha = plan({"scheduler": {"type": "asha", "grace_period": 1000}}, **RATE)
    scheduler = create_scheduler(asha.search, asha.config, asha.stop, "")

    class Trial:
        trial_id = "one"

    scheduler.on_trial_add(None, Trial)
    late = {"num_env_steps_sampled_lifetime": 9000}
    for value in ({}, {asha.search.metric: float("nan")}):
        assert scheduler.on_trial_result(None, Trial, {**late, **value}) == "CONTINUE"
    assert scheduler.on_trial_result(None, Trial, {**late, asha.search.metric: 0.0}) == "STOP"


def test_another_space_replaces_an_inherited_one():
    base = {"config": {"temperature": {"loguniform": [0.1, 1]}, "env_config": {"split": "train"}}}
    over = {"config": {"temperature": {"choice": [0.2]}, "env_config": {"max_steps": 50}}}
    config = merge(base, over)["config"]
    assert config == {"temperature": {"choice": [0.2]}, "env_config": {"split": "train", "max_steps": 50}}


def test_the_record_tells_spaces_apart():
    one, other = (plain(plan({}, temperature={"uniform": [0.1, high]}).config["temperature"]) for high in (0.2, 0.3))
    assert isinstance(one, str)
    assert one != other


def test_more_than_ray_may_use_is_refused_before_it_starts(refused):
    message = _refused_file(refused, "--ray-num-cpus", "2", "--set", "num_env_runners=6")
    assert "one trial needs 7 CPU, and there are 2" in message


def _refused_file(refused, *words):
    example = Path(__file__).parents[2] / "tuned_examples" / "search" / "asha_pendulum.yaml"
    return refused("train", "file", example, "--local-dir", "results", *words)


def test_options_go_before_the_files_scheduler(refused):
    """The file's ASHA, with its grace_period, is gone where the command line names another scheduler."""
    assert "hyperband has no 'grace'" in _refused_file(
        refused, "--scheduler", "hyperband", "--scheduler-config", '{"grace": 3}'
    )
    assert "async_hyperband has no 'grace'" in _refused_file(refused, "--scheduler-config", '{"grace": 3}')
    assert "grace_period must be <= max_t" in _refused_file(refused, "--set", "search.scheduler.grace_period=1e6")


def test_python_examples_search_what_the_yaml_says(fresh_python):
    folder = Path(__file__).parents[2] / "tuned_examples" / "search"
    code = """
import sys, json, runpy
sys.path.insert(0, sys.argv[1])
from rllib_sami_cli.folders import plain
for name in ("asha", "optuna", "pbt"):
    module = runpy.run_path(f"{sys.argv[1]}/{name}_pendulum.py")
    print(json.dumps([name, {k: plain(v) for k, v in (module["RATES"] | module.get("SHAPE", {})).items()}]))
"""
    for name, found in map(json.loads, fresh_python(code, folder).splitlines()[-3:]):
        [experiment] = load(folder / f"{name}_pendulum.yaml")
        spaces = {key: plain(value) for key, value in check(experiment).config.items() if isinstance(plain(value), str)}
        assert found.items() <= spaces.items()
        assert len(found) == (7 if name == "pbt" else 9)


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_population_based_training_then_the_printed_command(start, rllib, write, tmp_path):
    """A tiny search in earnest: a trial takes over another's networks, the best one is evaluated as told."""
    config = {
        "env_config": {"max_steps": 20},
        "num_env_runners": 0,
        "num_envs_per_env_runner": 4,
        "min_sample_timesteps_per_iteration": 100,
        "num_steps_sampled_before_learning_starts": 200,
        "train_episodes": 2,
        "updates_per_batch": 1,
        "contrast_interval": 1,
        "loss_timesteps": 16,
        "updates_per_env_step": 0.02,
        "evaluation_interval": 1,
        "evaluation_duration": 1,
        "encoder_lr": {"loguniform": [1e-4, 1e-3]},
    }
    # Synchronous: else it depends on which trial is ahead whether one has a checkpoint to take over.
    pbt = {"type": "pbt", "perturbation_interval": 400, "quantile_fraction": 0.5, "synch": True}
    body = {"run": "SaCCM", "env": "SaMI/Pendulum-v0", "stop": {"num_env_steps_sampled_lifetime": 800}}
    text = yaml.safe_dump({"population": {**body, "num_samples": 2, "search": {"scheduler": pbt}, "config": config}})
    path = write("population.yaml", text)
    command = start("train", "file", path, "--local-dir", "results", "--ray-num-cpus", "2")
    assert command.finish(timeout=300) == 0, command.output
    assert "went on from trial" in command.output
    assert "Best trial by evaluation/moderate/return_mean" in command.output
    [line] = [line for line in command.output.splitlines() if " evaluate " in line]
    checkpoint = line.split(" evaluate ")[1]
    evaluation = rllib("evaluate", checkpoint, "--episodes", "1")
    assert evaluation.exit_code == 0, evaluation.output
