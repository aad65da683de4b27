"""`--smoke`: the same run, but short, to see that everything works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rllib_sami.datasets.recipes import cached
from rllib_sami_cli.config_schema import ConfigSchema
from rllib_sami_cli.schema import Plan, with_config

ITERATIONS = 3
TRAJECTORIES = 10  # of data that are not there yet
MOST_ITERATIONS = 100  # until a first episode ends
# Setting -> its maximum. Only settings that make an iteration long; the algorithm stays as it is.
_AT_MOST = {
    "min_time_s_per_iteration": 0,
    "min_sample_timesteps_per_iteration": 200,
    "min_train_timesteps_per_iteration": 0,
    "num_steps_sampled_before_learning_starts": 100,
    "train_batch_size_per_learner": 400,
    "num_updates_per_iteration": 2,
    "updates_per_batch": 1,  # there are hardly as many updates as a usual batch serves
    "contrast_interval": 1,
    "num_env_runners": 1,
    "num_envs_per_env_runner": 2,  # so that the first episodes, of two tasks, end soon
    "evaluation_duration": 2,
    "evaluation_num_env_runners": 0,
}
# If the command line sets one of a pair, both are kept: parallel evaluation needs runners of its own, and one number
# divides the other.
_TOGETHER = (
    {"evaluation_parallel_to_training", "evaluation_num_env_runners"},
    {"updates_per_batch", "contrast_interval"},
)


def smoke_name(name: str) -> str:
    """Returns the name of an experiment's smoke run."""
    return f"{name}-smoke"


def shrink(plan: Plan) -> Plan:
    """Returns the plan with few and short iterations and a name of its own; what the command line sets is kept."""
    schema = ConfigSchema.of(plan.algorithm)
    config: dict[str, Any] = dict(plan.config)
    given = set(plan.given.get("config", {}))
    given = given.union(*(pair for pair in _TOGETHER if pair & given))
    for key, most in _AT_MOST.items():
        if key in schema.keys and key not in given:
            value = config.get(key, schema.defaults.get(key))
            if isinstance(value, int | float) and not isinstance(value, bool) and value > most:
                config[key] = most
    if "evaluation_parallel_to_training" in schema.keys - given:
        config["evaluation_parallel_to_training"] = False  # there are no evaluation runners
    if "data" not in given:
        config |= _little_data(config.get("data"))
    stop: dict[str, float] = plan.stop if "stop" in plan.given else {"training_iteration": ITERATIONS}
    search = replace(plan.search, arguments={})  # so that the scheduler's times fit the few iterations
    return replace(with_config(plan, config), search=search, name=smoke_name(plan.name), stop=stop)


def _little_data(recipe: Any) -> dict[str, Any]:
    """Returns ``data`` with few trajectories, if it is a recipe whose data are missing."""
    if not (isinstance(recipe, Mapping) and "make" in recipe) or cached(recipe).exists():
        return {}
    number = recipe.get("trajectories")
    if isinstance(number, int) and number < TRAJECTORIES:
        return {}
    return {"data": {**recipe, "trajectories": TRAJECTORIES}}
