"""One gradient update of a skill discovery method: representation, critics, their targets, policy, entropy coefficient.

The order counts: critics learn from the features that the representation has after its step, and the policy from the
critics after theirs.

Shapes: ``N`` steps; ``O`` observation, ``A`` action and ``d`` skill dimensions; ``W`` critic outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from rllib_sami.algorithms.skill_discovery.method import Metrics, SkillSteps, dot
from rllib_sami.algorithms.skill_discovery.networks import IMAGES, SKILL, SkillNetworks, SkillTrainingNetworks
from rllib_sami.core import losses
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import RATE, SWITCH, TARGET_ENTROPY, setting

Batch = dict[str, Tensor]  # the arrays of one update, see `sampling.sample_skill_steps`
UPDATE_METRICS = ("critic_loss", "q_mean", "actor_loss", "entropy", "alpha", "alpha_loss")


@dataclass(frozen=True, kw_only=True)
class SkillUpdateConfig:
    """Constants of an update. The discount ``gamma`` is RLlib's setting; here ``target_entropy`` must be a number."""

    gamma: float
    tau: float = setting(0.005, RATE, "Rate of the target critics' moving average.")
    target_entropy: Schedule | str = setting(
        "auto",
        TARGET_ENTROPY,
        'Entropy (or schedule) that the coefficient is tuned for; `"auto"` is minus half the action dimension.',
    )
    ignore_termination: bool = setting(
        True,
        SWITCH,
        "Whether a terminal state counts as if its episode went on, as in the reference: an end has no value without a "
        "reward.",
    )


# --- The losses of critics and policy -------------------------------------------------------------------------------


def successor_target(features: Tensor, terminated: Tensor, next_psi: Tensor, skill: Tensor, gamma: float) -> Tensor:
    """Target of successor features, ``v + γ (1 - terminated) ψ_k*(s', a', z)`` with ``k* = argmin_k ψ_k · z``.

    There is no entropy term, as in the reference.

    Args:
        features: ``v``, ``[N, d]``.
        terminated: ``[N]``.
        next_psi: Of the target critics, ``[2, N, d]``.
        skill: ``z``, ``[N, d]``.
        gamma: Discount γ.

    Returns:
        Targets ``[N, d]``, without gradient.
    """
    smaller = dot(next_psi, skill).argmin(dim=0)  # [N]
    chosen = next_psi.gather(0, smaller[None, :, None].expand(1, -1, next_psi.shape[-1]))[0]
    return (features + gamma * (1.0 - terminated)[:, None] * chosen).detach()


def successor_loss(psi: Tensor, target: Tensor) -> Tensor:
    """``Σ_k E[(ψ_k - target)²]``, averaged over steps and features, for ``psi`` ``[2, N, d]``."""
    return (psi - target).square().mean(dim=(-1, -2)).sum()


def skill_representation_loss(
    acting: SkillNetworks, training: SkillTrainingNetworks, steps: SkillSteps
) -> tuple[Tensor, Metrics]:
    """Returns the loss of the method's representation and auxiliary networks, and its metrics."""
    return acting.method.representation_loss(acting.representation, training.auxiliary, steps)


def skill_critic_loss(
    acting: SkillNetworks,
    training: SkillTrainingNetworks,
    steps: SkillSteps,
    alpha: Tensor,
    config: SkillUpdateConfig,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of the critics and its metrics."""
    method = acting.method
    with torch.no_grad():
        next_action, next_log_prob = acting.actor.sample(steps.next_obs, steps.skill, steps.noise[0])
        following = training.target_critics(steps.next_obs, next_action, steps.skill)
        if method.has_successor_features:
            features = method.features(acting.representation, steps)
        else:
            reward = method.reward(acting.representation, training.auxiliary, steps)
    outputs = training.critics(steps.obs, steps.action, steps.skill)
    if method.has_successor_features:
        target = successor_target(features, steps.terminated, following, steps.skill, config.gamma)
        loss, value = successor_loss(outputs, target), dot(outputs.detach(), steps.skill)
    else:
        next_value = losses.soft_value(following.squeeze(-1), next_log_prob, alpha)
        value = outputs.squeeze(-1)
        loss = losses.critic_loss(value, losses.td_target(reward, steps.terminated, next_value, config.gamma))
    return loss, {"critic_loss": loss.detach(), "q_mean": value.detach().mean()}


def skill_actor_loss(
    acting: SkillNetworks, training: SkillTrainingNetworks, steps: SkillSteps, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns ``E[α log π - min_k Q_k]`` and the log-probabilities ``[N]``, which have no gradient."""
    weights = {name: parameter.detach() for name, parameter in training.critics.named_parameters()}
    action, log_prob = acting.actor.sample(steps.obs, steps.skill, steps.noise[1])
    outputs = torch.func.functional_call(training.critics, weights, (steps.obs, action, steps.skill))
    q = dot(outputs, steps.skill) if acting.method.has_successor_features else outputs.squeeze(-1)
    return losses.actor_loss(q, log_prob, alpha), log_prob.detach()


@dataclass(frozen=True)
class SkillLossFunctions:
    """The loss functions of an update, compiled or not."""

    representation: Callable = skill_representation_loss
    critics: Callable = skill_critic_loss
    actor: Callable = skill_actor_loss


PLAIN = SkillLossFunctions()  # not compiled


# --- The update -----------------------------------------------------------------------------------------------------


def parameter_groups(acting: SkillNetworks, training: SkillTrainingNetworks) -> ParameterGroups:
    """Returns all trained parameters, by name of their optimiser."""
    duals = list(training.auxiliary.parameters()) if "dual" in acting.method.groups else []
    representation = list(acting.representation.parameters())
    return {
        "representation": representation + ([] if duals else list(training.auxiliary.parameters())),
        "critic": list(training.critics.parameters()),
        "actor": list(acting.actor.parameters()),
        "alpha": [training.log_alpha],
        **({"dual": duals} if duals else {}),
    }


def skill_steps(acting: SkillNetworks, batch: Batch, config: SkillUpdateConfig) -> SkillSteps:
    """Turns the rows ``[N, 2, F]`` of a batch, and its images, into transitions."""
    now, after = batch["rows"].unbind(dim=1)
    if acting.images is None:
        obs_dim = acting.obs_dim
        obs, next_obs = now[:, :obs_dim].contiguous(), after[:, :obs_dim].contiguous()
    else:  # images [N, stack + 1, H W C], and no observation in the rows
        obs_dim = 0
        obs, next_obs = (stacks.flatten(1) for stacks in (batch[IMAGES][:, :-1], batch[IMAGES][:, 1:]))
    terminated = batch["terminated"]
    return SkillSteps(
        obs=obs,
        action=after[:, obs_dim : obs_dim + acting.action_dim],
        next_obs=next_obs,
        terminated=torch.zeros_like(terminated) if config.ignore_termination else terminated,
        skill=batch[SKILL],
        noise=batch["noise"],
        prior_skills=batch["prior_skills"],
    )


def skill_update(
    acting: SkillNetworks,
    training: SkillTrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: SkillUpdateConfig,
    loss_functions: SkillLossFunctions = PLAIN,
) -> Metrics:
    """Takes one step of every optimiser. All randomness of the update comes in the batch.

    Args:
        acting: Policy and representation, and the method that is learned with.
        training: Critics, target critics, entropy coefficient, further networks of the method.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_skill_steps``, without the leading ``U``.
        config: Constants.
        loss_functions: The loss functions.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    method, steps = acting.method, skill_steps(acting, batch, config)

    # --- 1. Representation, after the statistics that it is standardised with ---
    for norm, inputs in method.normalized(acting.representation, training.auxiliary, steps):
        norm.update(*optimization.moments(inputs))
    loss, metrics = loss_functions.representation(acting, training, steps)
    optimization.step(method.groups, loss)

    # --- 2. Critics, from the features after that step, and 3. their targets ---
    alpha = training.log_alpha.exp().detach()
    loss, of_critics = loss_functions.critics(acting, training, steps, alpha, config)
    optimization.step(["critic"], loss)
    polyak_update(training.target_critics, training.critics, config.tau)

    # --- 4. Policy, and 5. entropy coefficient if it is tuned ---
    actor_loss, log_prob = loss_functions.actor(acting, training, steps, alpha)
    optimization.step(["actor"], actor_loss)
    metrics |= of_critics | {"actor_loss": actor_loss.detach(), "entropy": -log_prob.mean(), "alpha": alpha}
    if "alpha" in optimization.groups:
        alpha_loss = losses.alpha_loss(training.log_alpha, log_prob, cast("float", config.target_entropy))
        optimization.step(["alpha"], alpha_loss, clip=False)
        metrics["alpha_loss"] = alpha_loss.detach()
    return metrics
