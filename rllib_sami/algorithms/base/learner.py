"""What all learners of this package need of RLlib's."""

from collections.abc import Sequence
from typing import Any

import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override

from rllib_sami import compat


def average_gradients(gradients: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Mean over the learners, in one message."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    return [
        part.view_as(gradient)
        for part, gradient in zip(flat.split([g.numel() for g in gradients]), gradients, strict=True)
    ]


class RestorableLearner(TorchLearner):
    """A learner whose restored state holds at once, and that averages gradients itself."""

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            self._weights_seq_no = 0  # else weights from before the present ones, of a checkpoint, would be left out
        super().set_state(state)

    @override(TorchLearner)
    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        state = compat.present_optimizers(self, state)
        super()._set_optimizer_state(state)
        compat.restore_optimizer_settings(self, state)

    @override(TorchLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        # RLlib sets the rates after a call of updates only, too late for the first one after a restore.
        super().before_gradient_based_update(timesteps=timesteps)
        compat.set_learning_rates(self, timesteps)

    @override(TorchLearner)
    @torch.no_grad()
    def _make_modules_ddp_if_necessary(self) -> None:
        """Gives all learners the first one's weights, as torch's DDP does: without a seed each has drawn its own.

        The modules stay as they are: gradients are averaged step by step, see :func:`average_gradients`. DDP would wait
        for those of parameters that get none in a step.
        """
        if self.config.num_learners > 1:
            for module in self.module.values():
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor.data, 0)
