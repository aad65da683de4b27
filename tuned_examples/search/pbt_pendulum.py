"""Population-based training: every eighth of the steps, the worst quarter of the trials copies the best quarter.

It copies networks, optimisers and replay buffer (``store_buffer_in_checkpoints``), and settings, slightly changed.

Run:  python tuned_examples/search/pbt_pendulum.py --steps 40000 --trials 8
"""

from typing import Any

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.sample import Categorical, Float
from space import METRIC, RATES, STEPS, options, search


def within_bounds(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the changed settings, clipped to their spaces: training would fail with a gamma above 1."""
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
        # Tune moves to a neighbour in a list, but would multiply the value of a `choice`.
        hyperparam_mutations={k: list(s.categories) if isinstance(s, Categorical) else s for k, s in RATES.items()},
        custom_explore_fn=within_bounds,
    )
    tune_config = tune.TuneConfig(scheduler=scheduler, num_samples=given.trials)
    search("pbt_pendulum_py", RATES, tune_config, given.steps)
