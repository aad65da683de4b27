"""The public names that need Ray. Importing this module registers the algorithms and environments."""

from . import compat
from .algorithm import SaMI, SaMIConfig
from .base import ContextConfig
from .loading import TrainedAgent, load
from .presets import (
    CCM,
    TESAC,
    CCMConfig,
    PlainSAC,
    PlainSACConfig,
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

__all__ = [
    "CCM",
    "TESAC",
    "CCMConfig",
    "ContextConfig",
    "PlainSAC",
    "PlainSACConfig",
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
    "TrainedAgent",
    "load",
]

register()
compat.mark_warnings()
