"""Which episodes are queries, positive keys and negative keys: this alone distinguishes the algorithms of the family.

| set of keys | positives | negatives | used by |
|---|---|---|---|
| skills | same task, same skill | same task, the other skill | SaTESAC (``skill``), SaCCM (``skill_task``) |
| tasks | same task, any skill | other tasks | CCM (``task``), SaCCM (``skill_task``) |

A task has two skills: its episodes with high returns and those with low returns. Each set of keys has its own
objective. In a single softmax, episodes of the same task would dominate the others, because they are hard to tell apart
as long as all skills are poor.

High and low are ranks *within* a task, so even a hard task has good skills. Equal returns are ranked at random at each
draw, so that nothing is learned from their order.

Episodes of both skills are queries. Only queries receive gradients. Episodes used only as keys would never train the
encoder, and all contexts would collapse together.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairingStrategy:
    """Which sets of keys are contrasted; see the table in the module's docstring.

    Attributes:
        by_skill: Whether skills are contrasted.
        other_tasks: Whether tasks are contrasted.
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
    """The pairs of ``U`` updates. Each has ``G`` groups of ``P`` episodes with the same task and skill.

    With skills, the first half of the groups are the tasks' high-return episodes, and the second half are the
    low-return episodes of the same tasks, in the same order. ``*_episode`` arrays are indices into the ``E = G P``
    episodes of an update, ``*_step`` arrays are time steps in that episode. There are ``S`` sets of keys: skills,
    tasks, or both in this order.

    Attributes:
        episodes: Indices into the episode table, ``[U, E]``, group by group.
        query_episode: ``[U, G, N]``.
        query_step: ``[U, G, N]``.
        positive_episode: ``[U, G, S, N]``; for each query another positive episode of its set, if there is one.
        positive_step: ``[U, G, S, N]``.
        negative_episode: ``[U, G, S, K-1]``, shared by a group's queries.
        negative_step: ``[U, G, S, K-1]``.
        return_gap: Mean reward per step of the high-return episodes minus that of the low-return ones, ``[U]``; 1
            without skills.
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
    """Draws the contrastive pairs of several updates: chooses tasks, splits them by return, and draws keys.

    Args:
        table: Finished episodes (``episode_store.EPISODE_DTYPE``).
        strategy: Which episodes may pair.
        rng: Source of randomness.
        num_updates: ``U``.
        num_episodes: Episodes ``E`` of one update, divided among its groups: up to a third fewer if they do not divide
            evenly; more if they are too few for one task, or for two tasks where tasks are contrasted.
        queries_per_episode: Queries from each episode.
        num_negatives: ``K - 1``, in each set.
        positive_fraction: Share of a task's episodes that count as high return; at least one is high and one is low.

    Returns:
        The pairs, or None if there are too few episodes: the skill strategies need a task with two episodes, and
        ``task`` needs two tasks with an episode each. ``skill_task`` with a single task works like ``skill``.
    """
    num_skills = 2 if strategy.by_skill else 1
    tasks = _choose_tasks(table, strategy, rng, num_updates, num_episodes // (MIN_GROUP * num_skills))
    if tasks is None:
        return None
    size = max(MIN_GROUP, num_episodes // (num_skills * tasks.number))  # P
    episodes = _split_by_return(tasks, rng, num_skills, positive_fraction, size)  # [U, skills, tasks, P]
    groups = _Groups(table, episodes, rng)
    skill, task = np.divmod(np.arange(groups.number), tasks.number)  # of each group
    key_shape = (num_updates, groups.number, num_negatives)

    positives, negatives = [], []
    if strategy.by_skill:  # same task: the same skill against the other one
        positives.append(groups.another_episode(_group(skill, task, tasks.number)[:, None], queries_per_episode))
        negatives.append(groups.any_episode(_group(1 - skill, task, tasks.number)[:, None], key_shape))
    if strategy.other_tasks and tasks.number > 1:  # any skill: the same task against the other ones
        of_task = _group(np.arange(num_skills), task[:, None], tasks.number)
        positives.append(groups.another_episode(of_task, queries_per_episode))
        other_task = (task[:, None] + 1 + rng.integers(tasks.number - 1, size=key_shape)) % tasks.number
        any_skill = rng.integers(num_skills, size=key_shape)
        negatives.append(groups.any_episode(_group(any_skill, other_task, tasks.number), key_shape))

    query = np.repeat(np.arange(groups.number * size).reshape(groups.number, size), queries_per_episode, axis=1)
    query_episode = np.broadcast_to(query, (num_updates, *query.shape))
    positive_episode, negative_episode = np.stack(positives, axis=2), np.stack(negatives, axis=2)
    return Pairs(
        episodes=groups.episodes,
        query_episode=query_episode,
        query_step=groups.any_step(query_episode),
        positive_episode=positive_episode,
        positive_step=groups.any_step(positive_episode),
        negative_episode=negative_episode,
        negative_step=groups.any_step(negative_episode),
        return_gap=_return_gap(table, episodes) if strategy.by_skill else np.ones(num_updates),
    )


MIN_GROUP = 2  # episodes of each task and skill: a query and its positive key


@dataclass(frozen=True)
class _Tasks:
    """The tasks of each update, as ranges of episodes sorted by task and return.

    Attributes:
        order: Indices into the episode table, sorted by task and then by return.
        first: Where each task's episodes begin in ``order``, ``[U, tasks]``.
        count: Number of episodes of each task, ``[U, tasks]``.
    """

    order: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @property
    def number(self) -> int:
        return self.first.shape[1]


def _choose_tasks(
    table: np.ndarray, strategy: PairingStrategy, rng: np.random.Generator, num_updates: int, most: int
) -> _Tasks | None:
    """Draws up to ``most`` different tasks for each update; None if there are not enough."""
    order = np.lexsort((rng.random(len(table)), table["episode_return"], table["task_id"]))
    _, first, count = np.unique(table["task_id"][order], return_index=True, return_counts=True)
    if strategy.by_skill:  # a task needs an episode of each skill
        able = count >= 2
        first, count = first[able], count[able]
    if len(first) < (1 if strategy.by_skill else 2):
        return None
    number = min(len(first), max(2 if strategy.other_tasks else 1, most))
    chosen = np.argsort(rng.random((num_updates, len(first))), axis=1)[:, :number]
    return _Tasks(order, first[chosen], count[chosen])


def _split_by_return(
    tasks: _Tasks, rng: np.random.Generator, num_skills: int, positive_fraction: float, size: int
) -> np.ndarray:
    """Draws ``size`` episodes of each skill and task, ``[U, skills, tasks, size]``; high returns come first."""
    first, count = tasks.first[:, None], tasks.count[:, None]
    if num_skills == 2:
        high = np.clip(np.round(positive_fraction * tasks.count), 1, tasks.count - 1).astype(np.int64)
        low = tasks.count - high
        first = np.stack([tasks.first + low, tasks.first], axis=1)
        count = np.stack([high, low], axis=1)
    return tasks.order[_spread(rng, first, count, size)]


def _return_gap(table: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """Mean reward per step of high-return episodes minus that of the others, ``[U]``."""
    lines = table[episodes]
    mean_reward = (lines["episode_return"] / np.maximum(lines["length"], 1)).mean(axis=-1)  # [U, skills, tasks]
    return (mean_reward[:, 0] - mean_reward[:, 1]).mean(axis=-1)


def _group(skill: np.ndarray, task: np.ndarray, num_tasks: int) -> np.ndarray:
    """Number of the group of a skill and a task."""
    return skill * num_tasks + task


class _Groups:
    """The episodes of each update in groups of ``P``, one group for each skill and task.

    An episode's *place* is ``group * P +`` its number within the group.

    Args:
        table: Finished episodes.
        episodes: Indices into it, ``[U, skills, tasks, P]``.
        rng: Source of randomness.
    """

    def __init__(self, table: np.ndarray, episodes: np.ndarray, rng: np.random.Generator):
        num_updates, num_skills, num_tasks, self.size = episodes.shape
        self.number = num_skills * num_tasks
        self.episodes = episodes.reshape(num_updates, -1)  # [U, E], by place
        self._lengths = table["length"][self.episodes]
        self._rng = rng

    def any_episode(self, groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Draws random places of ``shape`` in ``groups``, which is broadcast to it."""
        return groups * self.size + self._rng.integers(self.size, size=shape)

    def another_episode(self, groups: np.ndarray, queries_per_episode: int) -> np.ndarray:
        """Draws for each query a random place in ``groups`` with another episode than its own, if there is one.

        Args:
            groups: The groups to draw from for each group's queries, ``[G, M]``.
            queries_per_episode: Queries ``n`` from each episode.

        Returns:
            ``[U, G, P n]``; the queries of an episode are neighbours.
        """
        num_updates = len(self.episodes)
        places = (groups[..., None] * self.size + np.arange(self.size)).reshape(self.number, -1)  # [G, M P]
        own = self.episodes.reshape(num_updates, self.number, self.size, 1)
        differs = self.episodes[:, places][:, :, None] != own  # [U, G, P, M P]
        number = differs.sum(axis=-1, keepdims=True)
        number = np.where(number, number, places.shape[1])  # all of them, if none differs
        rank = (self._rng.random((*number.shape[:-1], queries_per_episode)) * number).astype(np.int64)
        differing_first = np.argsort(~differs, axis=-1, kind="stable")
        pick = np.take_along_axis(differing_first, rank, axis=-1).reshape(num_updates, self.number, -1)
        return places[np.arange(self.number)[:, None], pick]

    def any_step(self, places: np.ndarray) -> np.ndarray:
        """Draws a random time step of each episode."""
        lengths = np.take_along_axis(self._lengths, places.reshape(len(places), -1), axis=1).reshape(places.shape)
        return (self._rng.random(places.shape) * lengths).astype(np.int64)


def _spread(rng: np.random.Generator, first: np.ndarray, count: np.ndarray, size: int) -> np.ndarray:
    """Draws ``size`` numbers from each range, one from each of ``size`` parts of (nearly) equal length.

    The numbers are ranks by return, so that the draws are spread over a group's returns. They are distinct if possible.
    The first part begins at a random number and the last part wraps around, so that any two numbers can be drawn
    together, though neighbours (and first and last) less often than others.

    Args:
        rng: Source of randomness.
        first: First number of each range, ``[...]``.
        count: How many numbers each range has, ``[...]``.
        size: How many to draw from each range.

    Returns:
        ``[..., size]``; each single draw is uniform over its range.
    """
    first, count = first[..., None], count[..., None]
    edges = np.arange(size + 1) * count // size
    begin, length = edges[..., :-1], np.maximum(np.diff(edges), 1)
    inside = begin + (rng.random(begin.shape) * length).astype(np.int64)
    return first + (inside + (rng.random(first.shape) * count).astype(np.int64)) % count
