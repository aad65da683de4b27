"""One update of task inference: the encoder learns to predict, then a policy learns from its latents.

A window of the last transitions is encoded into the posterior of a latent. Decoders predict from a sample of it what
happens at random steps of the window's whole episode, and a classifier the family of its task. A soft actor-critic
reads observation and latent, and no gradient of it reaches the encoder.

Shapes: ``N`` windows of ``T`` transitions; ``S`` steps of each one's episode; ``O`` observation, ``A`` action and ``L``
latent dimensions; a row has ``F`` numbers, ``[o_t, a_{t-1}, r_{t-1}]``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics, Transitions
from rllib_sami.algorithms.sac import update as sac
from rllib_sami.algorithms.sac.update import CONTEXT_STD, SACLossFunctions, SACUpdateConfig, actor_critic_step
from rllib_sami.algorithms.task_inference.losses import family_loss, prediction_loss
from rllib_sami.algorithms.task_inference.networks import (
    InferenceNetworks,
    InferenceTrainingNetworks,
)
from rllib_sami.core.networks import ActorNetworks
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import AT_LEAST_0, setting

OBS_COEFF = REWARD_COEFF = 1.0 / 3.0
INFERENCE_METRICS = ("obs_prediction_loss", "reward_prediction_loss", "latent_kl")
FAMILY_METRICS = ("family_loss", "family_accuracy")


@dataclass(frozen=True, kw_only=True)
class InferenceUpdateConfig(SACUpdateConfig):
    """Constants of an update."""

    latent_kl_coeff: float = setting(
        1e-3, AT_LEAST_0, "Weight of the divergence between posterior and prior of latents."
    )
    family_coeff: float = setting(
        0.3, AT_LEAST_0, "Weight of the loss of the task's family, where the environment names families."
    )


def inference_loss(
    acting: InferenceNetworks,
    training: InferenceTrainingNetworks,
    posterior: Tensor,
    decoded: Tensor,
    first: Tensor,
    family: Tensor,
    noise: Tensor,
    config: InferenceUpdateConfig,
) -> tuple[Tensor, Tensor, Metrics]:
    """Returns the loss of encoder, decoders and classifier, the sampled latents ``[N, L]``, and metrics.

        L = ⅓ E‖o' - ô'‖² + ⅓ E(r - r̂)² + c_family CE + c_kl KL(q(z | c) ‖ p(z))

    Args:
        acting: Classifier, prior, and the kind of posteriors.
        training: Decoders.
        posterior: The encoder's outputs for the windows, ``[N, P]``, with gradient.
        decoded: The two rows of each step to predict, ``[N, S, 2, F]``.
        first: The first row of each window's episode, ``[N, F]``.
        family: Family of each window's task, ``[N]``.
        noise: Standard normal, ``[N, E]``; see ``posteriors``.
        config: Constants.
    """
    obs_dim, action_dim = acting.obs_dim, acting.action_dim
    now, after = decoded.unbind(dim=2)
    obs, action, next_obs = now[..., :obs_dim], after[..., obs_dim : obs_dim + action_dim], after[..., :obs_dim]
    limit = acting.config.reward_limit
    latent = acting.encoder.kind.latent(posterior, noise)
    predicted = training.decoders(obs, action, latent[:, None].expand(-1, obs.shape[1], -1))
    of_obs, of_reward = prediction_loss(predicted, next_obs, after[..., -1].clamp(-limit, limit))
    kl = acting.prior.kl(posterior, latent).mean()
    loss = OBS_COEFF * of_obs + REWARD_COEFF * of_reward + config.latent_kl_coeff * kl
    metrics = dict(zip(INFERENCE_METRICS, (of_obs.detach(), of_reward.detach(), kl.detach()), strict=True))
    if acting.classifier is not None:
        # If the classifier reads an observation, it is the episode's first, as in the reference.
        of_family, accuracy = family_loss(acting.family_logits(first[:, :obs_dim], latent), family)
        loss = loss + config.family_coeff * of_family
        metrics |= dict(zip(FAMILY_METRICS, (of_family.detach(), accuracy), strict=True))
    return loss, latent, metrics


@dataclass(frozen=True)
class InferenceLossFunctions(SACLossFunctions):
    """The loss functions of an update, compiled or not."""

    inference: Callable = inference_loss


PLAIN = InferenceLossFunctions()  # not compiled


def parameter_groups(acting: InferenceNetworks, training: InferenceTrainingNetworks) -> ParameterGroups:
    """Returns all trained parameters, by name of their optimiser."""
    predicting = [acting.encoder, training.decoders, *([] if acting.classifier is None else [acting.classifier])]
    return sac.parameter_groups(acting, training, [one for module in predicting for one in module.parameters()])


def latent_transitions(acting: ActorNetworks, batch: Batch, latent: Tensor, next_latent: Tensor) -> Transitions:
    """Returns what the actor-critic learns from: the steps after windows, and their latents.

    Args:
        acting: The networks, which know the widths of observation and action in a row.
        batch: One update of ``sampling.sample_windows``.
        latent: Of the windows, ``[N, L]``, without gradient.
        next_latent: Of the windows that end a step later, ``[N, L]``.
    """
    now, after = batch["rows"][:, -2], batch["rows"][:, -1]
    return Transitions(
        obs=now[:, : acting.obs_dim],
        action=after[:, acting.obs_dim : acting.obs_dim + acting.action_dim],
        reward=after[:, -1],
        next_obs=after[:, : acting.obs_dim],
        terminated=batch["terminated"],
        context=latent,
        next_context=next_latent,
        target_next_context=next_latent,
        noise=batch["noise"],
    )


def inference_update(
    acting: InferenceNetworks,
    training: InferenceTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: InferenceUpdateConfig,
    loss_functions: InferenceLossFunctions = PLAIN,
) -> Metrics:
    """Takes one step of every optimiser. All randomness of the update comes in the batch.

    Args:
        acting: Encoder, policy, classifier and prior.
        training: Decoders, critics and entropy coefficient.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_inference``, without the leading ``U``.
        config: Constants.
        loss_functions: The loss functions.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    rows = batch["rows"]  # [N, T + 2, F]
    windows = acting.encoder.windows(rows[:, :-1], batch["num_missing"][0])
    next_windows = acting.encoder.windows(rows[:, 1:], batch["num_missing"][1])

    # --- Encoder, decoders and classifier ---
    posterior = acting.encoder.posterior(windows)
    of_batch = (batch["decoded"], batch["first"], batch["family"], batch["latent_noise"][0])
    loss, latent, metrics = loss_functions.inference(acting, training, posterior, *of_batch, config)
    with torch.no_grad():  # of the encoder that made `latent`
        next_latent = acting.encoder.kind.latent(acting.encoder.posterior(next_windows), batch["latent_noise"][1])
    latent = latent.detach()
    optimization.step(["encoder"], loss)
    acting.prior.follow(latent, training.prior_interval, optimization.average)

    # --- Actor and critics ---
    steps = latent_transitions(acting, batch, latent, next_latent)
    metrics |= actor_critic_step(acting, training, optimization, steps, config, loss_functions)
    # Without noise, which would hide that latents are equal.
    latents = acting.encoder.kind.latent(posterior.detach(), torch.zeros_like(batch["latent_noise"][0]))
    return metrics | {CONTEXT_STD: latents.std(dim=0).mean()}
