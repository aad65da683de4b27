"""What all algorithms share whose learner makes several updates per call: first results, and their CPU time."""

import math
import time
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm, with_defaults
from rllib_sami.algorithms.base.array_config import ArrayConfig
from rllib_sami.algorithms.base.split_evaluation import EvaluatesSplits
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME

CPU_TIME = "cpu_time_total_s"


class UpdatingAlgorithm(CheckedAlgorithm, EvaluatesSplits):
    """Base of algorithms with an :class:`OffPolicyTorchLearner`. What an iteration does is in :meth:`learn_once`."""

    config_class: ClassVar[type[ArrayConfig]]

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> ArrayConfig:
        return cls.config_class()

    @override(Algorithm)
    def setup(self, config: ArrayConfig) -> None:
        config.check_machine()
        super().setup(config)
        self._cpu_time = 0.0

    def learn_once(self) -> None:
        """One round of getting data and learning from it."""
        raise NotImplementedError

    @override(Algorithm)
    def training_step(self) -> None:
        begun = time.process_time()
        try:
            self.learn_once()
        finally:
            self._cpu_time += time.process_time() - begun

    @override(CheckedAlgorithm)
    def step(self) -> dict[str, Any]:
        return super().step() | {CPU_TIME: self._cpu_time}

    @override(CheckedAlgorithm)
    def _empty_results(self) -> dict[str, Any]:
        rates = [f"{group}_learning_rate" for group in self.config.learner_class.LEARNING_RATE_OF]
        learned = {compat.DEFAULT_MODULE_ID: {**dict.fromkeys(rates, math.nan), NUM_UPDATES_LIFETIME: 0}}
        learned = with_defaults(learned, compat.no_steps_trained(compat.DEFAULT_MODULE_ID))
        return with_defaults({compat.LEARNER_RESULTS: learned}, super()._empty_results())

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        return state | {CPU_TIME: self._cpu_time}

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._cpu_time = state.get(CPU_TIME, self._cpu_time)
