"""One gradient update of the whole agent, read from top to bottom."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import losses
from .networks import ActorNetworks, TrainingNetworks

Batch = dict[str, Tensor]
AverageGradients = Callable[[Sequence[Tensor]], Sequence[Tensor]]

OBJECTIVES = ("sance", "binary_nce")


@dataclass(frozen=True)
class UpdateConfig:
    """Constants of the update; what they mean is said at ``SaMIConfig.training``."""

    gamma: float = 0.99
    tau: float = 0.005
    key_encoder_tau: float = 0.05
    target_entropy: float = -1.0
    encoder_critic_gradient: bool = True
    contrast_coeff: float = 0.0
    return_gap_weight: bool = False
    objective: str = "sance"
    temperature: float = 0.1
    similarity: str = "cosine"
    grad_clip: float | None = None


@dataclass(frozen=True)
class Optimizers:
    """One optimiser for each group of parameters (``encoder`` has the similarity map too)."""

    encoder: torch.optim.Optimizer
    critic: torch.optim.Optimizer
    actor: torch.optim.Optimizer
    alpha: torch.optim.Optimizer


def parameter_groups(acting: ActorNetworks, training: TrainingNetworks) -> dict[str, list[nn.Parameter]]:
    """All trained parameters, by the optimiser that owns them."""
    return {
        "encoder": [*acting.encoder.parameters(), training.similarity_map],
        "critic": list(training.critics.parameters()),
        "actor": list(acting.actor.parameters()),
        "alpha": [training.log_alpha],
    }


def update(
    acting: ActorNetworks,
    training: TrainingNetworks,
    optimizers: Optimizers,
    batch: Batch,
    config: UpdateConfig,
    average_gradients: AverageGradients | None = None,
) -> dict[str, Tensor]:
    """Takes one step of every optimiser and moves the averaged networks.

    The update has no randomness of its own: all of it comes in the batch.

    Args:
        acting: Encoder and actor.
        training: Critics, targets, key encoder, entropy coefficient, similarity map.
        optimizers: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_updates`` (without the leading ``U``), as tensors.
        config: Constants.
        average_gradients: Averages gradients over several learners; None for a single one.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    obs_dim, action_dim, input_dim = acting.obs_dim, acting.action_dim, acting.encoder_input_dim
    groups = parameter_groups(acting, training)
    alpha = training.log_alpha.exp().detach()
    has_contrast = "positive_rows" in batch and config.contrast_coeff > 0.0

    # --- Contexts: every episode is encoded once --------------------------------------------------------------------
    rows = batch["rows"]  # [B, R, F]
    num_episodes = rows.shape[0]
    inputs = rows[..., :input_dim]  # [B, R, I]
    with torch.set_grad_enabled(config.encoder_critic_gradient):
        context = acting.encoder(inputs).flatten(0, 1)  # [B R, D]
    with torch.no_grad():
        key_rows = [rows, batch["positive_rows"], batch["low_rows"]] if has_contrast else [rows]
        key_context = training.key_encoder(torch.cat([some[..., :input_dim] for some in key_rows]))  # [B + E, R, D]

    # --- Transitions (o_t, a_t, r_t, o_{t+1}): row t + 1 holds what came of step t ----------------------------------
    now = batch["step_index"]  # [N]
    flat = rows.flatten(0, 1)
    row, next_row = flat[now], flat[now + 1]
    obs, next_obs = row[:, :obs_dim], next_row[:, :obs_dim]
    action, reward = next_row[:, obs_dim : obs_dim + action_dim], next_row[:, -1]
    context_now, context_next = context[now], context[now + 1].detach()
    key_context_next = key_context[:num_episodes].flatten(0, 1)[now + 1]
    next_noise, actor_noise = batch["noise"]  # [N, A] each

    # --- Critics, encoder and contrast: one backward ----------------------------------------------------------------
    with torch.no_grad():
        next_action, next_log_prob = acting.actor.sample(next_obs, context_next, next_noise)
        next_q = training.target_critics(next_obs, next_action, key_context_next)
        target = losses.td_target(reward, batch["terminated"], next_q, next_log_prob, alpha, config.gamma)
    q = training.critics(obs, action, context_now)
    critic_loss = losses.critic_loss(q, target)
    metrics = {
        "critic_loss": critic_loss,
        "q_mean": q.mean(),
        "context_std": context_now.std(dim=0).mean(),
        "alpha": alpha,
    }
    total_loss, trained = critic_loss, ["critic"]
    if has_contrast:
        contrast_loss, contrast_metrics = _contrast(acting, training, batch, key_context[num_episodes:], config)
        total_loss = critic_loss + contrast_loss
        metrics |= contrast_metrics
    if has_contrast or config.encoder_critic_gradient:
        trained.append("encoder")
    _step(optimizers, groups, trained, total_loss, config.grad_clip, average_gradients)

    # --- Actor: contexts are given, no gradient into the encoder ----------------------------------------------------
    new_action, log_prob = acting.actor.sample(obs, context_now.detach(), actor_noise)
    actor_loss = losses.actor_loss(training.critics(obs, new_action, context_now.detach()), log_prob, alpha)
    _step(optimizers, groups, ["actor"], actor_loss, config.grad_clip, average_gradients)

    # --- Entropy coefficient ----------------------------------------------------------------------------------------
    alpha_loss = losses.alpha_loss(training.log_alpha, log_prob, config.target_entropy)
    _step(optimizers, groups, ["alpha"], alpha_loss, None, average_gradients)

    # --- Averages: target critics (Polyak) and key encoder (EMA) ----------------------------------------------------
    with torch.no_grad():
        average_towards(training.target_critics, training.critics, config.tau)
        average_towards(training.key_encoder, acting.encoder, config.key_encoder_tau)

    metrics |= {"actor_loss": actor_loss, "alpha_loss": alpha_loss, "entropy": -log_prob.mean()}
    return {name: value.detach() for name, value in metrics.items()}


def _contrast(
    acting: ActorNetworks, training: TrainingNetworks, batch: Batch, keys: Tensor, config: UpdateConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted contrastive loss ``-coeff * I`` and its metrics; ``keys`` are the key contexts ``[E, R, D]``."""
    query_context = acting.encoder(batch["positive_rows"][..., : acting.encoder_input_dim])  # [G P, R, D]
    query = query_context.flatten(0, 1)[batch["query_index"]]  # [G, n, D]
    keys = keys.flatten(0, 1)
    positive, negative = losses.similarity_scores(
        query,
        keys[batch["positive_index"]],
        keys[batch["negative_index"]],
        config.similarity,
        training.similarity_map,
    )
    bound = losses.sance_bound_from_scores(positive, negative, config.temperature)
    if config.objective == "sance":
        loss = -bound
    else:
        loss = -losses.binary_nce_from_scores(positive, negative, config.temperature)
    weight: float | Tensor = config.contrast_coeff
    if config.return_gap_weight:
        weight = (config.contrast_coeff * batch["return_gap"]).clamp(0.0, 1.0)
    metrics = {
        "contrast_loss": loss,
        "sance_bound": bound,
        "log_k": bound.new_tensor(math.log(negative.shape[-1] + 1)),
        "contrast_accuracy": (positive > negative.max(dim=-1).values).float().mean(),
    }
    return weight * loss, metrics


def _step(
    optimizers: Optimizers,
    groups: dict[str, list[nn.Parameter]],
    names: Sequence[str],
    loss: Tensor,
    grad_clip: float | None,
    average_gradients: AverageGradients | None,
) -> None:
    """One step of the named optimisers on the gradients of ``loss`` (only theirs are computed)."""
    parameters = [parameter for name in names for parameter in groups[name]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    if average_gradients is not None:
        gradients = tuple(average_gradients(gradients))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    for name in names:
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(groups[name], grad_clip)
        getattr(optimizers, name).step()


def average_towards(average: nn.Module, source: nn.Module, rate: float) -> None:
    """``average <- (1 - rate) average + rate source``, for all parameters in one call."""
    torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), rate)
