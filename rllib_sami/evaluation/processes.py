"""Distributes calls among processes, with a progress bar; the results do not depend on their number."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from rllib_sami.core.threads import set_num_threads

_MAX_WORKERS = 61 if sys.platform == "win32" else sys.maxsize  # that the system can wait for
_bars: list[Callable[[int], None]] = []  # progress bars that calls in this process advance by themselves


class WorkersLostError(RuntimeError):
    """A process ended before its work was done."""


def advance(count: int) -> None:
    """Advances the progress bar within a call; does nothing in another process, whose calls count when they end."""
    for bar in _bars:
        bar(count)


def run_all(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    sizes: Sequence[int],
    workers: int = 0,
    title: str | None = None,
) -> list[Any]:
    """Returns ``function(*one)`` for each one of ``arguments``.

    Args:
        function: A function of a module, so that other processes find it.
        arguments: Arguments of each call.
        sizes: By how much each call advances the progress bar, with calls of :func:`advance`.
        workers: Number of processes; 0 calls in this one.
        title: Title of the progress bar, which only a terminal shows; None for no bar.

    Raises:
        WorkersLostError: A process ended before its work was done.
    """
    with _progress_bar(title, sum(sizes)) as bar:
        if workers == 0:
            with _like_a_worker(bar):
                return [function(*given) for given in arguments]
        # Spawned: a forked process would inherit locks that nobody releases.
        count = max(1, min(workers, len(arguments), _MAX_WORKERS))
        log_level = logging.getLogger("ray").getEffectiveLevel()
        others = active_children()
        pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start_worker, initargs=(log_level,))
        try:
            futures = [pool.submit(function, *given) for given in arguments]
            size_of = dict(zip(futures, sizes, strict=True))
            for future in as_completed(futures):
                future.result()
                bar(size_of[future])
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            for process in set(active_children()) - set(others):  # which would finish their calls
                process.terminate()
            raise
        except BrokenProcessPool as error:
            raise WorkersLostError(
                f"workers={workers}: a process that played ended before its time. In a script, the call must be under "
                "`if __name__ == '__main__':`, since each process imports the script. Otherwise too little memory is "
                "the usual cause: use fewer workers, or 0 to play in this process."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(log_level: int) -> None:
    """Prepares a process: one thread, the log level of the process that started it, and Ctrl-C is left to that one."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import ray.rllib  # noqa: F401 - it sets levels of its own

    set_num_threads(1)
    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(log_level)


def _end_with_parent() -> None:
    """Ends the process once the one that started it is gone, such as after a kill: nobody takes its results."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _like_a_worker(bar: Callable[[int], None]) -> Iterator[None]:
    """Limits torch and numpy to one thread, leaves torch's generator as it was, and has calls advance the bar.

    More threads would split products differently, and are slower.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _bars.append(bar)
    try:
        with threadpool_limits(1, user_api="blas"), torch.random.fork_rng(devices=[]):
            yield
    finally:
        _bars.remove(bar)
        torch.set_num_threads(num_threads)


@contextmanager
def _progress_bar(title: str | None, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=title is None or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title or "", total=total)
        yield lambda count: bar.advance(task, count)
