"""Skill-aware Mutual Information (SaMI) for Ray RLlib.

Importing this package registers the algorithms with Tune (``"SaCCM"``, ``"SaTESAC"``, ``"CCM"``, ``"TESAC"``,
``"SaMI"``) and the environments with Gymnasium and RLlib (``"SaMI/Ant-v0"``, ...). ``rllib_sami.core`` and
``rllib_sami.envs`` work without Ray too.
"""

import importlib.metadata
import importlib.util
import sys
from typing import Any

__version__ = importlib.metadata.version("rllib-sami")
__all__ = ["__version__", "envs"]

if getattr(sys.modules.get("rllib_sami_command"), "is_running", False):

    def __getattr__(name: str) -> Any:
        # In the process of `rllib` itself: on the first use, that is, in any command that does something.
        if name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.learning"), name)

else:
    from . import envs  # installed from envs/

    if importlib.util.find_spec("ray") is not None:
        from . import learning
        from .learning import *  # noqa: F403

        __all__ += learning.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
