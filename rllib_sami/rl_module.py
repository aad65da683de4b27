"""The agent's networks as an RLlib ``RLModule``."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override

from .core.networks import ActorNetworks, NetworkConfig, TrainingNetworks

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


class SaMITorchRLModule(TorchRLModule, InferenceOnlyAPI):
    """Context encoder and actor (``acting``), and what only learning needs (``learning``).

    It acts through RLlib's usual hooks. The previous action, which the encoder reads, travels in the recurrent state::

        state = {key: torch.as_tensor(value)[None] for key, value in module.get_initial_state().items()}  # B = 1
        out = module.forward_inference({"obs": obs, "state_in": state})
        out["actions"], out["actions_for_env"], out["state_out"]

    ``obs`` is ``[B, O]`` (or ``[B, 1, O]``, as RLlib's own env runner sends it). ``actions`` ``[B, A]`` are
    normalised to (-1, 1), as RLlib stores them; ``actions_for_env`` are scaled to the action space. With
    ``encoder_reward`` the batch must have the previous ``rewards`` ``[B]`` too.
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
        self.register_buffer("action_low", torch.tensor(self.action_space.low.ravel()), persistent=False)
        self.register_buffer("action_high", torch.tensor(self.action_space.high.ravel()), persistent=False)
        if not self.inference_only:
            self.learning = TrainingNetworks(self.acting)

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["learning"]

    @override(TorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        return {
            ENCODER_STATE: np.zeros(self.acting.encoder.state_dim, np.float32),
            PREVIOUS_ACTION: np.zeros(self.acting.action_dim, np.float32),
        }

    def scale_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Maps normalised actions ``[B, A]`` to the action space."""
        return self.action_low + (actions.clamp(-1.0, 1.0) + 1.0) * 0.5 * (self.action_high - self.action_low)

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=False)

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=True)

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        """Contexts ``[B, T, D]`` of whole episodes ``obs`` ``[B, T, I]`` of encoder inputs.

        The learner does not come through here; ``core/update.py`` has the losses.
        """
        return {"context": self.acting.encoder(batch[Columns.OBS])}

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        obs = torch.as_tensor(batch[Columns.OBS], dtype=torch.float32, device=self.action_low.device)
        has_time_axis = obs.dim() == 3  # RLlib's own env runner adds one for recurrent modules
        obs = obs.flatten(1)
        state = {key: torch.as_tensor(value, device=obs.device) for key, value in batch[Columns.STATE_IN].items()}
        if self.network_config.encoder_reward and Columns.REWARDS not in batch:
            raise ValueError(
                "This module's encoder reads rewards (`encoder_reward=True`), but the batch has no 'rewards'. Add the "
                "previous rewards, shape [B] (zeros at an episode's start); RLlib's own env runner does not send "
                "them, SaMIEnvRunner does."
            )
        reward = batch.get(Columns.REWARDS, obs.new_zeros(len(obs)))
        reward = torch.as_tensor(reward, dtype=torch.float32, device=obs.device)
        noise = torch.randn(len(obs), self.acting.action_dim, device=obs.device) if explore else None
        action, _, encoder_state = self.acting.act(
            obs, state[PREVIOUS_ACTION], reward.reshape(-1, 1), state[ENCODER_STATE], noise
        )
        add_axis = (lambda x: x.unsqueeze(1)) if has_time_axis else (lambda x: x)
        shape = self.action_space.shape
        return {
            Columns.ACTIONS: add_axis(action.reshape(-1, *shape)),
            Columns.ACTIONS_FOR_ENV: add_axis(self.scale_actions(action).reshape(-1, *shape)),
            Columns.STATE_OUT: {ENCODER_STATE: encoder_state, PREVIOUS_ACTION: action},
        }
