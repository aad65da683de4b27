"""The page of metrics lists what a first result has."""

import re
from pathlib import Path

import pytest

from rllib_sami import CSFConfig, NeuralProcessConfig, PlainSACConfig, SaCCMConfig, SaPPOConfig, TaskInferenceConfig
from rllib_sami.algorithms.skill_discovery.methods import METHODS
from rllib_sami_cli.stop import KNOWN, flatten

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
SECTIONS = {
    title: re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE)
    for title, text in re.findall(r"^#+ (.*?)\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
OF_RLLIB = (
    r"(timers|perf|fault_tolerance|env_runner_group|config)/|.*_throughput/|.*/num_(agent|module)_steps_sampled|"
    r"env_runners/(sample|time_between_sampling|weights_seq_no)$|[a-z_]+$"
)
COMMON = ["Progress", "Training episodes", "Evaluation", "With a contrast", "With both contrasts"]
OFF_POLICY = ["Only with this package's env runner", "Learning", "Replay buffer"]
OF_SOME_METHODS = "In some methods of skill discovery"


def first_result(config):
    env = {CSFConfig: "Skills/PosturePoint-v0", TaskInferenceConfig: "Reuse/Toy-v0"}.get(
        type(config), "SaMI/Pendulum-v0"
    )
    config.environment(env, env_config={"max_steps": 200}).debugging(log_level="ERROR")
    config.env_runners(num_envs_per_env_runner=2).reporting(min_sample_timesteps_per_iteration=50)
    algo = config.evaluation(evaluation_interval=5).build_algo()
    result = algo.train()
    algo.stop()
    return {key for key in flatten(result) if not key.startswith("config/")}


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("config_class", "sections", "settings"),
    [
        (SaCCMConfig, [*COMMON, *OFF_POLICY, "On splits", "With a context"], {}),
        (PlainSACConfig, ["Progress", "Training episodes", "Evaluation", *OFF_POLICY, "On splits"], {}),
        (CSFConfig, ["Progress", "Training episodes", "Evaluation", *OFF_POLICY, "Of skills", "Skill discovery"], {}),
        (
            TaskInferenceConfig,
            [
                *("Progress", "Training episodes", "Evaluation", "On splits", *OFF_POLICY),
                *("With a context", "Task inference", "With families of tasks"),
            ],
            {},
        ),
        (
            NeuralProcessConfig,
            [
                "Progress",
                "Training episodes",
                "Evaluation",
                "On splits",
                *OFF_POLICY,
                "With a context",
                "Task inference",
            ],
            {},
        ),
        (
            SaPPOConfig,
            [*COMMON, "SaPPO"],
            {"train_batch_size_per_learner": 64, "minibatch_size": 64, "num_epochs": 1},
        ),
    ],
)
def test_a_first_result_has_what_the_page_lists(config_class, sections, settings):
    keys = first_result(config_class().training(**settings))
    listed = [key for section in sections for key in SECTIONS[section]]
    if config_class is CSFConfig:
        listed += [key for key in SECTIONS[OF_SOME_METHODS] if key.rpartition("/")[2] in METHODS["CSF"].metrics]
    patterns = [re.sub(r"<\w+>", "[^/]+", key) for key in listed]
    assert [
        key for key, pattern in zip(listed, patterns, strict=True) if not any(re.fullmatch(pattern, k) for k in keys)
    ] == []
    if config_class is not SaPPOConfig:  # RLlib's learner and env runner report much more
        mine = {key for key in keys if not re.match(OF_RLLIB, key)}
        assert sorted(key for key in mine if not any(re.fullmatch(pattern, key) for pattern in patterns)) == []


def test_metrics_of_methods_of_skill_discovery_are_listed_with_their_methods():
    having: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        for metric in method.metrics:
            having.setdefault(f"learners/default_policy/{metric}", []).append(name)
    assert having.keys() == {*SECTIONS["Skill discovery"], *SECTIONS[OF_SOME_METHODS]}
    for key in SECTIONS["Skill discovery"]:
        assert having[key] == [*METHODS]
    for key in SECTIONS[OF_SOME_METHODS]:
        assert re.search(rf"`{key}` \| [^|]+ \| {', '.join(having[key])}: ", PAGE), key


def test_every_metric_that_the_command_offers_is_on_the_page():
    listed = {key for keys in SECTIONS.values() for key in keys}
    elsewhere = {"time_since_restore", "iterations_since_restore"}  # Tune's
    assert KNOWN - elsewhere <= listed
