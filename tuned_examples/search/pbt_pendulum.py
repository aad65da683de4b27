"""Population-based training: every eighth of the steps the poorest quarter goes on from the best quarter.

A trial that does takes over networks, optimisers and replay buffer (``store_buffer_in_checkpoints``), and the settings,
changed a little.

Run:  python tuned_examples/search/pbt_pendulum.py --steps 40000 --trials 8
"""

from typing import Any

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.sample import Categorical, Float
from space import METRIC, RATES, STEPS, options, search


def within_bounds(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a changed trial, none outside its space: a gamma above 1 would not train."""
    for key, space in RATES.items():
        if isinstance(space, Float):
            config[key] = min(max(config[key], space.lower), space.upper)
    return config


if __name__ == "__main__":
    given = options(trials=8)
    scheduler = PopulationBasedTraining(
        STEPS,
        METRIC,
        "max",
        perturbation_interval=max(1, given.steps // 8),
        # Tune steps through a list; a `choice` it would multiply.
        hyperparam_mutations={k: list(s.categories) if isinstance(s, Categorical) else s for k, s in RATES.items()},
        custom_explore_fn=within_bounds,
    )
    tune_config = tune.TuneConfig(scheduler=scheduler, num_samples=given.trials)
    search("pbt_pendulum_py", RATES, tune_config, given.steps)
