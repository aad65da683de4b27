"""A trained policy that acts inside an environment, where nothing trains it."""

import copy
import math

import gymnasium as gym
import numpy as np

from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.core.action_scale import ActionScale
from rllib_sami.core.networks import WITHOUT_ENCODER, Actor, ActorNetworks, NetworkConfig
from rllib_sami.core.settings import is_integer


class FrozenPolicy:
    """The most likely action of a latent-conditioned policy π(a | o, z), one episode at a time.

    .. code-block:: python

        module = rllib_sami.load("~/ray_results/skills").module  # a checkpoint's or an exported agent's
        policy = FrozenPolicy(module.acting, module.action_space)

    ``RLModule.from_checkpoint`` returns such a module too. SaPPO's modules have no such networks.

    The latent z takes the place of the context: the actor reads z instead, and the encoder is dropped. For a policy
    that was trained on observations that end with z, such as a goal, give ``latent_dim``; its encoder, if it has one,
    then goes on reading observations and z.

    The weights are copies, so training the networks further does not change the policy. It can be pickled: an
    ``env_config`` may hold it, or the function that is given to ``register_env``.

    Args:
        networks: Encoder and actor, or networks of your own with the attributes and the ``act`` of ``ActorNetworks``;
            those read z at the end of their observations.
        action_space: Bounded Box that the policy was trained on.
        latent_dim: How many of the last numbers of the policy's observations are z. None: z is the context.

    Attributes:
        action_space: Likewise.
        obs_dim: Width ``O`` of the observations that :meth:`act` takes.
        latent_dim: Width ``D`` of z.
        normalized_action: What :meth:`act` last returned, as the network gave it: ``[A]`` in (-1, 1).

    Raises:
        TypeError: ``networks`` cannot act, or ``action_space`` is no Box.
        ValueError: The policy has no place for such a latent, its actions are not of ``action_space``, or its encoder
            reads rewards.
    """

    def __init__(self, networks: ActorNetworks, action_space: gym.spaces.Box, latent_dim: int | None = None):
        if not hasattr(networks, "obs_dim"):
            raise TypeError(
                f"Expected networks that act, such as `module.acting` of a soft actor-critic, not {type(networks)}."
            )
        if not isinstance(action_space, gym.spaces.Box):
            raise TypeError(f"Expected the Box of actions that the policy was trained on, not {action_space!r}.")
        if getattr(networks, "images", None) is not None:
            raise ValueError("The policy reads images, which an environment with latent actions does not pass on.")
        context_dim, width = networks.config.context_dim, networks.obs_dim
        if networks.action_dim != math.prod(action_space.shape):
            raise ValueError(f"The policy has {networks.action_dim} actions, but the action space is {action_space}.")
        is_ours = type(networks).act is ActorNetworks.act and type(networks.actor) is Actor
        has_context = context_dim > 0 and is_ours
        if latent_dim is None and not has_context:
            raise ValueError(
                "The policy has no context whose place the latent could take, or networks of its own kind. If it was "
                "trained on observations that end with the latent, give its width: latent_dim=..."
            )
        if latent_dim is not None and not (is_integer(latent_dim) and 1 <= latent_dim < width):
            raise ValueError(
                f"latent_dim={latent_dim!r}: expected an integer, 1 to {width - 1}, as the policy observes {width}."
            )
        if latent_dim is not None and context_dim > 0 and networks.config.encoder_reward:
            raise ValueError(
                "The policy's encoder reads the rewards of the task that it was trained on (`encoder_reward=True`), "
                "which a higher level's task does not give. Train it without."
            )
        networks = copy.deepcopy(networks).cpu().eval().requires_grad_(False)
        if latent_dim is None:
            latent_dim, networks = context_dim, _without_encoder(networks)
        self.action_space = action_space
        self.obs_dim, self.latent_dim = networks.obs_dim - latent_dim, latent_dim
        self.normalized_action = np.zeros(networks.action_dim, np.float32)
        self._policy = RecurrentPolicy(networks, num_slots=1)
        self._scale = ActionScale(action_space.low, action_space.high)

    def begin(self) -> None:
        """Begins an episode: nothing is remembered of the one before."""
        self._policy.begin()

    def act(self, obs: np.ndarray, latent: np.ndarray) -> np.ndarray:
        """Returns an action of ``action_space``; to be called once in each step of an episode.

        Args:
            obs: ``[O]``.
            latent: ``[D]``.

        Raises:
            ValueError: One of them has another shape or is not finite.
        """
        for name, value, width in (("observation", obs, self.obs_dim), ("latent", latent, self.latent_dim)):
            if np.shape(value) != (width,):
                raise ValueError(f"The {name} has shape {list(np.shape(value))}, but the policy reads [{width}].")
            if not np.isfinite(value).all():
                raise ValueError(f"The {name} is {value}, but must be finite.")
        inputs = np.concatenate([obs, latent], dtype=np.float32)
        action = self._policy.act(inputs[None])
        self.normalized_action = action[0]
        return self._scale.of_array(action)[0, ...]


def _without_encoder(networks: ActorNetworks) -> ActorNetworks:
    """The same actor, which reads the context at the end of its observations."""
    inputs = networks.obs_dim + networks.config.context_dim
    result = ActorNetworks(inputs, networks.action_dim, NetworkConfig(**WITHOUT_ENCODER))
    result.actor = networks.actor
    return result
