"""ASHA: random trials; after an eighth and a half of the steps, only the best quarter so far continues.

Run:  python tuned_examples/search/asha_pendulum.py --steps 40000 --trials 16
"""

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from space import METRIC, RATES, SHAPE, STEPS, options, search

if __name__ == "__main__":
    given = options(trials=16)
    scheduler = ASHAScheduler(
        STEPS, METRIC, "max", max_t=given.steps, grace_period=max(1, given.steps // 8), reduction_factor=4
    )
    tune_config = tune.TuneConfig(scheduler=scheduler, num_samples=given.trials)
    search("asha_pendulum_py", RATES | SHAPE, tune_config, given.steps)
