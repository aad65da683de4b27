"""The cost of being far from the prior."""

from dataclasses import dataclass

from torch import Tensor

from rllib_sami.core.settings import ABOVE_0, SWITCH, setting
from rllib_sami.core.tanh_normal import TanhNormal, divergence

MOST_DIVERGENCE = 100.0


@dataclass(frozen=True, kw_only=True)
class DivergenceConfig:
    """How the coefficient of the divergence from the prior is found."""

    tune_alpha: bool = setting(
        True, SWITCH, "Whether the coefficient of the divergence is tuned for `target_divergence`."
    )
    target_divergence: float = setting(3.0, ABOVE_0, "Divergence from the prior, in nats, that it is tuned for.")


def bounded_divergence(policy: TanhNormal, prior: TanhNormal) -> Tensor:
    """Returns the divergence of a policy from the prior, within ±100 nats, ``[...]``."""
    return divergence(policy, prior).clamp(-MOST_DIVERGENCE, MOST_DIVERGENCE)
