"""One update of SkiMo on a task: model and values, then the policy, from windows of skills.

Shapes: ``B`` windows of ``N`` skills; ``O`` observation, ``Z`` skill and ``S`` latent dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.skimo.downstream_networks import SkillTaskNetworks, SkillTaskTrainingNetworks
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import ABOVE_0, AT_LEAST_0, RATE, SWITCH, one_of, setting
from rllib_sami.core.tanh_normal import divergence

MOST_LOSS = 1e5
MOST_DIVERGENCE = 100.0
METRICS = ("consistency_loss", "reward_loss", "value_loss", "q_mean", "actor_loss", "prior_divergence", "alpha")


@dataclass(frozen=True, kw_only=True)
class DownstreamUpdateConfig:
    """Constants of an update. The discount ``gamma`` of a skill is RLlib's setting."""

    gamma: float
    consistency_coeff: float = setting(2.0, AT_LEAST_0, "Weight of the error of predicted latent states.")
    reward_coeff: float = setting(0.25, AT_LEAST_0, "Weight of the error of predicted rewards.")
    value_coeff: float = setting(0.1, AT_LEAST_0, "Weight of the error of values.")
    consistency_decay: float = setting(0.5, RATE, "How much less a skill weighs than the one before it in the window.")
    actor_states: str = setting(
        "first",
        one_of(["first", "encoded", "imagined"]),
        "Latent states in which the policy raises the value: `first`, that of a window's beginning, as often as the "
        "window has skills (the authors' code); `encoded`, those of all its observations; `imagined`, those that the "
        "dynamics predict from the first (the paper).",
    )
    prior_reg_critic: bool = setting(
        False, SWITCH, "Whether values, too, count the divergence from the prior as a cost."
    )
    tune_alpha: bool = setting(
        True, SWITCH, "Whether the coefficient of the divergence is tuned for `target_divergence`."
    )
    target_divergence: float = setting(3.0, ABOVE_0, "Divergence from the prior, in nats, that it is tuned for.")
    tau: float = setting(0.005, RATE, "Rate of the target networks' moving average.")


def parameter_groups(acting: SkillTaskNetworks, training: SkillTaskTrainingNetworks) -> ParameterGroups:
    """Returns the parameters by optimiser."""
    model = (acting.state_encoder, acting.dynamics, acting.reward, acting.values)
    return {
        "model": [parameter for part in model for parameter in part.parameters()],
        "actor": [*acting.policy.parameters()],
        "alpha": [training.log_alpha],
    }


def model_loss(
    acting: SkillTaskNetworks,
    training: SkillTaskTrainingNetworks,
    batch: Batch,
    config: DownstreamUpdateConfig,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of encoder, dynamics, reward and values, and metrics.

        L = c_c Σ_t ρ^t E(c_{t+1} - h'_{t+1})² + c_r Σ_t [ρ^t (R(c_t, z_t) - r_t)² + (R(h_t, z_t) - r_t)²]
          + c_q Σ_t Σ_k [ρ^t (Q_k(c_t, z_t) - y_t)² + (Q_k(h_t, z_t) - y_t)²],    all divided by N

        y_t = r_t + (1 - d_t) γ [min Q'(h_{t+1}, z') - α KL],   z' ~ π(h_{t+1})

    with h_t = E(o_t), c_0 = h_0, c_{t+1} = D(c_t, z_t), and h' of the target encoder. The divergence is counted only
    with ``prior_reg_critic``.
    """
    obs, skill, weight = batch["obs"], batch["skills"], batch["weights"]  # [B, N + 1, O], [B, N, Z], [B, N]
    latent = acting.state_encoder(obs)
    with torch.no_grad():
        target = training.target_encoder(obs[:, 1:])
        chosen = acting.distribution(latent[:, 1:])
        value = training.target_of(latent[:, 1:], chosen.sample(batch["next_noise"]))
        if config.prior_reg_critic:
            cost = divergence(chosen, training.prior_of(obs[:, 1:])).clamp(-MOST_DIVERGENCE, MOST_DIVERGENCE)
            value = value - training.log_alpha.exp() * cost
        wanted = batch["rewards"] + (1.0 - batch["terminated"]) * config.gamma * value  # [B, N]

    rolled, predicted = latent[:, 0], []
    for index in range(skill.shape[1]):
        predicted.append(rolled)
        rolled = acting.step_latent(rolled, skill[:, index])
    predicted.append(rolled)
    imagined = torch.stack(predicted, dim=1)  # c, [B, N + 1, S]
    decay = config.consistency_decay ** torch.arange(skill.shape[1], device=obs.device)

    def total(errors: Tensor) -> Tensor:
        return (weight * errors).sum(dim=1).clamp(max=MOST_LOSS).mean()

    consistency = total(decay * (imagined[:, 1:] - target).square().mean(dim=-1))
    # Of imagined and of encoded states in one go.
    both = torch.stack([imagined[:, :-1], latent[:, :-1]])  # [2, B, N, S]
    skills = skill.expand(2, *skill.shape)
    reward_error = (acting.predicted_reward(both, skills) - batch["rewards"]).square()
    values = acting.predicted_values(both, skills)  # [2, 2, B, N]
    value_error = (values - wanted).square().sum(dim=0)
    reward, critic = (total(decay * error[0] + error[1]) for error in (reward_error, value_error))
    loss = config.consistency_coeff * consistency + config.reward_coeff * reward + config.value_coeff * critic
    metrics = {"consistency_loss": consistency, "reward_loss": reward, "value_loss": critic, "q_mean": values.mean()}
    return loss / skill.shape[1], {name: value.detach() for name, value in metrics.items()}


def actor_loss(
    acting: SkillTaskNetworks,
    training: SkillTaskTrainingNetworks,
    batch: Batch,
    config: DownstreamUpdateConfig,
) -> tuple[Tensor, Tensor]:
    """Returns the policy's loss, and the mean divergence from the prior.

        L = 1/N Σ_t ρ^t [- min Q(s_t, z) + α KL(π(· | h_t) ‖ prior(· | o_t))],   z ~ π(s_t)

    with s_t as ``actor_states`` says.
    """
    obs, skill, weight = batch["obs"][:, :-1], batch["skills"], batch["weights"]
    with torch.no_grad():
        latent = acting.state_encoder(obs)  # [B, N, S]
        prior = training.prior_of(obs)
        if config.actor_states == "first":
            states = latent[:, :1].expand_as(latent)
        elif config.actor_states == "encoded":
            states = latent
        else:
            rolled = [latent[:, 0]]
            for index in range(skill.shape[1] - 1):
                rolled.append(acting.step_latent(rolled[-1], skill[:, index]))
            states = torch.stack(rolled, dim=1)
    chosen = acting.distribution(states).sample(batch["noise"])
    value = acting.predicted_values(states, chosen).amin(dim=0)
    cost = divergence(acting.distribution(latent), prior).clamp(-MOST_DIVERGENCE, MOST_DIVERGENCE)
    decay = config.consistency_decay ** torch.arange(skill.shape[1], device=obs.device)
    loss = (weight * decay * (training.log_alpha.exp().detach() * cost - value)).sum(dim=1).mean() / skill.shape[1]
    return loss, (weight * cost).sum().detach() / weight.sum()


@dataclass(frozen=True)
class DownstreamLosses:
    """The loss functions of an update, which may be compiled."""

    model: Callable[..., tuple[Tensor, Metrics]] = model_loss
    actor: Callable[..., tuple[Tensor, Tensor]] = actor_loss


def downstream_update(
    acting: SkillTaskNetworks,
    training: SkillTaskTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: DownstreamUpdateConfig,
    losses: DownstreamLosses = DownstreamLosses(),
) -> Metrics:
    """Makes one update in place.

    Args:
        acting: The networks that act.
        training: Targets, prior and coefficient.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_skill_windows``, without the leading ``U``.
        config: Constants.
        losses: The loss functions.

    Returns:
        Scalar tensors by metric name.
    """
    loss, metrics = losses.model(acting, training, batch, config)
    optimization.step(["model"], loss)
    of_actor, cost = losses.actor(acting, training, batch, config)
    optimization.step(["actor"], of_actor)
    alpha = training.log_alpha.exp().detach()
    if config.tune_alpha:
        optimization.step(["alpha"], training.log_alpha.exp() * (config.target_divergence - cost), clip=False)
    polyak_update(training.target_encoder, acting.state_encoder, config.tau)
    polyak_update(training.target_values, acting.values, config.tau)
    return metrics | {"actor_loss": of_actor.detach(), "prior_divergence": cost, "alpha": alpha}
