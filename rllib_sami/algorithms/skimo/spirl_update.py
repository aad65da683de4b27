"""SPiRL (Pertsch et al., CoRL 2020) on a task: soft actor-critic over skills, near the prior instead of random.

Shapes: ``B`` transitions of a skill; ``O`` observation, ``Z`` skill and ``S`` latent dimensions.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.skimo.divergence import DivergenceConfig, bounded_divergence
from rllib_sami.algorithms.skimo.networks import HIDDEN_LAYERS, SkillModel, SkillModelConfig
from rllib_sami.core import losses
from rllib_sami.core.elu_networks import elu_mlp
from rllib_sami.core.networks import TwinCritics, polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import LAYER_SIZES, RATE, setting
from rllib_sami.core.tanh_normal import TanhNormal
from rllib_sami.core.without_context import WithoutContext

METRICS = ("critic_loss", "q_mean", "actor_loss", "prior_divergence", "alpha")


@dataclass(frozen=True, kw_only=True)
class SPiRLUpdateConfig(DivergenceConfig):
    """Constants of an update. The discount ``gamma`` of a skill is RLlib's setting."""

    gamma: float
    tau: float = setting(0.005, RATE, "Rate of the target networks' moving average.")


@dataclass(frozen=True)
class CriticSizes:
    """Sizes of the critics."""

    critic_hidden: list[int] = setting([256, 256], LAYER_SIZES, "Hidden layer sizes of each critic.")


@dataclass(frozen=True)
class SPiRLNetworkConfig(CriticSizes, SkillModelConfig):
    """Sizes of the networks: those that were learned from data, and of the critics."""


class SkillPrior(WithoutContext):
    """A policy of skills, which begins as the prior.

    Args:
        obs_dim: ``O``.
        action_dim: ``Z``.
        config: Sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: SPiRLNetworkConfig):
        super().__init__(obs_dim, action_dim, config)
        units, state = config.num_units, config.latent_state_dim
        self.state_encoder = elu_mlp(obs_dim, [units], state)
        self.policy = elu_mlp(state, [units] * HIDDEN_LAYERS, 2 * action_dim)

    def load_model(self, model: SkillModel) -> None:
        """Makes encoder and policy equal to the model's encoder and prior."""
        self.state_encoder.load_state_dict(model.state_encoder.state_dict())
        self.policy.load_state_dict(model.prior.state_dict())

    def distribution(self, obs: Tensor) -> TanhNormal:
        """Returns the distribution of skills for observations ``[..., O]``."""
        return TanhNormal.of(self.policy(self.state_encoder(obs)))

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
        chosen = self.distribution(obs)
        return chosen.mode if noise is None else chosen.sample(noise), obs.new_zeros(obs.shape[0], 0), state


class SPiRLTrainingNetworks(nn.Module):
    """Critics and their targets, the prior, and the coefficient of the divergence from it."""

    def __init__(self, acting: SkillPrior, initial_alpha: float):
        super().__init__()
        self.critics = TwinCritics(acting.obs_dim + acting.action_dim, acting.config.critic_hidden)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.prior = copy.deepcopy(acting).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_alpha)))

    def load_acting(self, acting: SkillPrior) -> None:
        """Makes the prior equal to the policy, as it is before any update."""
        self.prior.load_state_dict(acting.state_dict())


def parameter_groups(acting: SkillPrior, training: SPiRLTrainingNetworks) -> ParameterGroups:
    """Returns the parameters by optimiser."""
    return {
        "critic": [*training.critics.parameters()],
        "actor": [*acting.parameters()],
        "alpha": [training.log_alpha],
    }


def spirl_update(
    acting: SkillPrior,
    training: SPiRLTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: SPiRLUpdateConfig,
) -> Metrics:
    """Makes one update in place.

        y   = r + (1 - d) γ [min Q'(o', z') - α KL(π(· | o') ‖ prior(· | o'))],   z' ~ π(o')
        L_Q = Σ_k ½ (Q_k(o, z) - y)²
        L_π = α KL(π(· | o) ‖ prior(· | o)) - min Q(o, z),   z ~ π(o)

    Args:
        acting: The policy.
        training: Critics, prior and coefficient.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_windows`` with windows of one skill, without the leading ``U``.
        config: Constants.

    Returns:
        Scalar tensors by metric name.
    """
    obs, next_obs = batch["obs"].unbind(dim=1)
    skill, reward, terminated, noise, next_noise = (
        batch[name][:, 0] for name in ("actions", "rewards", "terminated", "noise", "next_noise")
    )
    alpha, nothing = training.log_alpha.exp().detach(), obs.new_zeros(len(obs), 0)

    def cost(policy: TanhNormal, at: Tensor) -> Tensor:
        return bounded_divergence(policy, training.prior.distribution(at))

    with torch.no_grad():
        policy = acting.distribution(next_obs)
        values = training.target_critics(next_obs, policy.sample(next_noise), nothing)
        target = losses.td_target(
            reward, terminated, losses.soft_value(values, cost(policy, next_obs), alpha), config.gamma
        )
    q = training.critics(obs, skill, nothing)
    critic_loss = losses.critic_loss(q, target)
    optimization.step(["critic"], critic_loss)

    policy = acting.distribution(obs)
    divergences = cost(policy, obs)
    actor_loss = losses.actor_loss(training.critics(obs, policy.sample(noise), nothing), divergences, alpha)
    optimization.step(["actor"], actor_loss)
    if config.tune_alpha:
        missing = config.target_divergence - divergences.mean().detach()
        optimization.step(["alpha"], training.log_alpha.exp() * missing, clip=False)
    polyak_update(training.target_critics, training.critics, config.tau)
    values = (critic_loss, q.mean(), actor_loss, divergences.mean(), alpha)
    return {name: value.detach() for name, value in zip(METRICS, values, strict=True)}
