"""Evaluation during training, as RLlib's ``Algorithm`` calls it: when, with which weights, under which metrics."""

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base import split_episodes as in_training
from rllib_sami.core.metric_names import FINISHED_EPISODES
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.env_runners.episodes import Episode
from rllib_sami.env_runners.splits import SplitGrid

logger = logging.getLogger(__name__)
LAST_EVALUATION = "last_evaluation"


class EvaluatesSplits(Algorithm):
    """An algorithm that evaluates on the fixed episodes of each split, or as RLlib does without splits.

    The newest evaluation is in every result and in checkpoints; its numbers are NaN before the first one.
    """

    @override(Algorithm)
    def setup(self, config) -> None:
        super().setup(config)
        self._evaluated_weights: tuple[int, ray.ObjectRef] | None = None
        self._last_evaluation: dict[str, Any] = {}
        if self.config.evaluation_interval:
            self._last_evaluation = self._summarise([], {})

    def _summarise(self, episodes: Sequence[Episode], before: Mapping[str, Any]) -> dict[str, Any]:
        """What is reported of finished episodes; without any, NaN for each number.

        Tune reads the columns of its table, and the metrics to stop at, from the very first result.
        """
        if not episodes:
            return in_training.empty_results(self._grids)
        return in_training.summarise(episodes, before or in_training.empty_results(self._grids))

    @functools.cached_property
    def _grids(self) -> list[SplitGrid]:
        """The episodes of each split; empty for RLlib's own evaluation."""
        return self.config.evaluation_grids()

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        results = super().step()
        if self._last_evaluation:
            # In every result: Tune stops with an error if a metric that it needs is missing.
            results[compat.EVALUATION_RESULTS] = {**results.get(compat.EVALUATION_RESULTS, {}), **self._last_evaluation}
        return results

    @override(Algorithm)
    def _run_one_training_iteration_and_evaluation_in_parallel(self):
        # Copied before the updates, which would change them while they are read.
        self._evaluated_weights = self._copy_weights() if self._grids else None
        try:
            return super()._run_one_training_iteration_and_evaluation_in_parallel()
        finally:
            self._evaluated_weights = None

    @override(Algorithm)
    def evaluate(self, parallel_train_future=None) -> dict[str, Any]:
        before, env_steps = self._last_evaluation, compat.env_steps_sampled(self)
        results = super().evaluate(parallel_train_future)
        if self._grids:
            if self._last_evaluation is before:
                logger.warning(
                    "This evaluation is skipped; training goes on. `evaluation/` keeps the numbers before it."
                )
            return {**results, **self._last_evaluation}
        # Training's window is for its own episodes only; its env runner may have evaluated, too.
        path = (compat.EVALUATION_RESULTS, compat.ENV_RUNNER_RESULTS, FINISHED_EPISODES)
        self.metrics.delete(*path, key_error=False)
        if played := results.get(compat.ENV_RUNNER_RESULTS):
            played = {key: value for key, value in played.items() if key != FINISHED_EPISODES}
            newest = {
                compat.ENV_RUNNER_RESULTS: {**in_training.no_episodes(), **played},
                in_training.ENV_STEPS: env_steps,
            }
            results = {**results, **newest}
            if before:  # results are to have it
                self._last_evaluation = newest
        return results

    @override(Algorithm)
    def _evaluate_on_local_env_runner(self, env_runner):
        if not self._grids:
            return super()._evaluate_on_local_env_runner(env_runner)
        return self._evaluate_splits(env_runner)

    @override(Algorithm)
    def _evaluate_with_fixed_duration(self):
        return self._evaluate_splits(None) if self._grids else super()._evaluate_with_fixed_duration()

    def _copy_weights(self) -> tuple[int, ray.ObjectRef]:
        """Number of environment steps so far, and a copy of the weights."""
        return compat.env_steps_sampled(self), compat.acting_weights(self)

    def _evaluate_splits(self, local_runner: ArrayEnvRunner | None) -> tuple[None, int, int, list]:
        """Plays the episodes of all splits, here or on the evaluation runners; returns what RLlib's method returns."""
        env_steps, weights = self._evaluated_weights or self._copy_weights()
        chunks = [chunk for grid in self._grids for chunk in grid.chunks()]
        if local_runner is not None:
            played = [in_training.play_chunk(local_runner, chunk, ray.get(weights)) for chunk in chunks]
        else:
            timeout_s = self.config.evaluation_sample_timeout_s
            timeout_s = math.inf if timeout_s is None else timeout_s
            calls = [{"chunk": chunk, "weights": weights, "seconds": timeout_s / 4} for chunk in chunks]
            played = compat.call_on_runners(self.eval_env_runner_group, in_training.play_chunk, calls, timeout_s)
        episodes = in_training.join_chunks(played)
        if episodes is None:
            return None, 0, 0, []
        results = self._summarise(episodes, self._last_evaluation)
        self._last_evaluation = results | {in_training.ENV_STEPS: env_steps}
        compat.log_evaluation(self.metrics, self._last_evaluation)
        num_steps = sum(episode.length for episode in episodes)
        return None, num_steps, num_steps, []

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._last_evaluation and self._check_component(LAST_EVALUATION, components, not_components):
            state[LAST_EVALUATION] = self._last_evaluation
        return state

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        # Added to what this config reports, which may be of other splits.
        self._last_evaluation = {**self._last_evaluation, **state.get(LAST_EVALUATION, {})}
