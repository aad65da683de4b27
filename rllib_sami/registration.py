"""Names under which Tune and RLlib find the algorithms and environments."""

from functools import partial

from ray.tune.registry import register_env, register_trainable

from rllib_sami import envs  # installed from envs/
from rllib_sami.algorithms.sami.algorithm import SaMI
from rllib_sami.algorithms.sami.presets import CCM, TESAC, PlainSAC, RecurrentSAC, SaCCM, SaTESAC
from rllib_sami.algorithms.sappo.sappo import SaPPO

ALGORITHMS = {
    algorithm.__name__: algorithm for algorithm in (SaMI, TESAC, CCM, SaTESAC, SaCCM, PlainSAC, RecurrentSAC, SaPPO)
}


def _make_env(env_id: str, context: dict):
    return envs.make(env_id, **context)


def register() -> None:
    """Registers all algorithms and environments; doing so again changes nothing."""
    for name, algorithm in ALGORITHMS.items():
        register_trainable(name, algorithm)
    for env_id in envs.ENVIRONMENTS:
        register_env(env_id, partial(_make_env, env_id))
