"""The base of all algorithms: mistakes are found before anything starts, and checkpoints are atomic."""

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
    """Checks the environment and checkpoints before it uses them; a mixin that comes before RLlib's algorithm."""

    def __repr__(self) -> str:
        # RLlib's needs a config, and in a Ray actor would hide the message of a refused config.
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
        # Tune aborts a whole search if a result lacks the metric that it reads.
        results = with_defaults(super().step(), self._empty_results())
        # If no episode has ended, RLlib's own env runner reports NaN; the last numbers are reported again instead.
        self._last_episodes = compat.newest_episodes(results, self._last_episodes)
        results[compat.ENV_RUNNER_RESULTS].update(self._last_episodes)
        learned = results[compat.LEARNER_RESULTS][compat.DEFAULT_MODULE_ID]
        counts = self._health.look(learned, self.config.encoder_updates(learned))
        for name in symptoms(counts):
            if name not in self._warned:
                self._warned.add(name)
                logger.warning("%s", warning(name, counts[name], learned))
        return results | ({HEALTH: counts} if counts else {})

    def _empty_results(self) -> dict[str, Any]:
        """Values of results for which there is nothing to report yet."""
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
        compat.force_weights(self)
        if HEALTH in state:
            self._health.set_state(state[HEALTH]["since"])
            self._warned = set(state[HEALTH]["warned"])
        self._last_episodes = self._last_episodes | state.get(LAST_EPISODES, {})

    @override(Algorithm)
    def save_to_path(self, path=None, *, state=None, filesystem=None, use_msgpack=False) -> str:
        path = Path(tempfile.mkdtemp()) if path is None else path
        with checkpoint_files.atomic_checkpoint(path, filesystem, self._facts()) as folder:
            self._write_checkpoint(folder, state, use_msgpack)
        return str(path)

    @override(Algorithm)
    def restore_from_path(self, path, *args, component=None, filesystem=None, **kwargs) -> None:
        if component is not None:
            if "://" not in str(path):
                path = Path(path).absolute()  # RLlib needs it
            super().restore_from_path(path, *args, component=component, filesystem=filesystem, **kwargs)
            return
        with checkpoint_files.as_local(path, filesystem) as folder:
            if folder.is_dir():  # otherwise RLlib reports that; checked before anything is loaded
                checkpoint_files.check_files(folder)
                check_checkpoint(self, folder)
            self._read_checkpoint(folder, *args, **kwargs)

    def _facts(self) -> dict[str, Any]:
        """Returns entries of a checkpoint's manifest, as JSON values."""
        return compat.progress(self)

    def _write_checkpoint(self, folder: Path, state: dict[str, Any] | None, use_msgpack: bool) -> None:
        """Writes a whole checkpoint into a local folder: ``state``, or the present state if that is None."""
        super().save_to_path(folder, state=state, use_msgpack=use_msgpack)
        compat.write_original_class(self, folder)

    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        """Restores a checkpoint from a local folder."""
        with compat.unpickling_errors(folder):
            super().restore_from_path(str(folder), *args, **kwargs)


def with_defaults(results: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Nested results, completed by nested defaults."""
    nested = [key for key in defaults if isinstance(results.get(key), Mapping)]
    return {**defaults, **results, **{key: with_defaults(results[key], defaults[key]) for key in nested}}
