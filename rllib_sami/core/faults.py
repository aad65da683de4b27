"""Detects environments and env runners that fail, hang or never end, so that nothing waits silently forever."""

import contextlib
import functools
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gymnasium

from rllib_sami.core.env_values import UnusableValue

Env = TypeVar("Env")
logger = logging.getLogger(__name__)
ROUNDS_OF_PATIENCE = 5  # how many times `sample_timeout_s` may pass without a step
ROUNDS_OF_AN_EPISODE = 2  # the same for episodes of more than `LONGEST_EPISODE` steps
LONGEST_EPISODE = 100_000  # a year in steps of five minutes; `max_episode_steps` may allow longer ones
# What an environment's code may raise; a SystemExit would end the process silently.
ENVIRONMENT_ERRORS: tuple[type[BaseException], ...] = (Exception, SystemExit)
# Those whose messages usually say what is wrong with a setting.
SETTING_ERRORS: tuple[type[Exception], ...] = (TypeError, ValueError, ImportError, gymnasium.error.Error)


class EnvironmentFaultError(RuntimeError):
    """An environment raised an error, hangs, or has endless episodes; the message says which one and where."""


def reason_of(error: BaseException) -> str:
    """Returns the message of an environment's error in one line."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    kind = "it gave" if isinstance(error, UnusableValue) else f"{type(error).__name__}:"
    return f"{kind} {' '.join(str(error).split())}".removesuffix(": ")


def named(error: BaseException, name: Any, where: str) -> EnvironmentFaultError:
    """Returns an error that says which environment raised ``error``, and where."""
    if isinstance(error, EnvironmentFaultError):
        return error
    return EnvironmentFaultError(f"The environment {name!r} failed ({where}): {reason_of(error)}")


@contextlib.contextmanager
def exits_as_errors(name: Any, where: str) -> Iterator[None]:
    """Turns a ``sys.exit()`` in an environment's code into an EnvironmentFaultError; other errors pass unchanged."""
    try:
        yield
    except SystemExit as error:
        raise named(error, name, where) from error


@contextlib.contextmanager
def trying(name: Any, what: str, timeout_s: float | None, setting: str) -> Iterator[None]:
    """Watches an environment outside of episodes, such as at its first reset.

    Args:
        name: Name of the environment.
        what: What it is doing, for messages.
        timeout_s: See :class:`Watch`.
        setting: See :class:`Watch`.

    Raises:
        EnvironmentFaultError: The environment raised an error or hangs.
    """
    with Watch(name, timeout_s, setting):
        try:
            yield
        except ENVIRONMENT_ERRORS as error:
            raise named(error, name, what) from error


def close_env(env: Any, name: Any) -> None:
    """Closes an environment. Errors only cause a warning, because the environment is not needed any more."""
    try:
        env.close()
    except ENVIRONMENT_ERRORS as error:
        _warn_of_close(name, reason_of(error))


@functools.cache  # many environments may fail in the same way
def _warn_of_close(name: Any, reason: str) -> None:
    """Warns once of each environment and reason."""
    logger.warning("The environment %r could not be closed: %s", name, reason)


@contextlib.contextmanager
def closing(env: Env, name: Any) -> Iterator[Env]:
    """Yields the environment and closes it at the end of the block with :func:`close_env`."""
    try:
        yield env
    finally:
        close_env(env, name)


def call_named(
    name: Any, where: str, call: Callable[..., Any], *args: Any, hook: Callable[..., None] | None = None
) -> Any:
    """Returns ``call(*args, hook)`` of environments, where ``hook`` is foreign code that it calls in between.

    Args:
        name: Name of the environment.
        where: What it is doing, for messages.
        call: The function to call.
        args: Its first arguments.
        hook: Its last argument; errors that it raises are passed on unchanged.

    Raises:
        EnvironmentFaultError: An environment raised an error or hangs.
    """
    errors_of_hook: list[Exception] = []

    def record_errors(*given: Any) -> None:
        assert hook is not None
        try:
            hook(*given)
        except Exception as error:
            errors_of_hook.append(error)
            raise

    try:
        return call(*args, None if hook is None else record_errors)
    except Exception as error:
        if any(error is other for other in errors_of_hook):
            raise
        raise named(error, name, where) from error


class Watch:
    """Watches an environment: warns if it takes long, and stops it if it hangs or its episodes do not end.

    There is one warning if no episode has ended for ``timeout_s``. The environment is stopped only if

    * a call has not returned for ``ROUNDS_OF_PATIENCE * timeout_s``, or
    * an episode has more than ``LONGEST_EPISODE`` steps (or more than :meth:`allow` allows) and none has ended for
      ``ROUNDS_OF_AN_EPISODE * timeout_s``.

    So an environment that is slow but steps is never stopped. A call can be stopped only on POSIX systems, in the main
    thread of a process, and while it runs Python code or waits (a loop, a sleep, a socket). Otherwise there is only the
    warning.

    Use it as a context manager around the calls, for one block or for several, one after the other.

    Args:
        name: Name of the environment.
        timeout_s: How long an episode may take, in seconds; None disables the watch.
        setting: Name of the user's setting that is ``timeout_s``.
        where: Returns which episode is played, for messages.
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
        self._stopped: str | None = None  # why the running call must end
        self._lock = threading.Lock()

    def allow(self, cap: int | None) -> None:
        """Allows episodes of up to ``cap`` steps, the environment's own limit; None if it has none."""
        self._most_steps = max(LONGEST_EPISODE, cap or 0)

    def step(self, steps: int | None) -> None:
        """Records that a call has returned.

        Args:
            steps: Steps of the longest episode in progress; 0 after a reset; None before the first reset.

        Raises:
            EnvironmentFaultError: That episode seems to be endless.
        """
        self._last, self._steps = time.monotonic(), steps
        limit = ROUNDS_OF_AN_EPISODE * (self._timeout_s or math.inf)
        if steps is not None and steps > self._most_steps and self._last - self._since > limit:
            raise EnvironmentFaultError(f"{self._state()} It seems to be endless. {self._advice()}")

    def episode(self) -> None:
        """Records that an episode has ended."""
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
        finally:  # the alarm may have interrupted the line above
            self._is_over.set()
            with self._lock:  # an alarm that is being sent arrives before the handler is removed
                pass
            if self._may_interrupt:
                signal.signal(signal.SIGALRM, self._previous)
            self._stopped = None

    def _watch(self, timeout_s: float) -> None:
        """Runs in its own thread until the block ends."""
        is_over = self._is_over
        while not is_over.wait(min(1.0, timeout_s / 10)):
            now = time.monotonic()
            if now - self._since > timeout_s and not self._has_warned:
                self._has_warned = True
                logger.warning("%s It continues. %s", self._state(), self._advice())
            if now - self._last > ROUNDS_OF_PATIENCE * timeout_s and self._may_interrupt:
                with self._lock:
                    if not is_over.is_set():
                        self._stopped = f"{self._state()} It hangs. {self._advice()}"
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                self._last = now  # try again later if the environment continues in spite of it

    def _interrupted(self, number: int, frame: Any) -> None:
        reason, self._stopped = self._stopped, None
        if reason is None:
            if callable(self._previous):
                self._previous(number, frame)
        elif not self._is_over.is_set():  # otherwise the call has returned after all
            raise EnvironmentFaultError(reason)

    def _state(self) -> str:
        now = time.monotonic()
        late = f"The environment {self._name!r} has taken {now - self._since:.0f} s"
        where = self._where()
        where = f" ({where})" if where else ""
        if self._steps is None:
            return f"{late} to be made and reset{where}."
        return (
            f"{late} without the end of an episode{where}: the current one has {self._steps:,} steps, the last of them "
            f"{now - self._last:.0f} s ago."
        )

    def _advice(self) -> str:
        only_slow = f"If it is only slow, raise `{self._setting}` ({self._timeout_s:g})."
        if self._steps is None:
            return only_slow
        return (
            "If its episodes do not end by themselves, limit them: gymnasium.wrappers.TimeLimit, or "
            f"`max_episode_steps` where it is registered. {only_slow}"
        )


@contextlib.contextmanager
def warn_if_late(seconds: float | None) -> Iterator[None]:
    """Warns if sampling in the training process takes longer than ``seconds``; None disables the warning.

    A hanging environment cannot be stopped there, only in an env runner with its own process.
    """
    if seconds is None:
        yield
        return
    warning = threading.Timer(
        seconds,
        logger.warning,
        (
            "Sampling has taken %g s (`sample_timeout_s`) and continues. If an environment hangs, stop this run and "
            "resume it with `num_env_runners` >= 1: an env runner in its own process is restarted when it hangs.",
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
    """Measures for how long no env runner has sampled a step.

    Args:
        sample_timeout_s: RLlib's setting; ``ROUNDS_OF_PATIENCE`` times that is too long. None means a minute.
    """

    def __init__(self, sample_timeout_s: float | None):
        self._limit = ROUNDS_OF_PATIENCE * (60.0 if sample_timeout_s is None else sample_timeout_s)
        self._since: float | None = None

    def note(self, num_steps: int, num_lost: int) -> None:
        """Records a round of sampling.

        Args:
            num_steps: Steps that were sampled.
            num_lost: Env runners that are being restarted.

        Raises:
            RuntimeError: There was no step for too long.
        """
        if num_steps > 0:
            self._since = None
            return
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > self._limit:
            raise RuntimeError(
                f"No env runner has sampled a step for {now - self._since:.0f} s; {num_lost} of them are lost. Their "
                "logs (in Ray's session folder, or with -vv) say why: too little memory, a lost node, an environment "
                "that cannot be made or hangs. If it is only slow, raise `sample_timeout_s`."
            )


def is_alive(process: int) -> bool:
    """Returns whether a process of this machine, given by its number, is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
