"""The networks of an agent that acts without a context."""

from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.acting_batch import ENCODER_STATE
from rllib_sami.algorithms.off_policy.rl_module import OffPolicyTorchRLModule


class ContextlessTorchRLModule(OffPolicyTorchRLModule):
    """Base of modules whose acting networks are a ``WithoutContext``."""

    acting: Any  # WithoutContext
    former_acting_settings: ClassVar[dict[str, Any]] = {}
    changeable: ClassVar[frozenset[str]] = frozenset()  # settings of the networks that change no size

    @property
    def network_settings(self) -> list[str]:
        """Settings that a checkpoint must share with the algorithm that it is restored into: sizes of networks."""
        return [field.name for field in fields(self.network_config_class) if field.name not in self.changeable]

    @override(TorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        return {ENCODER_STATE: self.acting.initial_state(1, self._rng)[0]} if self.acting.encoder.state_dim else {}

    @override(OffPolicyTorchRLModule)
    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        if self.acting.draws and (torch.jit.is_tracing() or torch.compiler.is_exporting()):
            raise NotImplementedError(
                f"{type(self).__name__} draws random numbers from a stream of each episode, in NumPy: that cannot be "
                "traced or exported. TDMPC and SkiMo can be with `planner: none`, and so can single networks of "
                "SkiMoPretrain, such as `module.acting.skill_policy`."
            )
        return super()._act(batch, explore)
