"""A context encoder for your own RLModules, with RLlib's own env runners, connectors and learners."""

import contextlib
from typing import Any

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
    check_column,
    check_flat_boxes,
    check_scaled_by_rllib,
    read_column,
)
from rllib_sami.algorithms.sami.contrast import ContrastConfig, SkillContrast
from rllib_sami.core.context_encoder import ContextEncoder, EncoderConfig


class ContextTorchRLModule(TorchRLModule, InferenceOnlyAPI):
    """An ``RLModule`` with a context encoder (``encoder``) and its contrast (``contrast``).

    A subclass makes its networks in :meth:`setup`, after ``super().setup()``, and defines the policy in
    :meth:`action_dist_inputs`. The encoder reads the observation and the previous action. Its state and the previous
    action are RLlib's recurrent state, so RLlib's own env runners, connectors and learners do the rest.

    ``model_config`` may set the fields of ``EncoderConfig`` (``rllib_sami.core.context_encoder``) and of
    ``ContrastConfig`` (``rllib_sami.algorithms.sami.contrast``), and RLlib's ``max_seq_len`` (20), the length of the
    sequences into which episodes are cut for learning.

    Attributes:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        context_dim: Context width ``D``.
    """

    @override(TorchRLModule)
    def setup(self):
        check_flat_boxes(self)
        check_scaled_by_rllib(self.action_space)
        given = self.model_config
        self.obs_dim = int(np.prod(self.observation_space.shape))
        self.action_dim = int(np.prod(self.action_space.shape))
        encoder = _given(EncoderConfig, given)
        self.context_dim = encoder.context_dim
        self.encoder = ContextEncoder(
            self.obs_dim + self.action_dim,
            encoder.encoder_hidden_dim,
            encoder.context_dim,
            encoder.encoder_type,
            encoder.normalize_context,
        )
        given.setdefault("max_seq_len", 20)
        if not self.inference_only:
            self.contrast = SkillContrast(self.encoder, _given(ContrastConfig, given))

    def action_dist_inputs(self, obs: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Returns the parameters of the action distribution: means and log standard deviations.

        Args:
            obs: ``[..., O]``.
            context: ``[..., D]``.

        Returns:
            ``[..., 2 A]``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define its policy in `action_dist_inputs`.")

    def contexts(self, batch: dict[str, Any]) -> torch.Tensor:
        """Returns contexts ``[B, T, D]`` of a learner's batch: ``obs``, ``actions`` (``[B, T, ...]``), ``state_in``."""
        obs = read_column(self, batch, Columns.OBS).flatten(2)
        actions = read_column(self, batch, Columns.ACTIONS).reshape(*obs.shape[:2], -1)
        check_column(self, batch, Columns.STATE_IN)
        state, first_action = (
            read_column(self, batch[Columns.STATE_IN], key) for key in (ENCODER_STATE, PREVIOUS_ACTION)
        )
        previous_actions = torch.cat([first_action[:, None], actions[:, :-1]], dim=1)
        return self.encoder(torch.cat([obs, previous_actions], dim=-1), state)

    def no_sync(self) -> contextlib.AbstractContextManager:
        """RLlib calls this of modules in torch's DDP; with several learners ``ContrastLearner`` does without DDP."""
        return contextlib.nullcontext()

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["contrast"]

    @override(TorchRLModule)
    def get_initial_state(self) -> dict[str, np.ndarray]:
        return {
            ENCODER_STATE: np.zeros(self.encoder.state_dim, np.float32),
            PREVIOUS_ACTION: np.zeros(self.action_dim, np.float32),
        }

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=False)

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        return self._act(batch, explore=True)

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs) -> dict[str, Any]:
        obs = read_column(self, batch, Columns.OBS).flatten(2)
        return {Columns.ACTION_DIST_INPUTS: self.action_dist_inputs(obs, self.contexts(batch))}

    def _act(self, batch: dict[str, Any], explore: bool) -> dict[str, Any]:
        """Acts one step. The action is drawn here, not by RLlib's connector, because the encoder reads it next."""
        read = ActingBatch.read(self, batch)
        obs, state = read.obs, read.state
        context, next_state = self.encoder.step(torch.cat([obs, state[PREVIOUS_ACTION]], dim=-1), state[ENCODER_STATE])
        logits = self.action_dist_inputs(obs, context)
        kind = self.get_exploration_action_dist_cls() if explore else self.get_inference_action_dist_cls()
        distribution = kind.from_logits(logits)
        action = distribution.sample() if explore else distribution.to_deterministic().sample()
        outputs = {
            Columns.ACTIONS: action.reshape(-1, *self.action_space.shape),
            Columns.ACTION_DIST_INPUTS: logits,
            Columns.ACTION_LOGP: distribution.logp(action),
        }
        return read.restore_time_axis(outputs) | {
            Columns.STATE_OUT: {ENCODER_STATE: next_state, PREVIOUS_ACTION: action}
        }


def _given(config_class: Any, model_config: dict[str, Any]) -> Any:
    """Makes a dataclass of settings from a ``model_config``; missing settings have their defaults."""
    return config_class(**{key: model_config[key] for key in config_class.__dataclass_fields__ if key in model_config})
