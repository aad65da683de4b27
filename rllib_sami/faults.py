"""Watching for env runners and environments that give nothing, so that no run waits in silence for ever."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

logger = logging.getLogger(__name__)
ROUNDS_OF_PATIENCE = 5  # how often `sample_timeout_s` may pass without a step


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
            "on with `num_env_runners` of 1 or more: an env runner of its own is made anew when it hangs.",
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
            num_lost: Env runners that are being made anew.

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
