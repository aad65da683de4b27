"""What all learners of this package add to RLlib's."""

from collections.abc import Sequence
from typing import Any

import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override

from rllib_sami import compat


def average_gradients(gradients: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Averages gradients over the learners, in one message."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    return [
        part.view_as(gradient)
        for part, gradient in zip(flat.split([g.numel() for g in gradients]), gradients, strict=True)
    ]


class RestorableLearner(TorchLearner):
    """A learner whose restored state takes effect at once, and that averages gradients itself."""

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            self._weights_seq_no = 0  # otherwise RLlib would ignore weights that are older than the present ones
        super().set_state(state)

    @override(TorchLearner)
    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        state = compat.present_optimizers(self, state)
        super()._set_optimizer_state(state)
        compat.restore_optimizer_settings(self, state)

    @override(TorchLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        # RLlib sets learning rates only after an update, too late for the first one after a restore.
        super().before_gradient_based_update(timesteps=timesteps)
        compat.set_learning_rates(self, timesteps)

    @override(TorchLearner)
    @torch.no_grad()
    def _make_modules_ddp_if_necessary(self) -> None:
        """Copies the first learner's weights to all, as torch's DDP does; without a seed each has drawn its own.

        The modules are not wrapped in DDP, which would wait for gradients of parameters that get none in a step.
        Gradients are averaged by :func:`average_gradients` instead.
        """
        if self.config.num_learners > 1:
            for module in self.module.values():
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor.data, 0)
