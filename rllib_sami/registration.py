"""The table of all algorithms, and the names under which Tune and RLlib find them and the environments."""

from functools import partial

import gymnasium as gym
from ray.rllib.algorithms.algorithm import Algorithm
from ray.tune.registry import register_env, register_trainable

from rllib_sami import envs
from rllib_sami.algorithms.sac.sac import PlainSAC, RecurrentSAC
from rllib_sami.algorithms.sami.presets import CCM, TESAC, SaCCM, SaTESAC
from rllib_sami.algorithms.sami.sami import SaMI
from rllib_sami.algorithms.sappo.sappo import SaPPO
from rllib_sami.algorithms.skill_discovery.presets import CIC, CSF, DADS, DIAYN, METRA, VISR
from rllib_sami.algorithms.skimo.pretraining import SkiMoPretrain
from rllib_sami.algorithms.skimo.skimo import SkiMo
from rllib_sami.algorithms.skimo.spirl import SPiRL
from rllib_sami.algorithms.task_inference.neural_process import NeuralProcess
from rllib_sami.algorithms.task_inference.task_inference import TaskInference
from rllib_sami.algorithms.tdmpc.tdmpc import TDMPC

ALGORITHMS: dict[str, type[Algorithm]] = {
    algorithm.__name__: algorithm
    for algorithm in (
        *(SaMI, TESAC, CCM, SaTESAC, SaCCM, PlainSAC, RecurrentSAC, SaPPO),
        *(CSF, METRA, DIAYN, VISR, CIC, DADS),
        *(TaskInference, NeuralProcess),
        *(SkiMoPretrain, SkiMo, SPiRL, TDMPC),
    )
}


def _make_env(env_id: str, context: dict) -> gym.Env:
    return envs.make(env_id, **context)


def register() -> None:
    """Registers all algorithms and environments; doing so again changes nothing."""
    for name, algorithm in ALGORITHMS.items():
        register_trainable(name, algorithm)
    for env_id in envs.ENVIRONMENTS:
        register_env(env_id, partial(_make_env, env_id))
