"""Skill-aware Mutual Information (SaMI) for Ray RLlib.

Importing this package registers the algorithms with Tune (``"SaCCM"``, ``"SaTESAC"``, ``"CCM"``, ``"TESAC"``,
``"RecurrentSAC"``, ``"SaPPO"``, ``"SaMI"``) and the environments with Gymnasium and RLlib (``"SaMI/Ant-v0"``, ...).
``rllib_sami.core`` and ``rllib_sami.envs`` work without Ray too.
"""

import importlib.metadata
import importlib.util

from . import envs  # installed from envs/

__version__ = importlib.metadata.version("rllib-sami")
__all__ = ["__version__", "envs"]

if importlib.util.find_spec("ray") is not None:
    from .algorithm import SaMI, SaMIConfig
    from .presets import (
        CCM,
        TESAC,
        CCMConfig,
        RecurrentSAC,
        RecurrentSACConfig,
        SaCCM,
        SaCCMConfig,
        SaTESAC,
        SaTESACConfig,
        TESACConfig,
    )
    from .registration import register
    from .sappo import SaPPO, SaPPOConfig

    register()
    __all__ += [
        "CCM",
        "TESAC",
        "CCMConfig",
        "RecurrentSAC",
        "RecurrentSACConfig",
        "SaCCM",
        "SaCCMConfig",
        "SaMI",
        "SaMIConfig",
        "SaPPO",
        "SaPPOConfig",
        "SaTESAC",
        "SaTESACConfig",
        "TESACConfig",
    ]
