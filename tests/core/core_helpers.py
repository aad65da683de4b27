"""Hand-made episodes, and what the tests of the core share."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from rllib_sami.algorithms.sami.networks import SaMITrainingNetworks
from rllib_sami.algorithms.sami.update import UpdateConfig, parameter_groups
from rllib_sami.core.networks import ActorNetworks, NetworkConfig
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EPISODE_DTYPE, EpisodePiece, EpisodeStore


@dataclass(frozen=True)
class Episode:
    """A whole episode; every number of it tells the episode and the step it belongs to."""

    number: int
    task_id: int
    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def rows(self) -> np.ndarray:
        """``[o_t, a_{t-1}, r_{t-1}]`` for every t, written out step by step."""
        rows = [[*self.obs[0], *np.zeros(self.actions.shape[1]), 0.0]]
        for t in range(1, len(self) + 1):
            rows.append([*self.obs[t], *self.actions[t - 1], self.rewards[t - 1]])
        return np.array(rows, np.float32)

    def piece(self, slot, begin: int = 0, end: int | None = None) -> EpisodePiece:
        """Steps ``begin`` to ``end``; it is the last piece if ``end`` is the episode's."""
        end = len(self) if end is None else end
        done = end == len(self)
        return EpisodePiece(
            slot=slot,
            task_id=self.task_id,
            first_step=begin,
            obs=self.obs[begin : end + 1],
            actions=self.actions[begin:end],
            rewards=self.rewards[begin:end],
            done=done,
            terminated=done and self.terminated,
        )


def make_episode(number, length, task_id=0, terminated=False, obs_dim=2, action_dim=1) -> Episode:
    """An episode whose observations are ``number + t / 1000``, its actions and rewards likewise but negative."""
    time = np.arange(length + 1, dtype=np.float32)[:, None] / 1000
    obs = number + time + np.zeros(obs_dim, np.float32)
    actions = -(number + time[:-1]) + np.zeros(action_dim, np.float32)
    rewards = -(number + time[:-1, 0]) / 7
    return Episode(number, task_id, obs, actions, rewards.astype(np.float32), terminated)


def random_episode(rng, length, task_id=0, terminated=False, obs_dim=3, action_dim=2) -> Episode:
    """An episode of noise."""
    obs = rng.standard_normal((length + 1, obs_dim), dtype=np.float32)
    actions = rng.uniform(-1, 1, (length, action_dim)).astype(np.float32)
    rewards = rng.standard_normal(length, dtype=np.float32)
    return Episode(-1, task_id, obs, actions, rewards, terminated)


def random_store(rng, lengths=(9, 5, 7, 8, 6, 9, 4, 5), num_tasks=2, obs_dim=3, action_dim=2, capacity=200):
    """A store of finished random episodes, every third of them terminated."""
    store = EpisodeStore(obs_dim, action_dim, capacity)
    for number, length in enumerate(lengths):
        episode = random_episode(rng, length, number % num_tasks, number % 3 == 0, obs_dim, action_dim)
        assert store.add(episode.piece(slot=0))
    return store


def episode_table(*lines) -> np.ndarray:
    """Table of finished episodes from ``(task, return)`` or ``(task, return, length)``; the starts are made up."""
    table = np.zeros(len(lines), EPISODE_DTYPE)
    for number, (task, episode_return, *length) in enumerate(lines):
        table[number] = (100 * number, length[0] if length else 10, task, episode_return, False)
    return table


def optimization(acting, training, lr=1e-2, kind=torch.optim.Adam, **options) -> Optimization:
    """Optimisers of an agent, all of a kind."""
    groups = parameter_groups(acting, training)
    return Optimization(groups, {name: kind(group, lr=lr) for name, group in groups.items()}, **options)


def make_agent(
    obs_dim=3, action_dim=2, lr=1e-2, seed=0, acting_encoder="online", initial_alpha=1.0, grad_clip=None, **network
):
    """Small networks and their optimisers: ``acting, training, optimization``."""
    torch.manual_seed(seed)
    settings = NetworkConfig(
        context_dim=4,
        encoder_hidden_dim=8,
        normalize_inputs=False,
        encoder_obs_delta=False,
        actor_hidden=(16,),
        critic_hidden=(16,),
    )
    acting = ActorNetworks(obs_dim, action_dim, replace(settings, **network))
    training = SaMITrainingNetworks(acting, initial_alpha, acting_encoder)
    return acting, training, optimization(acting, training, lr, grad_clip=grad_clip)


def constants(**given) -> UpdateConfig:
    """Constants of an update: one of everything, trained by the critics, with a contrast where it has a weight."""
    usual = {"gamma": 0.99, "tau": 0.005, "target_entropy": -1.0, "contrast_coeff": 0.0, "acting_encoder": "online"}
    usual |= {"critics_train_encoder": True, "updates_per_batch": 1, "contrast_interval": 1}
    given = usual | given
    return UpdateConfig(**{"has_contrast": given["contrast_coeff"] > 0} | given)


def as_tensors(samples: dict[str, np.ndarray], number: int = 0) -> dict[str, torch.Tensor]:
    """One update's batch out of ``sample_updates``."""
    return {key: torch.as_tensor(value[number]) for key, value in samples.items()}
