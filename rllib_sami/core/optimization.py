"""Steps of several optimisers, each of which owns a group of parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

AverageGradients = Callable[[Sequence[Tensor]], Sequence[Tensor]]
ParameterGroups = dict[str, list[nn.Parameter]]


@dataclass(frozen=True)
class Optimization:
    """The optimisers of an agent.

    Attributes:
        groups: All trained parameters, by name of the optimiser that owns them.
        optimizers: The optimisers, by name.
        grad_clip: Largest norm of a group's gradient; None for no limit.
        average: Averages gradients, or other tensors, over several learners; None for a single learner.
    """

    groups: ParameterGroups
    optimizers: dict[str, torch.optim.Optimizer]
    grad_clip: float | None = None
    average: AverageGradients | None = None

    def step(self, names: Sequence[str], loss: Tensor, *, clip: bool = True) -> None:
        """One step of the named optimisers on the gradients of ``loss``; only these gradients are computed."""
        parameters = [parameter for name in names for parameter in self.groups[name]]
        gradients: Sequence[Tensor] = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        if self.average is not None:
            gradients = self.average(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for name in names:
            if clip and self.grad_clip is not None:
                nn.utils.clip_grad_norm_(self.groups[name], self.grad_clip)
            self.optimizers[name].step()

    @torch.no_grad()
    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[I]`` of inputs ``[N, I]``; with several learners those of all, each weighed equally."""
        mean = inputs.mean(dim=0)
        mean = mean if self.average is None else self.average([mean])[0]
        variance = (inputs - mean).square().mean(dim=0)
        return mean, variance if self.average is None else self.average([variance])[0]
