"""One gradient update of soft actor-critic (arXiv:1812.05905), with or without a memory.

Actor and critics read the observation and a *context*, a recurrent encoder's summary of the episode so far. In a plain
SAC the context has width 0.

Shapes: ``N`` steps; ``O`` observation, ``A`` action and ``D`` context dimensions; ``B`` episodes of ``R`` rows
``[o_t, a_{t-1}, r_{t-1}]`` with ``F`` numbers each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics, Transitions, transitions
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.core import losses
from rllib_sami.core.context_encoder import ContextEncoder
from rllib_sami.core.networks import ActorNetworks, polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.precision import PrecisionConfig
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, RATE, TARGET_ENTROPY, setting

UPDATE_METRICS = ("critic_loss", "q_mean", "actor_loss", "entropy", "alpha", "alpha_loss")
CONTEXT_STD = "context_std"  # reported only if there is a context


@dataclass(frozen=True)
class EntropyConfig:
    """Setting of the initial entropy coefficient."""

    initial_alpha: float = setting(0.1, ABOVE_0, "Entropy coefficient at the start.")


@dataclass(frozen=True, kw_only=True)
class SACUpdateConfig(PrecisionConfig):
    """Constants of an update. The discount ``gamma`` is RLlib's setting; here ``target_entropy`` must be a number."""

    gamma: float
    tau: float = setting(0.01, RATE, "Rate of the target critics' moving average.")
    target_entropy: Schedule | str = setting(
        "auto",
        TARGET_ENTROPY,
        'Entropy (or schedule) that the coefficient is tuned for; `"auto"` is minus the action dimension.',
    )


# --- The losses -----------------------------------------------------------------------------------------------------


def sac_critic_loss(
    acting: ActorNetworks, training: SACTrainingNetworks, steps: Transitions, alpha: Tensor, config: SACUpdateConfig
) -> tuple[Tensor, Metrics]:
    """Returns the loss of the critics (arXiv:1812.05905, Eq. 5) and its metrics."""
    with config.precision(steps.obs.device):
        with torch.no_grad():
            next_action, next_log_prob = acting.actor.sample(steps.next_obs, steps.next_context, steps.noise[0])
            next_q = training.target_critics(steps.next_obs, next_action, steps.target_next_context)
        q = training.critics(steps.obs, steps.action, steps.context)
    next_value = losses.soft_value(next_q, next_log_prob, alpha)
    target = losses.td_target(steps.reward, steps.terminated, next_value, config.gamma)
    loss = losses.critic_loss(q, target)
    metrics = {"critic_loss": loss.detach(), "q_mean": q.detach().mean()}
    if steps.context.shape[-1] > 0:
        metrics[CONTEXT_STD] = steps.context.detach().std(dim=0).mean()
    return loss, metrics


def sac_actor_loss(
    acting: ActorNetworks, training: SACTrainingNetworks, steps: Transitions, alpha: Tensor, config: SACUpdateConfig
) -> tuple[Tensor, Tensor]:
    """Returns the loss of the actor (Eq. 7) and the log-probabilities ``[N]`` of its actions, without gradient."""
    context = steps.context.detach()
    # The critics' weights are constants here; otherwise compiled code would compute their gradients too.
    weights = {name: parameter.detach() for name, parameter in training.critics.named_parameters()}
    with config.precision(steps.obs.device):
        action, log_prob = acting.actor.sample(steps.obs, context, steps.noise[1])
        q = torch.func.functional_call(training.critics, weights, (steps.obs, action, context))
    return losses.actor_loss(q, log_prob, alpha), log_prob.detach()


@dataclass(frozen=True)
class SACLossFunctions:
    """The loss functions of an update, compiled or not. Their shapes do not depend on the length of episodes."""

    critics: Callable = sac_critic_loss
    actor: Callable = sac_actor_loss


PLAIN = SACLossFunctions()  # not compiled


# --- The update -----------------------------------------------------------------------------------------------------


def parameter_groups(
    acting: ActorNetworks, training: SACTrainingNetworks, encoder: Sequence[nn.Parameter] | None = None
) -> ParameterGroups:
    """Returns all trained parameters, by name of their optimiser.

    Args:
        acting: Encoder and actor.
        training: Critics and entropy coefficient.
        encoder: What the encoder's optimiser trains, if that is not the encoder that acts.
    """
    groups = {} if acting.config.context_dim == 0 else {"encoder": list(encoder or acting.encoder.parameters())}
    return groups | {
        "critic": list(training.critics.parameters()),
        "actor": list(acting.actor.parameters()),
        "alpha": [training.log_alpha],
    }


def sac_update(
    acting: ActorNetworks,
    training: SACTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: SACUpdateConfig,
    loss_functions: SACLossFunctions = PLAIN,
) -> Metrics:
    """Takes one step of every optimiser, then moves the target critics.

    All randomness of the update comes in the batch. On a GPU, nothing in it waits for the device.

    Args:
        acting: Encoder and actor.
        training: Critics, target critics, entropy coefficient.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``samplers.sample_transitions`` for a plain SAC, or of ``samplers.sample_episodes`` for an
            agent with an encoder, which the critics' loss trains; without the leading ``U``.
        config: Constants.
        loss_functions: The loss functions.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    if acting.config.context_dim == 0:
        context = batch["rows"].new_zeros(*batch["rows"].shape[:2], 0).flatten(0, 1)
        steps = transitions(acting, batch, context, context)
        return actor_critic_step(acting, training, optimization, steps, config, loss_functions)
    update_input_norms([acting.encoder], batch, optimization)
    context = acting.encoder(batch["rows"][..., : acting.encoder_input_dim]).flatten(0, 1)  # [B R, D]
    steps = transitions(acting, batch, context, context.detach())
    return actor_critic_step(
        acting, training, optimization, steps, config, loss_functions, trained=("critic", "encoder")
    )


def actor_critic_step(
    acting: ActorNetworks,
    training: SACTrainingNetworks,
    optimization: Optimization,
    steps: Transitions,
    config: SACUpdateConfig,
    loss_functions: SACLossFunctions,
    *,
    trained: Sequence[str] = ("critic",),
    auxiliary: tuple[Tensor, Metrics] | None = None,
) -> Metrics:
    """Takes one step of critics, actor and entropy coefficient, then moves the target critics.

    Args:
        acting: Encoder and actor.
        training: Critics, target critics, entropy coefficient.
        optimization: The optimisers.
        steps: The steps to learn from.
        config: Constants.
        loss_functions: The loss functions.
        trained: The groups of parameters that the critics' loss trains.
        auxiliary: A loss to add to the critics', and its metrics.

    Returns:
        Scalar tensors by metric name.
    """
    # --- Critics, and the encoder if it trains with them: one backward pass ---
    alpha = training.log_alpha.exp().detach()
    loss, metrics = loss_functions.critics(acting, training, steps, alpha, config)
    if auxiliary is not None:
        loss = loss + auxiliary[0]
        metrics |= auxiliary[1]
    optimization.step(trained, loss)

    # --- Actor and entropy coefficient: no gradient reaches the encoder ---
    actor_loss, log_prob = loss_functions.actor(acting, training, steps, alpha, config)
    optimization.step(["actor"], actor_loss)
    alpha_loss = losses.alpha_loss(training.log_alpha, log_prob, cast("float", config.target_entropy))
    optimization.step(["alpha"], alpha_loss, clip=False)

    polyak_update(training.target_critics, training.critics, config.tau)
    metrics |= {"alpha": alpha, "alpha_loss": alpha_loss.detach()}
    return metrics | {"actor_loss": actor_loss.detach(), "entropy": -log_prob.mean()}


def update_input_norms(encoders: Sequence[ContextEncoder], batch: Batch, optimization: Optimization) -> None:
    """Adds the steps of a batch to the statistics with which encoders standardise their inputs."""
    norms = [encoder.norm for encoder in encoders if encoder.norm is not None]
    if norms:
        inputs = batch["rows"][..., : encoders[0].input_dim]
        features = encoders[0].features(inputs).flatten(0, 1)
        mean, variance = optimization.moments(features[batch["step_index"]])
        for norm in norms:
            norm.update(mean, variance)
