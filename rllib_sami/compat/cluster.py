"""Ray itself, beneath RLlib: the memory that is left, a cluster that is started here, what its processes say.

Touches ``ray._private.utils``, ``ray._private.ray_constants``, what ``ray._private.services`` starts processes with,
and what ``ray._private.ray_logging`` hands their output to.
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


_MARK, _MARKS_WARNINGS = "rllib_sami warns: ", "RLLIB_SAMI_MARKS_WARNINGS"


def mark_warnings() -> None:
    """Marks this package's warnings where :func:`hear_warnings` is to hear them; elsewhere it does nothing."""
    if os.environ.get(_MARKS_WARNINGS) and not (ours := logging.getLogger("rllib_sami")).handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"{_MARK}%(message)s"))
        ours.addHandler(handler)
        ours.propagate = False


@contextlib.contextmanager
def hear_warnings(say: Callable[[str], None]) -> Iterator[None]:
    """Of all that processes of the cluster that is started in the block print, has this package's warnings said only.

    Args:
        say: Takes each of them. The cluster must be started with ``log_to_driver``.
    """
    os.environ[_MARKS_WARNINGS] = "1"
    try:
        yield
    finally:
        del os.environ[_MARKS_WARNINGS]  # the processes that Ray started have it
    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
    global_worker_stdstream_dispatcher.add_handler("rllib_sami", functools.partial(_say_warnings, say))


def _say_warnings(say: Callable[[str], None], data: dict[str, Any]) -> None:
    for line in data["lines"]:
        _, mark, warning = line.partition(_MARK)
        if mark:
            say(warning)
