"""The agent's networks as an RLlib ``RLModule``."""

import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override

from rllib_sami.core.action_scale import ActionScale
from rllib_sami.core.networks import ActorNetworks, NetworkConfig, TrainingNetworks

# Keys of the module's recurrent state.
ENCODER_STATE = "encoder"
PREVIOUS_ACTION = "previous_action"


def check_flat_boxes(module: TorchRLModule) -> None:
    """Refuses spaces that our networks cannot read or act in.

    Raises:
        ValueError: Naming the space.
    """
    for space in (module.observation_space, module.action_space):
        if not isinstance(space, gym.spaces.Box):
            raise ValueError(
                f"{type(module).__name__} reads and acts in a flat Box, but got {space}. SaMIEnvRunner flattens "
                "observations; for RLlib's own env runner add `FlattenObservations` to "
                "`env_runners(env_to_module_connector=...)`."
            )


@dataclass(frozen=True)
class ActingBatch:
    """What a module with a context encoder reads to act.

    Attributes:
        obs: ``[B, O]``.
        state: Recurrent state ``[B, S]`` by key; empty for a module without memory.
        has_time_axis: Whether the batch has one, as RLlib's own env runner adds for recurrent modules.
    """

    obs: torch.Tensor
    state: dict[str, torch.Tensor]
    has_time_axis: bool

    @classmethod
    def read(cls, module: TorchRLModule, batch: dict[str, Any]) -> "ActingBatch":
        """Takes tensors, arrays and lists; ``batch`` has ``obs``, ``[B, *O]`` or ``[B, 1, *O]``, and ``state_in``.

        Raises:
            ValueError: A column is missing or of another shape; the message says how to call the module.
        """
        initial = module.get_initial_state()
        obs = read_column(module, batch, Columns.OBS)
        if initial:
            check_column(module, batch, Columns.STATE_IN)
        given = batch.get(Columns.STATE_IN, {})
        state = {key: read_column(module, given, key) for key in initial}
        shape = tuple(module.observation_space.shape)
        has_time_axis = obs.dim() == len(shape) + 2
        if not torch.jit.is_tracing():  # which would take each comparison of shapes for an assumption
            if tuple(obs.shape[1:]) not in (shape, (1, *shape), (math.prod(shape),)):
                raise ValueError(
                    f"'obs' has shape {list(obs.shape)}, but must have [B, {', '.join(map(str, shape))}], a batch of "
                    f"single steps; of one observation this is `obs[None]`. {_how_to_call(module)}"
                )
            for key, value in state.items():
                if tuple(value.shape) != (obs.shape[0], *initial[key].shape):
                    raise ValueError(
                        f"'state_in' has {key!r} of shape {list(value.shape)}, but must have "
                        f"{[obs.shape[0], *initial[key].shape]}, a row for each observation. {_how_to_call(module)}"
                    )
        return cls(obs.flatten(1), state, has_time_axis)

    def as_sent(self, outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        """``outputs`` with the time axis that the batch has."""
        return {key: value.unsqueeze(1) for key, value in outputs.items()} if self.has_time_axis else outputs


def read_column(module: TorchRLModule, batch: dict[str, Any], column: str) -> torch.Tensor:
    """A column of numbers as float32 on the module's device.

    Raises:
        ValueError: It is missing or of something else; the message says how to call the module.
    """
    check_column(module, batch, column)
    value, device = batch[column], next(module.parameters()).device
    if isinstance(value, torch.Tensor):  # apart, since as_tensor is a constant to torch.jit.trace
        return value.to(device, torch.float32)
    try:
        return torch.as_tensor(value, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(module).__name__} reads {column!r} as one array of numbers, but got a {type(value).__name__}: "
            f"{error}. {_how_to_call(module)}"
        ) from error


def check_column(module: TorchRLModule, batch: dict[str, Any], column: str) -> None:
    """Refuses a batch without a column.

    Raises:
        ValueError: Naming it and how to call the module.
    """
    if column not in batch:
        raise ValueError(
            f"{type(module).__name__} reads {column!r}, but got only {sorted(batch)}. {_how_to_call(module)}"
        )


def _how_to_call(module: TorchRLModule) -> str:
    if not module.is_stateful():
        return "To act: `module.forward_inference({'obs': obs})`."
    return (
        "To act with its memory, begin each episode with `state = {key: torch.as_tensor(value)[None] for key, value in "
        "module.get_initial_state().items()}`, call `out = module.forward_inference({'obs': obs, 'state_in': state})` "
        "and go on with `state = out['state_out']`. `rllib_sami.load(path)` gives an agent that does so itself."
    )


def check_scaled_by_rllib(space: gym.spaces.Box) -> None:
    """Refuses an action space that RLlib's own connector does not scale to; it leaves other numbers as they are.

    Raises:
        ValueError: Naming the space.
    """
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(space.high - space.low).all()
    if space.dtype not in (np.float32, np.float64) or not is_finite:
        raise ValueError(
            "RLlib's own env runner scales actions to float32 and float64 only, between bounds whose difference is "
            f"finite, not to {space}. Wrap the environment in gymnasium.wrappers.TransformAction, or sample with "
            "SaMIEnvRunner, as SaCCM does."
        )


class SaMITorchRLModule(TorchRLModule, InferenceOnlyAPI):
    """Context encoder and actor (``acting``), and what only learning needs (``learning``).

    It acts through RLlib's usual hooks. The previous action, which the encoder reads, travels in the recurrent state::

        state = {key: torch.as_tensor(value)[None] for key, value in module.get_initial_state().items()}  # B = 1
        out = module.forward_inference({"obs": obs, "state_in": state})
        out["actions"], out["actions_for_env"], out["state_out"]

    ``obs`` is ``[B, O]`` (or ``[B, 1, O]``, as RLlib's own env runner sends it). ``actions`` ``[B, A]`` are
    normalised to (-1, 1), as RLlib stores them; ``actions_for_env`` are scaled to the action space and of its dtype
    (``scale_actions``). With ``encoder_reward`` the batch must have the previous ``rewards`` ``[B]`` too. Without an
    encoder (``context_dim`` 0) there is no memory, and ``{"obs": obs}`` is enough.
    """

    @override(TorchRLModule)
    def setup(self):
        check_flat_boxes(self)
        # Modules saved by an earlier version lack what has been added since.
        known = {key: self.model_config[key] for key in NetworkConfig.__dataclass_fields__ if key in self.model_config}
        self.network_config = NetworkConfig(**known)
        self.acting = ActorNetworks(
            int(np.prod(self.observation_space.shape)), int(np.prod(self.action_space.shape)), self.network_config
        )
        self.scale_actions = ActionScale(self.action_space.low, self.action_space.high)
        if not self.inference_only:
            self.learning = TrainingNetworks(self.acting)

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["learning"]

    @override(TorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        if self.network_config.context_dim == 0:
            return {}
        return {
            ENCODER_STATE: np.zeros(self.acting.encoder.state_dim, np.float32),
            PREVIOUS_ACTION: np.zeros(self.acting.action_dim, np.float32),
        }

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=False)

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=True)

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        """Contexts ``[B, T, D]`` of whole episodes ``obs`` ``[B, T, I]`` of encoder inputs.

        The learner does not come through here; ``algorithms/sami/update.py`` has the losses.
        """
        inputs = read_column(self, batch, Columns.OBS)
        if inputs.dim() != 3 or inputs.shape[2] != self.acting.encoder_input_dim:
            raise ValueError(
                f"forward_train reads whole episodes of encoder inputs, 'obs' of shape [B, T, "
                f"{self.acting.encoder_input_dim}] (observation, previous action and, with `encoder_reward`, previous "
                f"reward), but got {list(inputs.shape)}. To act, call forward_inference or forward_exploration."
            )
        return {"context": self.acting.encoder(inputs)}

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        read = ActingBatch.read(self, batch)
        obs, size = read.obs, read.obs.shape[0]  # not len(), which torch.export takes for a constant
        has_reward = Columns.REWARDS in batch
        if self.network_config.encoder_reward and not has_reward:
            raise ValueError(
                "This module's encoder reads rewards (`encoder_reward=True`), but the batch has no 'rewards'. Add the "
                "previous rewards, shape [B] (zeros at an episode's start); RLlib's own env runner does not send "
                "them, SaMIEnvRunner does."
            )
        reward = read_column(self, batch, Columns.REWARDS) if has_reward else obs.new_zeros(size)
        if not torch.jit.is_tracing() and reward.numel() != size:
            raise ValueError(f"'rewards' has shape {list(reward.shape)}, but must have [{size}], one per observation.")
        noise = torch.randn(size, self.acting.action_dim, device=obs.device) if explore else None
        previous_action = read.state.get(PREVIOUS_ACTION, obs.new_zeros(size, self.acting.action_dim))
        encoder_state = read.state.get(ENCODER_STATE, obs.new_zeros(size, 0))
        action, _, encoder_state = self.acting.act(obs, previous_action, reward.reshape(-1, 1), encoder_state, noise)
        shape = self.action_space.shape
        outputs = {
            Columns.ACTIONS: action.reshape(-1, *shape),
            Columns.ACTIONS_FOR_ENV: self.scale_actions(action),
        }
        sent = read.as_sent(outputs)
        if Columns.STATE_IN in batch:  # RLlib's own connectors cannot take an empty state
            state = {ENCODER_STATE: encoder_state, PREVIOUS_ACTION: action}
            sent[Columns.STATE_OUT] = {key: state[key] for key in read.state}
        return sent
