"""How a run ends: by its stop criteria, or by Ctrl-C, after the current iteration and with a checkpoint."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import click
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.stopper import Stopper

from rllib_sami.cli.stop import reached


class MetricStopper(Stopper):
    """Stops a trial at the first criterion met.

    Unlike Tune's own, it does not fail on a metric that is not there yet, and it belongs to the command, not to the
    saved trial, so that a resumed run follows today's criteria.
    """

    def __init__(self, stop: dict[str, float]):
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Returns whether the trial is done."""
        return reached(result, self._stop) is not None

    def stop_all(self) -> bool:
        """Returns False: each trial ends by itself."""
        return False


class GracefulStop(Callback):
    """Catches SIGINT and SIGTERM while Tune runs, has every running trial save, then ends Tune's loop.

    Tune alone would stop in the middle of an iteration and save only the experiment's own state, so that everything
    since the last periodic checkpoint would be lost. Its trials stay "running" in that state: `--resume` continues.
    Use as a context manager around the run and as one of its callbacks.
    """

    def __init__(self) -> None:
        self.requested = False
        self._saved: set[str] = set()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        click.echo("\nStopping after this iteration, with a checkpoint. Ctrl-C again stops at once.", err=True)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Asks Tune to save the trial that has just finished an iteration."""
        if self.requested:
            result[SHOULD_CHECKPOINT] = True

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Notes that a trial is safe."""
        if self.requested:
            self._saved.add(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Ends Tune's loop once every running trial is safe."""
        if self.requested and all(trial.trial_id in self._saved for trial in trials if trial.status == Trial.RUNNING):
            # Tune listens to this signal to end its loop and write the experiment's state.
            signal.raise_signal(signal.SIGUSR1)
