"""Which episodes give queries, positive keys and negative keys: all that tells the algorithms of the family apart.

| strategy | algorithm | queries and positives | negatives |
|---|---|---|---|
| ``task`` | CCM | same task | other tasks |
| ``skill`` | SaTESAC | same task, high return (the good skill) | same task, low return (bad skills) |
| ``skill_task`` | SaCCM | same task, high return | a set of the same task, low return; a set of other tasks |

With two sets of negatives there are two bounds, one of skills and one of tasks. In one softmax the task's own episodes,
which are hard to tell apart as long as all skills are poor, would leave nothing to learn of the others.

High and low are ranks *within* a task, so a task that is hard for everybody still has its good skills. Equal returns
are ranked at random, anew at each draw, so that they carry no lesson.

In half of the draws high and low change places: low-return episodes give queries and positives, high-return ones the
negatives. Only queries train the encoder, so it would never learn what to make of episodes that give keys alone: away
from their keys and towards those of its own, its contexts would drift as one, the keys after them, until all are equal.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairingStrategy:
    """One row of the module's table.

    Attributes:
        by_skill: Positives are a task's high-return episodes, its low-return ones are negatives (or the reverse).
        other_tasks: Episodes of other tasks are negatives.
    """

    by_skill: bool
    other_tasks: bool


PAIRINGS = {
    "task": PairingStrategy(by_skill=False, other_tasks=True),
    "skill": PairingStrategy(by_skill=True, other_tasks=False),
    "skill_task": PairingStrategy(by_skill=True, other_tasks=True),
}


@dataclass(frozen=True)
class Pairs:
    """Contrast of ``U`` updates: ``G`` groups (one task each) with ``P`` positive and ``Q`` negative episodes.

    The ``E = G (P + Q)`` episodes of an update are ordered: all positives, group by group, then all negatives.
    ``*_episode`` arrays count within these ``E``; ``*_step`` arrays count time steps of that episode.

    Attributes:
        episodes: Indices into the episode table, ``[U, E]``.
        num_positives: ``G P``: how many of the ``E`` are positives.
        query_episode: ``[U, G, N]``; with ``query_step``.
        query_step: ``[U, G, N]``.
        positive_episode: ``[U, G, N]``: another positive episode of the same group, if it has one; with
            ``positive_step``.
        positive_step: ``[U, G, N]``.
        negative_episode: ``[U, G, S, K-1]``, in ``S`` sets, of skills and of tasks; with ``negative_step``.
        negative_step: ``[U, G, S, K-1]``.
        return_gap: Mean reward per step of the high-return episodes less that of the low-return ones (1 without
            skills), ``[U]``.
    """

    episodes: np.ndarray
    num_positives: int
    query_episode: np.ndarray
    query_step: np.ndarray
    positive_episode: np.ndarray
    positive_step: np.ndarray
    negative_episode: np.ndarray
    negative_step: np.ndarray
    return_gap: np.ndarray


def draw_pairs(
    table: np.ndarray,
    strategy: PairingStrategy,
    rng: np.random.Generator,
    *,
    num_updates: int,
    num_episodes: int,
    queries_per_episode: int,
    num_negatives: int,
    positive_fraction: float = 0.5,
) -> Pairs | None:
    """Draws the contrastive pairs of several updates.

    Args:
        table: Finished episodes (``task_store.EPISODE_DTYPE``).
        strategy: Which episodes may pair.
        rng: Source of randomness.
        num_updates: ``U``.
        num_episodes: Episodes ``E`` of one update, shared by its groups (a few less if they do not divide evenly; more
            if they are too few for one group, or for two where other tasks give negatives).
        queries_per_episode: Queries from each positive episode.
        num_negatives: ``K - 1``, in each set.
        positive_fraction: Share of a task's episodes that counts as high return; at least one is high, one low.

    Returns:
        The pairs; or None as long as no task has what the strategy needs: two episodes for the skill strategies, and
        for ``task`` two tasks with an episode each. ``skill_task`` with a single task works as ``skill``.
    """
    # Sort by task, then return, then at random.
    order = np.lexsort((rng.random(len(table)), table["episode_return"], table["task_id"]))
    _, first, count = np.unique(table["task_id"][order], return_index=True, return_counts=True)
    if strategy.by_skill:
        able = count >= 2
        first, count = first[able], count[able]
    if len(first) < (1 if strategy.by_skill else 2):
        return None

    per_group = 4 if strategy.by_skill else 2  # at least two positives (and two negatives) to a group
    num_groups = min(len(first), max(2 if strategy.other_tasks else 1, num_episodes // per_group))
    group_size = max(per_group, num_episodes // num_groups)
    num_q = group_size // 2 if strategy.by_skill else 0
    num_p = group_size - num_q
    shape = (num_updates, num_groups)
    chosen = np.argsort(rng.random((num_updates, len(first))), axis=1)[:, :num_groups]  # distinct tasks
    first, count = first[chosen], count[chosen]

    if strategy.by_skill:
        high_count = np.clip(np.round(positive_fraction * count), 1, count - 1).astype(np.int64)
        low_count = count - high_count
        high = np.stack([first + low_count, high_count])  # [2, U, G]: where they begin in `order`, and how many
        low = np.stack([first, low_count])
        swap = rng.random(shape) < 0.5
        positives = order[_spread(rng, np.where(swap, low, high), num_p)]  # [U, G, P]
        negatives = order[_spread(rng, np.where(swap, high, low), num_q)]  # [U, G, Q]
        episodes = np.concatenate([positives.reshape(num_updates, -1), negatives.reshape(num_updates, -1)], axis=1)
        gap = _mean_reward(table, positives) - _mean_reward(table, negatives)  # [U, G]
        gap = np.where(swap, -gap, gap).mean(axis=1)
    else:
        positives = order[_spread(rng, np.stack([first, count]), num_p)]
        episodes = positives.reshape(num_updates, -1)
        gap = np.ones(num_updates)
    length = table["length"][episodes]

    def steps(episode: np.ndarray) -> np.ndarray:
        lengths = np.take_along_axis(length, episode.reshape(num_updates, -1), axis=1).reshape(episode.shape)
        return (rng.random(episode.shape) * lengths).astype(np.int64)

    group = np.arange(num_groups)[:, None]
    # Queries: each positive episode; its positive key comes from another one of the group (if there is one: a task with
    # few episodes of a skill fills several places with the same).
    own = np.repeat(np.arange(num_p), queries_per_episode)  # [N]
    differs = positives[..., None, :] != positives[..., own, None]  # [U, G, N, P]
    query_episode = np.broadcast_to(group * num_p + own, (*shape, len(own)))
    positive_episode = group * num_p + (differs + rng.random(differs.shape)).argmax(axis=-1)

    # Negatives: the group's own ones, and everything of the other groups.
    size = (*shape, num_negatives)
    sets = []
    if strategy.by_skill:
        sets.append(num_groups * num_p + group * num_q + rng.integers(num_q, size=size))
    if strategy.other_tasks and num_groups > 1:
        other_group = (group + 1 + rng.integers(num_groups - 1, size=size)) % num_groups
        member = rng.integers(group_size, size=size)
        is_positive = member < num_p
        sets.append(
            np.where(
                is_positive,
                other_group * num_p + member,
                num_groups * num_p + other_group * num_q + member - num_p,
            )
        )
    negative_episode = np.stack(sets, axis=2)  # [U, G, S, K-1]

    return Pairs(
        episodes=episodes,
        num_positives=num_groups * num_p,
        query_episode=query_episode,
        query_step=steps(query_episode),
        positive_episode=positive_episode,
        positive_step=steps(positive_episode),
        negative_episode=negative_episode,
        negative_step=steps(negative_episode),
        return_gap=gap,
    )


def _spread(rng: np.random.Generator, span: np.ndarray, size: int) -> np.ndarray:
    """Draws from spans of numbers, evenly spread from a random start: distinct if there are enough.

    Args:
        rng: Source of randomness.
        span: First number and count, ``[2, ...]``.
        size: How many to draw from each span.

    Returns:
        ``[..., size]``, each number of the span with equal probability.
    """
    first, count = span[..., None]
    places = ((np.arange(size) + rng.random(first.shape)) / size * count).astype(np.int64)
    return first + np.minimum(places, count - 1)


def _mean_reward(table: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    lines = table[episodes]
    return (lines["episode_return"] / np.maximum(lines["length"], 1)).mean(axis=-1)
