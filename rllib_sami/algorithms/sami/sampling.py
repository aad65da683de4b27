"""From the task store to the arrays of one learner call: ``U`` updates, drawn and gathered at once."""

from dataclasses import dataclass

import numpy as np

from rllib_sami.algorithms.sami.pairing import PAIRINGS, Pairs, draw_pairs
from rllib_sami.replay_buffers.episode_store import TaskStore


@dataclass(frozen=True)
class ContrastSampling:
    """What the contrast of one update is made of.

    Attributes:
        pairing: Name in ``pairing.PAIRINGS``; None for no contrast.
        contrast_episodes: Episodes ``E`` of the contrast.
        contrast_timesteps: Queries from each episode of the contrast.
        num_negatives: ``K - 1``, in each set of negatives.
        positive_fraction: Share of a task's episodes that counts as high return.
    """

    pairing: str | None = None
    contrast_episodes: int = 16
    contrast_timesteps: int = 16
    num_negatives: int = 127
    positive_fraction: float = 0.5


@dataclass(frozen=True)
class SamplingConfig(ContrastSampling):
    """What one update learns from.

    Attributes:
        train_episodes: Episodes ``B`` that the critic and the actor learn from.
        loss_timesteps: Steps ``N`` of these that enter their losses; None takes every step.
        updates_per_batch: How many updates of actor and critics, each with ``N`` steps of its own, share them.
        contrast_interval: How many of them go with one contrast; divides ``updates_per_batch``.
        whole_episodes: Whether the update reads these episodes from their start on, to make contexts of them. Else it
            gets the drawn steps alone, each as an "episode" of one step, and there can be no ``pairing``.
    """

    train_episodes: int = 6
    loss_timesteps: int | None = 256
    updates_per_batch: int = 1
    contrast_interval: int = 1
    whole_episodes: bool = True


def sample_updates(
    store: TaskStore, config: SamplingConfig, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws everything that ``U`` calls of ``update`` need; the updates themselves are deterministic.

    Episodes are drawn evenly over tasks (a different order each update, so leftovers even out too), evenly within a
    task; then steps evenly over all steps of these episodes.

    Args:
        store: Must hold at least one step.
        config: What to draw.
        num_updates: ``U``; each is one of ``updates_per_batch`` updates of actor and critics, with as many times the
            steps.
        rng: Source of randomness.

    Returns:
        Arrays with a leading ``U``. ``F`` is a row ``[o_t, a_{t-1}, r_{t-1}]``, ``R`` the longest drawn episode plus
        one; ``*_index`` arrays count rows within ``[B * R]`` (``rows``) or ``[E * R]`` (contrast).

        * ``rows`` ``[U, B, R, F]`` (without whole episodes ``[U, N, 2, F]``), ``step_index`` ``[U, N]`` of each step's
          first row, ``terminated`` ``[U, N]``,
        * ``noise`` ``[U, 2, N, A]``, standard normal, for the next action of the target and for the actor's,
        * if there is a contrast: ``contrast_rows`` ``[U, E, R, F]`` (the episodes of ``pairing.Pairs``),
          ``query_index`` ``[U, G, n]``, ``positive_index`` ``[U, G, S, n]``, ``negative_index`` ``[U, G, S, K-1]`` and
          ``return_gap`` ``[U]``; with several contrasts to a batch there is an axis of these after ``U``.

    Raises:
        ValueError: For a ``pairing`` without whole episodes.
    """
    if config.pairing is not None and not config.whole_episodes:
        raise ValueError(f"`pairing` is {config.pairing!r}, but a contrast needs `whole_episodes`.")
    table, finished = store.episodes, store.finished
    chosen = table[_balanced_episodes(table["task_id"], num_updates, config.train_episodes, rng)]  # [U, B]
    num_contrasts = config.updates_per_batch // config.contrast_interval
    pairs = _draw_pairs(finished, config, num_updates * num_contrasts, rng)
    lengths = [chosen["length"], *([] if pairs is None else [finished["length"][pairs.episodes]])]
    num_rows = int(max(length.max() for length in lengths)) + 1

    num_steps = config.loss_timesteps and config.loss_timesteps * config.updates_per_batch
    episode, step = _draw_steps(chosen["length"], num_steps, rng)  # [U, N] each
    lines = np.take_along_axis(chosen, episode, axis=1)
    terminated = lines["terminated"] & (step == lines["length"] - 1)
    if not config.whole_episodes:
        chosen, num_rows = lines.copy(), 2
        chosen["start"] += step
        chosen["length"] = 1
        episode, step = np.broadcast_to(np.arange(step.shape[1]), step.shape), np.zeros_like(step)
    batch = {
        "rows": store.gather(chosen, num_rows),
        "step_index": episode * num_rows + step,
        "terminated": terminated.astype(np.float32),
        "noise": rng.standard_normal((num_updates, 2, step.shape[1], store.action_dim), dtype=np.float32),
    }
    if pairs is None:
        return batch
    contrasts = _contrast_arrays(store, pairs, num_rows)
    if num_contrasts > 1:
        contrasts = {name: of.reshape(num_updates, num_contrasts, *of.shape[1:]) for name, of in contrasts.items()}
    return batch | contrasts


def sample_contrast(
    store: TaskStore, config: ContrastSampling, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """Draws what the contrast of ``U`` updates needs, for an agent that learns all else from other data.

    Args:
        store: Recent episodes with their tasks; only finished ones are contrasted.
        config: What to draw.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        The contrast's arrays of :func:`sample_updates`, or None as long as there is nothing to contrast: no
        ``pairing``, or too few episodes for it.
    """
    pairs = _draw_pairs(store.finished, config, num_updates, rng)
    if pairs is None:
        return None
    return _contrast_arrays(store, pairs, int(store.finished["length"][pairs.episodes].max()) + 1)


def _draw_pairs(
    finished: np.ndarray, config: ContrastSampling, num_updates: int, rng: np.random.Generator
) -> Pairs | None:
    if config.pairing is None or len(finished) == 0:
        return None
    return draw_pairs(
        finished,
        PAIRINGS[config.pairing],
        rng,
        num_updates=num_updates,
        num_episodes=config.contrast_episodes,
        queries_per_episode=config.contrast_timesteps,
        num_negatives=config.num_negatives,
        positive_fraction=config.positive_fraction,
    )


def _contrast_arrays(store: TaskStore, pairs: Pairs, num_rows: int) -> dict[str, np.ndarray]:
    return {
        "contrast_rows": store.gather(store.finished[pairs.episodes], num_rows),
        "query_index": pairs.query_episode * num_rows + pairs.query_step,
        "positive_index": pairs.positive_episode * num_rows + pairs.positive_step,
        "negative_index": pairs.negative_episode * num_rows + pairs.negative_step,
        "return_gap": pairs.return_gap.astype(np.float32),
    }


def _balanced_episodes(task_ids: np.ndarray, num_updates: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices ``[U, size]`` of episodes, each task equally often."""
    order = np.argsort(task_ids, kind="stable")
    _, first, count = np.unique(task_ids[order], return_index=True, return_counts=True)
    shuffled = np.argsort(rng.random((num_updates, len(first))), axis=1)
    task = shuffled[:, np.arange(size) % len(first)]
    return order[first[task] + (rng.random(task.shape) * count[task]).astype(np.int64)]


def _draw_steps(lengths: np.ndarray, num_steps: int | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Steps drawn evenly from episodes of ``lengths`` ``[U, B]``.

    With ``num_steps`` None every step comes once; updates with fewer than the longest one repeat some at random, so
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
    # Each episode's share of the update's steps; offsetting by update makes one sorted array for searchsorted.
    offset = np.arange(len(lengths))[:, None] * (int(total.max()) + 1)
    episode = np.searchsorted((ends + offset).ravel(), (flat + offset).ravel(), side="right").reshape(flat.shape)
    episode -= np.arange(len(lengths))[:, None] * lengths.shape[1]
    return episode, flat - np.take_along_axis(ends - lengths, episode, axis=1)
