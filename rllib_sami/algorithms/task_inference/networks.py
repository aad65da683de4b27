"""The networks of task inference: an encoder of the last transitions, decoders that predict from its latent, a policy.

Shapes: ``N`` windows of ``T`` transitions with ``I`` numbers each; ``O`` observation, ``A`` action and ``L`` latent
dimensions; a row has ``F`` numbers, ``[o_t, a_{t-1}, r_{t-1}]``; ``C`` families of tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rllib_sami.algorithms.sac.networks import SACTrainingNetworks
from rllib_sami.algorithms.task_inference.posteriors import POSTERIORS, width
from rllib_sami.algorithms.task_inference.priors import make_prior
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.core.networks import Actor, ActorCriticConfig, ActorNetworks, mlp
from rllib_sami.core.settings import ABOVE_0, LAYER_SIZES, SWITCH, integer, one_of, setting

WINDOW_ENCODERS = ("gru", "mlp")


@dataclass(frozen=True)
class InferenceEncoderConfig:
    """Settings of the encoder."""

    latent_dim: int = setting(4, integer(2), "Width of the latent that stands for the task. 4 to 8.")
    latent_prior: str = setting(
        "gauss",
        one_of(POSTERIORS),
        'Prior of latents: `"gauss"`, a standard normal distribution; `"gmm"`, the same for each of eight Gaussians '
        'whose weighted mean is the latent; `"stick"`, broken sticks, whose shares are the latent; `"dpmm"`, a mixture '
        "of Gaussians that is fitted while learning (Dirichlet process).",
    )
    window: int = setting(32, integer(1), "Last transitions that the encoder reads.")
    window_encoder: str = setting(
        "mlp", one_of(WINDOW_ENCODERS), "How the encoder reads them: one after the other, or all at once."
    )
    encoder_hidden_dim: int = setting(128, integer(1), "Hidden units of the encoder, and of the classifier. 25 to 128.")
    reward_limit: float = setting(
        3.0,
        ABOVE_0,
        "Rewards are clipped to ± this for the encoder and as what it predicts; critics learn from all of it.",
    )
    classify_observation: bool = setting(
        False,
        SWITCH,
        "Whether the family of the task is predicted from the latent and the observation, as in the reference, and not "
        "from the latent alone.",
    )


@dataclass(frozen=True)
class InferenceNetworkConfig(InferenceEncoderConfig, ActorCriticConfig):
    """Sizes and kinds of the networks.

    Attributes:
        families: Names of the environment's families of tasks.
    """

    families: tuple[str, ...] = ()
    encoder_reward: ClassVar[bool] = True

    @property
    def context_dim(self) -> int:
        """The latent takes the place of a context."""
        return self.latent_dim


@dataclass(frozen=True)
class DecoderConfig:
    """Settings of what only learning needs."""

    decoder_hidden: list[int] = setting([64, 64], LAYER_SIZES, "Hidden layer sizes of each decoder.")
    prior_interval: int = setting(100, integer(1), 'Updates between two fits of the mixture, with the prior `"dpmm"`.')


def noise_dim(config: Any) -> int:
    """How many random numbers a latent needs, with settings ``latent_prior`` and ``latent_dim``."""
    return width(POSTERIORS[config.latent_prior].num_noise, config.latent_dim)


# --- Windows of transitions -----------------------------------------------------------------------------------------


def transitions(
    obs: Tensor, reward: Tensor, next_obs: Tensor, reward_limit: float, action: Tensor | None = None
) -> Tensor:
    """Returns transitions ``(o, r, o')`` as encoders read them, ``[..., I]``; with actions ``(o, a, r, o', 1)``.

    Args:
        obs: ``[..., O]``.
        reward: ``[..., 1]``.
        next_obs: ``[..., O]``.
        reward_limit: Largest magnitude of rewards.
        action: ``[..., A]``. The one tells such a transition from the zeros where there is none.
    """
    reward = reward.clamp(-reward_limit, reward_limit)
    if action is None:
        return torch.cat([obs, reward, next_obs], dim=-1)
    return torch.cat([obs, action, reward, next_obs, torch.ones_like(reward)], dim=-1)


def transition_windows(
    obs: Tensor, reward: Tensor, num_missing: Tensor, reward_limit: float, action: Tensor | None = None
) -> Tensor:
    """Returns windows ``[N, T, I]`` of :func:`transitions`.

    Args:
        obs: Observations ``[N, T + 1, O]``.
        reward: Rewards of the same steps, each of the step before its observation, ``[N, T + 1]``.
        num_missing: Transitions that lie before the episode's start, ``[N]``; they are zeros.
        reward_limit: Largest magnitude of rewards.
        action: Actions of the same steps, each of the step before its observation, ``[N, T + 1, A]``, if they are read.
    """
    taken = None if action is None else action[:, 1:]
    windows = transitions(obs[:, :-1], reward[:, 1:, None], obs[:, 1:], reward_limit, taken)
    is_there = torch.arange(windows.shape[1], device=obs.device) >= num_missing[:, None]
    return windows * is_there[..., None]


class WindowReader(nn.Module):
    """Base of encoders of the last ``T`` transitions of an episode.

    While acting, the window is the recurrent state.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        window: Transitions ``T``.
        reward_limit: Largest magnitude of rewards.
        reads_actions: Whether a transition has its action.
    """

    num_noise = 0  # random numbers E with which a latent may be drawn

    def __init__(self, obs_dim: int, action_dim: int, window: int, reward_limit: float, reads_actions: bool):
        super().__init__()
        self.obs_dim, self.action_dim, self.window = obs_dim, action_dim, window
        self.reward_limit, self.reads_actions = reward_limit, reads_actions
        self.transition_dim = 2 * obs_dim + 1 + (action_dim + 1 if reads_actions else 0)

    @property
    def state_dim(self) -> int:
        """Width of the state of one episode: the window, the last observation, and whether there was one."""
        return self.window * self.transition_dim + self.obs_dim + 1

    def latents(self, windows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns what the policy reads, ``[N, D]``.

        Args:
            windows: ``[N, T, I]``.
            noise: Standard normal ``[N, E]`` to draw latents; None: without noise.
        """
        raise NotImplementedError

    def window_of(self, state: Tensor) -> Tensor:
        """Returns the windows ``[B, T, I]`` in states ``[B, S]`` of :meth:`step`."""
        width = self.window * self.transition_dim
        return state[:, :width].unflatten(1, (self.window, self.transition_dim))

    def windows(self, rows: Tensor, num_missing: Tensor) -> Tensor:
        """Returns windows ``[N, T, I]`` of rows ``[N, T + 1, F]`` whose first ``num_missing`` ``[N]`` are not there."""
        obs, action, reward = rows.split([self.obs_dim, self.action_dim, 1], dim=-1)
        read = action if self.reads_actions else None
        return transition_windows(obs, reward[..., 0], num_missing, self.reward_limit, read)

    def forward(self, inputs: Tensor) -> Tensor:
        """Reads whole episodes from their first step on.

        Args:
            inputs: ``[o_t, a_{t-1}, r_{t-1}]``, ``[B, S, O + A + 1]``.

        Returns:
            Latents ``[B, S, D]`` of all steps.
        """
        rows = F.pad(inputs, (0, 0, self.window, 0)).unfold(1, self.window + 1, 1).transpose(2, 3)  # [B, S, T + 1, F]
        num_steps = inputs.shape[1]
        num_missing = (self.window - torch.arange(num_steps, device=inputs.device)).clamp(min=0)
        windows = self.windows(rows.flatten(0, 1), num_missing.repeat(len(inputs)))
        return self.latents(windows).unflatten(0, (len(inputs), num_steps))

    def step(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one step.

        Args:
            inputs: ``[o_t, a_{t-1}, r_{t-1}]``, ``[B, O + A + 1]``.
            state: ``[B, S]``; zeros at the start of an episode.

        Returns:
            Latents ``[B, D]`` and the next state ``[B, S]``.
        """
        obs, action, reward = inputs.split([self.obs_dim, self.action_dim, 1], dim=1)
        window, before, begun = state.split([self.window * self.transition_dim, self.obs_dim, 1], dim=1)
        newest = transitions(before, reward, obs, self.reward_limit, action if self.reads_actions else None) * begun
        window = torch.cat([window[:, self.transition_dim :], newest], dim=1)
        state = torch.cat([window, obs, torch.ones_like(begun)], dim=1)
        return self.latents(self.window_of(state)), state


class WindowEncoder(WindowReader):
    """The posterior q(z | c) of a task's latent, given the last ``T`` transitions ``(o, r, o')``.

    While acting, the latent is that without noise, such as the mean.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``, which :meth:`step` gets but the encoder does not read.
        config: Sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: InferenceEncoderConfig):
        super().__init__(obs_dim, action_dim, config.window, config.reward_limit, reads_actions=False)
        hidden = config.encoder_hidden_dim
        self.recurrent: nn.GRU | None = None
        self.trunk: nn.Module = nn.Identity()
        if config.window_encoder == "gru":
            self.recurrent = nn.GRU(self.transition_dim, hidden, batch_first=True)
        else:
            self.trunk = mlp(self.window * self.transition_dim, [hidden], hidden)
        self.kind, self.num_noise = POSTERIORS[config.latent_prior], noise_dim(config)
        self.head = mlp(hidden, [hidden], width(self.kind.num_outputs, config.latent_dim))

    def posterior(self, windows: Tensor) -> Tensor:
        """Returns what describes the posterior, ``[N, P]``, for windows ``[N, T, I]``; see ``posteriors``."""
        hidden = self.trunk(windows.flatten(1)) if self.recurrent is None else self.recurrent(windows)[1][0]
        return self.head(F.relu(hidden))

    def latents(self, windows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns latents ``[N, L]``, see :class:`WindowReader`; without noise means, with sticks medians."""
        outputs = self.posterior(windows)
        if noise is None:
            noise = outputs.new_zeros(outputs.shape[0], self.num_noise)
        return self.kind.latent(outputs, noise)


# --- The networks of an agent ---------------------------------------------------------------------------------------


class LatentNetworks(ActorNetworks):
    """The networks with which an agent acts: an encoder of windows, and a policy that reads its context.

    Args:
        encoder: The encoder.
        config: Sizes.
    """

    def __init__(self, encoder: WindowReader, config: Any):
        nn.Module.__init__(self)
        self.obs_dim, self.action_dim, self.config = encoder.obs_dim, encoder.action_dim, config
        self.encoder_input_dim = self.obs_dim + self.action_dim + 1
        self.encoder = encoder
        self.actor = Actor(self.obs_dim + config.context_dim, self.action_dim, config.actor_hidden)


class InferenceNetworks(LatentNetworks):
    """Encoder, policy, the classifier of the task's family, and the prior of latents, which may tell clusters of them.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        config: Sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: InferenceNetworkConfig):
        super().__init__(WindowEncoder(obs_dim, action_dim, config), config)
        read = config.latent_dim + (obs_dim if config.classify_observation else 0)
        hidden = [config.encoder_hidden_dim] * 2
        self.classifier = mlp(read, hidden, len(config.families)) if config.families else None
        self.prior = make_prior(config.latent_prior, config.latent_dim)

    @torch.no_grad()
    def infer_tasks(self, obs: Tensor, context: Tensor) -> list[InferredTask]:
        """Returns families, latents and clusters; see ``ActorNetworks``."""
        families: Sequence[str | None] = [None] * len(obs)
        if self.classifier is not None:
            best = self.family_logits(obs, context).argmax(dim=1)
            families = [self.config.families[family] for family in best.tolist()]
        found = self.prior.clusters(context)
        clusters = [None] * len(obs) if found is None else found.tolist()
        return [InferredTask(*each) for each in zip(families, context.cpu().numpy(), clusters, strict=True)]

    def family_logits(self, obs: Tensor, latent: Tensor) -> Tensor:
        """Returns scores of the families ``[N, C]`` for ``obs`` ``[N, O]`` and ``latent`` ``[N, L]``."""
        assert self.classifier is not None
        return self.classifier(torch.cat([obs, latent], dim=-1) if self.config.classify_observation else latent)


class Decoders(nn.Module):
    """Predict the next observation and the reward of a step from observation, action and latent.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        latent_dim: Latent width ``L``.
        hidden: Hidden layer sizes.
    """

    def __init__(self, obs_dim: int, action_dim: int, latent_dim: int, hidden: Sequence[int]):
        super().__init__()
        self.next_obs = mlp(obs_dim + action_dim + latent_dim, hidden, obs_dim)
        self.reward = mlp(obs_dim + action_dim + latent_dim, hidden, 1)

    def forward(self, obs: Tensor, action: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Returns next observations ``[..., O]`` and rewards ``[...]``."""
        inputs = torch.cat([obs, action, latent], dim=-1)
        return self.next_obs(inputs), self.reward(inputs).squeeze(-1)


class InferenceTrainingNetworks(SACTrainingNetworks):
    """Critics and entropy coefficient, and the decoders.

    Args:
        acting: The networks that act.
        given: Further settings: those of :class:`DecoderConfig`, and ``initial_alpha``.
    """

    def __init__(self, acting: InferenceNetworks, given: dict[str, Any]):
        super().__init__(acting, given["initial_alpha"])
        latent_dim = acting.config.latent_dim
        self.decoders = Decoders(acting.obs_dim, acting.action_dim, latent_dim, given["decoder_hidden"])
        self.prior_interval: int = given["prior_interval"]
