"""Settings of a context encoder and its contrast, for any algorithm."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar

from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.config import BaseConfig, EnvironmentNeeds
from rllib_sami.algorithms.base.health import CONTRAST, SKILLS, TASKS
from rllib_sami.algorithms.sami.contrast import BOUNDS_OF_BOTH, CONTRAST_METRICS, ContrastConfig
from rllib_sami.algorithms.sami.pairing import PAIRINGS
from rllib_sami.algorithms.sami.sampling import ContrastSampling
from rllib_sami.core.context_encoder import EncoderConfig
from rllib_sami.core.networks import ActorCriticConfig
from rllib_sami.core.settings import settings_of


class ContextConfig(BaseConfig):
    """Settings of context encoder and contrast; a mixin that comes before the algorithm's own config."""

    parts: ClassVar[tuple[type, ...]] = (EncoderConfig, ActorCriticConfig, ContrastConfig, ContrastSampling)
    former_defaults: ClassVar[dict[str, Any]] = {"skill_weight": 1.0}

    @property
    def has_contrast(self) -> bool:
        """Whether there is a contrastive loss."""
        return self.pairing is not None and self.contrast_coeff > 0

    def contrast_sampling(self, of: type[ContrastSampling] = ContrastSampling) -> Any:
        """The sampling settings as an object of class ``of``; ``pairing`` is None if there is no contrast."""
        given = {field.name: getattr(self, field.name) for field in fields(of)}
        return of(**given | {"pairing": self.pairing if self.has_contrast else None})

    @property
    @override(BaseConfig)
    def environment_needs(self) -> EnvironmentNeeds:
        return replace(
            super().environment_needs,
            task_ids="each reset" if self.has_contrast else "each reset or none",
            constant_task=self.has_contrast,
            num_tasks=2 if self.has_contrast and not PAIRINGS[self.pairing].by_skill else 1,
        )

    @property
    @override(BaseConfig)
    def learner_metrics(self) -> list[str]:
        both = self.pairing == "skill_task"  # only then are skills and tasks contrasted separately
        contrast = [name for name in CONTRAST_METRICS if self.has_contrast and (both or name not in BOUNDS_OF_BOTH)]
        return [*super().learner_metrics, *contrast]

    @property
    def contrast_symptoms(self) -> list[str]:
        """Symptoms to look for in the metrics of the contrast."""
        return ([SKILLS, TASKS] if self.pairing == "skill_task" else [CONTRAST]) if self.has_contrast else []

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if not self.has_contrast:
            why = self.why_no_contrast()
            still_read = {"pairing", "key_encoder_tau"} | ({"contrast_coeff"} if self.contrast_coeff == 0 else set())
            idle = [name for name in settings_of(ContrastConfig, ContrastSampling) if name not in still_read]
            return reasons | dict.fromkeys(idle, f"There is no contrast: {why}")
        if not PAIRINGS[self.pairing].by_skill:
            why = f"`pairing` is {self.pairing!r}, which does not look at returns"
            reasons |= dict.fromkeys(("positive_fraction", "return_gap_weight"), why)
        if self.pairing != "skill_task":
            reasons["skill_weight"] = f"There is nothing to weigh: `pairing` is {self.pairing!r}, not 'skill_task'"
        return reasons

    def why_no_contrast(self) -> str:
        """Names the setting because of which there is no contrast."""
        return "`pairing` is None" if self.pairing is None else "`contrast_coeff` is 0"

    def untrained_encoder(self, setting: str, remedy: str) -> Iterator[str]:
        """Message that nothing trains the encoder: neither another loss, according to ``setting``, nor a contrast."""
        yield (
            f"`{setting}` is {getattr(self, setting)!r} and there is no contrast (`pairing` {self.pairing!r}, "
            f"`contrast_coeff` {self.contrast_coeff}), so nothing would train the context encoder. Set `{setting}` to "
            f"{remedy}, or `pairing` to one of {list(PAIRINGS)} and `contrast_coeff` above 0."
        )
