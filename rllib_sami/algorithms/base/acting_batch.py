"""The input of RLModules of this package when they act, and checks of the spaces that they act in."""

import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule

# Keys of the module's recurrent state.
ENCODER_STATE = "encoder"
PREVIOUS_ACTION = "previous_action"


def check_flat_boxes(module: TorchRLModule) -> None:
    """Refuses observation and action spaces other than Box.

    Raises:
        ValueError: Naming the space.
    """
    for space in (module.observation_space, module.action_space):
        if not isinstance(space, gym.spaces.Box):
            raise ValueError(
                f"{type(module).__name__} needs a flat Box, but got {space}. ArrayEnvRunner flattens observations; for "
                "RLlib's own env runner add `FlattenObservations` to `env_runners(env_to_module_connector=...)`."
            )


@dataclass(frozen=True)
class ActingBatch:
    """The input of a module with a context encoder for one acting step.

    Attributes:
        obs: ``[B, O]``.
        state: Recurrent state ``[B, S]`` by key; empty for a module without memory.
        has_time_axis: Whether the batch has a time axis, which RLlib's own env runner adds for recurrent modules.
    """

    obs: torch.Tensor
    state: dict[str, torch.Tensor]
    has_time_axis: bool

    @classmethod
    def read(cls, module: TorchRLModule, batch: dict[str, Any]) -> "ActingBatch":
        """Reads ``obs`` (``[B, *O]`` or ``[B, 1, *O]``) and ``state_in`` of a batch of tensors, arrays or lists.

        Raises:
            ValueError: A column is missing or has another shape; the message says how to call the module.
        """
        initial = module.get_initial_state()
        obs = read_column(module, batch, Columns.OBS)
        if initial:
            check_column(module, batch, Columns.STATE_IN)
        given = batch.get(Columns.STATE_IN, {})
        state = {key: read_column(module, given, key) for key in initial}
        shape = tuple(module.observation_space.shape)
        has_time_axis = obs.dim() == len(shape) + 2
        if not torch.jit.is_tracing():  # tracing would turn each comparison of shapes into an assumption
            if tuple(obs.shape[1:]) not in (shape, (1, *shape), (math.prod(shape),)):
                raise ValueError(
                    f"'obs' has shape {list(obs.shape)}, but must have [B, {', '.join(map(str, shape))}], a batch of "
                    f"single steps; for one observation this is `obs[None]`. {_how_to_call(module)}"
                )
            for key, value in state.items():
                if tuple(value.shape) != (obs.shape[0], *initial[key].shape):
                    raise ValueError(
                        f"'state_in' has {key!r} of shape {list(value.shape)}, but must have "
                        f"{[obs.shape[0], *initial[key].shape]}, a row for each observation. {_how_to_call(module)}"
                    )
        return cls(obs.flatten(1), state, has_time_axis)

    def restore_time_axis(self, outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Adds a time axis to ``outputs`` if the batch has one."""
        return {key: value.unsqueeze(1) for key, value in outputs.items()} if self.has_time_axis else outputs


def read_column(module: TorchRLModule, batch: dict[str, Any], column: str) -> torch.Tensor:
    """Returns a column of numbers as float32 on the module's device.

    Raises:
        ValueError: The column is missing or not numeric; the message says how to call the module.
    """
    check_column(module, batch, column)
    value, device = batch[column], next(module.parameters()).device
    if isinstance(value, torch.Tensor):  # torch.jit.trace would make a constant of as_tensor's result
        return value.to(device, torch.float32)
    try:
        return torch.as_tensor(value, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(module).__name__} needs {column!r} as one array of numbers, but got a {type(value).__name__}: "
            f"{error}. {_how_to_call(module)}"
        ) from error


def check_column(module: TorchRLModule, batch: dict[str, Any], column: str) -> None:
    """Refuses a batch without a column.

    Raises:
        ValueError: Naming the column and how to call the module.
    """
    if column not in batch:
        raise ValueError(
            f"{type(module).__name__} needs {column!r}, but got only {sorted(batch)}. {_how_to_call(module)}"
        )


def _how_to_call(module: TorchRLModule) -> str:
    if not module.is_stateful():
        return "To act: `module.forward_inference({'obs': obs})`."
    return (
        "To act with its memory, begin each episode with `state = {key: torch.as_tensor(value)[None] for key, value in "
        "module.get_initial_state().items()}`, call `out = module.forward_inference({'obs': obs, 'state_in': state})` "
        "and continue with `state = out['state_out']`. `rllib_sami.load(path)` returns an agent that does so itself."
    )


def check_scaled_by_rllib(space: gym.spaces.Box) -> None:
    """Refuses an action space that RLlib's connector does not scale actions to; it would pass them unscaled.

    Raises:
        ValueError: Naming the space.
    """
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(space.high - space.low).all()
    if space.dtype not in (np.float32, np.float64) or not is_finite:
        raise ValueError(
            "RLlib's own env runner scales actions to float32 and float64 only, between bounds whose difference is "
            f"finite, not to {space}. Wrap the environment in gymnasium.wrappers.TransformAction, or sample with "
            "ArrayEnvRunner, as SaCCM does."
        )
