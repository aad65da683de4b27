"""Ray itself, below RLlib: available memory, starting a cluster, and the output of its processes.

Touches ``ray._private.utils``, ``ray._private.ray_constants``, the class that ``ray._private.services`` starts
processes with, and the dispatcher of ``ray._private.ray_logging`` for their output.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from ray._private import ray_constants, services
from ray._private.ray_logging import global_worker_stdstream_dispatcher
from ray._private.utils import detect_fate_sharing_support, estimate_available_memory


def available_memory() -> int:
    """Bytes of memory that this process can still allocate, within its container's limit."""
    return int(estimate_available_memory())


def listen_on_loopback() -> None:
    """Makes the Ray cluster that is started next listen on 127.0.0.1 only; by default it listens on all interfaces.

    Ray has no setting for this on Linux; on macOS and Windows it does so by default.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False


@contextlib.contextmanager
def apart_from_signals() -> Iterator[None]:
    """Gives the processes of a Ray cluster that is started in the block sessions of their own.

    A signal to this process's group (Ctrl-C in a terminal, SIGTERM of ``timeout``) then reaches only this process,
    which needs the others to save its work. On Linux they still end when this process ends.
    """
    started_with: Any = services.ConsolePopen
    if detect_fate_sharing_support():
        services.ConsolePopen = functools.partial(started_with, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = started_with


_MARK, _MARKS_WARNINGS = "rllib_sami warns: ", "RLLIB_SAMI_MARKS_WARNINGS"


def mark_warnings() -> None:
    """Marks this package's warnings in processes of a cluster started in :func:`hear_warnings`; else does nothing."""
    if os.environ.get(_MARKS_WARNINGS) and not (ours := logging.getLogger("rllib_sami")).handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"{_MARK}%(message)s"))
        ours.addHandler(handler)
        ours.propagate = False


@contextlib.contextmanager
def hear_warnings(say: Callable[[str], None]) -> Iterator[None]:
    """Passes on only this package's warnings from the output of a Ray cluster that is started in the block.

    Args:
        say: Called with each warning. The cluster must be started with ``log_to_driver``.
    """
    os.environ[_MARKS_WARNINGS] = "1"
    try:
        yield
    finally:
        del os.environ[_MARKS_WARNINGS]  # the processes that Ray has started keep it
    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
    global_worker_stdstream_dispatcher.add_handler("rllib_sami", functools.partial(_say_warnings, say))


def _say_warnings(say: Callable[[str], None], data: dict[str, Any]) -> None:
    for line in data["lines"]:
        _, mark, warning = line.partition(_MARK)
        if mark:
            say(warning)
