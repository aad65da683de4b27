"""One gradient update of the whole agent, read from top to bottom."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.sami.contrast import (
    CONTRAST_ARRAYS,
    CONTRAST_METRICS,
    ContrastConfig,
    average_towards,
    contrast_loss,
    contrast_terms,
)
from rllib_sami.core import losses
from rllib_sami.core.networks import ActorNetworks, TrainingNetworks, query_and_key_encoder

Batch = dict[str, Tensor]
AverageGradients = Callable[[Sequence[Tensor]], Sequence[Tensor]]
UPDATE_METRICS = ("critic_loss", "q_mean", "context_std", "actor_loss", "entropy", "alpha", "alpha_loss")


@dataclass(frozen=True)
class UpdateConfig(ContrastConfig):
    """Constants of the update; what they mean is said at ``SaMIConfig.training``."""

    contrast_coeff: float = 0.0
    gamma: float = 0.99
    tau: float = 0.005
    target_entropy: float = -1.0
    encoder_critic_gradient: bool = True
    updates_per_batch: int = 1
    contrast_interval: int = 1
    grad_clip: float | None = None
    mixed_precision: bool = False


@dataclass(frozen=True)
class Optimizers:
    """One optimiser for each group of parameters (``encoder`` has the similarity map too)."""

    encoder: torch.optim.Optimizer
    critic: torch.optim.Optimizer
    actor: torch.optim.Optimizer
    alpha: torch.optim.Optimizer


class Transitions(NamedTuple):
    """Steps that the losses learn from; row ``t + 1`` holds what came of step ``t``."""

    row: Tensor  # [N, F]
    next_row: Tensor  # [N, F]
    terminated: Tensor  # [N]
    context: Tensor  # [N, D], of the encoder that acts, with its gradient if the critics train it
    next_context: Tensor  # [N, D]
    target_next_context: Tensor  # [N, D], that the target critics read
    noise: Tensor  # [2, N, A]

    def parts(self, number: int) -> list["Transitions"]:
        """Splits the steps into so many equal parts.

        Raises:
            ValueError: If they cannot be shared out evenly.
        """
        if len(self.row) % number:
            raise ValueError(
                f"`step_index` has {len(self.row)} steps, which {number} `updates_per_batch` cannot share."
            )
        of_each = [tensor.chunk(number) for tensor in self[:-1]]
        return [Transitions(*part) for part in zip(*of_each, self.noise.chunk(number, dim=1), strict=True)]

    def split(self, acting: ActorNetworks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations, next observations ``[N, O]``, actions ``[N, A]`` and rewards ``[N]``."""
        obs_dim = acting.obs_dim
        action = self.next_row[:, obs_dim : obs_dim + acting.action_dim]
        return self.row[:, :obs_dim], self.next_row[:, :obs_dim], action, self.next_row[:, -1]


def parameter_groups(acting: ActorNetworks, training: TrainingNetworks) -> dict[str, list[nn.Parameter]]:
    """All trained parameters, by the optimiser that owns them."""
    encoder, _ = query_and_key_encoder(acting, training)
    return {
        "encoder": [*encoder.parameters(), training.similarity_map],
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
    loss_functions: "LossFunctions | None" = None,
) -> dict[str, Tensor]:
    """Takes one step of every optimiser and moves the averaged networks.

    With ``updates_per_batch`` above 1, actor and critics take so many steps, each on a part of the batch's steps, and
    the encoder one for every ``contrast_interval`` of them. Contexts are those of the beginning: in a few steps the
    encoder changes little, and encoding and contrast would cost more than all the rest.

    The update has no randomness of its own: all of it comes in the batch. On a GPU nothing in it waits for the device.

    Args:
        acting: Encoder and actor.
        training: Critics, targets, key encoder, entropy coefficient, similarity map.
        optimizers: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_updates`` (without the leading ``U``), as tensors.
        config: Constants.
        average_gradients: Averages gradients (and moments of inputs) over several learners; None for a single one.
        loss_functions: The loss functions, compiled or not; None takes them as they stand here.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    loss_functions = loss_functions or LossFunctions()
    input_dim = acting.encoder_input_dim
    groups = parameter_groups(acting, training)
    query_encoder, key_encoder = query_and_key_encoder(acting, training)

    # --- What the encoder reads is standardised by what it has read so far ----------------------------------------
    flat, now = batch["rows"].flatten(0, 1), batch["step_index"]  # [B R, F], [N]
    norms = [encoder.norm for encoder in (query_encoder, key_encoder) if getattr(encoder, "norm", None) is not None]
    if norms:
        features = query_encoder.features(batch["rows"][..., :input_dim]).flatten(0, 1)
        mean, variance = _moments(features[now], average_gradients)
        for norm in norms:
            norm.show(mean, variance)

    # --- Contexts: every episode is encoded once --------------------------------------------------------------------
    inputs = batch["rows"][..., :input_dim]  # [B, R, I]
    with torch.set_grad_enabled(config.encoder_critic_gradient):
        context = acting.encoder(inputs).flatten(0, 1)  # [B R, D]
    target_context = context.detach()  # that of the key encoder, where there is one
    if key_encoder not in (None, acting.encoder):
        with torch.no_grad():
            target_context = key_encoder(inputs).flatten(0, 1)

    steps = Transitions(
        row=flat[now],
        next_row=flat[now + 1],
        terminated=batch["terminated"],
        context=context[now],
        next_context=context[now + 1].detach(),
        target_next_context=target_context[now + 1],
        noise=batch["noise"],
    )
    contrasts = _contrasts(batch) if config.contrast_coeff > 0.0 else []
    totals: dict[str, Tensor] = {}
    for index, part in enumerate(steps.parts(config.updates_per_batch)):
        # --- Critics, encoder and contrast: one backward ------------------------------------------------------------
        alpha = training.log_alpha.exp().detach()
        loss, metrics = loss_functions.critics(acting, training, part, alpha, config)
        has_contrast = bool(contrasts) and index % config.contrast_interval == 0
        if has_contrast and key_encoder is not None:
            weighted_loss, contrast_metrics = contrast_loss(
                query_encoder,
                key_encoder,
                contrasts[index // config.contrast_interval],
                config,
                training.similarity_map,
                loss_functions.contrast,
            )
            loss = loss + weighted_loss
            metrics |= contrast_metrics
        trained = ["critic", "encoder"] if has_contrast or config.encoder_critic_gradient else ["critic"]
        _step(optimizers, groups, trained, loss, config.grad_clip, average_gradients)

        # --- Actor and entropy coefficient: contexts are given, no gradient into the encoder --------------------------
        actor_loss, log_prob = loss_functions.actor(acting, training, part, alpha, config)
        _step(optimizers, groups, ["actor"], actor_loss, config.grad_clip, average_gradients)
        alpha_loss = losses.alpha_loss(training.log_alpha, log_prob, config.target_entropy)
        _step(optimizers, groups, ["alpha"], alpha_loss, None, average_gradients)

        # --- Averages: target critics (Polyak) and, after the encoder, key encoder (EMA) ------------------------------
        with torch.no_grad():
            average_towards(training.target_critics, training.critics, config.tau)
            if key_encoder is not None and index % config.contrast_interval == 0:
                average_towards(key_encoder, query_encoder, config.key_encoder_tau)
        metrics |= {"alpha": alpha, "alpha_loss": alpha_loss.detach()}
        metrics |= {"actor_loss": actor_loss.detach(), "entropy": -log_prob.mean()}
        # Summed at once: what compiled functions return is overwritten by the next part.
        totals |= {name: totals.get(name, 0.0) + value for name, value in metrics.items()}
    return {
        name: total / (len(contrasts) if name in CONTRAST_METRICS else config.updates_per_batch)
        for name, total in totals.items()
    }


@torch.no_grad()
def _moments(inputs: Tensor, average: AverageGradients | None) -> tuple[Tensor, Tensor]:
    """Mean and variance ``[I]`` of inputs ``[N, I]``; with several learners of all theirs (weighed by learner)."""
    mean = inputs.mean(dim=0)
    mean = mean if average is None else average([mean])[0]
    variance = (inputs - mean).square().mean(dim=0)
    return mean, variance if average is None else average([variance])[0]


def _contrasts(batch: Batch) -> list[Batch]:
    """The contrasts of a batch: none, one, or those along a leading axis."""
    arrays = {name: batch[name] for name in CONTRAST_ARRAYS if name in batch}
    if not arrays:
        return []
    index = arrays["query_index"]  # [G, n], or [J, G, n]
    if index.dim() == 2:
        return [arrays]
    return [{name: values[number] for name, values in arrays.items()} for number in range(len(index))]


def _precision(config: UpdateConfig, device: torch.device) -> AbstractContextManager:
    """Where the hidden layers of actor and critics may compute in bfloat16."""
    return torch.autocast(device.type, torch.bfloat16) if config.mixed_precision else nullcontext()


def _critics(
    acting: ActorNetworks, training: TrainingNetworks, steps: Transitions, alpha: Tensor, config: UpdateConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of the critics and its metrics."""
    obs, next_obs, action, reward = steps.split(acting)
    with _precision(config, obs.device):
        with torch.no_grad():
            next_action, next_log_prob = acting.actor.sample(next_obs, steps.next_context, steps.noise[0])
            next_q = training.target_critics(next_obs, next_action, steps.target_next_context)
        q = training.critics(obs, action, steps.context)
    target = losses.td_target(reward, steps.terminated, next_q, next_log_prob, alpha, config.gamma)
    loss = losses.critic_loss(q, target)
    metrics = {"critic_loss": loss.detach(), "q_mean": q.detach().mean()}
    if steps.context.shape[-1] > 0:
        metrics["context_std"] = steps.context.detach().std(dim=0).mean()
    return loss, metrics


def _actor(
    acting: ActorNetworks, training: TrainingNetworks, steps: Transitions, alpha: Tensor, config: UpdateConfig
) -> tuple[Tensor, Tensor]:
    """Loss of the actor and the log-probabilities ``[N]`` of its actions, without gradient."""
    obs, _, _, _ = steps.split(acting)
    context = steps.context.detach()
    # The critics' weights are constants here: compiled code would work out their gradients too.
    weights = {name: parameter.detach() for name, parameter in training.critics.named_parameters()}
    with _precision(config, obs.device):
        action, log_prob = acting.actor.sample(obs, context, steps.noise[1])
        q = torch.func.functional_call(training.critics, weights, (obs, action, context))
    return losses.actor_loss(q, log_prob, alpha), log_prob.detach()


@dataclass(frozen=True)
class LossFunctions:
    """The loss functions of an update, whose sizes do not depend on the length of episodes.

    ``compilation.compiled_loss_functions`` makes faster ones.
    """

    critics: Callable = _critics
    contrast: Callable = contrast_terms
    actor: Callable = _actor


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
