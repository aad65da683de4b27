"""One update of SkiMo on a task: model and values, then the policy, from windows of skills.

Shapes: ``B`` windows of ``N`` skills; ``O`` observation, ``Z`` skill and ``S`` latent dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.skimo.divergence import DivergenceConfig, bounded_divergence
from rllib_sami.algorithms.skimo.downstream_networks import SkillTaskNetworks, SkillTaskTrainingNetworks
from rllib_sami.algorithms.tdmpc import update as tdmpc
from rllib_sami.algorithms.tdmpc.update import ModelUpdateConfig, decays, imagine, move_targets, prediction_loss
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import AT_LEAST_0, SWITCH, one_of, setting

METRICS = (*tdmpc.METRICS, "prior_divergence", "alpha")


@dataclass(frozen=True, kw_only=True)
class DownstreamUpdateConfig(ModelUpdateConfig, DivergenceConfig):
    """Constants of an update."""

    reward_coeff: float = setting(0.25, AT_LEAST_0, "Weight of the error of predicted rewards.")
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


def parameter_groups(acting: SkillTaskNetworks, training: SkillTaskTrainingNetworks) -> ParameterGroups:
    """Returns the parameters by optimiser."""
    return tdmpc.parameter_groups(acting) | {"alpha": [training.log_alpha]}


def model_loss(
    acting: SkillTaskNetworks,
    training: SkillTaskTrainingNetworks,
    batch: Batch,
    config: DownstreamUpdateConfig,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of encoder, dynamics, reward and values, and metrics.

        L = 1/N Σ_t { c_c ρ^t E(c_{t+1} - h'_{t+1})² + c_r [ρ^t (R(c_t, z_t) - r_t)² + (R(h_t, z_t) - r_t)²]
                    + c_q Σ_k [ρ^t (Q_k(c_t, z_t) - y_t)² + (Q_k(h_t, z_t) - y_t)²] }

        y_t = r_t + (1 - d_t) γ [min Q'(h_{t+1}, z') - α KL],   z' ~ π(h_{t+1})

    as :func:`~rllib_sami.algorithms.tdmpc.update.prediction_loss` computes it. The divergence is counted only with
    ``prior_reg_critic``.
    """
    obs = batch["obs"]
    latent = acting.state_encoder(obs)
    with torch.no_grad():
        chosen = acting.distribution(latent[:, 1:])
        value = training.target_of(latent[:, 1:], chosen.sample(batch["next_noise"]))
        if config.prior_reg_critic:
            cost = bounded_divergence(chosen, training.prior_of(obs[:, 1:]))
            value = value - training.log_alpha.exp() * cost
    return prediction_loss(acting, training, batch, latent, value, config, of_encoded=True)


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
    obs, skills, weight = batch["obs"][:, :-1], batch["actions"], batch["weights"]
    with torch.no_grad():
        latent = acting.state_encoder(obs)  # [B, N, S]
        prior = training.prior_of(obs)
        if config.actor_states == "first":
            states = latent[:, :1].expand_as(latent)
        elif config.actor_states == "encoded":
            states = latent
        else:
            states = imagine(acting.step_latent, latent[:, 0], skills[:, :-1])
    policy = acting.distribution(latent)
    acts = policy if states is latent else acting.distribution(states)
    value = acting.predicted_values(states, acts.sample(batch["noise"])).amin(dim=0)
    cost = bounded_divergence(policy, prior)
    of_steps = decays(config.consistency_decay, skills) * (training.log_alpha.exp().detach() * cost - value)
    loss = (weight * of_steps).sum(dim=1).mean() / skills.shape[1]
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
        batch: One update of ``sampling.sample_windows``, without the leading ``U``.
        config: Constants.
        losses: The loss functions.

    Returns:
        Scalar tensors by metric name.
    """
    precision = config.precision(batch["obs"].device)
    with precision:
        loss, metrics = losses.model(acting, training, batch, config)
    optimization.step(["model"], loss)
    with precision:
        of_actor, cost = losses.actor(acting, training, batch, config)
    optimization.step(["actor"], of_actor)
    alpha = training.log_alpha.exp().detach()
    if config.tune_alpha:
        optimization.step(["alpha"], training.log_alpha.exp() * (config.target_divergence - cost), clip=False)
    move_targets(acting, training, config)
    return metrics | {"actor_loss": of_actor.detach(), "prior_divergence": cost, "alpha": alpha}
