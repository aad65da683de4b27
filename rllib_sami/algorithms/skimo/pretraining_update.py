"""One update of the pre-training of SkiMo: skills, their policy, prior and dynamics, from windows of data.

Shapes: ``B`` windows of ``N`` skills of ``H`` steps; ``O`` observation, ``A`` action, ``Z`` skill and ``S`` latent
dimensions.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.skimo.divergence import MOST_DIVERGENCE
from rllib_sami.algorithms.skimo.networks import SkillModel
from rllib_sami.algorithms.tdmpc.update import decays, imagine
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.precision import PrecisionConfig
from rllib_sami.core.settings import AT_LEAST_0, RATE, SWITCH, setting
from rllib_sami.core.tanh_normal import TanhNormal, divergence, divergence_from_standard

MOST_CONSISTENCY = 1e4
METRICS = (
    *("behaviour_cloning_error", "skill_divergence", "reconstruction_loss", "consistency_loss", "prior_divergence"),
    *("open_loop_error", "constant_state_error"),
)


@dataclass(frozen=True, kw_only=True)
class PretrainingUpdateConfig(PrecisionConfig):
    """Constants of an update."""

    joint_training: bool = setting(
        True,
        SWITCH,
        "Whether skills and their dynamics are learned jointly: skills are then also shaped by how well they can be "
        "predicted, and latent states by the prior.",
    )
    cloning_coeff: float = setting(2.0, AT_LEAST_0, "Weight of the skill policy's error.")
    skill_kl_coeff: float = setting(1e-4, AT_LEAST_0, "Weight of the divergence of skills from a normal distribution.")
    reconstruction_coeff: float = setting(1.0, AT_LEAST_0, "Weight of the decoder's negative log-likelihood.")
    consistency_coeff: float = setting(2.0, AT_LEAST_0, "Weight of the error of predicted latent states.")
    prior_coeff: float = setting(1.0, AT_LEAST_0, "Weight of the divergence of skills from the prior.")
    consistency_decay: float = setting(
        0.5, RATE, "Weight of a skill's error relative to that of the skill before it in the window."
    )
    tau: float = setting(0.005, RATE, "Rate of the target encoder's moving average.")


class PretrainingNetworks(nn.Module):
    """What only learning needs: the moving average of the state encoder, whose latent states are predicted."""

    def __init__(self, model: SkillModel):
        super().__init__()
        self.target_encoder = copy.deepcopy(model.state_encoder).requires_grad_(False)


def parameter_groups(model: SkillModel, joint: bool) -> ParameterGroups:
    """Returns the parameters by optimiser: one for all, or without joint training one for each part."""
    parts: dict[str, list[nn.Module]] = {
        "model": [model.state_encoder, model.dynamics, model.decoder],
        "prior": [model.prior],
        "skill": [model.skill_encoder, model.skill_policy],
    }
    groups = {name: [p for module in modules for p in module.parameters()] for name, modules in parts.items()}
    return {"model": [p for group in groups.values() for p in group]} if joint else groups


def pretraining_loss(
    model: SkillModel,
    target_encoder: nn.Module,
    obs: Tensor,
    actions: Tensor,
    noise: Tensor,
    config: PretrainingUpdateConfig,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of skills, their policy, prior and dynamics, and metrics.

        L = c_a E(a - π_L(e_t, z_i))² + c_z E KL(q_i ‖ tanh N(0, 1)) + c_p E KL(sg q_i ‖ π(h_i))
          + 1/N [ - c_r E log G(o_iH | h_i) + c_c Σ_i ρ^i E(D(c_i, z_i) - sg h'_{i+1})² ]

    with h_i = E(o_iH), z_i ~ q_i, c_0 = h_0, c_{i+1} = D(c_i, z_i), and h' of the target encoder. Joint training passes
    gradients of the predicted latents to the skills, and of the prior to the latents.

    Args:
        model: The networks.
        target_encoder: Moving average of the state encoder.
        obs: ``[B, N H + 1, O]``.
        actions: ``[B, N H, A]``.
        noise: Standard normal, ``[B, N, Z]``.
        config: Constants.
    """
    length, num_skills = model.config.skill_length, noise.shape[1]
    of_skills = actions.unflatten(1, (num_skills, length))  # [B, N, H, A]
    encoded = model.skill_policy.encoder(obs[:, :-1]).unflatten(1, (num_skills, length))
    posterior = model.encode_skills(of_skills, encoded)
    skill = posterior.sample(noise)
    predicted = model.skill_policy(encoded, skill[:, :, None].expand(-1, -1, length, -1))
    cloning = (of_skills - predicted).square().mean()
    skill_kl = divergence_from_standard(posterior).clamp(-MOST_DIVERGENCE, MOST_DIVERGENCE).mean()

    boundaries = obs[:, ::length]  # [B, N + 1, O]
    latent = model.state_encoder(boundaries)
    with torch.no_grad():
        target = target_encoder(boundaries)
    mean, std = model.decode(latent)
    log_prob = -0.5 * (((boundaries - mean) / std).square() + math.log(2 * math.pi)) - std.log()
    reconstruction = -log_prob.sum(dim=-1).mean()
    known = skill if config.joint_training else skill.detach()
    imagined = imagine(model.step_latent, latent[:, 0], known)
    errors = (imagined[:, 1:] - target[:, 1:]).square().mean(dim=-1)  # [B, N]
    weighed = decays(config.consistency_decay, errors) * errors
    consistency = weighed.sum(dim=1).clamp(max=MOST_CONSISTENCY).mean()

    seen = latent[:, :-1] if config.joint_training else latent[:, :-1].detach()
    prior_kl = divergence(posterior.detach(), TanhNormal.of(model.prior(seen))).mean()

    loss = (
        config.cloning_coeff * cloning
        + config.skill_kl_coeff * skill_kl
        + config.prior_coeff * prior_kl
        + (config.reconstruction_coeff * reconstruction + config.consistency_coeff * consistency) / num_skills
    )
    with torch.no_grad():
        last = model.decode(imagined[:, -1])[0]
        open_loop = (last - boundaries[:, -1]).abs().mean()
        constant = (boundaries[:, 0] - boundaries[:, -1]).abs().mean()
    values = (cloning, skill_kl, reconstruction, consistency, prior_kl, open_loop, constant)
    return loss, {name: value.detach() for name, value in zip(METRICS, values, strict=True)}


@dataclass(frozen=True)
class PretrainingLoss:
    """The loss function of an update, which may be compiled."""

    model: Callable[..., tuple[Tensor, Metrics]] = pretraining_loss


def pretraining_update(
    model: SkillModel,
    training: PretrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: PretrainingUpdateConfig,
    losses: PretrainingLoss = PretrainingLoss(),
) -> Metrics:
    """Makes one update in place.

    Args:
        model: The networks.
        training: The target encoder.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: ``obs`` ``[B, N H + 1, O]``, ``actions`` ``[B, N H, A]`` and ``noise`` ``[B, N, Z]``.
        config: Constants.
        losses: The loss function.

    Returns:
        Scalar tensors by metric name.
    """
    with config.precision(batch["obs"].device):
        loss, metrics = losses.model(
            model, training.target_encoder, batch["obs"], batch["actions"], batch["noise"], config
        )
    optimization.step([*optimization.groups], loss)
    polyak_update(training.target_encoder, model.state_encoder, config.tau)
    return metrics
