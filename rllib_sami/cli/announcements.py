"""What is told while Tune runs, beside the live table: what is about to take long, and what hinders learning."""

from __future__ import annotations

from typing import Any

import click
from ray.tune import Callback
from ray.tune.experiment import Trial

from rllib_sami import health
from rllib_sami.cli.steps import doing


class Announcements(Callback):
    """Says, once for all trials, what keeps the live table waiting.

    Args:
        settings: The run's, over the defaults.
    """

    def __init__(self, settings: dict[str, Any]):
        self._compiles = bool(settings.get("compile_update"))
        self._interval = settings.get("evaluation_interval")
        self._said: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Everything is built: training begins."""
        self._say("Training" + (" (the first update compiles, which takes up to a minute)" if self._compiles else ""))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Looks ahead to the first evaluation."""
        every = self._interval
        if isinstance(every, int) and every > 0 and (result.get("training_iteration", 0) + 1) % every == 0:
            self._say(f"The next iteration ends with an evaluation{f', as every {every}th does' if every > 1 else ''}")

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            doing(what)


class HealthWarnings(Callback):
    """Warns once for each symptom of a trial: what its own process logs is shown with -v only."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Looks at how long the symptoms have lasted."""
        counts = result.get(health.HEALTH) or {}
        for name in health.symptoms(counts):
            if (trial.trial_id, name) not in self._said:
                self._said.add((trial.trial_id, name))
                which = f"{trial}: " if len(trials) > 1 else ""
                learned = result.get("learners", {}).get("default_policy", {})
                click.echo(f"Warning: {which}{health.warning(name, counts[name], learned)}", err=True)
