"""A world model that plans: latent states, what follows them, rewards and values, and a policy (TD-MPC).

Shapes: ``O`` observation, ``A`` action, ``S`` latent state.
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.core.elu_networks import elu_mlp, fast_elu, value_net
from rllib_sami.core.planning import LIMIT, MAX_STD, CEMConfig, cem
from rllib_sami.core.settings import integer, one_of, setting
from rllib_sami.core.without_context import ContextlessConfig, WithoutContext, seeded_noise

MOST_NOISE = 0.3  # of an action of the policy


@dataclass(frozen=True)
class PlannerConfig(CEMConfig):
    """Settings of acting."""

    planner: str = setting(
        "cem",
        one_of(["cem", "none"]),
        "Who chooses actions: `cem` plans with the cross-entropy method, `none` leaves it to the policy.",
    )
    initial_plan: str = setting(
        "gaussian",
        one_of(["gaussian", "policy"]),
        "The first samples of a plan: `gaussian` draws them from N(0, 2²), `policy` from the mean and standard "
        "deviation of the policy's sequences, so that plans stay near what the policy would do.",
    )


@dataclass(frozen=True)
class WorldModelConfig(PlannerConfig, ContextlessConfig):
    """Sizes of the networks, and the planner."""

    plan_horizon: int = setting(5, integer(1), "Steps of a window, and the farthest that is planned ahead.")
    num_units: int = setting(512, integer(1), "Units of each hidden layer.")
    latent_state_dim: int = setting(50, integer(1), "Width of the latent state.")


class WorldModel(WithoutContext):
    """Encoder, dynamics, rewards, values and a policy, and a planner that uses them. Base of those that act with it.

    Args:
        obs_dim: ``O``.
        action_dim: ``A``.
        config: Sizes, and the planner.
        gamma: Discount of one step.

    Attributes:
        state_encoder: ``E``, from observations to latent states.
        dynamics: ``D(h, a)``, the next latent state.
        policy: ``π(a | h)``.
        reward: ``R(h, a)``.
        values: ``Q_1(h, a)`` and ``Q_2``.
        horizon: Steps that are planned ahead at present; learning raises it. At 0, before the first update, the policy
            chooses actions.
        plan_std: The present least standard deviation of plans; learning lowers it.
    """

    hidden_layers: ClassVar[int]
    policy_outputs: ClassVar[int]  # for each dimension of an action
    horizon: Tensor
    plan_std: Tensor

    def __init__(self, obs_dim: int, action_dim: int, config: Any, gamma: float):
        # The mean of the last plan, and its horizon.
        plans = config.planner == "cem"
        super().__init__(obs_dim, action_dim, config, plans * (config.plan_horizon * action_dim + 1), plans)
        self.gamma = gamma
        units, state = config.num_units, config.latent_state_dim
        self.state_encoder = elu_mlp(obs_dim, [units], state)
        self.dynamics = elu_mlp(state + action_dim, [units] * self.hidden_layers, state)
        self.policy = elu_mlp(state, [units] * self.hidden_layers, self.policy_outputs * action_dim)
        self.reward = value_net(state + action_dim, units, self.hidden_layers)
        self.values = nn.ModuleList(value_net(state + action_dim, units, self.hidden_layers) for _ in range(2))
        self.register_buffer("horizon", torch.tensor(0))
        self.register_buffer("plan_std", torch.tensor(0.5))

    def distribution(self, latent: Tensor) -> Any:
        """Returns the policy's actions for latent states ``[..., S]``, with ``mode`` and ``sample(noise)``."""
        raise NotImplementedError

    def acting_distribution(self, latent: Tensor) -> Any:
        """Returns the same for acting without a plan."""
        return self.distribution(latent)

    def step_latent(self, latent: Tensor, action: Tensor) -> Tensor:
        """Returns the latent state ``[..., S]`` after an action ``[..., A]``."""
        return self.dynamics(torch.cat([latent, action], dim=-1))

    def predicted_reward(self, latent: Tensor, action: Tensor) -> Tensor:
        """Returns ``R``, ``[...]``."""
        return self.reward(torch.cat([latent, action], dim=-1)).squeeze(-1)

    def predicted_values(self, latent: Tensor, action: Tensor) -> Tensor:
        """Returns ``Q_1`` and ``Q_2``, ``[2, ...]``."""
        inputs = torch.cat([latent, action], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.values])

    @torch.no_grad()
    def state_values(self, obs: Tensor) -> Tensor:
        """Returns ``min Q(h, a)`` of the policy's most likely actions for observations ``[B, O]``, ``[B]``."""
        latent = self.state_encoder(obs)
        return self.predicted_values(latent, self.distribution(latent).mode).amin(dim=0)

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
        """Chooses actions; arguments and results as of ``ActorNetworks.act``."""
        latent = self.state_encoder(obs)
        context = obs.new_zeros(obs.shape[0], 0)  # len() would be a constant to torch.export
        if self.config.planner == "none" or self.horizon == 0:
            chosen = self.acting_distribution(latent)
            return chosen.mode if noise is None else chosen.sample(noise), context, state
        action, std, state = self._plan(latent, state)
        if noise is not None:
            action = (action + std * noise).clamp(-LIMIT, LIMIT)
        return action, context, state

    def _plan(self, latent: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns actions ``[B, A]``, the standard deviation of their plans ``[B, A]``, and the next state."""
        config, horizon, size = self.config, int(self.horizon), len(latent)
        before, former, seed, count = state.split([state.shape[1] - 3, 1, 1, 1], dim=1)
        before = before.unflatten(1, (config.plan_horizon, self.action_dim))[:, :horizon]
        num_policy = config.num_plan_policy_samples
        # All random numbers of a plan at once, from the stream of each episode.
        shape = (num_policy, horizon, self.action_dim)
        shapes = {"policy": shape, "samples": (config.num_plan_iterations, config.num_plan_samples, *shape[1:]),
                  "policy_last": (num_policy, self.action_dim),
                  "last": (config.num_plan_iterations, config.num_plan_samples, self.action_dim),
                  "choice": (1,)}  # fmt: skip
        sizes = {name: int(np.prod(of_one)) for name, of_one in shapes.items()}
        parts = seeded_noise(seed[:, 0], count[:, 0], (sum(sizes.values()),)).split([*sizes.values()], dim=1)
        drawn = {name: part.unflatten(1, shapes[name]) for name, part in zip(shapes, parts, strict=True)}

        of_policy = []
        rolled = latent[:, None].expand(-1, num_policy, -1)
        for step in range(horizon):
            of_policy.append(self.distribution(rolled).sample(drawn["policy"][:, :, step]))
            rolled = self.step_latent(rolled, of_policy[-1])
        sequences = torch.stack(of_policy, dim=2)  # [B, P, H, A]
        mean, std = torch.zeros_like(sequences[:, 0]), torch.full_like(sequences[:, 0], MAX_STD)
        if config.initial_plan == "policy":
            mean = sequences.mean(dim=1)
            std = sequences.std(dim=1, correction=0).clamp(min=float(self.plan_std))
        # Where the last plan was as long as this one, it goes on.
        shifted = torch.cat([before[:, 1:], torch.zeros_like(before[:, :1])], dim=1)
        goes_on = (former == horizon) & (horizon > 1)
        mean = torch.where(goes_on[..., None], shifted, mean)

        returns = ImaginedReturns(self, latent)
        plan = cem(
            lambda candidates, iteration: returns(candidates, drawn["last"][:, iteration]),
            sequences,
            returns(sequences, drawn["policy_last"]),
            mean,
            std,
            float(self.plan_std),
            config,
            drawn["samples"],
            torch.special.ndtr(drawn["choice"][:, 0]),
        )
        kept = plan.mean.new_zeros(size, config.plan_horizon, self.action_dim)
        kept[:, :horizon] = plan.mean
        state = torch.cat([kept.flatten(1), torch.full_like(former, horizon), seed, count + 1], dim=1)
        return plan.action, plan.std[:, 0], state


class ImaginedReturns:
    """Predicts the returns of sequences of actions.

    Most of a plan's time goes here. A step's latent state is only read by linear layers: the last layer of the dynamics
    and those become one.

    Args:
        model: The world model.
        latent: ``h``, ``[B, S]``, from which sequences begin.
    """

    def __init__(self, model: WorldModel, latent: Tensor):
        self._model, self._latent = model, latent
        of_model: Any = model.dynamics
        self._dynamics, (last, last_bias) = _layers(of_model)[:-1], _layers(of_model)[-1]
        of_reward: Any = model.reward
        self._norm, self._reward = of_reward[1], _layers(of_reward)
        self._last = last, last_bias
        self._joined = []  # first layers of dynamics and of rewards, for the last hidden units of the dynamics
        for weight, bias in (self._dynamics[0], self._reward[0]):
            of_state, of_action = weight.split([last.shape[0], model.action_dim], dim=1)
            self._joined.append((torch.cat([of_state @ last, of_action], dim=1), bias + of_state @ last_bias))

    def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
        """Returns predicted returns ``[B, N]``.

            G = Σ_t γ^t R(c_t, a_t) + γ^H min Q(c_H, a),  a ~ π(c_H)

        Args:
            actions: ``[B, N, H, A]``.
            noise: Standard normal ``[B, N, A]``, for the action after a sequence.
        """
        model, (size, count, horizon) = self._model, actions.shape[:3]
        flat = actions.flatten(0, 1)
        units = self._latent.repeat_interleave(count, dim=0)
        layers = [self._dynamics[0], self._reward[0]]
        total, discount = units.new_zeros(size * count), 1.0
        for step in range(horizon):
            inputs = torch.cat([units, flat[:, step]], dim=1)
            units, of_reward = (F.linear(inputs, *layer) for layer in layers)
            of_reward = torch.tanh(self._norm(of_reward))
            for weight, bias in self._reward[1:-1]:
                of_reward = fast_elu(F.linear(of_reward, weight, bias))
            total = total + discount * F.linear(of_reward, *self._reward[-1]).squeeze(1)
            units = fast_elu(units)
            for weight, bias in self._dynamics[1:]:
                units = fast_elu(F.linear(units, weight, bias))
            layers = self._joined
            discount *= model.gamma
        rolled = F.linear(units, *self._last)
        chosen = model.distribution(rolled).sample(noise.flatten(0, 1))
        total = total + discount * model.predicted_values(rolled, chosen).amin(dim=0)
        return total.unflatten(0, (size, count))


def _layers(net: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Returns the weights ``[O, I]`` and biases of a network's linear layers."""
    return [(layer.weight, layer.bias) for layer in net if isinstance(layer, nn.Linear)]


class TargetNetworks(nn.Module):
    """Moving averages of encoder and values, from which targets are made."""

    def __init__(self, acting: WorldModel):
        super().__init__()
        self.target_encoder = copy.deepcopy(acting.state_encoder).requires_grad_(False)
        self.target_values = copy.deepcopy(acting.values).requires_grad_(False)

    def load_targets(self, acting: WorldModel) -> None:
        """Makes the targets equal to the networks that act, as they are before any update."""
        self.target_encoder.load_state_dict(acting.state_encoder.state_dict())
        self.target_values.load_state_dict(acting.values.state_dict())

    def target_of(self, latent: Tensor, action: Tensor) -> Tensor:
        """Returns the smaller of the target values, ``[...]``."""
        inputs: Any = torch.cat([latent, action], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.target_values]).amin(dim=0)


# --- TD-MPC ---------------------------------------------------------------------------------------------------------


class NoisyAction(NamedTuple):
    """An action with bounded noise."""

    mode: Tensor  # [..., A]
    std: float | Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Returns actions ``[..., A]`` from standard normal ``noise``; gradients are those of the mode."""
        noisy = self.mode + (self.std * noise).clamp(-MOST_NOISE, MOST_NOISE)
        return self.mode + (noisy.clamp(-LIMIT, LIMIT) - self.mode).detach()


@dataclass(frozen=True)
class TDMPCNetworkConfig(WorldModelConfig):
    """Sizes, the planner, and the policy's noise."""

    final_plan_std: float = 0.05


class TDMPCNetworks(WorldModel):
    """The networks of TD-MPC, whose policy is deterministic but for noise."""

    hidden_layers = 2
    policy_outputs = 1

    def distribution(self, latent: Tensor) -> NoisyAction:
        """Returns the policy's actions with the noise that plans have at last."""
        return NoisyAction(torch.tanh(self.policy(latent)), self.config.final_plan_std)

    def acting_distribution(self, latent: Tensor) -> NoisyAction:
        """Returns the policy's actions with the noise that plans have at present."""
        return NoisyAction(torch.tanh(self.policy(latent)), self.plan_std)
