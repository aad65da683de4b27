"""Watching for env runners and environments that give nothing, so that nothing waits in silence without an end."""

import contextlib
import functools
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rllib_sami.core.env_values import UnusableValue

Env = TypeVar("Env")
logger = logging.getLogger(__name__)
ROUNDS_OF_PATIENCE = 5  # how often `sample_timeout_s` may pass without a step
ROUNDS_OF_AN_EPISODE = 2  # the same for an episode of more than `LONGEST_EPISODE` steps
LONGEST_EPISODE = 100_000  # a year in steps of five minutes; longer ones say so by their `max_episode_steps`
# What an environment's code may raise; a SystemExit would end the process without a word.
ENVIRONMENT_ERRORS: tuple[type[BaseException], ...] = (Exception, SystemExit)


class EnvironmentFaultError(RuntimeError):
    """An environment raised, hangs, or has episodes without an end; the message says which one and where."""


def reason_of(error: BaseException) -> str:
    """Returns in one line what an environment's error says."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    kind = "it gave" if isinstance(error, UnusableValue) else f"{type(error).__name__}:"
    return f"{kind} {' '.join(str(error).split())}".removesuffix(": ")


def named(error: BaseException, name: Any, where: str) -> EnvironmentFaultError:
    """Returns the error that says which environment raised ``error``, and where."""
    if isinstance(error, EnvironmentFaultError):
        return error
    return EnvironmentFaultError(f"The environment {name!r} failed ({where}): {reason_of(error)}")


@contextlib.contextmanager
def exits_named(name: Any, where: str) -> Iterator[None]:
    """Has a ``sys.exit()`` in an environment's code raise an EnvironmentFaultError; other errors pass as they are."""
    try:
        yield
    except SystemExit as error:
        raise named(error, name, where) from error


@contextlib.contextmanager
def trying(name: Any, what: str, timeout_s: float | None, setting: str) -> Iterator[None]:
    """Watches an environment outside of episodes, such as at its first reset.

    Args:
        name: Of the environment.
        what: What is tried.
        timeout_s: As of :class:`Watch`.
        setting: As of :class:`Watch`.

    Raises:
        EnvironmentFaultError: It raised or hangs.
    """
    with Watch(name, timeout_s, setting):
        try:
            yield
        except ENVIRONMENT_ERRORS as error:
            raise named(error, name, what) from error


def close_env(env: Any, name: Any) -> None:
    """Closes an environment. What it raises is only warned of: what it was needed for is done, or has failed before."""
    try:
        env.close()
    except ENVIRONMENT_ERRORS as error:
        _tell_unclosed(name, reason_of(error))


@functools.cache  # of as many as are played on at once
def _tell_unclosed(name: Any, reason: str) -> None:
    """Warns once of each kind."""
    logger.warning("The environment %r could not be closed: %s", name, reason)


@contextlib.contextmanager
def closing(env: Env, name: Any) -> Iterator[Env]:
    """Gives the environment, and closes it at the end of the block, see :func:`close_env`."""
    try:
        yield env
    finally:
        close_env(env, name)


def call_named(
    name: Any, where: str, call: Callable[..., Any], *args: Any, hook: Callable[..., None] | None = None
) -> Any:
    """Returns ``call(*args, hook)`` of environments, where ``hook`` is code of others that it calls in between.

    Args:
        name: Of the environment.
        where: Says what it is at.
        call: What to call.
        args: Given to ``call``.
        hook: Given to ``call`` at the end; what it raises is passed on as it is.

    Raises:
        EnvironmentFaultError: An environment raised or hangs.
    """
    of_hook: list[Exception] = []

    def noting(*given: Any) -> None:
        assert hook is not None
        try:
            hook(*given)
        except Exception as error:
            of_hook.append(error)
            raise

    try:
        return call(*args, None if hook is None else noting)
    except Exception as error:
        if any(error is other for other in of_hook):
            raise
        raise named(error, name, where) from error


class Watch:
    """Watches an environment: warns when it takes long, stops it when it hangs or its episodes do not end.

    After ``timeout_s`` without the end of an episode there is a warning, once. Stopped is only

    * a call that has not returned for ``ROUNDS_OF_PATIENCE * timeout_s``, and
    * an episode of more than ``LONGEST_EPISODE`` steps (or :meth:`allow`, if that is more) when none has ended for
      ``ROUNDS_OF_AN_EPISODE * timeout_s``.

    So an environment that is slow, but steps, is never stopped. A call can be stopped in the main thread of a process
    only, on POSIX systems, and where it is in Python or waits (a loop, a sleep, a socket); elsewhere there is only the
    warning.

    Used as a context manager around the calls, in one block or in several, one after the other.

    Args:
        name: Of the environment.
        timeout_s: How long an episode may take in seconds; None: any time, nothing is watched.
        setting: What ``timeout_s`` is called where the user sets it.
        where: Says which episode is played.
    """

    def __init__(
        self,
        name: Any,
        timeout_s: float | None,
        setting: str,
        where: Callable[[], str] = lambda: "",
    ):
        self._name, self._timeout_s, self._setting, self._where = name, timeout_s, setting, where
        self._most_steps = LONGEST_EPISODE
        self._last = self._since = math.inf  # when a call last returned, when an episode last ended
        self._steps: int | None = None
        self._has_warned = False
        self._stopped: str | None = None  # why the call that goes on is to end
        self._lock = threading.Lock()

    def allow(self, cap: int | None) -> None:
        """Takes the cap on episodes in steps that the environment tells; None if it does not."""
        self._most_steps = max(LONGEST_EPISODE, cap or 0)

    def step(self, steps: int | None) -> None:
        """Notes that a call has returned.

        Args:
            steps: Of the longest episode in progress; 0 after a reset; None before the first one.

        Raises:
            EnvironmentFaultError: If that episode is taken for one without an end.
        """
        self._last, self._steps = time.monotonic(), steps
        limit = ROUNDS_OF_AN_EPISODE * (self._timeout_s or math.inf)
        if steps is not None and steps > self._most_steps and self._last - self._since > limit:
            raise EnvironmentFaultError(f"{self._state()} It is taken for one without an end. {self._advice()}")

    def episode(self) -> None:
        """Notes that an episode has ended."""
        self._since = time.monotonic()

    def __enter__(self) -> "Watch":
        if self._timeout_s is None:
            return self
        self._last = time.monotonic()
        self._since = min(self._since, self._last)
        self._is_over = threading.Event()
        self._may_interrupt = hasattr(signal, "pthread_kill") and threading.current_thread() is threading.main_thread()
        if self._may_interrupt:
            self._previous = signal.signal(signal.SIGALRM, self._interrupted)
        threading.Thread(target=self._watch, args=(self._timeout_s,), daemon=True, name="rllib_sami-watch").start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._timeout_s is None:
            return
        try:
            self._is_over.set()
        finally:  # the alarm may have come just then
            self._is_over.set()
            with self._lock:  # one under way arrives before the handler goes
                pass
            if self._may_interrupt:
                signal.signal(signal.SIGALRM, self._previous)
            self._stopped = None

    def _watch(self, timeout_s: float) -> None:
        """Runs in a thread of its own until the block ends."""
        is_over = self._is_over
        while not is_over.wait(min(1.0, timeout_s / 10)):
            now = time.monotonic()
            if now - self._since > timeout_s and not self._has_warned:
                self._has_warned = True
                logger.warning("%s It goes on. %s", self._state(), self._advice())
            if now - self._last > ROUNDS_OF_PATIENCE * timeout_s and self._may_interrupt:
                with self._lock:
                    if not is_over.is_set():
                        self._stopped = f"{self._state()} It hangs. {self._advice()}"
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                self._last = now  # again, should the environment go on in spite of it

    def _interrupted(self, number: int, frame: Any) -> None:
        reason, self._stopped = self._stopped, None
        if reason is None:
            if callable(self._previous):
                self._previous(number, frame)
        elif not self._is_over.is_set():  # else the call has come back after all
            raise EnvironmentFaultError(reason)

    def _state(self) -> str:
        now = time.monotonic()
        late = f"The environment {self._name!r} has taken {now - self._since:.0f} s"
        where = self._where()
        where = f" ({where})" if where else ""
        if self._steps is None:
            return f"{late} to be made and reset{where}."
        return (
            f"{late} without the end of an episode{where}: the present one has {self._steps:,} steps, the last one "
            f"{now - self._last:.0f} s ago."
        )

    def _advice(self) -> str:
        only_slow = f"If it is only slow, raise `{self._setting}` ({self._timeout_s:g})."
        if self._steps is None:
            return only_slow
        return (
            "If its episodes do not end by themselves, give them an end: gymnasium.wrappers.TimeLimit, or "
            f"`max_episode_steps` where it is registered. {only_slow}"
        )


@contextlib.contextmanager
def warned_if_late(seconds: float | None) -> Iterator[None]:
    """Says so if what is done takes longer than ``seconds`` (None: any time): a hanging environment hangs its process.

    It cannot be ended in the process that trains, only in one of its own.
    """
    if seconds is None:
        yield
        return
    warning = threading.Timer(
        seconds,
        logger.warning,
        (
            "Sampling has taken %g s (`sample_timeout_s`) and goes on. If an environment hangs, end this run and go "
            "on with `num_env_runners` of 1 or more: an env runner in its own process is restarted when it hangs.",
            seconds,
        ),
    )
    warning.daemon = True
    warning.start()
    try:
        yield
    finally:
        warning.cancel()


class Patience:
    """Counts the time for which no env runner has given a step.

    Args:
        sample_timeout_s: RLlib's setting; several times that is too long. None: a minute.
    """

    def __init__(self, sample_timeout_s: float | None):
        self._limit = ROUNDS_OF_PATIENCE * (60.0 if sample_timeout_s is None else sample_timeout_s)
        self._since: float | None = None

    def note(self, num_steps: int, num_lost: int) -> None:
        """Notes a round of sampling.

        Args:
            num_steps: What it gave.
            num_lost: Env runners that are being restarted.

        Raises:
            RuntimeError: If there was no step for too long.
        """
        if num_steps > 0:
            self._since = None
            return
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > self._limit:
            raise RuntimeError(
                f"No env runner has sampled a step for {now - self._since:.0f} s; {num_lost} of them are lost. Their "
                "logs (in Ray's session folder, or with -vv) say why: too little memory, a node that is gone, an "
                "environment that cannot be made or hangs. If it is only slow, raise `sample_timeout_s`."
            )
