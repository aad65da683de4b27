"""How a run ends so that it can be resumed: stop criteria, Ctrl-C with a checkpoint, notes of checkpoints."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.stopper import Stopper

from rllib_sami import compat
from rllib_sami.checkpoints.files import is_intact
from rllib_sami_cli.folders import Run
from rllib_sami_cli.stop import EPISODES, STEPS, has, is_due, lookup, reached, similar

ONE_REQUEST_S = 1.0  # signals within this time count as one: `timeout` sends SIGTERM to its command and to its group


class MetricStopper(Stopper):
    """Stops a trial at the first criterion met, or when the time budget is used up.

    Unlike Tune's own, it does not fail on a metric that is not there yet, and the trial ends with a checkpoint.

    Args:
        stop: Metric to threshold.
        time_budget_s: Seconds from now.
        episode_within: Iterations for which the criteria wait until a first episode ends.
    """

    current: MetricStopper | None = None

    def __init__(self, stop: dict[str, float], time_budget_s: float | None = None, episode_within: int = 0):
        self._stop = stop
        self._episode_within = episode_within
        self._end = None if time_budget_s is None else time.monotonic() + time_budget_s
        MetricStopper.current = self

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune saves the stopper with the run and loads it on resume: it must then be the resumed run's own.
        return _current_stopper, ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Returns whether the trial is done."""
        if self.out_of_time():
            return True
        # Without steps in an environment, as with a data set, there will be no episode.
        awaits = bool(lookup(result, STEPS)) and not lookup(result, EPISODES)
        waits = result.get("training_iteration", 0) < self._episode_within and awaits
        return not waits and reached(result, self._stop) is not None

    def out_of_time(self) -> bool:
        """Returns whether the time budget is used up."""
        return self._end is not None and time.monotonic() >= self._end

    def stop_all(self) -> bool:
        """Returns False: each trial ends on its own."""
        return False


class MissingMetrics(Callback):
    """Warns once of a stop criterion that none of the first results has, so that nobody waits for it.

    Args:
        stop: Metric to threshold.
        patience: Number of results that should have the metric but do not.
    """

    def __init__(self, stop: dict[str, float], patience: int = 5):
        self._left = dict.fromkeys(stop, patience)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Counts the results that lack a metric; the first that has it ends the count."""
        for metric in list(self._left):
            if has(result, metric):
                del self._left[metric]
            elif is_due(result, metric):
                self._left[metric] -= 1
                if not self._left[metric]:
                    del self._left[metric]
                    names = ", ".join(similar(result, metric))
                    hint = f" Like it: {names}." if names else ""
                    click.echo(f"Warning: stop criterion '{metric}' is not in the results so far.{hint}", err=True)


class CheckpointNotes(Callback):
    """Notes each complete checkpoint; in a resumed run tells Tune of newer checkpoints than it knows."""

    def __init__(self, run: Run, resumed: bool):
        self._run = run
        self._to_hand_over = resumed

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Notes a checkpoint."""
        if trial.checkpoint is not None:
            self._run.note_checkpoint(trial)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Before any trial starts again, tells Tune of their newest checkpoints."""
        if not self._to_hand_over:
            return
        self._to_hand_over = False
        for trial in trials:
            newest = self._run.newest_checkpoint(trial, is_intact)
            metrics = self._run.progress_at(trial, newest) if newest else None
            for known_result in trial.run_metadata.checkpoint_manager.best_checkpoint_results:
                # Tune's older state may list one that was deleted before the kill, and Tune fails to delete it again.
                Path(known_result.checkpoint.path).mkdir(parents=True, exist_ok=True)
            known = compat.saved_checkpoint(trial)
            if newest is None or metrics is None or (known and newest.name == known.name):
                continue
            if known and known.parent.name != newest.parent.name:
                continue  # it has just taken over another trial's, which counts, however old its own are
            if known and newest.name < known.name:
                _set_aside_damaged(trial, newest)
            compat.register_checkpoint(trial, newest, metrics)


def _set_aside_damaged(trial: Trial, newest: Path) -> None:
    """Hides the damaged checkpoints of a trial after its newest good one, also from Tune, and prints so."""
    for folder in newest.parent.glob("checkpoint_*"):
        if folder.name > newest.name:
            aside = folder.rename(folder.with_name(f".{folder.name}.damaged"))
            click.echo(f"Warning: {folder} is damaged, moved to {aside.name}. Going on from {newest.name}.", err=True)
    compat.forget_checkpoints(trial, lambda path: path.name >= newest.name)


def _current_stopper() -> MetricStopper:
    return MetricStopper.current or MetricStopper({})


class GracefulStop(Callback):
    """Catches SIGINT and SIGTERM while Tune runs, saves every running trial, then ends Tune's loop.

    Tune alone would stop in the middle of an iteration and save only the experiment's state, so that everything since
    the last periodic checkpoint would be lost. Trials stay "running" in that state, so that `--resume` continues them.
    Use it as a context manager around the run and as one of its callbacks.
    """

    def __init__(self) -> None:
        self.requested = False
        self._requested_at = 0.0
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
            if time.monotonic() - self._requested_at < ONE_REQUEST_S:
                return
            raise KeyboardInterrupt
        self.requested, self._requested_at = True, time.monotonic()
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
            # At this signal Tune ends its loop and writes the experiment's state.
            signal.raise_signal(signal.SIGUSR1)
