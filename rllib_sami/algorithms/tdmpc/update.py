"""One update of TD-MPC: model and values, then the policy, from windows of steps.

Shapes: ``B`` windows of ``N`` steps; ``O`` observation, ``A`` action and ``S`` latent dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics
from rllib_sami.algorithms.tdmpc.networks import TargetNetworks, WorldModel
from rllib_sami.core.networks import polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.precision import PrecisionConfig
from rllib_sami.core.settings import AT_LEAST_0, RATE, setting

MOST_LOSS = 1e5
MODEL_METRICS = ("consistency_loss", "reward_loss", "value_loss", "q_mean")
METRICS = (*MODEL_METRICS, "actor_loss")


@dataclass(frozen=True, kw_only=True)
class ModelUpdateConfig(PrecisionConfig):
    """Constants of an update. The discount ``gamma`` of a step is RLlib's setting."""

    gamma: float
    consistency_coeff: float = setting(2.0, AT_LEAST_0, "Weight of the error of predicted latent states.")
    reward_coeff: float = setting(0.5, AT_LEAST_0, "Weight of the error of predicted rewards.")
    value_coeff: float = setting(0.1, AT_LEAST_0, "Weight of the error of values.")
    consistency_decay: float = setting(
        0.5, RATE, "Weight of a step relative to that of the step before it in the window."
    )
    tau: float = setting(0.005, RATE, "Rate of the target networks' moving average.")


def parameter_groups(acting: WorldModel) -> ParameterGroups:
    """Returns the parameters by optimiser."""
    model = (acting.state_encoder, acting.dynamics, acting.reward, acting.values)
    return {
        "model": [parameter for part in model for parameter in part.parameters()],
        "actor": [*acting.policy.parameters()],
    }


def imagine(step_latent: Callable[[Tensor, Tensor], Tensor], latent: Tensor, actions: Tensor) -> Tensor:
    """Returns the latent states that the dynamics predict.

        c_0 = h_0,  c_{t+1} = D(c_t, a_t)

    Args:
        step_latent: ``D``.
        latent: ``h_0``, ``[B, S]``.
        actions: ``[B, N, A]``.

    Returns:
        ``[B, N + 1, S]``.
    """
    states = [latent]
    for index in range(actions.shape[1]):
        states.append(step_latent(states[-1], actions[:, index]))
    return torch.stack(states, dim=1)


def decays(decay: float, like: Tensor) -> Tensor:
    """Returns the weights ``ρ^t`` of the steps of a window ``[B, N, ...]``, ``[N]``."""
    return decay ** torch.arange(like.shape[1], device=like.device)


def prediction_loss(
    acting: WorldModel,
    training: TargetNetworks,
    batch: Batch,
    latent: Tensor,
    next_values: Tensor,
    config: ModelUpdateConfig,
    *,
    of_encoded: bool,
) -> tuple[Tensor, Metrics]:
    """Returns the loss of encoder, dynamics, reward and values, and metrics.

        L = 1/N Σ_t ρ^t { c_c E(c_{t+1} - h'_{t+1})² + c_r (R(c_t, a_t) - r_t)² + c_q Σ_k (Q_k(c_t, a_t) - y_t)² }

        y_t = r_t + (1 - d_t) γ V_{t+1}

    with h_t = E(o_t), c_0 = h_0, c_{t+1} = D(c_t, a_t), and h' of the target encoder.

    Args:
        acting: The model.
        training: The target encoder.
        batch: As of :func:`tdmpc_update`.
        latent: ``h``, ``[B, N + 1, S]``.
        next_values: ``V``, the values of the next states, ``[B, N]``.
        config: Constants.
        of_encoded: Whether errors of rewards and values in encoded states ``h_t`` are added, without ρ^t.
    """
    obs, actions, weight = batch["obs"], batch["actions"], batch["weights"]
    wanted = batch["rewards"] + (1.0 - batch["terminated"]) * config.gamma * next_values
    with torch.no_grad():
        target = training.target_encoder(obs[:, 1:])
    imagined = imagine(acting.step_latent, latent[:, 0], actions)
    decay = decays(config.consistency_decay, actions)

    def total(errors: Tensor) -> Tensor:
        return (weight * errors).sum(dim=1).clamp(max=MOST_LOSS).mean()

    consistency = total(decay * (imagined[:, 1:] - target).square().mean(dim=-1))
    states, counted = imagined[:, :-1], decay
    if of_encoded:  # of imagined and of encoded states in one go
        states = torch.stack([states, latent[:, :-1]])  # [2, B, N, S]
        actions = actions.expand(2, *actions.shape)
        counted = torch.stack([decay, torch.ones_like(decay)])[:, None]  # [2, 1, N]
    reward_error = counted * (acting.predicted_reward(states, actions) - batch["rewards"]).square()
    values = acting.predicted_values(states, actions)  # [2, ..., B, N]
    value_error = counted * (values - wanted).square().sum(dim=0)
    if of_encoded:
        reward_error, value_error = reward_error.sum(dim=0), value_error.sum(dim=0)
    reward, critic = total(reward_error), total(value_error)
    loss = config.consistency_coeff * consistency + config.reward_coeff * reward + config.value_coeff * critic
    named = zip(MODEL_METRICS, (consistency, reward, critic, values.mean()), strict=True)
    return loss / weight.shape[1], {name: value.detach() for name, value in named}


def model_loss(
    acting: WorldModel, training: TargetNetworks, batch: Batch, config: ModelUpdateConfig
) -> tuple[Tensor, Metrics]:
    """Returns :func:`prediction_loss` with ``V_t = min Q'(h_t, a)``, ``a ~ π(h_t)``."""
    latent = acting.state_encoder(batch["obs"])
    with torch.no_grad():
        chosen = acting.distribution(latent[:, 1:]).sample(batch["next_noise"])
        next_values = training.target_of(latent[:, 1:], chosen)
    return prediction_loss(acting, training, batch, latent, next_values, config, of_encoded=False)


def actor_loss(acting: WorldModel, batch: Batch, config: ModelUpdateConfig) -> Tensor:
    """Returns the policy's loss.

    L = - 1/N Σ_t ρ^t min Q(c_t, a),  a ~ π(c_t)
    """
    actions, weight = batch["actions"], batch["weights"]
    with torch.no_grad():
        states = imagine(acting.step_latent, acting.state_encoder(batch["obs"][:, 0]), actions)[:, :-1]
    value = acting.predicted_values(states, acting.distribution(states).sample(batch["noise"])).amin(dim=0)
    of_steps = decays(config.consistency_decay, actions) * value
    return -(weight * of_steps).sum(dim=1).mean() / actions.shape[1]


@dataclass(frozen=True)
class TDMPCLosses:
    """The loss functions of an update, which may be compiled."""

    model: Callable[..., tuple[Tensor, Metrics]] = model_loss
    actor: Callable[..., Tensor] = actor_loss


def move_targets(acting: WorldModel, training: TargetNetworks, config: ModelUpdateConfig) -> None:
    """Moves the target networks."""
    polyak_update(training.target_encoder, acting.state_encoder, config.tau)
    polyak_update(training.target_values, acting.values, config.tau)


def tdmpc_update(
    acting: WorldModel,
    training: TargetNetworks,
    optimization: Optimization,
    batch: Batch,
    config: ModelUpdateConfig,
    losses: TDMPCLosses = TDMPCLosses(),
) -> Metrics:
    """Makes one update in place.

    Args:
        acting: The networks that act.
        training: Target networks.
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
        of_actor = losses.actor(acting, batch, config)
    optimization.step(["actor"], of_actor)
    move_targets(acting, training, config)
    return metrics | {"actor_loss": of_actor.detach()}
