"""Skills for Ray RLlib: one policy for many tasks that need different skills.

Importing this package registers the algorithms with Tune (``"SaCCM"``, ``"SaTESAC"``, ``"CCM"``, ``"TESAC"``, ...) and
the environments with Gymnasium and RLlib (``"SaMI/Ant-v0"``, ...). ``rllib_sami.core``, ``rllib_sami.envs`` and the
mathematics of each algorithm work without Ray too.
"""

import importlib
import importlib.metadata
import importlib.util
from typing import Any

from rllib_sami import envs, moved

__version__ = importlib.metadata.version("rllib-sami")
__all__ = ["__version__", "envs"]

moved.install()  # before anything reads an old checkpoint

if importlib.util.find_spec("ray") is not None:
    from rllib_sami import compat
    from rllib_sami.algorithms.sac.sac import PlainSAC, PlainSACConfig, RecurrentSAC, RecurrentSACConfig
    from rllib_sami.algorithms.sami.context_config import ContextConfig
    from rllib_sami.algorithms.sami.context_module import ContextTorchRLModule
    from rllib_sami.algorithms.sami.contrast_learner import ContrastLearner
    from rllib_sami.algorithms.sami.presets import (
        CCM,
        TESAC,
        CCMConfig,
        SaCCM,
        SaCCMConfig,
        SaTESAC,
        SaTESACConfig,
        TESACConfig,
    )
    from rllib_sami.algorithms.sami.sami import SaMI, SaMIConfig
    from rllib_sami.algorithms.sami.sampling import ContrastSampling
    from rllib_sami.algorithms.sappo.sappo import SaPPO, SaPPOConfig
    from rllib_sami.algorithms.skill_discovery.presets import (
        CIC,
        CSF,
        DADS,
        DIAYN,
        METRA,
        VISR,
        CICConfig,
        CSFConfig,
        DADSConfig,
        DIAYNConfig,
        METRAConfig,
        VISRConfig,
    )
    from rllib_sami.algorithms.skimo.pretraining import SkiMoPretrain, SkiMoPretrainConfig
    from rllib_sami.algorithms.skimo.skimo import SkiMo, SkiMoConfig
    from rllib_sami.algorithms.skimo.spirl import SPiRL, SPiRLConfig
    from rllib_sami.algorithms.task_inference.neural_process import NeuralProcess, NeuralProcessConfig
    from rllib_sami.algorithms.task_inference.task_inference import TaskInference, TaskInferenceConfig
    from rllib_sami.algorithms.tdmpc.tdmpc import TDMPC, TDMPCConfig
    from rllib_sami.exports import skill_control, task_transfer
    from rllib_sami.exports.loading import TrainedAgent, load
    from rllib_sami.registration import register

    __all__ += [
        "CCM",
        "CIC",
        "CSF",
        "DADS",
        "DIAYN",
        "METRA",
        "TDMPC",
        "TESAC",
        "VISR",
        "CCMConfig",
        "CICConfig",
        "CSFConfig",
        "ContextConfig",
        "ContextTorchRLModule",
        "ContrastLearner",
        "ContrastSampling",
        "DADSConfig",
        "DIAYNConfig",
        "METRAConfig",
        "NeuralProcess",
        "NeuralProcessConfig",
        "PlainSAC",
        "PlainSACConfig",
        "RecurrentSAC",
        "RecurrentSACConfig",
        "SPiRL",
        "SPiRLConfig",
        "SaCCM",
        "SaCCMConfig",
        "SaMI",
        "SaMIConfig",
        "SaPPO",
        "SaPPOConfig",
        "SaTESAC",
        "SaTESACConfig",
        "SkiMo",
        "SkiMoConfig",
        "SkiMoPretrain",
        "SkiMoPretrainConfig",
        "TDMPCConfig",
        "TESACConfig",
        "TaskInference",
        "TaskInferenceConfig",
        "TrainedAgent",
        "VISRConfig",
        "load",
    ]

    register()
    skill_control.register()
    task_transfer.register()
    compat.mark_warnings()


def __getattr__(name: str) -> Any:
    if f"{__name__}.{name}" in moved.MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
