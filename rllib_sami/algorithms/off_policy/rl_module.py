"""The networks of an off-policy agent as an RLlib ``RLModule``."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.base.acting_batch import (
    ENCODER_STATE,
    PREVIOUS_ACTION,
    ActingBatch,
    check_flat_boxes,
    read_column,
)
from rllib_sami.core.action_scale import ActionScale
from rllib_sami.core.networks import FORMER_NETWORK, ActorNetworks, NetworkConfig
from rllib_sami.core.settings import taken

# Networks that every agent of earlier versions had, used or not.
FORMER_NETWORKS = ("learning.similarity_map", "learning.key_encoder.")


class OffPolicyTorchRLModule(TorchRLModule, InferenceOnlyAPI):
    """Encoder and actor (``acting``), and the networks that only learning needs (``learning``).

    A subclass makes the latter in :meth:`make_training_networks`. For other acting networks it gives their classes, or
    replaces :meth:`make_acting_networks`.

    It acts through RLlib's usual hooks. The previous action, which the encoder reads, is part of the recurrent state::

        state = {key: torch.as_tensor(value)[None] for key, value in module.get_initial_state().items()}  # B = 1
        out = module.forward_inference({"obs": obs, "state_in": state})
        out["actions"], out["actions_for_env"], out["state_out"]

    ``obs`` is ``[B, O]``, or ``[B, 1, O]`` as from RLlib's own env runner. ``actions`` ``[B, A]`` are normalised to
    (-1, 1), as RLlib stores them; ``actions_for_env`` are scaled to the action space and have its dtype
    (``scale_actions``). With ``encoder_reward`` the batch must also have the previous ``rewards`` ``[B]``. Without an
    encoder (``context_dim`` 0) there is no memory, and ``{"obs": obs}`` is enough.
    """

    LATENT = ENCODER_STATE  # key of the state that the encoder keeps
    network_config_class: ClassVar[type] = NetworkConfig
    acting_class: ClassVar[type] = ActorNetworks

    @override(TorchRLModule)
    def setup(self):
        check_flat_boxes(self)
        self._rng = np.random.default_rng(torch.initial_seed() % 2**63)  # of what each episode begins with
        self.network_config: Any = self.make_network_config()
        self.acting = self.make_acting_networks()
        self.scale_actions = ActionScale(self.action_space.low, self.action_space.high)
        if not self.inference_only:
            self.learning = self.make_training_networks()

    # Values of settings that networks saved by earlier versions lack.
    former_acting_settings: ClassVar[dict[str, Any]] = FORMER_NETWORK

    @property
    def acting_settings(self) -> dict[str, Any]:
        """What of ``model_config`` the acting networks are made from."""
        return asdict(self.network_config)

    @classmethod
    def names_of_acting_settings(cls, given: Mapping[str, Any]) -> set[str]:
        """Names of :attr:`acting_settings` of a module with these."""
        return {field.name for field in fields(cls.network_config_class)}

    def make_network_config(self) -> Any:
        """Returns the sizes and kinds of the networks, read from ``model_config``."""
        given = self.former_acting_settings | self.model_config  # modules saved by earlier versions lack some settings
        return taken(self.network_config_class, given)

    def make_acting_networks(self) -> Any:
        """Makes the networks that act; another actor or encoder may replace those of this package there."""
        obs_dim, action_dim = (int(np.prod(space.shape)) for space in (self.observation_space, self.action_space))
        return self.acting_class(obs_dim, action_dim, self.network_config)

    def make_training_networks(self) -> torch.nn.Module:
        """Makes the networks that only learning needs, such as critics."""
        raise NotImplementedError

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["learning"]

    @override(TorchRLModule)
    def set_state(self, state: dict[str, Any]) -> None:
        # In earlier versions a plain SAC had an empty similarity map, and others always had a key encoder.
        present = self.state_dict()
        former = [key for key in state if key.startswith(FORMER_NETWORKS) and key not in present]
        # RLlib would leave missing networks at their random values. Env runners get the acting ones alone.
        learned = [key.startswith("learning.") for key in state]
        missing = [key for key in present if key.startswith("learning.") and key not in state]
        if any(learned) and missing:
            raise ValueError(
                f"The state has no {missing[0]!r}: it is of a {type(self).__name__} whose networks have other settings."
            )
        super().set_state({key: value for key, value in state.items() if key not in former})

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
        """Returns contexts ``[B, T, D]`` of whole episodes; ``obs`` holds the encoder's inputs ``[B, T, I]``.

        Learners do not call this: the losses are in the algorithm's ``update.py``.
        """
        inputs = read_column(self, batch, Columns.OBS)
        if inputs.dim() != 3 or inputs.shape[2] != self.acting.encoder_input_dim:
            raise ValueError(
                f"forward_train needs whole episodes of encoder inputs, 'obs' of shape [B, T, "
                f"{self.acting.encoder_input_dim}] (observation, previous action and, with `encoder_reward`, previous "
                f"reward), but got {list(inputs.shape)}. To act, call forward_inference or forward_exploration."
            )
        return {"context": self.acting.encoder(inputs)}

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        read = ActingBatch.read(self, batch)
        obs, size = read.obs, read.obs.shape[0]  # len() would be a constant to torch.export
        has_reward = Columns.REWARDS in batch
        if self.network_config.encoder_reward and not has_reward:
            raise ValueError(
                "This module's encoder reads rewards (`encoder_reward=True`), but the batch has no 'rewards'. Add the "
                "previous rewards, shape [B] (zeros at an episode's start). ArrayEnvRunner sends them; RLlib's own env "
                "runner does not."
            )
        reward = read_column(self, batch, Columns.REWARDS) if has_reward else obs.new_zeros(size)
        if not torch.jit.is_tracing() and reward.numel() != size:
            raise ValueError(f"'rewards' has shape {list(reward.shape)}, but must have [{size}], one per observation.")
        noise = torch.randn(size, self.acting.action_dim, device=obs.device) if explore else None
        previous_action = read.state.get(PREVIOUS_ACTION, obs.new_zeros(size, self.acting.action_dim))
        encoder_state = read.state.get(self.LATENT, obs.new_zeros(size, 0))
        action, _, encoder_state = self.acting.act(obs, previous_action, reward.reshape(-1, 1), encoder_state, noise)
        outputs = read.restore_time_axis(
            {
                Columns.ACTIONS: action.reshape(-1, *self.action_space.shape),
                Columns.ACTIONS_FOR_ENV: self.scale_actions(action),
            }
        )
        if Columns.STATE_IN in batch:  # RLlib's own connectors fail on an empty state
            state = {self.LATENT: encoder_state, PREVIOUS_ACTION: action}
            outputs[Columns.STATE_OUT] = {key: state[key] for key in read.state}
        return outputs
