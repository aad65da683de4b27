"""One gradient update of the whole agent, read from top to bottom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import losses
from .contrast import ContrastConfig, average_towards, contrast_loss
from .networks import ActorNetworks, TrainingNetworks

Batch = dict[str, Tensor]
AverageGradients = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class UpdateConfig(ContrastConfig):
    """Constants of the update; what they mean is said at ``SaMIConfig.training``."""

    contrast_coeff: float = 0.0
    gamma: float = 0.99
    tau: float = 0.005
    target_entropy: float = -1.0
    encoder_critic_gradient: bool = True
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
    if training.key_encoder is None:  # nor is there a contrast; target critics read the encoder's own contexts
        target_context = context.detach()
    else:
        with torch.no_grad():
            key_rows = [rows, batch["positive_rows"], batch["low_rows"]] if has_contrast else [rows]
            key_context = training.key_encoder(torch.cat([some[..., :input_dim] for some in key_rows]))  # [B + E, R, D]
        target_context = key_context[:num_episodes].flatten(0, 1)

    # --- Transitions (o_t, a_t, r_t, o_{t+1}): row t + 1 holds what came of step t ----------------------------------
    now = batch["step_index"]  # [N]
    flat = rows.flatten(0, 1)
    row, next_row = flat[now], flat[now + 1]
    obs, next_obs = row[:, :obs_dim], next_row[:, :obs_dim]
    action, reward = next_row[:, obs_dim : obs_dim + action_dim], next_row[:, -1]
    context_now, context_next = context[now], context[now + 1].detach()
    target_context_next = target_context[now + 1]
    next_noise, actor_noise = batch["noise"]  # [N, A] each

    # --- Critics, encoder and contrast: one backward ----------------------------------------------------------------
    with torch.no_grad():
        next_action, next_log_prob = acting.actor.sample(next_obs, context_next, next_noise)
        next_q = training.target_critics(next_obs, next_action, target_context_next)
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
        keys = key_context[num_episodes:]
        weighted_loss, contrast_metrics = contrast_loss(acting.encoder, keys, batch, config, training.similarity_map)
        total_loss = critic_loss + weighted_loss
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
        if training.key_encoder is not None:
            average_towards(training.key_encoder, acting.encoder, config.key_encoder_tau)

    metrics |= {"actor_loss": actor_loss, "alpha_loss": alpha_loss, "entropy": -log_prob.mean()}
    return {name: value.detach() for name, value in metrics.items()}


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
