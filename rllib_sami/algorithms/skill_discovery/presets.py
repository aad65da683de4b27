"""The skill discovery algorithms: ``CSF``, ``METRA``, ``DIAYN``, ``VISR``, ``CIC``, ``DADS``."""

from dataclasses import dataclass
from typing import ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.skill_discovery.methods import METHODS
from rllib_sami.algorithms.skill_discovery.skill_discovery import (
    FixedEntropy,
    FixedEntropyTorchLearner,
    SkillDiscovery,
    SkillDiscoveryConfig,
    SkillTorchLearner,
    TunedEntropy,
)
from rllib_sami.config.rllib_settings import FIXED_ENTROPY, TUNED_ENTROPY
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import LEARNING_RATE, setting

# --- Configs --------------------------------------------------------------------------------------------------------


class CSFConfig(SkillDiscoveryConfig):
    """Configuration of contrastive successor features (arXiv:2412.08021).

    .. code-block:: python

        from rllib_sami import CSFConfig

        algo = CSFConfig().environment("Skills/HalfCheetah-v0").build_algo()
    """

    parts: ClassVar[tuple[type, ...]] = (METHODS["CSF"], TunedEntropy)
    groups: ClassVar[tuple[str, ...]] = (TUNED_ENTROPY, "CSF")
    method_name = "CSF"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or CSF)


@dataclass(frozen=True)
class DualLearningRate:
    """Learning rate of METRA's dual variable."""

    dual_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the dual variable.")


class METRATorchLearner(SkillTorchLearner):
    """The learner with an optimiser for the dual variable."""

    LEARNING_RATE_OF: ClassVar[dict[str, str]] = SkillTorchLearner.LEARNING_RATE_OF | {"dual": "dual_lr"}


class METRAConfig(SkillDiscoveryConfig):
    """Configuration of METRA (arXiv:2310.08887), with skills on the sphere or one-hot."""

    parts: ClassVar[tuple[type, ...]] = (METHODS["METRA"], TunedEntropy, DualLearningRate)
    groups: ClassVar[tuple[str, ...]] = (TUNED_ENTROPY, "METRA")
    method_name = "METRA"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or METRA)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[METRATorchLearner]:
        return METRATorchLearner


class DIAYNConfig(SkillDiscoveryConfig):
    """Configuration of DIAYN (arXiv:1802.06070)."""

    parts: ClassVar[tuple[type, ...]] = (METHODS["DIAYN"], FixedEntropy)
    groups: ClassVar[tuple[str, ...]] = (FIXED_ENTROPY, "DIAYN")
    method_name = "DIAYN"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or DIAYN)
        self.skill_dim = 50

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[FixedEntropyTorchLearner]:
        return FixedEntropyTorchLearner


class VISRConfig(SkillDiscoveryConfig):
    """Configuration of VISR (arXiv:1906.05030)."""

    parts: ClassVar[tuple[type, ...]] = (METHODS["VISR"], TunedEntropy)
    groups: ClassVar[tuple[str, ...]] = (TUNED_ENTROPY, "VISR")
    method_name = "VISR"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or VISR)
        self.skill_dim = 5


class CICConfig(SkillDiscoveryConfig):
    """Configuration of CIC (arXiv:2202.00161)."""

    parts: ClassVar[tuple[type, ...]] = (METHODS["CIC"], TunedEntropy)
    groups: ClassVar[tuple[str, ...]] = (TUNED_ENTROPY, "CIC")
    method_name = "CIC"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or CIC)
        self.skill_dim = 64


class DADSConfig(SkillDiscoveryConfig):
    """Configuration of DADS (arXiv:1907.01657)."""

    parts: ClassVar[tuple[type, ...]] = (METHODS["DADS"], FixedEntropy)
    groups: ClassVar[tuple[str, ...]] = (FIXED_ENTROPY, "DADS")
    method_name = "DADS"

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or DADS)
        self.skill_dim = 3

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[FixedEntropyTorchLearner]:
        return FixedEntropyTorchLearner


# --- Algorithms -----------------------------------------------------------------------------------------------------


class CSF(SkillDiscovery):
    """See :class:`CSFConfig`."""

    config_class = CSFConfig


class METRA(SkillDiscovery):
    """See :class:`METRAConfig`."""

    config_class = METRAConfig


class DIAYN(SkillDiscovery):
    """See :class:`DIAYNConfig`."""

    config_class = DIAYNConfig


class VISR(SkillDiscovery):
    """See :class:`VISRConfig`."""

    config_class = VISRConfig


class CIC(SkillDiscovery):
    """See :class:`CICConfig`."""

    config_class = CICConfig


class DADS(SkillDiscovery):
    """See :class:`DADSConfig`."""

    config_class = DADSConfig
