"""The learner: ``U`` gradient updates per call, on one device or averaged over several learners."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.learner import RestorableLearner, average_gradients
from rllib_sami.core.compilation import Functions, compiled
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import value_at
from rllib_sami.core.threads import set_num_threads

NUM_UPDATES_LIFETIME = "num_updates_lifetime"
Update = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]  # one batch to metrics


class OffPolicyTorchLearner(RestorableLearner):
    """Runs an algorithm's update ``U`` times on the arrays of one replay-buffer sample.

    A subclass defines the trained parameters in :meth:`parameter_groups`, the settings that are their learning rates in
    :attr:`LEARNING_RATE_OF`, and one update in :meth:`make_update`.
    """

    LEARNING_RATE_OF: ClassVar[dict[str, str]]  # group of parameters -> setting with its learning rate
    ADAM_EPSILON: ClassVar[float] = 1e-8

    def parameter_groups(self, module: Any) -> ParameterGroups:
        """Returns all trained parameters of a module, by name of their optimiser."""
        raise NotImplementedError

    def make_update(self, module: Any, optimization: Optimization) -> Update:
        """Returns the function that makes one update of a module from a batch and returns its metrics."""
        raise NotImplementedError

    def make_optimizer(self, name: str, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Returns the optimiser of a group of parameters."""
        return torch.optim.Adam(parameters, eps=self.ADAM_EPSILON, fused=True)

    def losses(self, functions: Functions, first: str) -> Functions:
        """Returns the loss functions of an update, compiled with `compile_update`; see :func:`compiled`."""
        return compiled(functions, first) if self.config.compile_update else functions

    @override(TorchLearner)
    def build(self) -> None:
        set_num_threads(self.config.num_torch_threads)
        super().build()
        average = average_gradients if self.config.num_learners > 1 else None
        self._updates: dict[str, Update] = {}
        for module_id, module in self._module.items():
            groups = self.parameter_groups(module)
            optimizers = {name: self.get_optimizer(module_id, name) for name in groups}
            optimization = Optimization(groups, optimizers, self.config.grad_clip, average)
            self._updates[module_id] = self.make_update(module, optimization)

    @override(TorchLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        self._timestep = compat.timestep(timesteps)

    def with_present_target_entropy(self, constants: Any) -> Any:
        """Returns the constants of an update with the present value of their schedule, if they have one."""
        if isinstance(constants.target_entropy, Real):
            return constants
        return replace(constants, target_entropy=value_at(constants.target_entropy, self._timestep))

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id, config=None) -> None:
        for name, parameters in self.parameter_groups(self._module[module_id]).items():
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=self.make_optimizer(name, parameters),
                params=parameters,
                lr_or_lr_schedule=getattr(config, self.LEARNING_RATE_OF[name]),
            )

    @override(TorchLearner)
    def _convert_batch_type(self, batch, to_device=True, pin_memory=False, use_stream=False):
        # Pinned memory makes the copy to a GPU asynchronous.
        pin_memory = pin_memory or self._device.type == "cuda"
        return super()._convert_batch_type(batch, to_device, pin_memory, use_stream)

    @override(TorchLearner)
    def _update(self, batch: dict[str, Any], **kwargs) -> tuple[Any, Any, Any]:
        for module_id, arrays in batch.items():
            num_updates = len(arrays["terminated"])
            totals: dict[str, torch.Tensor] = {}
            counts: Counter[str] = Counter()  # an update need not report every metric
            for index in range(num_updates):
                metrics = self._updates[module_id]({name: values[index] for name, values in arrays.items()})
                # Summed at once: the next update overwrites what compiled functions have returned.
                totals |= {name: totals.get(name, 0.0) + value for name, value in metrics.items()}
                counts.update(metrics.keys())
            sums = torch.stack([*totals.values()]).cpu().numpy()  # the only point that waits for the device
            results = {name: float(total / counts[name]) for name, total in zip(totals, sums, strict=True)}
            check_finite(results)
            self.metrics.log_dict(results, key=module_id, window=1)
            # Metrics are summed over the learners, which make every update together.
            share = num_updates * self.config.num_updates_per_batch / max(1, self.config.num_learners)
            self.metrics.log_value((module_id, NUM_UPDATES_LIFETIME), share, reduce="lifetime_sum")
        return {}, {}, {}  # no single loss: each optimiser has its own

    @override(TorchLearner)
    def _log_steps_trained_metrics(self, batch) -> None:
        # The base class would count the leading axis, updates, as steps.
        for module_id, arrays in batch.policy_batches.items():
            compat.log_steps_trained(self.metrics, module_id, int(np.prod(arrays["terminated"].shape)))

    @override(TorchLearner)
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        """Not used: the losses belong to several optimisers and live in the algorithm's ``update``."""
        raise RuntimeError(f"{type(self).__name__} computes its losses in the update that make_update() returns.")


def check_finite(means: dict[str, float]) -> None:
    """Stops training once learning has diverged, because such networks must neither act nor be saved.

    Raises:
        FloatingPointError: A metric is not finite.
    """
    diverged = [name for name, value in means.items() if not math.isfinite(value)]
    if diverged:
        raise FloatingPointError(
            f"Learning has diverged: {', '.join(diverged)} not finite. Training stops; earlier checkpoints are intact. "
            "Lower the learning rates (`critic_lr`, `actor_lr`, ...), set `grad_clip` (to 10, for example), or check "
            "the size of the environment's rewards and observations."
        )
