"""The offline loop: draw windows of a data set, learn."""

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.array_config import ArrayConfig
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.updating import UpdatingAlgorithm
from rllib_sami.config.unused_settings import warn_once
from rllib_sami.core.env_values import name_of
from rllib_sami.core.settings import Allowed, integer, number, setting
from rllib_sami.datasets import Dataset, recipes
from rllib_sami.datasets.files import INDEX
from rllib_sami.datasets.window_sampler import WindowSampler, split_trajectories

ORIGINAL_FOLDER = "TUNE_ORIG_WORKING_DIR"  # in trials, the environment variable with the folder that Tune was called in
VALIDATION = "validation"
VALIDATION_WINDOWS = 256
SPLIT_SEED = 0  # which trajectories are held out must not change with the seed of a run that is continued
MOST_STD = 30.0  # of a number in observations
SAMPLER_STATE = "sampler_state"


@dataclass(frozen=True)
class OfflineSettings:
    """Settings of the loop."""

    data: Any = setting(
        None,
        Allowed("the folder of a data set, or a recipe such as {make: maze, env: Maze/Large-v0}", None),
        "Folder of the data set, as `rllib data make` and `rllib data convert` write it; or a recipe, "
        "`{make: maze, env: Maze/Large-v0, trajectories: 600, seed: 0}`, whose data are made if they are missing.",
    )
    num_updates_per_iteration: int = setting(100, integer(1), "Gradient updates of an iteration.")
    validation_fraction: float = setting(
        0.01,
        number("a number from 0 to below 1", lambda x: 0 <= x < 1),
        "Share of the trajectories that are kept from learning, for `validation/…` in the results.",
    )


@functools.lru_cache
def check_once(folder: Path, changed: int) -> None:
    """Reads a data set once per process, and again when it has changed.

    Raises:
        ValueError: A number is not finite.
    """
    Dataset(folder).check_finite()


class OfflineConfig(ArrayConfig):
    """Base of configs of algorithms that learn from a data set."""

    parts: ClassVar[tuple[type, ...]] = (OfflineSettings,)

    @override(BaseConfig)
    def training(self, **kwargs):
        if isinstance(given := kwargs.get("data"), str | Path) and str(given):
            kwargs["data"] = str(Path(given).expanduser().absolute())  # trials of Tune run in other folders
        return super().training(**kwargs)

    @override(BaseConfig)
    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        try:
            if self.must_make_data:
                return
            dataset = self.open_data()
            check_once(dataset.folder, (dataset.folder / INDEX).stat().st_mtime_ns)
            split_trajectories(dataset, self.window_length, self.validation_fraction, SPLIT_SEED)
        except ValueError as error:
            yield f"`data`: {error}"

    @property
    def must_make_data(self) -> bool:
        """Whether there is a recipe whose data are missing. They are made when training begins, not by checks."""
        return isinstance(self.data, Mapping) and not recipes.cached(self.data).exists()

    def open_data(self) -> Dataset:
        """Opens the data set; makes it if it is missing and there is a recipe.

        Raises:
            ValueError: There is none, or it cannot be read.
        """
        if isinstance(self.data, Mapping):
            return recipes.made(self.data)
        if not isinstance(self.data, str | Path) or not self.data:
            raise ValueError(
                f"{self.data!r} is no folder. Give that of a data set, which `rllib data make` makes and `rllib data "
                "convert` reads from other formats."
            )
        # Trials of Tune run in other folders, where a relative path of a search space means nothing.
        return Dataset(Path(os.environ.get(ORIGINAL_FOLDER, "."), Path(self.data).expanduser()).absolute())

    @override(BaseConfig)
    def read_environment(self, env: Any) -> None:
        super().read_environment(env)
        if self.must_make_data:
            return
        dataset = self.open_data()
        widths = tuple(gym.spaces.flatdim(space) for space in (env.observation_space, env.action_space))
        if widths != (dataset.observation_dim, dataset.action_dim):
            of = f" ({dataset.about['env']})" if dataset.about.get("env") else ""
            raise ValueError(
                f"`data` {dataset.folder} has observations of {dataset.observation_dim} numbers and actions of "
                f"{dataset.action_dim}, but the environment has {widths[0]} and {widths[1]}: it is of another one{of}."
            )
        stds = dataset.observation_stds()
        if stds.max() > MOST_STD:
            message = (
                f"number {stds.argmax()} of the observations in `data` {dataset.folder} has a standard deviation of "
                f"{stds.max():.4g}. Networks do not standardise observations: nothing may be learned of small numbers "
                "beside such large ones. Scale them to about ±1, in the environment as in the data."
            )
            warn_once(type(self).__name__, message, message)
        if dataset.is_of_another(self.env):
            message = (
                f"`data` {dataset.folder} is of {dataset.about['env']!r}, but `env` is {name_of(self.env)!r}. Give "
                "data of the same environment, if that is not meant."
            )
            warn_once(type(self).__name__, message, message)

    @property
    def window_length(self) -> int:
        """Steps of a window."""
        raise NotImplementedError

    def most_updates_per_draw(self, observation_dim: int, action_dim: int) -> int:
        """How many updates' batches are held in memory at once."""
        raise NotImplementedError

    def draw(self, sampler: WindowSampler, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws windows of a shape such as ``[U, B]``."""
        return sampler.draw(shape, rng)

    def validation_metrics(self, acting: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Returns metrics of the networks on windows ``[B, …]`` that nothing was learned from."""
        raise NotImplementedError


class OfflineAlgorithm(UpdatingAlgorithm):
    """Draws windows of a data set and learns from them. The learner says what an update is."""

    config_class: ClassVar[type[OfflineConfig]]

    @override(Algorithm)
    def setup(self, config: OfflineConfig) -> None:
        try:
            dataset = config.open_data()  # before the checks, which need it
        except ValueError as error:
            raise ValueError(f"`data`: {error}") from error
        super().setup(config)
        seed = self.config.seed
        self._sampler, self._held_out = split_trajectories(
            dataset, self.config.window_length, self.config.validation_fraction, SPLIT_SEED
        )
        self._most_updates = self.config.most_updates_per_draw(dataset.observation_dim, dataset.action_dim)
        self._validation: dict[str, torch.Tensor] = {}
        if self._held_out is not None:
            drawn = self.config.draw(self._held_out, (VALIDATION_WINDOWS,), np.random.default_rng(0))
            self._validation = {name: torch.from_numpy(values) for name, values in drawn.items()}
        self._rng = np.random.default_rng(seed)
        self._num_updates = 0

    @override(UpdatingAlgorithm)
    def learn_once(self) -> None:
        config = self.config
        for begun_with in range(0, config.num_updates_per_iteration, self._most_updates):
            size = min(self._most_updates, config.num_updates_per_iteration - begun_with)
            shape = (size, config.train_batch_size_per_learner)
            with self.metrics.log_time((compat.TIMERS, "data_sample")):
                samples = [config.draw(self._sampler, shape, self._rng) for _ in range(max(1, config.num_learners))]
            with self.metrics.log_time((compat.TIMERS, "learner_update")):
                compat.update_learners(self, samples, timestep=self._num_updates)
            self._num_updates += size
        with self.metrics.log_time((compat.TIMERS, "sync_weights")):
            compat.sync_weights(self)

    @override(UpdatingAlgorithm)
    def step(self) -> dict[str, Any]:
        results = super().step()
        if self._validation:
            module = self.env_runner.module
            results[VALIDATION] = self.config.validation_metrics(module.acting, self._validation)
        return results

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        of_sampler = {"rng": self._rng.bit_generator.state, "num_updates": self._num_updates}
        return state | {SAMPLER_STATE: of_sampler}

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if SAMPLER_STATE in state:
            self._rng.bit_generator.state = state[SAMPLER_STATE]["rng"]
            self._num_updates = state[SAMPLER_STATE]["num_updates"]
