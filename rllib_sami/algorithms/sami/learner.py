"""The learner: ``U`` gradient updates for each call, on one device or averaged over several learners."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.sami.compilation import compiled_loss_functions
from rllib_sami.algorithms.sami.update import LossFunctions, Optimizers, parameter_groups, update
from rllib_sami.core.threads import set_num_threads

NUM_UPDATES_LIFETIME = "num_updates_lifetime"
LEARNING_RATE_OF = {"encoder": "encoder_lr", "critic": "critic_lr", "actor": "actor_lr", "alpha": "alpha_lr"}


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
    """What our learners need of RLlib's: restored states that hold at once, and gradients averaged by themselves."""

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            self._weights_seq_no = 0  # else weights from before the present ones, of a checkpoint, would be left out
        super().set_state(state)

    @override(TorchLearner)
    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
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


class SaMITorchLearner(RestorableLearner):
    """Runs :func:`rllib_sami.algorithms.sami.update.update` ``U`` times on the arrays of one replay-buffer sample."""

    @override(TorchLearner)
    def build(self) -> None:
        set_num_threads(self.config.num_torch_threads)
        super().build()
        self._update_config = self.config.get_update_config(self._action_dim())
        self._loss_functions = compiled_loss_functions() if self.config.compile_update else LossFunctions()

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id, config=None) -> None:
        module = self._module[module_id]
        for name, parameters in parameter_groups(module.acting, module.learning).items():
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                # Once contexts tell tasks apart, the contrast's gradient fades. Adam alone would forget how large it
                # was and go on in steps of the same size, away from what actor and critics have learned to read.
                optimizer=torch.optim.Adam(
                    parameters, fused=True, amsgrad=name == "encoder" and not config.encoder_critic_gradient
                ),
                params=parameters,
                lr_or_lr_schedule=getattr(config, LEARNING_RATE_OF[name]),
            )

    @override(TorchLearner)
    def _convert_batch_type(self, batch, to_device=True, pin_memory=False, use_stream=False):
        # From pinned memory, so that the copy to a GPU does not wait for it.
        pin_memory = pin_memory or self._device.type == "cuda"
        return super()._convert_batch_type(batch, to_device, pin_memory, use_stream)

    @override(TorchLearner)
    def _update(self, batch: dict[str, Any], **kwargs) -> tuple[Any, Any, Any]:
        for module_id, arrays in batch.items():
            module = self._module[module_id]
            optimizers = Optimizers(**{name: self.get_optimizer(module_id, name) for name in LEARNING_RATE_OF})
            average = average_gradients if self.config.num_learners > 1 else None
            num_updates = len(arrays["step_index"])
            totals: dict[str, torch.Tensor] = {}
            for index in range(num_updates):
                one = {name: values[index] for name, values in arrays.items()}
                metrics = update(
                    module.acting,
                    module.learning,
                    optimizers,
                    one,
                    self._update_config,
                    average,
                    self._loss_functions,
                )
                totals = {name: totals.get(name, 0.0) + value for name, value in metrics.items()}
            # The only point where the device is waited for.
            names = list(totals)
            means = (torch.stack([totals[name] for name in names]) / num_updates).cpu().numpy()
            self._check_finite(dict(zip(names, means.tolist(), strict=True)))
            self.metrics.log_dict(dict(zip(names, means.tolist(), strict=True)), key=module_id, window=1)
            # Summed over the learners, which make every update together.
            share = num_updates * self.config.updates_per_batch / max(1, self.config.num_learners)
            self.metrics.log_value((module_id, NUM_UPDATES_LIFETIME), share, reduce="lifetime_sum")
        return {}, {}, {}  # there is no one loss: each optimiser has its own

    @staticmethod
    def _check_finite(means: dict[str, float]) -> None:
        """Stops training once learning has diverged: such networks must neither act nor be saved.

        Raises:
            FloatingPointError: If any metric is not finite.
        """
        diverged = [name for name, value in means.items() if not math.isfinite(value)]
        if diverged:
            raise FloatingPointError(
                f"Learning has diverged: {', '.join(diverged)} not finite. Training stops, the checkpoints so far are "
                "whole. Lower `critic_lr`, `actor_lr` and `encoder_lr`, set `grad_clip` (such as 10), or look at the "
                "size of the environment's rewards and observations."
            )

    def _action_dim(self) -> int:
        return next(iter(self._module.values())).acting.action_dim

    @override(TorchLearner)
    def _log_steps_trained_metrics(self, batch) -> None:
        # The base class would take the leading axis (updates) for a number of steps.
        for module_id, arrays in batch.policy_batches.items():
            compat.log_steps_trained(self.metrics, module_id, int(np.prod(arrays["step_index"].shape)))

    @override(TorchLearner)
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        """Not used: the losses belong to several optimisers and live in ``algorithms/sami/update.py``."""
        raise RuntimeError("SaMITorchLearner computes its losses in rllib_sami.algorithms.sami.update.update().")
