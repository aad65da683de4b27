"""Optuna (TPE) proposes trials based on finished ones.

Needs the extra:  pip install 'rllib-sami[search]'

Run:  python tuned_examples/search/optuna_pendulum.py --steps 40000 --trials 32
"""

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch
from space import METRIC, RATES, SHAPE, STEPS, options, search

if __name__ == "__main__":
    given = options(trials=32)
    space = RATES | SHAPE
    # Optuna learns from finished trials, so only a few should run at once.
    algorithm = ConcurrencyLimiter(
        OptunaSearch(OptunaSearch.convert_search_space(space), metric=METRIC, mode="max"), max_concurrent=2
    )
    scheduler = ASHAScheduler(
        STEPS, METRIC, "max", max_t=given.steps, grace_period=max(1, given.steps // 8), reduction_factor=4
    )
    tune_config = tune.TuneConfig(search_alg=algorithm, scheduler=scheduler, num_samples=given.trials)
    search("optuna_pendulum_py", space, tune_config, given.steps)
