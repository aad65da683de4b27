"""The public names that need Ray. Importing this module registers the algorithms and environments."""

from .algorithm import SaMI, SaMIConfig
from .presets import CCM, TESAC, CCMConfig, SaCCM, SaCCMConfig, SaTESAC, SaTESACConfig, TESACConfig
from .registration import register

__all__ = [
    "CCM",
    "TESAC",
    "CCMConfig",
    "SaCCM",
    "SaCCMConfig",
    "SaMI",
    "SaMIConfig",
    "SaTESAC",
    "SaTESACConfig",
    "TESACConfig",
]

register()
