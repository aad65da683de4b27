"""What is told while Tune runs, beside the live table: what is about to take long."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from rllib_sami_cli.steps import doing


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
