"""Ray itself, beneath RLlib: the memory that is left, where a cluster that is started here listens, its processes.

Touches ``ray._private.utils``, ``ray._private.ray_constants`` and what ``ray._private.services`` starts processes with.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

from ray._private import ray_constants, services
from ray._private.utils import detect_fate_sharing_support, estimate_available_memory


def available_memory() -> int:
    """Bytes of memory that this process can still have, within its container's limit."""
    return int(estimate_available_memory())


def listen_on_loopback() -> None:
    """Lets the Ray cluster that is started next listen on 127.0.0.1 only; by default it listens on all interfaces.

    Ray has no setting for it on Linux, only what it does on macOS and Windows.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # of the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False


@contextlib.contextmanager
def apart_from_signals() -> Iterator[None]:
    """Lets processes of the Ray cluster that is started in the block have sessions of their own.

    A signal to this process's group (Ctrl-C in a terminal, SIGTERM of ``timeout``) then reaches this process alone,
    which needs them to save what there is. They still end with it, where the kernel sees to that: on Linux.
    """
    started_with: Any = services.ConsolePopen
    if detect_fate_sharing_support():
        services.ConsolePopen = functools.partial(started_with, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = started_with
