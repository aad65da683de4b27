"""From the rows of a batch to the transitions that losses read.

Shapes: ``N`` steps; ``O`` observation, ``A`` action and ``D`` context dimensions; ``B`` episodes of ``R`` rows
``[o_t, a_{t-1}, r_{t-1}]`` with ``F`` numbers each.
"""

from typing import NamedTuple

from torch import Tensor

from rllib_sami.core.networks import ActorNetworks

Batch = dict[str, Tensor]  # the arrays of one update
Metrics = dict[str, Tensor]  # scalars by name


class Transitions(NamedTuple):
    """The steps that enter the losses of an update."""

    obs: Tensor  # [N, O]
    action: Tensor  # [N, A], normalised
    reward: Tensor  # [N]
    next_obs: Tensor  # [N, O]
    terminated: Tensor  # [N], 1 where the episode ended in a terminal state
    context: Tensor  # [N, D], of the encoder that acts, with gradient if the critics train it
    next_context: Tensor  # [N, D]
    target_next_context: Tensor  # [N, D], for the target critics
    noise: Tensor  # [2, N, A], standard normal, for the next action and for the actor's action

    def parts(self, number: int) -> list["Transitions"]:
        """Splits the steps into ``number`` equal parts.

        Raises:
            ValueError: If they cannot be divided evenly.
        """
        if len(self.obs) % number:
            raise ValueError(
                f"`step_index` has {len(self.obs)} steps, which cannot be divided by `updates_per_batch` ({number})."
            )
        chunks = [tensor.chunk(number) for tensor in self[:-1]]
        return [Transitions(*part) for part in zip(*chunks, self.noise.chunk(number, dim=1), strict=True)]


def transitions(acting: ActorNetworks, batch: Batch, context: Tensor, target_context: Tensor) -> Transitions:
    """Turns the rows of a batch into transitions.

    Args:
        acting: The networks, which know the widths of observation and action in a row.
        batch: ``rows`` ``[B, R, F]``, ``step_index`` ``[N]`` (each step's first row in ``[B R]``), ``terminated``
            ``[N]`` and ``noise`` ``[2, N, A]``.
        context: Contexts of all rows, ``[B R, D]``.
        target_context: Contexts of all rows for the target critics, ``[B R, D]``.
    """
    flat, now = batch["rows"].flatten(0, 1), batch["step_index"]
    row, next_row = flat[now], flat[now + 1]
    return Transitions(
        obs=row[:, : acting.obs_dim],
        action=next_row[:, acting.obs_dim : acting.obs_dim + acting.action_dim],
        reward=next_row[:, -1],
        next_obs=next_row[:, : acting.obs_dim],
        terminated=batch["terminated"],
        context=context[now],
        next_context=context[now + 1].detach(),
        target_next_context=target_context[now + 1],
        noise=batch["noise"],
    )
