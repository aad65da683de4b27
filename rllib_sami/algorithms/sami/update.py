"""One gradient update of a SaMI agent, from top to bottom: soft actor-critic, its contexts, and the contrast."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rllib_sami.algorithms.off_policy.transitions import Batch, Metrics, transitions
from rllib_sami.algorithms.sac import update as sac
from rllib_sami.algorithms.sac.update import SACLossFunctions, SACUpdateConfig, actor_critic_step, update_input_norms
from rllib_sami.algorithms.sami.contrast import (
    CONTRAST_ARRAYS,
    CONTRAST_METRICS,
    ContrastConfig,
    contrast_loss,
    unweighted_contrast_loss,
)
from rllib_sami.algorithms.sami.networks import ACTING_ENCODERS, SaMITrainingNetworks
from rllib_sami.core.networks import ActorNetworks, polyak_update
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.core.settings import one_of, setting

ENCODER_LOSSES = ("critic", "contrast", "both")


@dataclass(frozen=True)
class EncoderTrainingConfig:
    """Settings of what trains the encoder, and of which encoder actor and critics read."""

    encoder_loss: str | None = setting(
        None,
        one_of((*ENCODER_LOSSES, None)),
        'Which loss trains the encoder: `"critic"`, `"contrast"` or `"both"`. None means both if there is a contrast, '
        "otherwise the critics'.",
    )
    acting_encoder: str = setting(
        "online",
        one_of(ACTING_ENCODERS),
        'Which encoder actor and critics read: `"online"`, the trained one, or `"average"`, the key encoder, its '
        "moving average (with rate `key_encoder_tau`). An encoder that only the contrast trains drifts faster than "
        "they can follow; the average is for that case.",
    )


@dataclass(frozen=True, kw_only=True)
class UpdateConfig(ContrastConfig, SACUpdateConfig):
    """Constants of the update.

    Attributes:
        critics_train_encoder: Whether the critics' loss trains the encoder.
        has_contrast: Whether the contrast trains it.
        acting_encoder: See ``EncoderTrainingConfig``.
        updates_per_batch: Updates of actor and critics that share one batch.
        contrast_interval: Updates of actor and critics for each update of the encoder.
    """

    critics_train_encoder: bool
    has_contrast: bool
    acting_encoder: str
    updates_per_batch: int
    contrast_interval: int


@dataclass(frozen=True)
class SaMILossFunctions(SACLossFunctions):
    """The loss functions of an update, compiled or not."""

    contrast: Callable = unweighted_contrast_loss


PLAIN = SaMILossFunctions()  # not compiled


def parameter_groups(acting: ActorNetworks, training: SaMITrainingNetworks) -> ParameterGroups:
    """Returns all trained parameters, by name of their optimiser; the encoder's includes the similarity map."""
    query_encoder, _ = training.query_and_key_encoder(acting)
    return sac.parameter_groups(acting, training, [*query_encoder.parameters(), training.similarity_map])


def sami_update(
    acting: ActorNetworks,
    training: SaMITrainingNetworks,
    optimization: Optimization,
    batch: Batch,
    config: UpdateConfig,
    loss_functions: SaMILossFunctions = PLAIN,
) -> Metrics:
    """Takes one step of every optimiser and moves the averaged networks.

    With ``updates_per_batch`` above 1, actor and critics take that many steps, each on a part of the batch, and the
    encoder takes one for every ``contrast_interval`` of them. All use the contexts from the beginning: the encoder
    changes little in a few steps, and encoding again would cost more than everything else.

    Args:
        acting: Encoder and actor.
        training: Critics, target critics, the other encoder, entropy coefficient, similarity map.
        optimization: The optimisers of :func:`parameter_groups`.
        batch: One update of ``sampling.sample_updates``, as tensors without the leading ``U``.
        config: Constants.
        loss_functions: The loss functions.

    Returns:
        Scalar tensors by metric name, not yet synchronised with the host.
    """
    query_encoder, key_encoder = training.query_and_key_encoder(acting)
    update_input_norms([query_encoder, key_encoder], batch, optimization)

    # --- Contexts: every episode is encoded once; the target critics read contexts of the key encoder ---
    inputs = batch["rows"][..., : acting.encoder_input_dim]  # [B, R, I]
    with torch.set_grad_enabled(config.critics_train_encoder):
        context = acting.encoder(inputs).flatten(0, 1)  # [B R, D]
    target_context = context.detach()
    if config.acting_encoder == "online":
        with torch.no_grad():
            target_context = key_encoder(inputs).flatten(0, 1)
    steps = transitions(acting, batch, context, target_context)

    contrasts = _contrasts(batch) if config.has_contrast else []
    totals: dict[str, Tensor] = {}
    for index, part in enumerate(steps.parts(config.updates_per_batch)):
        updates_encoder = index % config.contrast_interval == 0
        auxiliary = None
        if contrasts and updates_encoder:
            contrast = contrasts[index // config.contrast_interval]
            auxiliary = contrast_loss(
                query_encoder, key_encoder, contrast, config, training.similarity_map, loss_functions.contrast
            )
        trained = ("critic", "encoder") if auxiliary is not None or config.critics_train_encoder else ("critic",)
        metrics = actor_critic_step(
            acting, training, optimization, part, config, loss_functions, trained=trained, auxiliary=auxiliary
        )
        if updates_encoder:
            polyak_update(key_encoder, query_encoder, config.key_encoder_tau)
        # Summed immediately, because the next part overwrites the outputs of compiled functions.
        totals |= {name: totals.get(name, 0.0) + value for name, value in metrics.items()}
    return {
        name: total / (len(contrasts) if name in CONTRAST_METRICS else config.updates_per_batch)
        for name, total in totals.items()
    }


def _contrasts(batch: Batch) -> list[Batch]:
    """The contrasts of a batch: none, one, or several along a leading axis."""
    arrays = {name: batch[name] for name in CONTRAST_ARRAYS if name in batch}
    if not arrays or arrays["query_index"].dim() == 2:  # [G, n], else [J, G, n]
        return [arrays] if arrays else []
    return [{name: values[number] for name, values in arrays.items()} for number in range(len(arrays["query_index"]))]
