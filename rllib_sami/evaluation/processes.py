"""Shares work out among processes, with a progress bar; what comes of it does not depend on how many there are."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from rllib_sami.core.threads import set_num_threads

_MOST_WORKERS = 61 if sys.platform == "win32" else sys.maxsize  # that the system can wait for


_advance: list[Callable[[int], None]] = []  # of the bar that calls in this process advance by themselves


class WorkersLostError(RuntimeError):
    """Processes ended before their work was done."""


def advance(count: int) -> None:
    """Advances the progress bar within a call; does nothing in another process, whose calls count when they end."""
    for bar in _advance:
        bar(count)


def run_all(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    sizes: Sequence[int],
    workers: int = 0,
    title: str | None = None,
) -> list[Any]:
    """Returns ``function`` of each of the arguments.

    Args:
        function: Of a module, so that other processes find it.
        arguments: The arguments of each call.
        sizes: How much of the progress bar each call is worth: by so much it calls :func:`advance`.
        workers: Processes; 0 calls in this one.
        title: Of the progress bar, which only a terminal shows; None for none.

    Raises:
        WorkersLostError: A process ended without a word.
    """
    with _bar(title, sum(sizes)) as tick:
        if workers == 0:
            results = []
            with _as_in_a_process_of_its_own(), _advanced_by_calls(tick):
                for given in arguments:
                    results.append(function(*given))
            return results
        # A fresh interpreter each: a copy of this one would have locks that nobody opens.
        count = max(1, min(workers, len(arguments), _MOST_WORKERS))
        log_level = logging.getLogger("ray").getEffectiveLevel()
        others = active_children()
        pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(log_level,))
        try:
            futures = [pool.submit(function, *given) for given in arguments]
            size_of = dict(zip(futures, sizes, strict=True))
            for future in as_completed(futures):
                future.result()
                tick(size_of[future])
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            for process in set(active_children()) - set(others):  # which would finish what they are at
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


def _begin(log_level: int) -> None:
    """Prepares a process: one thread, and as few words as in the one that started it, to which a Ctrl-C is left."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    import ray.rllib  # noqa: F401 - it sets levels of its own

    set_num_threads(1)
    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(log_level)


@contextmanager
def _as_in_a_process_of_its_own() -> Iterator[None]:
    """Leaves torch's generator as it was, and limits torch and numpy to one thread.

    With more, products would be shared out differently, and cost time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _advanced_by_calls(tick: Callable[[int], None]) -> Iterator[None]:
    _advance.append(tick)
    try:
        yield
    finally:
        _advance.remove(tick)


@contextmanager
def _bar(title: str | None, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=title is None or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title or "", total=total)
        yield lambda count: bar.advance(task, count)
