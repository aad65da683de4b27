"""What the searches in this folder share: SaCCM on Pendulum, the search space, the metric."""

import argparse
from typing import Any

from ray import tune

from rllib_sami import SaCCMConfig

# Trials are compared on moderate tasks, outside the training tasks; the extreme tasks are kept for the test.
METRIC = "evaluation/moderate/return_mean"
STEPS = "num_env_steps_sampled_lifetime"

# Settings that a running trial can change.
RATES: dict[str, Any] = {
    "contrast_coeff": tune.loguniform(0.01, 1.0),
    "temperature": tune.loguniform(0.05, 0.5),
    "encoder_lr": tune.loguniform(1e-5, 1e-3),
    "critic_lr": tune.loguniform(1e-4, 1e-3),
    "actor_lr": tune.loguniform(1e-4, 1e-3),
    "updates_per_env_step": tune.loguniform(0.05, 0.5),
    "gamma": tune.choice([0.95, 0.98, 0.99, 0.995]),
}
# Settings that shape the networks: for searches in which no trial copies the networks of another.
SHAPE: dict[str, Any] = {"context_dim": tune.choice([3, 6, 12]), "normalize_context": tune.choice([True, False])}


def base() -> SaCCMConfig:
    """Returns the settings that all trials share."""
    return (
        SaCCMConfig()
        .environment("SaMI/Pendulum-v0", env_config={"split": "train"})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .training(num_steps_sampled_before_learning_starts=2_000)
        .evaluation(evaluation_interval=5, evaluation_splits=["train", "moderate"])
    )


def options(trials: int) -> argparse.Namespace:
    """Parses the command line: ``steps`` of a full trial, number of ``trials``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps of a full trial")
    parser.add_argument("--trials", type=int, default=trials)
    return parser.parse_args()


def search(name: str, space: dict[str, Any], tune_config: tune.TuneConfig, steps: int) -> tune.ResultGrid:
    """Runs a search and prints its best trial and the command that evaluates it.

    Args:
        name: Folder of the results in ~/ray_results.
        space: Settings to search.
        tune_config: Search algorithm, number of trials, scheduler.
        steps: Environment steps of a full trial.

    Returns:
        Tune's results.
    """
    results = tune.Tuner(
        "SaCCM",
        param_space=base().training(**space),
        tune_config=tune_config,
        run_config=tune.RunConfig(
            name=name,
            stop={STEPS: steps},
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True, num_to_keep=4),
        ),
    ).fit()
    best = results.get_best_result(METRIC, "max")
    if best.config is None or best.metrics is None or best.checkpoint is None:
        raise RuntimeError(f"No trial of {name} ended with a checkpoint.")
    print(f"Best: {best.metrics['evaluation']['moderate']['return_mean']:.1f} with", {k: best.config[k] for k in space})
    print(f"  rllib evaluate '{best.checkpoint.path}'")
    return results
