"""What the algorithms of this package share: mistakes found before anything starts, checkpoints that are whole."""

import logging
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.base.environment_checks import check_environment
from rllib_sami.algorithms.base.health import HEALTH, symptoms, warning
from rllib_sami.checkpoints import files as checkpoint_files
from rllib_sami.checkpoints.compatibility import check_checkpoint

logger = logging.getLogger(__name__)
LAST_EPISODES = "last_episodes"


class CheckedAlgorithm(Algorithm):
    """Looks at environment and checkpoints first; mixed into an algorithm, before it."""

    def __repr__(self) -> str:
        # RLlib's needs a config and so hides, in a Ray actor, the message of one that was refused.
        return type(self).__name__ if self.config is None else super().__repr__()

    @override(Algorithm)
    def setup(self, config: BaseConfig) -> None:
        check_environment(config)  # before any worker starts
        self._last_episodes = compat.episode_statistics([], [])
        super().setup(config)
        self._health = self.config.make_health()
        self._warned: set[str] = set()

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        # Tune ends a whole search with an error where a result lacks the metric that it looks at.
        results = merged(self._empty_results(), super().step())
        # Where no episode has ended, RLlib's own env runner reports NaN: those before it stand.
        self._last_episodes = compat.newest_episodes(results, self._last_episodes)
        results[compat.ENV_RUNNER_RESULTS].update(self._last_episodes)
        return results | self._look_after_health(results[compat.LEARNER_RESULTS][compat.DEFAULT_MODULE_ID])

    def _look_after_health(self, learned: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Warns once of each symptom that has lasted for long; returns what the result says of them."""
        counts = self._health.look(learned, self.config.encoder_updates(learned))
        for name in symptoms(counts):
            if name not in self._warned:
                self._warned.add(name)
                logger.warning("%s", warning(name, counts[name], learned))
        return {HEALTH: counts} if counts else {}

    def _empty_results(self) -> dict[str, Any]:
        """What results have until there is something to report."""
        learned = dict.fromkeys(self.config.learner_metrics, math.nan)
        return {compat.ENV_RUNNER_RESULTS: {}, compat.LEARNER_RESULTS: {compat.DEFAULT_MODULE_ID: learned}}

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        health = {"since": self._health.get_state(), "warned": sorted(self._warned)}
        return state | {HEALTH: health, LAST_EPISODES: dict(self._last_episodes)}

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if HEALTH in state:
            self._health.set_state(state[HEALTH]["since"])
            self._warned = set(state[HEALTH]["warned"])
        self._last_episodes = self._last_episodes | state.get(LAST_EPISODES, {})

    @override(Algorithm)
    def save_to_path(self, path=None, *, state=None, filesystem=None, use_msgpack=False) -> str:
        path = Path(tempfile.mkdtemp()) if path is None else path
        with checkpoint_files.atomic_checkpoint(path, filesystem, compat.progress(self)) as folder:
            self._write_checkpoint(folder, state, use_msgpack)
        return str(path)

    @override(Algorithm)
    def restore_from_path(self, path, *args, component=None, filesystem=None, **kwargs) -> None:
        if component is not None:
            path = compat.absolute_path(path)
            super().restore_from_path(path, *args, component=component, filesystem=filesystem, **kwargs)
            return
        with checkpoint_files.as_local(path, filesystem) as folder:
            if folder.is_dir():  # else RLlib says so; checked before anything is loaded
                checkpoint_files.check_files(folder)
                check_checkpoint(self, folder)
            self._read_checkpoint(folder, *args, **kwargs)

    def _write_checkpoint(self, folder: Path, state: dict[str, Any] | None, use_msgpack: bool) -> None:
        """Writes all of a checkpoint into a local folder; ``state`` is what to write, None for what there is."""
        super().save_to_path(folder, state=state, use_msgpack=use_msgpack)

    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        """Takes over a checkpoint from a local folder."""
        with compat.says_what_cannot_be_read(folder):
            super().restore_from_path(str(folder), *args, **kwargs)


def merged(defaults: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Nested results, with defaults where they have nothing."""
    both = {key: merged(defaults[key], results[key]) for key in defaults if isinstance(results.get(key), Mapping)}
    return {**defaults, **results, **both}
