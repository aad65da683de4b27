"""The networks of SkiMo (Shi et al., CoRL 2022), and the policy of skills that they make.

Shapes: ``O`` observation, ``A`` action, ``Z`` skill, ``S`` latent state; a skill lasts ``H`` steps.
"""

import copy
import functools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.core.elu_networks import elu_mlp, output_layer
from rllib_sami.core.settings import integer, one_of, setting
from rllib_sami.core.tanh_normal import MEAN_LIMIT, TanhNormal
from rllib_sami.core.without_context import ContextlessConfig, WithoutContext, seeded_noise

HIDDEN_LAYERS = 4
DECODER_LAYERS = 2
DECODER_STD = (0.1, 1.5)  # least and largest standard deviation of a decoded observation


@dataclass(frozen=True)
class SkillWindow:
    """Length of windows, and of plans."""

    num_skills: int = setting(10, integer(1), "Skills in a row in a window, and the farthest that is planned ahead.")


@dataclass(frozen=True)
class SkillModelConfig(SkillWindow, ContextlessConfig):
    """Sizes of the networks of skills."""

    skill_dim: int = setting(10, integer(1), "Width of a skill.")
    skill_length: int = setting(10, integer(1), "Steps that a skill lasts.")
    num_units: int = setting(128, integer(1), "Units of each hidden layer.")
    latent_state_dim: int = setting(128, integer(1), "Width of the latent state in which skills are predicted.")
    skill_encoder: str = setting(
        "mlp",
        one_of(["mlp", "lstm"]),
        "What reads the actions of a skill: `mlp` also reads the observation that it begins with, `lstm` all of them.",
    )
    lstm_units: int = setting(128, integer(1), "Units of the skill encoder, if it is an LSTM.")


class LSTMSkillEncoder(nn.Module):
    """Reads the steps of a skill one after the other."""

    def __init__(self, input_dim: int, units: int, output_dim: int):
        super().__init__()
        self.lstm = nn.LSTM(input_dim, units, batch_first=True)
        self.head = output_layer(units, output_dim)

    def forward(self, steps: Tensor) -> Tensor:
        """Returns ``[n, 2 Z]`` for steps ``[n, H, A + S]``."""
        return self.head(self.lstm(steps)[0][:, -1])


class SkillPolicy(nn.Module):
    """The policy of skills, ``π_L(a | E_L(o), z)``, which acts with its most likely action."""

    def __init__(self, obs_dim: int, action_dim: int, config: SkillModelConfig):
        super().__init__()
        units, state = config.num_units, config.latent_state_dim
        self.encoder = elu_mlp(obs_dim, [units], state)
        self.net = elu_mlp(state + config.skill_dim, [units] * HIDDEN_LAYERS, 2 * action_dim)

    def forward(self, encoded: Tensor, skill: Tensor) -> Tensor:
        """Returns actions ``[..., A]`` for encoded observations ``[..., S]`` and skills ``[..., Z]``."""
        return TanhNormal.of(self.net(torch.cat([encoded, skill], dim=-1))).mode


class SkillModel(WithoutContext):
    """What is learned from data: skills, their policy, their prior, and what they lead to.

    It acts with skills of the prior, each for ``H`` steps.

    Args:
        obs_dim: ``O``.
        action_dim: ``A``.
        config: Sizes.

    Attributes:
        state_encoder: ``E``, from observations to latent states.
        dynamics: ``D``, from a latent state and a skill to the latent state after it.
        prior: Which skills the data has in a latent state.
        decoder: ``G``, from latent states to observations.
        skill_encoder: ``q``, from the steps of a skill to the skill.
        skill_policy: ``π_L``, with an encoder of its own.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: SkillModelConfig):
        # The present skill, and its steps that are left.
        super().__init__(obs_dim, action_dim, config, memory=config.skill_dim + 1, draws=True)
        units, state, skill = config.num_units, config.latent_state_dim, config.skill_dim
        hidden = [units] * HIDDEN_LAYERS
        self.state_encoder = elu_mlp(obs_dim, [units], state)
        self.dynamics = elu_mlp(state + skill, hidden, state)
        self.prior = elu_mlp(state, hidden, 2 * skill)
        self.decoder = elu_mlp(state, [units] * DECODER_LAYERS, 2 * obs_dim)
        self.skill_policy = SkillPolicy(obs_dim, action_dim, config)
        if config.skill_encoder == "lstm":
            self.skill_encoder: nn.Module = LSTMSkillEncoder(action_dim + state, config.lstm_units, 2 * skill)
        else:
            self.skill_encoder = elu_mlp(action_dim * config.skill_length + state, hidden, 2 * skill)

    def encode_skills(self, actions: Tensor, encoded: Tensor) -> TanhNormal:
        """Returns the distributions of skills, ``[B, N, Z]``.

        Args:
            actions: ``[B, N, H, A]``.
            encoded: ``E_L`` of the observations in which they were taken, ``[B, N, H, S]``.
        """
        shape = actions.shape[:2]
        if isinstance(self.skill_encoder, LSTMSkillEncoder):
            steps = torch.cat([actions, encoded], dim=-1).flatten(0, 1)
            return TanhNormal.of(self.skill_encoder(steps).unflatten(0, shape))
        return TanhNormal.of(self.skill_encoder(torch.cat([actions.flatten(2), encoded[:, :, 0]], dim=-1)))

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation ``[..., O]`` of observations for latent states ``[..., S]``."""
        mean, raw = self.decoder(latent).chunk(2, dim=-1)
        low, high = DECODER_STD
        return mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1.0)

    def step_latent(self, latent: Tensor, skill: Tensor) -> Tensor:
        """Returns the latent state ``[..., S]`` after a skill ``[..., Z]``."""
        return self.dynamics(torch.cat([latent, skill], dim=-1))

    def checksum(self) -> int:
        """Returns a number that tells these skills from others: it is of the weights of their policy."""
        return functools.reduce(
            lambda checksum, weights: zlib.crc32(weights.cpu().numpy().tobytes(), checksum),
            self.skill_policy.state_dict().values(),
            0,
        )

    def state_of_skill(self, skill: np.ndarray) -> np.ndarray:
        """Returns the state ``[S]`` of an episode in which a skill ``[Z]`` is played, and no other after it."""
        return np.concatenate([skill, [np.inf, 0.0, 0.0]], dtype=np.float32)

    # --- Acting -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        previous_action: Tensor,
        previous_reward: Tensor,
        state: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Acts one step with skills of the prior; arguments and results as of ``ActorNetworks.act``."""
        skill, left, seed, count = state.split([self.config.skill_dim, 1, 1, 1], dim=1)
        ends = left <= 0
        if ends.any():
            drawn = seeded_noise(seed[:, 0], count[:, 0], (self.config.skill_dim,))
            new = TanhNormal.of(self.prior(self.state_encoder(obs))).sample(drawn)
            skill = torch.where(ends, new, skill)
            left = torch.where(ends, left.new_tensor(self.config.skill_length), left)
            count = count + ends
        action = self.skill_policy(self.skill_policy.encoder(obs), skill)
        return action, obs.new_zeros(len(obs), 0), torch.cat([skill, left - 1, seed, count], dim=1)


class SkillPolicyNetworks(WithoutContext):
    """The policy of skills for ``FrozenPolicy``: its observations end with the skill."""

    def __init__(self, model: SkillModel):
        super().__init__(model.obs_dim + model.config.skill_dim, model.action_dim, model.config)
        self.skill_dim, self.skill_policy = model.config.skill_dim, copy.deepcopy(model.skill_policy)

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        previous_action: Tensor,
        previous_reward: Tensor,
        state: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Acts one step; arguments and results as of ``ActorNetworks.act``."""
        own, skill = obs.split([obs.shape[1] - self.skill_dim, self.skill_dim], dim=1)
        return self.skill_policy(self.skill_policy.encoder(own), skill), obs.new_zeros(len(obs), 0), state

    def array_step(self) -> "ArraySkillPolicy":
        """Returns the same in NumPy: of a single step, torch's overhead would be most of the time."""
        return ArraySkillPolicy(self)


class ArraySkillPolicy:
    """Acts as :class:`SkillPolicyNetworks` does, with copies of its weights in NumPy."""

    def __init__(self, networks: SkillPolicyNetworks):
        self._networks = networks
        self.refresh()

    def refresh(self) -> None:
        """Copies the networks' present weights."""
        policy = self._networks.skill_policy
        encoder, net = (_arrays(part) for part in (policy.encoder, policy.net))
        # The encoder's last layer is linear, and so is what reads it: one product.
        (hidden, hidden_bias), (last, last_bias) = encoder
        (first, first_bias), *self._hidden = net
        of_state, self._of_skill = first[: last.shape[1]], first[last.shape[1] :]
        self._encoder = hidden, hidden_bias
        self._first = last @ of_state, last_bias @ of_state + first_bias

    def act(self, obs: np.ndarray, *memory: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns actions ``[B, A]`` for observations that end with skills; all else is as of the networks."""
        own, skill = np.split(obs, [obs.shape[1] - self._networks.skill_dim], axis=1)
        weights, bias = self._encoder
        units = _elu(own @ weights + bias)
        weights, bias = self._first
        units = _elu(units @ weights + (skill @ self._of_skill + bias))
        for weights, bias in self._hidden[:-1]:
            units = _elu(units @ weights + bias)
        weights, bias = self._hidden[-1]
        mean = (units @ weights + bias)[:, : self._networks.action_dim]
        state: Any = memory[2]
        return np.tanh(MEAN_LIMIT * np.tanh(mean / MEAN_LIMIT)), np.zeros((len(obs), 0), np.float32), state


def _arrays(net: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the weights ``[I, O]`` and biases of a network's linear layers."""
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    return [
        (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy()) for layer in layers
    ]


def _elu(units: np.ndarray) -> np.ndarray:
    negative = np.expm1(np.minimum(units, 0.0))
    return np.add(np.maximum(units, 0.0), negative, out=negative)
