"""The networks of skill discovery: a policy that reads its skill, features of states, and critics.

Shapes: ``N`` steps; ``O`` observation, ``A`` action and ``d`` skill dimensions.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.algorithms.skill_discovery.method import SkillMethod
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.core.context_encoder import HeldLatent
from rllib_sami.core.images import ImageEncoder, ImageShape
from rllib_sami.core.networks import ACTIVATIONS, Actor, ActorCriticConfig, ActorNetworks, mlp
from rllib_sami.core.settings import CONVOLUTIONS, LAYER_SIZES, integer, one_of, setting

LOG_STD_MIN = math.log(1e-6)  # CSF's bound
SKILL = "skill"  # the key of skills in recurrent states, stored episodes and batches
IMAGES = "images"  # the key of images in batches
CONV_FILTERS = [[48, 4, 2], [96, 4, 2], [192, 4, 2], [384, 4, 2]]  # those of METRA and CSF


@dataclass(frozen=True)
class SkillNetworkConfig(ActorCriticConfig):
    """Sizes and kinds of the networks."""

    skill_dim: int = setting(2, integer(1), "Width of a skill, and of the features; number of skills if they are "
                             "one-hot.")  # fmt: skip
    representation_hidden: list[int] = setting(
        [256, 256], LAYER_SIZES, "Hidden layer sizes of the representation (or discriminator, or skill dynamics)."
    )
    actor_activation: str = setting(
        "tanh", one_of(ACTIVATIONS), "Activation of the actor's hidden layers; those of other networks are ReLU."
    )
    conv_filters: list[list[int]] = setting(
        CONV_FILTERS,
        CONVOLUTIONS,
        "Convolutions of observations that are images: channels, kernel and stride of each. Actor, representation and "
        "each critic have their own.",
    )
    encoder_reward: ClassVar[bool] = False

    @property
    def context_dim(self) -> int:
        """The skill takes the place of a context."""
        return self.skill_dim


class ImageActor(Actor):
    """A policy that reads images.

    Args:
        encoder: Reads the observation.
        context_dim: Width of what it reads beside it.
        *more: Further arguments of ``Actor``.
    """

    def __init__(self, encoder: ImageEncoder, context_dim: int, *more: Any):
        super().__init__(encoder.output_dim + context_dim, *more)
        self.encoder = encoder

    def forward(self, obs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation ``[N, A]`` for images ``obs`` ``[N, O]``."""
        return super().forward(self.encoder(obs), context)


class SkillNetworks(ActorNetworks):
    """The networks with which an agent acts: a policy π(a | o, z), and the features that find the skill for a goal.

    The skill z of an episode is the recurrent state: drawn at its beginning, then kept.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        config: Sizes.
        method: What is learned, and with it the prior of skills.
        images: Layout of observations that are images.
    """

    images: ImageShape | None = None

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        config: SkillNetworkConfig,
        method: SkillMethod,
        images: ImageShape | None = None,
    ):
        nn.Module.__init__(self)
        self.images = images
        self.obs_dim, self.action_dim, self.config, self.method = obs_dim, action_dim, config, method
        self.prior = SkillPrior(method.prior, config.skill_dim)
        self.encoder = HeldLatent(config.skill_dim)
        of_actor = (action_dim, config.actor_hidden, config.actor_activation, LOG_STD_MIN)
        if images is None:
            self.actor = Actor(obs_dim + config.skill_dim, *of_actor)
        else:
            self.actor = ImageActor(ImageEncoder(images, config.conv_filters), config.skill_dim, *of_actor)
        initialize(self.actor.net, nn.init.xavier_uniform_)
        heads: nn.Linear = self.actor.net[-1]  # type: ignore[assignment]
        nn.init.xavier_normal_(heads.weight, gain=0.1)
        sizes = (config.skill_dim, config.representation_hidden)
        if images is None:
            self.representation = method.make_representation(obs_dim, *sizes)
        else:
            encoder = ImageEncoder(images, config.conv_filters)
            self.representation = nn.Sequential(encoder, method.make_representation(encoder.output_dim, *sizes))
        initialize(self.representation, nn.init.xavier_uniform_)

    def initial_state(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Draws skills ``[count, d]``."""
        return self.prior.sample(rng or np.random.default_rng(), count)

    def state_of_skill(self, skill: np.ndarray) -> np.ndarray:
        """Returns the state ``[d]`` of an episode in which a skill is played: the skill."""
        return skill

    def episode_fields(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """An episode is stored with its skill ``[d]``."""
        return {SKILL: state.copy()}


class SkillCritics(nn.Module):
    """Two networks ``ψ_i(o, a, z)``: successor features of width ``d``, or values of width 1.

    Args:
        input_dim: Width of observation (or of what its encoder returns), skill and action together.
        hidden: Hidden layer sizes.
        output_dim: ``W``.
        encoders: Two networks that read images; none where observations are numbers.
    """

    def __init__(self, input_dim: int, hidden: Sequence[int], output_dim: int, encoders: Sequence[ImageEncoder] = ()):
        super().__init__()
        self.nets = nn.ModuleList(mlp(input_dim, hidden, output_dim) for _ in range(2))
        self.encoders = nn.ModuleList(encoders)

    def forward(self, obs: Tensor, action: Tensor, skill: Tensor) -> Tensor:
        """Returns ``[2, N, W]`` for ``obs`` ``[N, O]``, ``action`` ``[N, A]`` and ``skill`` ``[N, d]``."""
        if self.encoders:
            read = [torch.cat([encoder(obs), skill, action], dim=-1) for encoder in self.encoders]
        else:
            read = [torch.cat([obs, skill, action], dim=-1)] * 2
        return torch.stack([net(inputs) for net, inputs in zip(self.nets, read, strict=True)])


class SkillTrainingNetworks(nn.Module):
    """What only learning needs: critics, their moving average, entropy coefficient, the method's further networks.

    Args:
        acting: The networks that act, whose sizes and method these share.
        initial_alpha: Entropy coefficient at the start.
    """

    def __init__(self, acting: SkillNetworks, initial_alpha: float):
        super().__init__()
        config, method = acting.config, acting.method
        width = config.skill_dim if method.has_successor_features else 1
        images, encoders, obs_dim = acting.images, [], acting.obs_dim
        if images is not None:
            encoders = [ImageEncoder(images, config.conv_filters) for _ in range(2)]
            obs_dim = encoders[0].output_dim
        inputs = obs_dim + config.skill_dim + acting.action_dim
        self.critics = SkillCritics(inputs, config.critic_hidden, width, encoders)
        initialize(self.critics, nn.init.xavier_normal_)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_alpha)))
        self.auxiliary = method.make_auxiliary(obs_dim, config.skill_dim, config.representation_hidden)


def initialize(module: nn.Module, weights: Callable[[Tensor], Tensor]) -> None:
    """Draws the weights of all linear layers with ``weights``; biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            weights(layer.weight)
            nn.init.zeros_(layer.bias)
