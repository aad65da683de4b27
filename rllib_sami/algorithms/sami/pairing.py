"""Which episodes give queries, positive keys and negative keys: all that tells the algorithms of the family apart.

| set of keys | positives | negatives | used by |
|---|---|---|---|
| of skills | same task, same skill | same task, the other skill | SaTESAC (``skill``), SaCCM (``skill_task``) |
| of tasks | same task, any skill | other tasks | CCM (``task``), SaCCM (``skill_task``) |

The skills of a task are its episodes of high and of low return. Each set has a bound of its own: in one softmax the
task's own episodes, hard to tell apart as long as all skills are poor, would leave nothing to learn of the others.

High and low are ranks *within* a task, so a task that is hard for everybody still has its good skills. Equal returns
are ranked at random, again at each draw, so that they carry no lesson.

Every episode gives queries, of either skill. Only queries train the encoder, so it would never learn what to make of
episodes that give keys alone: away from their keys and towards those of its own, its contexts would drift as one, the
keys after them, until all are equal.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairingStrategy:
    """Which rows of the module's table are contrasted.

    Attributes:
        by_skill: Whether skills are contrasted: the table's first row.
        other_tasks: Whether tasks are contrasted: the table's second row.
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
    """Contrast of ``U`` updates, each of ``G`` groups of ``P`` episodes that have one task and one skill.

    With skills, the first half of the groups are the tasks' high-return episodes and the other half the low-return ones
    of the same tasks, in the same order. ``*_episode`` arrays count within the ``E = G P`` episodes of an update,
    ``*_step`` arrays time steps of that episode. ``S`` sets of keys: of skills, of tasks, or both in this order.

    Attributes:
        episodes: Indices into the episode table, ``[U, E]``, group by group.
        query_episode: ``[U, G, N]``; with ``query_step``.
        query_step: ``[U, G, N]``.
        positive_episode: ``[U, G, S, N]``: for each query another episode that its set calls positive, if there is one;
            with ``positive_step``.
        positive_step: ``[U, G, S, N]``.
        negative_episode: ``[U, G, S, K-1]``, shared by a group's queries; with ``negative_step``.
        negative_step: ``[U, G, S, K-1]``.
        return_gap: Mean reward per step of the high-return episodes less that of the low-return ones (1 without
            skills), ``[U]``.
    """

    episodes: np.ndarray
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
        num_episodes: Episodes ``E`` of one update, shared by its groups (up to a third less if they do not divide
            evenly; more if they are too few for one task, or for two where other tasks give negatives).
        queries_per_episode: Queries from each episode.
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

    num_skills = 2 if strategy.by_skill else 1
    at_least = 2  # episodes of each task and skill: a query and its positive key
    num_tasks = min(len(first), max(2 if strategy.other_tasks else 1, num_episodes // (at_least * num_skills)))
    num_groups = num_skills * num_tasks
    size = max(at_least, num_episodes // num_groups)  # P
    chosen = np.argsort(rng.random((num_updates, len(first))), axis=1)[:, :num_tasks]  # distinct tasks
    first, count = first[chosen], count[chosen]

    # Where each group begins in `order`, and how many episodes it may draw from.
    begins, counts = [first], [count]
    if strategy.by_skill:
        high = np.clip(np.round(positive_fraction * count), 1, count - 1).astype(np.int64)
        begins, counts = [first + count - high, first], [high, count - high]
    spans = np.stack([np.stack(begins, axis=1), np.stack(counts, axis=1)])  # [2, U, skills, tasks]
    drawn = order[_spread(rng, spans, size)]  # [U, skills, tasks, P]
    episodes = drawn.reshape(num_updates, -1)
    gap = np.ones(num_updates)
    if strategy.by_skill:
        mean_reward = _mean_reward(table, drawn)  # [U, skills, tasks]
        gap = (mean_reward[:, 0] - mean_reward[:, 1]).mean(axis=-1)

    own = np.repeat(np.arange(size), queries_per_episode)  # [N]
    skill, task = np.divmod(np.arange(num_groups), num_tasks)  # [G]
    query_episode = np.broadcast_to(np.arange(num_groups)[:, None] * size + own, (num_updates, num_groups, len(own)))
    key_shape = (num_updates, num_groups, num_negatives)

    def another_of(groups: np.ndarray) -> np.ndarray:
        """For each query a random place of the groups ``[G, M]`` whose episode is not its own, if there is one."""
        places = (groups[..., None] * size + np.arange(size)).reshape(num_groups, -1)
        each = episodes.reshape(num_updates, num_groups, size, 1)
        differs = episodes[:, places][:, :, None] != each  # [U, G, P, M P]
        number = differs.sum(axis=-1, keepdims=True)  # [U, G, P, 1]
        number = np.where(number, number, places.shape[1])  # of all, if none differs
        # A random one of those that differ, which the sort puts first; an episode's queries stand together.
        rank = (rng.random((*number.shape[:-1], queries_per_episode)) * number).astype(np.int64)
        pick = np.take_along_axis(np.argsort(~differs, axis=-1, kind="stable"), rank, axis=-1)
        pick = pick.reshape(num_updates, num_groups, -1)  # [U, G, N], index into a group's M P places
        return places[np.arange(num_groups)[:, None], pick]  # [G, 1] and [U, G, N] give [U, G, N]

    def any_of(groups: np.ndarray) -> np.ndarray:
        return groups * size + rng.integers(size, size=key_shape)

    positives, negatives = [], []
    if strategy.by_skill:
        positives.append(another_of(np.arange(num_groups)[:, None]))
        negatives.append(any_of(((1 - skill) * num_tasks + task)[:, None]))
    if strategy.other_tasks and num_tasks > 1:
        positives.append(another_of(task[:, None] + num_tasks * np.arange(num_skills)))
        other = (task[:, None] + 1 + rng.integers(num_tasks - 1, size=key_shape)) % num_tasks
        negatives.append(any_of(rng.integers(num_skills, size=key_shape) * num_tasks + other))
    positive_episode, negative_episode = np.stack(positives, axis=2), np.stack(negatives, axis=2)
    length = table["length"][episodes]

    def steps(episode: np.ndarray) -> np.ndarray:
        lengths = np.take_along_axis(length, episode.reshape(num_updates, -1), axis=1).reshape(episode.shape)
        return (rng.random(episode.shape) * lengths).astype(np.int64)

    return Pairs(
        episodes=episodes,
        query_episode=query_episode,
        query_step=steps(query_episode),
        positive_episode=positive_episode,
        positive_step=steps(positive_episode),
        negative_episode=negative_episode,
        negative_step=steps(negative_episode),
        return_gap=gap,
    )


def _spread(rng: np.random.Generator, span: np.ndarray, size: int) -> np.ndarray:
    """Draws from spans of numbers, one of each of as many stretches of (nearly) equal length: distinct if possible.

    The numbers are places in an order by return, so what is drawn is spread over a group's returns. The first stretch
    begins at a random number and the last ones wrap around, so that any two numbers may come together, neighbours (and
    first and last) less often than others.

    Args:
        rng: Source of randomness.
        span: First number and count, ``[2, ...]``.
        size: How many to draw from each span.

    Returns:
        ``[..., size]``; for each draw alone all numbers of the span are equally likely.
    """
    first, count = span[..., None]
    edges = np.arange(size + 1) * count // size
    begin, length = edges[..., :-1], np.maximum(np.diff(edges), 1)
    inside = begin + (rng.random(begin.shape) * length).astype(np.int64)
    return first + (inside + (rng.random(first.shape) * count).astype(np.int64)) % count


def _mean_reward(table: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    lines = table[episodes]
    return (lines["episode_return"] / np.maximum(lines["length"], 1)).mean(axis=-1)
