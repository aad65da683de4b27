"""Updates whose hidden layers compute in bfloat16."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from rllib_sami.core.settings import SWITCH, setting


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig:
    """Setting of the precision of an update."""

    mixed_precision: bool = setting(
        False,
        SWITCH,
        "Whether the hidden layers of policies, values and models, and the LSTM that reads skills, compute in "
        "bfloat16. Last layers, context encoders, the contrast, log-probabilities and all weights stay in float32. For "
        "processors with fast bfloat16: GPUs, and CPUs with AVX512-BF16 or AMX.",
    )

    def precision(self, device: torch.device) -> AbstractContextManager:
        """Context in which hidden layers compute in bfloat16, if `mixed_precision` is set."""
        return torch.autocast(device.type, torch.bfloat16) if self.mixed_precision else nullcontext()


def fast_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16, as far as oneDNN tells; True where there is no oneDNN."""
    return not torch.backends.mkldnn.is_available() or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
