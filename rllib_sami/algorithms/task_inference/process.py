"""The neural process: a latent of the last transitions that predicts others of the same episode.

An encoder reads a context C, the last transitions, and gives the posterior q(z | C). An update draws a target D,
transitions from anywhere in the episode. With latents of q(z | C ∪ D) decoders predict D, and q(z | C) learns to
be near: what the rest of the episode would add to it should be little (Garnelo et al., arXiv:1807.01622). A soft
actor-critic reads the observation and mean and standard deviation of q(z | C), and no gradient of it reaches the
encoder.

Shapes: ``N`` contexts of ``T`` transitions ``(o, a, r, o', 1)`` with ``I`` numbers each, and their targets of ``S``;
``K`` latents of ``L`` dimensions for each; ``O`` observation and ``A`` action dimensions; a row has ``F`` numbers,
``[o_t, a_{t-1}, r_{t-1}]``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.sac import update as sac
from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.sac.update import SACLossFunctions, SACUpdateConfig, actor_critic_step
from rllib_sami.algorithms.task_inference.losses import prediction_loss
from rllib_sami.algorithms.task_inference.networks import Decoders, LatentNetworks, WindowReader, transitions
from rllib_sami.algorithms.task_inference.posteriors import gaussian_kl, gaussian_latent, moments
from rllib_sami.algorithms.task_inference.update import INFERENCE_METRICS, latent_transitions
from rllib_sami.core.networks import ActorCriticConfig
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import ABOVE_0, AT_LEAST_0, LAYER_SIZES, integer, setting

# --- Networks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProcessEncoderConfig:
    """Settings of the encoder."""

    latent_dim: int = setting(
        2, integer(1), "Width of the latent that stands for the task: one more than the numbers that tasks differ in."
    )
    window: int = setting(5, integer(1), "Last transitions that the encoder reads.")
    encoder_hidden_dim: int = setting(32, integer(1), "Hidden units of each layer of the encoder, a GRU.")
    encoder_layers: int = setting(1, integer(1), "Layers of the encoder.")
    reward_limit: float = setting(
        10.0,
        ABOVE_0,
        "Rewards are clipped to ± this for the encoder and as what it predicts; critics learn from all of it.",
    )


@dataclass(frozen=True)
class ProcessNetworkConfig(ProcessEncoderConfig, ActorCriticConfig):
    """Sizes of the networks that act."""

    encoder_reward: ClassVar[bool] = True

    @property
    def context_dim(self) -> int:
        """Mean and standard deviation of the latent take the place of a context."""
        return 2 * self.latent_dim


@dataclass(frozen=True)
class ProcessDecoderConfig:
    """Setting of what only learning needs."""

    decoder_hidden: list[int] = setting([32, 32], LAYER_SIZES, "Hidden layer sizes of each decoder.")


class ProcessEncoder(WindowReader):
    """The posterior q(z | C), a Gaussian; without any transition it is the prior, N(0, 1).

    The policy reads its mean and standard deviation. From the mean alone it could not tell a place that may be the
    goal from one in the middle of two that may be, and would stay there.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        config: Sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: ProcessEncoderConfig):
        super().__init__(obs_dim, action_dim, config.window, config.reward_limit, reads_actions=True)
        hidden = config.encoder_hidden_dim
        self.recurrent = nn.GRU(self.transition_dim, hidden, config.encoder_layers, batch_first=True)
        self.head = nn.Linear(hidden, 2 * config.latent_dim)

    def posterior(self, transitions: Tensor) -> Tensor:
        """Returns mean and log variance, ``[N, 2 L]``, given any number of transitions ``[N, ..., I]``."""
        outputs = self.head(self.recurrent(transitions)[1][-1])
        return outputs * transitions[..., -1].amax(dim=1, keepdim=True)  # 0 if there is none: N(0, 1)

    def latents(self, windows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns means and standard deviations, ``[N, 2 L]``, for windows ``[N, T, I]``. There is no noise."""
        return belief(self.posterior(windows))


def belief(posterior: Tensor) -> Tensor:
    """Returns means and standard deviations ``[..., 2 L]`` for means and log variances."""
    mean, log_variance = moments(posterior)
    return torch.cat([mean, (0.5 * log_variance).exp()], dim=-1)


class ProcessNetworks(LatentNetworks):
    """Encoder and policy.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        config: Sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: ProcessNetworkConfig):
        super().__init__(ProcessEncoder(obs_dim, action_dim, config), config)

    def masked_context(self) -> Tensor:
        """Returns mean and standard deviation of the prior, ``[2 L]``."""
        return belief(torch.zeros(2 * self.config.latent_dim))


class ProcessTrainingNetworks(SACTrainingNetworks):
    """Critics and entropy coefficient, and the decoders.

    Args:
        acting: The networks that act.
        given: Further settings: ``decoder_hidden`` and ``initial_alpha``.
    """

    def __init__(self, acting: ProcessNetworks, given: dict[str, Any]):
        super().__init__(acting, given["initial_alpha"])
        self.decoders = Decoders(acting.obs_dim, acting.action_dim, acting.config.latent_dim, given["decoder_hidden"])


# --- Loss -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ProcessUpdateConfig(SACUpdateConfig):
    """Constants of an update."""

    predicted_std: float = setting(
        0.1, ABOVE_0, "Standard deviation of predicted rewards and observations: how precise predictions should be."
    )
    latent_kl_coeff: float = setting(
        1.0, AT_LEAST_0, "Weight of the divergence between the posteriors with and without the target."
    )


def process_loss(
    acting: ProcessNetworks,
    training: ProcessTrainingNetworks,
    of_context: Tensor,
    of_both: Tensor,
    target: Tensor,
    noise: Tensor,
    config: ProcessUpdateConfig,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of encoder and decoders, and metrics.

        L = - E_{z ~ q(z | C ∪ D)} Σ_D log p(r, o' | o, a, z) + β KL(q(z | C ∪ D) ‖ q(z | C))

    with Gaussians p of the standard deviation ``predicted_std``.

    Args:
        acting: The widths of observation and action, and the limit of rewards.
        training: Decoders.
        of_context: Mean and log variance of q(z | C), ``[N, 2 L]``, with gradient.
        of_both: Those of q(z | C ∪ D), ``[N, 2 L]``, with gradient.
        target: The two rows of each transition of D, ``[N, S, 2, F]``.
        noise: Standard normal, ``[K, N, L]``.
        config: Constants.
    """
    obs, action, reward, next_obs = _parts(acting, target)
    num_samples, num_steps = len(noise), target.shape[1]
    latent = gaussian_latent(of_both, noise)[:, :, None].expand(-1, -1, num_steps, -1)
    obs, action, next_obs = (of.expand(num_samples, -1, -1, -1) for of in (obs, action, next_obs))
    reward = reward.clamp(-acting.config.reward_limit, acting.config.reward_limit).expand(num_samples, -1, -1)
    of_obs, of_reward = prediction_loss(training.decoders(obs, action, latent), next_obs, reward)
    variance, numbers = config.predicted_std**2, acting.obs_dim + 1
    of_step = -0.5 * ((of_obs + of_reward) / variance + numbers * math.log(2.0 * math.pi * variance))
    kl = gaussian_kl(*moments(of_both), *moments(of_context)).mean()
    values = (of_obs.detach(), of_reward.detach(), kl.detach())
    return config.latent_kl_coeff * kl - num_steps * of_step, dict(zip(INFERENCE_METRICS, values, strict=True))


def _parts(acting: LatentNetworks, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Splits rows ``[N, S, 2, F]`` into observations, actions, rewards ``[N, S]`` and next observations."""
    now, after = target.unbind(dim=2)
    next_obs, action, reward = after.split([acting.obs_dim, acting.action_dim, 1], dim=-1)
    return now[..., : acting.obs_dim], action, reward[..., 0], next_obs


@dataclass(frozen=True)
class ProcessLossFunctions(SACLossFunctions):
    """The loss functions of an update, compiled or not."""

    process: Callable = process_loss


PLAIN = ProcessLossFunctions()  # not compiled


# --- The update -----------------------------------------------------------------------------------------------------


def parameter_groups(acting: ProcessNetworks, training: ProcessTrainingNetworks) -> ParameterGroups:
    """Returns all trained parameters, by name of their optimiser."""
    return sac.parameter_groups(acting, training, [*acting.encoder.parameters(), *training.decoders.parameters()])


def process_update(
    acting: ProcessNetworks,
    training: ProcessTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: ProcessUpdateConfig,
    loss_functions: ProcessLossFunctions = PLAIN,
) -> Metrics:
    """Takes one step of every optimiser. All randomness of the update comes in the batch.

    Args:
        acting: Encoder and policy.
        training: Decoders, critics and entropy coefficient.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_process``, without the leading ``U``.
        config: Constants.
        loss_functions: The loss functions.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    rows, encoder = batch["rows"], acting.encoder  # [N, T + 2, F]

    # --- Encoder and decoders ---
    context = encoder.windows(rows[:, :-1], batch["num_missing"][0])
    obs, action, reward, next_obs = _parts(acting, batch["decoded"])
    target = transitions(obs, reward[..., None], next_obs, encoder.reward_limit, action)
    both = torch.cat([context, target], dim=1)
    both = both.gather(1, batch["order"][..., None].expand_as(both))  # a task has no order of time
    of_context = encoder.posterior(context)
    loss, metrics = loss_functions.process(
        acting, training, of_context, encoder.posterior(both), batch["decoded"], batch["latent_noise"], config
    )
    with torch.no_grad():  # of the encoder that made `of_context`
        next_latent = encoder.latents(encoder.windows(rows[:, 1:], batch["num_missing"][1]))
    optimization.step(["encoder"], loss)

    # --- Actor and critics ---
    steps = latent_transitions(acting, batch, belief(of_context.detach()), next_latent)
    return metrics | actor_critic_step(acting, training, optimization, steps, config, loss_functions)
