"""Samplers of batches for ``U`` updates at once: transitions, windows, or whole episodes for agents with a memory.

Shapes: ``U`` updates, ``B`` episodes, ``R`` rows of the longest one, ``N`` steps; a row has ``F`` numbers, see
``episode_store``. Two neighbouring rows of an episode are a transition, so no transition crosses a reset.
"""

from dataclasses import dataclass

import numpy as np

from rllib_sami.core.settings import integer, setting
from rllib_sami.replay_buffers.episode_store import EpisodeStore


@dataclass(frozen=True)
class EpisodeSampling:
    """Settings of batches of whole episodes."""

    train_episodes: int = setting(
        6,
        integer(1),
        "Whole episodes in a batch, for each learner. Lower it if episodes have thousands of steps: the whole batch is "
        "in memory at once.",
    )
    loss_timesteps: int | None = setting(
        256,
        integer(1).or_none(),
        "How many of their steps, drawn at random, enter the losses of an update; None takes all. Contexts always come "
        "from whole episodes.",
    )


def sample_transitions(
    store: EpisodeStore, batch_size: int, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws single transitions, evenly over tasks.

    Args:
        store: The episodes, with at least one step.
        batch_size: Transitions ``N`` of one update.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        * ``rows`` ``[U, N, 2, F]``, the two rows of each transition,
        * ``step_index`` ``[U, N]``, the index of each transition's first row in ``[N * 2]``,
        * ``terminated`` ``[U, N]``, and ``noise`` ``[U, 2, N, A]``, standard normal.
    """
    episodes = draw_episodes(store.episodes, batch_size, num_updates, rng)
    episode, step = draw_steps(episodes["length"], batch_size, rng)
    lines = np.take_along_axis(episodes, episode, axis=1)
    return {
        "rows": store.gather_steps(lines, step[..., None] + np.arange(2)),
        "step_index": np.broadcast_to(2 * np.arange(batch_size), step.shape),
        "terminated": _terminated(lines, step),
        "noise": _noise(store, step, rng),
    }


def sample_episodes(
    store: EpisodeStore, config: EpisodeSampling, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws whole episodes, evenly over tasks, and the steps of them that enter the losses.

    Args:
        store: The episodes, with at least one step.
        config: How many episodes and steps to draw.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        The arrays of :func:`gather_episodes`.
    """
    episodes = draw_episodes(store.episodes, config.train_episodes, num_updates, rng)
    return gather_episodes(store, episodes, config.loss_timesteps, int(episodes["length"].max()) + 1, rng)


def draw_episodes(table: np.ndarray, size: int, num_updates: int, rng: np.random.Generator) -> np.ndarray:
    """Draws lines ``[U, size]`` of an episode table: each task equally often, and its episodes uniformly.

    The order of tasks differs between updates, so that the remainder is distributed evenly too.
    """
    order = np.argsort(table["task_id"], kind="stable")
    _, first, count = np.unique(table["task_id"][order], return_index=True, return_counts=True)
    shuffled = np.argsort(rng.random((num_updates, len(first))), axis=1)
    task = shuffled[:, np.arange(size) % len(first)]
    return table[order[first[task] + (rng.random(task.shape) * count[task]).astype(np.int64)]]


def draw_transitions(
    table: np.ndarray, size: int, num_updates: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws transitions uniformly from all steps of an episode table.

    Returns:
        The lines of their episodes and their steps within them, ``[U, size]`` each.
    """
    ends = np.cumsum(table["length"])
    flat = rng.integers(ends[-1], size=(num_updates, size))
    episode = np.searchsorted(ends, flat, side="right")
    lines = table[episode]
    return lines, flat - (ends[episode] - lines["length"])


def draw_steps(lengths: np.ndarray, num_steps: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws steps uniformly from all steps of episodes of ``lengths`` ``[U, B]``.

    With ``num_steps`` None, every step is drawn once. Updates with fewer steps than others repeat some at random, so
    that all have the same shape.

    Returns:
        Episode and step, ``[U, N]`` each.
    """
    ends = np.cumsum(lengths, axis=1)  # [U, B]
    total = ends[:, -1:]
    if num_steps is None:
        flat = np.broadcast_to(np.arange(total.max()), (len(lengths), total.max()))
        flat = np.where(flat < total, flat, (rng.random(flat.shape) * total).astype(np.int64))
    else:
        flat = (rng.random((len(lengths), num_steps)) * total).astype(np.int64)
    # Finds the episode of each step; offsets between updates make a single sorted array for searchsorted.
    offset = np.arange(len(lengths))[:, None] * (int(total.max()) + 1)
    episode = np.searchsorted((ends + offset).ravel(), (flat + offset).ravel(), side="right").reshape(flat.shape)
    episode -= np.arange(len(lengths))[:, None] * lengths.shape[1]
    return episode, flat - np.take_along_axis(ends - lengths, episode, axis=1)


def gather_episodes(
    store: EpisodeStore, episodes: np.ndarray, num_steps: int | None, num_rows: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Gathers the arrays of whole episodes and draws steps from them.

    Args:
        store: The store of the episodes.
        episodes: Lines of its episode table, ``[U, B]``.
        num_steps: Steps ``N`` to draw; None takes all.
        num_rows: ``R``, at least the steps of the longest episode plus one.
        rng: Source of randomness.

    Returns:
        * ``rows`` ``[U, B, R, F]``,
        * ``step_index`` ``[U, N]``, the index of each step's first row in ``[B * R]``,
        * ``terminated`` ``[U, N]``, and ``noise`` ``[U, 2, N, A]``, standard normal.
    """
    episode, step = draw_steps(episodes["length"], num_steps, rng)
    return {
        "rows": store.gather(episodes, num_rows),
        "step_index": episode * num_rows + step,
        "terminated": _terminated(np.take_along_axis(episodes, episode, axis=1), step),
        "noise": _noise(store, step, rng),
    }


def gather_windows(
    store: EpisodeStore, lines: np.ndarray, step: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gathers the transitions before steps, and the steps themselves.

    Args:
        store: The store of the episodes.
        lines: Lines of its episode table, ``[...]``.
        step: Steps within them, ``[...]``.
        length: Transitions ``T`` before each step. A window does not cross an episode's start.

    Returns:
        Rows ``[..., T + 2, F]``, of which the last two are the step, and how many of the ``T`` transitions are missing,
        ``[...]``; in their place the episode's first row is repeated.
    """
    rows = store.gather_steps(lines, step[..., None] + np.arange(-length, 2))
    return rows, np.maximum(length - step, 0)


def _terminated(lines: np.ndarray, step: np.ndarray) -> np.ndarray:
    return (lines["terminated"] & (step == lines["length"] - 1)).astype(np.float32)


def _noise(store: EpisodeStore, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((len(step), 2, step.shape[1], store.action_dim), dtype=np.float32)
