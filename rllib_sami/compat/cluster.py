"""Ray itself, beneath RLlib: the memory that is left, and where a cluster that is started here listens.

Touches ``ray._private.utils`` and ``ray._private.ray_constants``.
"""

import os

from ray._private import ray_constants
from ray._private.utils import estimate_available_memory


def available_memory() -> int:
    """Bytes of memory that this process can still have, within its container's limit."""
    return int(estimate_available_memory())


def listen_on_loopback() -> None:
    """Lets the Ray cluster that is started next listen on 127.0.0.1 only; by default it listens on all interfaces.

    Ray has no setting for it on Linux, only what it does on macOS and Windows.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # of the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False
