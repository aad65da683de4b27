"""The networks of SkiMo on a task: a policy of skills, values, rewards, and a planner that uses them.

Shapes: ``O`` observation, ``Z`` skill, ``S`` latent state.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skimo.networks import (
    HIDDEN_LAYERS,
    SkillModelConfig,
    WithoutContext,
    mlp,
    seeded_noise,
    value_net,
)
from rllib_sami.core.planning import LIMIT, MAX_STD, CEMConfig, cem
from rllib_sami.core.settings import one_of, setting
from rllib_sami.core.tanh_normal import TanhNormal

STATE = "plan"  # key of the recurrent state
OF_MODEL = {"state_encoder": "state_encoder", "dynamics": "dynamics", "policy": "prior"}  # here -> in the SkillModel


@dataclass(frozen=True)
class PlannerConfig(CEMConfig):
    """Settings of acting."""

    planner: str = setting(
        "cem",
        one_of(["cem", "none"]),
        "Who chooses skills: `cem` plans with the cross-entropy method, `none` leaves it to the policy.",
    )
    initial_plan: str = setting(
        "gaussian",
        one_of(["gaussian", "policy"]),
        "The first samples of a plan: `gaussian` draws them from N(0, 2²), `policy` from the mean and standard "
        "deviation of the policy's sequences, so that plans stay near skills that the prior knows.",
    )


@dataclass(frozen=True)
class DownstreamNetworkConfig(PlannerConfig, SkillModelConfig):
    """Sizes of all networks, and the planner; the sizes are those of the pre-trained networks."""


class SkillTaskNetworks(WithoutContext):
    """The networks with which SkiMo acts; its action is a skill.

    Args:
        obs_dim: ``O``.
        action_dim: ``Z``.
        config: Sizes, and the planner.
        gamma: Discount of one skill.

    Attributes:
        state_encoder: ``E``, from observations to latent states.
        dynamics: ``D``.
        policy: ``π(z | h)``.
        reward: ``R(h, z)``.
        values: ``Q_1(h, z)`` and ``Q_2``.
        horizon: Skills that are planned ahead at present; learning raises it. At 0, before the first update, the policy
            chooses skills, which is the prior then.
        plan_std: The present least standard deviation of plans; learning lowers it.
    """

    horizon: Tensor
    plan_std: Tensor

    def __init__(self, obs_dim: int, action_dim: int, config: DownstreamNetworkConfig, gamma: float):
        # The mean of the last plan, and its horizon.
        plans = config.planner == "cem"
        super().__init__(obs_dim, action_dim, config, plans * (config.num_skills * action_dim + 1), plans)
        self.gamma = gamma
        units, state = config.num_units, config.latent_state_dim
        hidden = [units] * HIDDEN_LAYERS
        self.state_encoder = mlp(obs_dim, [units], state)
        self.dynamics = mlp(state + action_dim, hidden, state)
        self.policy = mlp(state, hidden, 2 * action_dim)
        self.reward = value_net(state + action_dim, units)
        self.values = nn.ModuleList(value_net(state + action_dim, units) for _ in range(2))
        self.register_buffer("horizon", torch.tensor(0))
        self.register_buffer("plan_std", torch.tensor(0.5))

    def load_model(self, state: Mapping[str, Tensor]) -> None:
        """Takes encoder, dynamics and prior from the state of a :class:`SkillModel`."""
        for mine, theirs in OF_MODEL.items():
            prefix = f"{theirs}."
            part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            getattr(self, mine).load_state_dict(part)

    def distribution(self, latent: Tensor) -> TanhNormal:
        """Returns the policy's distribution of skills for latent states ``[..., S]``."""
        return TanhNormal.of(self.policy(latent))

    def step_latent(self, latent: Tensor, skill: Tensor) -> Tensor:
        """Returns the latent state ``[..., S]`` after a skill ``[..., Z]``."""
        return self.dynamics(torch.cat([latent, skill], dim=-1))

    def predicted_reward(self, latent: Tensor, skill: Tensor) -> Tensor:
        """Returns ``R``, ``[...]``."""
        return self.reward(torch.cat([latent, skill], dim=-1)).squeeze(-1)

    def predicted_values(self, latent: Tensor, skill: Tensor) -> Tensor:
        """Returns ``Q_1`` and ``Q_2``, ``[2, ...]``."""
        inputs = torch.cat([latent, skill], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.values])

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
        """Chooses skills; arguments and results as of ``ActorNetworks.act``."""
        latent = self.state_encoder(obs)
        context = obs.new_zeros(len(obs), 0)
        if self.config.planner == "none" or self.horizon == 0:
            chosen = self.distribution(latent)
            return chosen.mode if noise is None else chosen.sample(noise), context, state
        skill, std, state = self._plan(latent, state)
        if noise is not None:
            skill = (skill + std * noise).clamp(-LIMIT, LIMIT)
        return skill, context, state

    def _plan(self, latent: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns skills ``[B, Z]``, the standard deviation of their plans ``[B, Z]``, and the next state."""
        config, horizon, size = self.config, int(self.horizon), len(latent)
        before, former, seed, count = state.split([state.shape[1] - 3, 1, 1, 1], dim=1)
        before = before.unflatten(1, (config.num_skills, self.action_dim))[:, :horizon]
        num_policy = config.num_plan_policy_samples
        # All random numbers of a plan at once, from the stream of each episode.
        shape = (num_policy, horizon, self.action_dim)
        shapes = {"policy": shape, "samples": (config.num_plan_iterations, config.num_plan_samples, *shape[1:]),
                  "last": (config.num_plan_iterations, num_policy + config.num_plan_samples, self.action_dim),
                  "choice": (1,)}  # fmt: skip
        sizes = {name: int(np.prod(of_one)) for name, of_one in shapes.items()}
        parts = seeded_noise(seed[:, 0], count[:, 0], (sum(sizes.values()),)).split([*sizes.values()], dim=1)
        drawn = {name: part.unflatten(1, shapes[name]) for name, part in zip(shapes, parts, strict=True)}

        of_policy = []
        rolled = latent[:, None].expand(-1, num_policy, -1)
        for step in range(horizon):
            of_policy.append(self.distribution(rolled).sample(drawn["policy"][:, :, step]))
            rolled = self.step_latent(rolled, of_policy[-1])
        sequences = torch.stack(of_policy, dim=2)  # [B, P, H, Z]
        mean, std = torch.zeros_like(sequences[:, 0]), torch.full_like(sequences[:, 0], MAX_STD)
        if config.initial_plan == "policy":
            mean, std = sequences.mean(dim=1), sequences.std(dim=1).clamp(min=float(self.plan_std))
        # Where the last plan was as long as this one, it goes on.
        shifted = torch.cat([before[:, 1:], torch.zeros_like(before[:, :1])], dim=1)
        goes_on = (former == horizon) & torch.full_like(former, horizon > 1, dtype=torch.bool)
        mean = torch.where(goes_on[..., None], shifted, mean)

        rounds = iter(range(config.num_plan_iterations))
        scored = iter(range(config.num_plan_iterations))
        plan = cem(
            lambda candidates: self._score(latent, candidates, drawn["last"][:, next(scored)]),
            sequences,
            mean,
            std,
            float(self.plan_std),
            config,
            lambda _: drawn["samples"][:, next(rounds)],
            torch.special.ndtr(drawn["choice"][:, 0]),
        )
        kept = plan.mean.new_zeros(size, config.num_skills, self.action_dim)
        kept[:, :horizon] = plan.mean
        state = torch.cat([kept.flatten(1), torch.full_like(former, horizon), seed, count + 1], dim=1)
        return plan.action, plan.std[:, 0], state

    def _score(self, latent: Tensor, candidates: Tensor, noise: Tensor) -> Tensor:
        """Returns the predicted returns ``[B, N]`` of sequences of skills ``[B, N, H, Z]``.

        G = Σ_t γ^t R(c_t, z_t) + γ^H min Q(c_H, z),  z ~ π(c_H)
        """
        rolled = latent[:, None].expand(-1, candidates.shape[1], -1)
        total, discount = latent.new_zeros(candidates.shape[:2]), 1.0
        for step in range(candidates.shape[2]):
            skill = candidates[:, :, step]
            total = total + discount * self.predicted_reward(rolled, skill)
            rolled = self.step_latent(rolled, skill)
            discount *= self.gamma
        last = self.distribution(rolled).sample(noise)
        return total + discount * self.predicted_values(rolled, last).amin(dim=0)


class SkillTaskTrainingNetworks(nn.Module):
    """What only learning needs: target networks, the prior, and the coefficient of the divergence from it."""

    def __init__(self, acting: SkillTaskNetworks, initial_alpha: float):
        super().__init__()
        self.target_encoder = copy.deepcopy(acting.state_encoder).requires_grad_(False)
        self.target_values = copy.deepcopy(acting.values).requires_grad_(False)
        # The prior reads latent states of its own encoder, which nothing changes.
        self.prior_encoder = copy.deepcopy(acting.state_encoder).requires_grad_(False)
        self.prior = copy.deepcopy(acting.policy).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(float(np.log(initial_alpha))))

    def load_acting(self, acting: SkillTaskNetworks) -> None:
        """Makes targets and prior equal to the networks that act, as they are before any update."""
        for mine, theirs in (
            (self.target_encoder, acting.state_encoder),
            (self.target_values, acting.values),
            (self.prior_encoder, acting.state_encoder),
            (self.prior, acting.policy),
        ):
            mine.load_state_dict(theirs.state_dict())

    def prior_of(self, obs: Tensor) -> TanhNormal:
        """Returns the prior's distribution of skills for observations ``[..., O]``."""
        return TanhNormal.of(self.prior(self.prior_encoder(obs)))

    def target_of(self, latent: Tensor, skill: Tensor) -> Tensor:
        """Returns the smaller of the target values, ``[...]``."""
        inputs: Any = torch.cat([latent, skill], dim=-1)
        return torch.stack([net(inputs).squeeze(-1) for net in self.target_values]).amin(dim=0)
