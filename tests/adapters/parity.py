"""What the policy did while sampling, recomputed from the episodes that were stored."""

from dataclasses import dataclass

import numpy as np
import torch

from rllib_sami.replay_buffers.episode_store import EpisodeStore


@dataclass(frozen=True)
class Stored:
    """An episode of the task store: ``rows`` ``[T + 1, F]`` of ``[o_t, a_{t-1}, r_{t-1}]``."""

    rows: np.ndarray
    obs_dim: int
    task_id: int
    terminated: bool
    finished: bool

    @property
    def obs(self) -> np.ndarray:
        """``[T + 1, O]``."""
        return self.rows[:, : self.obs_dim]

    @property
    def actions(self) -> np.ndarray:
        """``[T, A]``, normalised."""
        return self.rows[1:, self.obs_dim : -1]

    @property
    def rewards(self) -> np.ndarray:
        """``[T]``."""
        return self.rows[1:, -1]

    def __len__(self) -> int:
        return len(self.rows) - 1


def stored_episodes(store: EpisodeStore, with_open: bool = True) -> list[Stored]:
    """The store's episodes, finished ones first."""
    lines = store.episodes if with_open else store.finished
    return [
        Stored(
            store.gather(line, int(line["length"]) + 1),
            store.obs_dim,
            int(line["task_id"]),
            bool(line["terminated"]),
            number < len(store.finished),
        )
        for number, line in enumerate(lines)
    ]


@torch.no_grad()
def recomputed_actions(acting, episode: Stored, *, shift: int = 0, restart_every: int | None = None) -> np.ndarray:
    """Deterministic actions ``[T, A]`` that training's sequence path takes from a stored episode.

    Args:
        acting: Encoder and actor.
        episode: The episode.
        shift: Steps by which the previous action comes late (a control: 0 is right).
        restart_every: Forget the recurrent state every so many steps (a control: None is right).
    """
    rows = torch.from_numpy(episode.rows.copy())
    if shift:
        actions = slice(acting.obs_dim, acting.obs_dim + acting.action_dim)
        rows[shift:, actions] = rows[:-shift, actions].clone()
        rows[:shift, actions] = 0
    inputs = rows[None, :-1, : acting.encoder_input_dim]
    parts = inputs.split(restart_every or inputs.shape[1], dim=1)
    context = torch.cat([acting.encoder(part) for part in parts], dim=1)[0]
    return acting.actor.mode(rows[:-1, : acting.obs_dim], context).numpy()


def worst_mismatch(acting, episodes: list[Stored], **control) -> float:
    """Largest difference between a stored action and the recomputed one."""
    return max(float(np.abs(recomputed_actions(acting, e, **control) - e.actions).max()) for e in episodes)


def sharpen(acting) -> None:
    """Scales the weights, so that actions depend on state and previous action by much more than rounding."""
    with torch.no_grad():
        for name, parameter in acting.named_parameters():
            parameter.mul_(3.0 if name.startswith("encoder") else 1.5)
