"""Each strategy gives exactly the episodes of its row in the table at the top of ``pairing.py``."""

from collections import defaultdict

import numpy as np
import pytest
from core_helpers import episode_table

from rllib_sami.algorithms.sami.pairing import PAIRINGS, Pairs, draw_pairs

# Task, return, length; the episodes are numbered by line.
TABLE = episode_table(
    *[(0, 1.0, 4), (1, 50.0, 9), (0, 4.0, 7), (1, 20.0, 3), (2, 5.0, 5), (1, 40.0, 6)],
    *[(0, 2.0, 2), (3, -2.0, 8), (1, 10.0, 1), (0, 3.0, 3), (3, -1.0, 5), (1, 30.0, 4)],
)
BY_TASK = {0: {0, 2, 6, 9}, 1: {1, 3, 5, 8, 11}, 2: {4}, 3: {7, 10}}
# Good and bad half by return within the task (two of task 1's five are good); task 2 has a single episode.
HIGH = {0: {2, 9}, 1: {1, 5}, 3: {10}}
LOW = {0: {0, 6}, 1: {3, 8, 11}, 3: {7}}
SKILLED = {0, 1, 3}


def draw(table=TABLE, pairing="skill_task", seed=0, **options) -> Pairs | None:
    settings = {"num_updates": 300, "num_episodes": 16, "queries_per_episode": 3, "num_negatives": 10}
    return draw_pairs(table, PAIRINGS[pairing], np.random.default_rng(seed), **settings | options)


def numbers(pairs: Pairs, which: str) -> np.ndarray:
    """Episode numbers of ``query``, ``positive`` or ``negative``, ``[U, G, ...]``."""
    index = getattr(pairs, f"{which}_episode")
    return np.take_along_axis(pairs.episodes, index.reshape(len(index), -1), axis=1).reshape(index.shape)


def by_task(pairs: Pairs, episodes: np.ndarray, where=slice(None), table: np.ndarray = TABLE) -> dict[int, set[int]]:
    """The episodes ``[U, G, ...]`` that occurred in the groups ``where`` ``[U, G]``, by the task of their queries."""
    tasks = table["task_id"][numbers(pairs, "query")]
    assert (tasks == tasks[..., :1]).all()
    found = defaultdict(set)
    for task, some in zip(
        tasks[where][..., 0].flat, episodes[where].reshape(tasks[where][..., 0].size, -1), strict=True
    ):
        found[int(task)] |= {int(episode) for episode in some}
    return dict(found)


def good_is_queried(pairs: Pairs) -> np.ndarray:
    """Which groups ``[U, G]`` query the good episodes of ``TABLE``."""
    return np.isin(numbers(pairs, "query")[..., 0], [*HIGH[0], *HIGH[1], *HIGH[3]])


def others(task: int, tasks: set[int]) -> set[int]:
    """All episodes of the other tasks."""
    return set().union(*(BY_TASK[other] for other in tasks - {task}))


# --- The three rows -------------------------------------------------------------------------------------------------


def test_task_strategy_takes_all_episodes_of_a_task_against_all_of_the_others():
    pairs = draw(pairing="task")
    assert by_task(pairs, numbers(pairs, "query")) == BY_TASK
    assert by_task(pairs, numbers(pairs, "positive")) == BY_TASK
    assert by_task(pairs, numbers(pairs, "negative")) == {task: others(task, set(BY_TASK)) for task in BY_TASK}
    assert (pairs.return_gap == 1).all()


@pytest.mark.parametrize("pairing", ["skill", "skill_task"])
def test_set_of_skills_has_a_tasks_episodes_of_one_skill_against_those_of_the_other(pairing):
    pairs = draw(pairing=pairing)
    good, positive, negative = good_is_queried(pairs), numbers(pairs, "positive"), numbers(pairs, "negative")
    for where, own, opposite in ((good, HIGH, LOW), (~good, LOW, HIGH)):
        assert by_task(pairs, numbers(pairs, "query"), where) == own
        assert by_task(pairs, positive[:, :, 0], where) == own
        assert by_task(pairs, negative[:, :, 0], where) == opposite
    assert positive.shape[2] == negative.shape[2] == (1 if pairing == "skill" else 2)


def test_set_of_tasks_has_a_tasks_episodes_of_any_skill_against_those_of_the_others():
    pairs = draw(pairing="skill_task")
    good = good_is_queried(pairs)
    for where, opposite in ((good, LOW), (~good, HIGH)):
        # Task 3 has one episode of each skill, and a query is never its own positive key.
        expected = {0: BY_TASK[0], 1: BY_TASK[1], 3: opposite[3]}
        assert by_task(pairs, numbers(pairs, "positive")[:, :, 1], where) == expected
        assert by_task(pairs, numbers(pairs, "negative")[:, :, 1], where) == {
            task: others(task, SKILLED) for task in SKILLED
        }


def test_high_skill_groups_come_first_and_the_low_ones_in_the_same_order():
    pairs = draw()
    good, tasks = good_is_queried(pairs), TABLE["task_id"][numbers(pairs, "query")[..., 0]]
    half = good.shape[1] // 2
    assert good[:, :half].all()
    assert not good[:, half:].any()
    np.testing.assert_array_equal(tasks[:, :half], tasks[:, half:])


def test_negatives_of_other_tasks_are_of_both_skills_alike():
    pairs = draw(num_episodes=8)
    assert pairs.query_episode.shape[1] == 4
    from_other_task = pairs.negative_episode[:, :, 1]
    assert (from_other_task < 4).mean() == pytest.approx(0.5, abs=0.05)  # the first four are of high skill


@pytest.mark.parametrize("pairing", list(PAIRINGS))
def test_queries_and_positives_are_different_episodes_of_one_task_if_it_has_two(pairing):
    for num_episodes in (4, 9, 16, 40):  # up to more places than a task has episodes
        pairs = draw(pairing=pairing, num_episodes=num_episodes)
        query, positives = numbers(pairs, "query"), numbers(pairs, "positive")
        for number, positive in enumerate(np.moveaxis(positives, 2, 0)):
            of_skills = PAIRINGS[pairing].by_skill and number == 0
            candidates = [HIGH, LOW] if of_skills else [BY_TASK]
            alone = [episode for some in candidates for own in some.values() if len(own) == 1 for episode in own]
            np.testing.assert_array_equal(TABLE["task_id"][query], TABLE["task_id"][positive])
            assert (query[~np.isin(query, alone)] != positive[~np.isin(query, alone)]).all()
            if of_skills or pairing == "task":
                assert (query[np.isin(query, alone)] == positive[np.isin(query, alone)]).all()  # nothing else is there


@pytest.mark.parametrize("of_a_task", [6, 10, 20])
@pytest.mark.parametrize("num_episodes", [8, 12, 16, 40])
def test_every_pair_of_episodes_of_a_set_occurs(num_episodes, of_a_task):
    """Also with two episodes to a group, whatever their ranks."""
    table = episode_table(*[(task, float(n)) for task in range(2) for n in range(of_a_task)])
    pairs = draw(table, num_episodes=num_episodes, num_updates=3_000)
    query, positives = numbers(pairs, "query"), numbers(pairs, "positive")
    of_skills, of_tasks = (set(zip(query.flat, positives[:, :, n].flat, strict=True)) for n in range(2))
    numbered = np.arange(2 * of_a_task)
    skills = [set(some.tolist()) for some in np.split(numbered, 4)]
    assert of_skills == {(a, b) for some in skills for a in some for b in some - {a}}
    tasks = [set(some.tolist()) for some in np.split(numbered, 2)]
    assert of_tasks == {(a, b) for some in tasks for a in some for b in some - {a}}


def test_groups_episodes_are_spread_over_its_returns():
    """Neighbours of four drawn of ten ranks are at most four apart, last and first too; at random, up to seven."""
    table = episode_table(*[(0, float(n)) for n in range(20)])
    query = numbers(draw(table, "skill", num_episodes=8), "query")  # four to a group
    for group in np.sort(query, axis=-1).reshape(-1, 4, 3)[..., 0]:
        assert np.diff(group).min() >= 1  # distinct
        assert np.diff([*group, group[0] + 10]).max() <= 4


@pytest.mark.parametrize("pairing", list(PAIRINGS))
def test_allowed_episodes_are_drawn_equally_often(pairing):
    table = episode_table(*[(task, float(n)) for task in range(3) for n in range(10)])
    pairs = draw(table, pairing, num_updates=10_000, num_episodes=12)
    sets = [numbers(pairs, which)[:, :, n] for which in ("positive", "negative") for n in (0, -1)]
    for episodes in (numbers(pairs, "query"), *sets):
        occurring, counts = np.unique(episodes, return_counts=True)
        assert len(occurring) == 30
        assert counts.max() / counts.min() < 1.2


def test_ranks_count_within_a_task_not_over_all():
    """Task 1's worst return beats task 0's best, and still it is a bad one."""
    pairs = draw(num_episodes=8)
    good = good_is_queried(pairs)
    assert by_task(pairs, numbers(pairs, "query"), good)[0] == {2, 9}
    assert 8 in by_task(pairs, numbers(pairs, "negative")[:, :, 0], good)[1]


# --- Steps and shapes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairing", list(PAIRINGS))
def test_steps_lie_inside_their_episodes_and_all_of_them_occur(pairing):
    pairs = draw(pairing=pairing)
    for which in ("query", "positive", "negative"):
        episodes, steps = numbers(pairs, which), getattr(pairs, f"{which}_step")
        assert steps.shape == episodes.shape
        for episode in np.unique(episodes):
            assert set(steps[episodes == episode]) == set(range(TABLE["length"][episode]))


@pytest.mark.parametrize("pairing", list(PAIRINGS))
@pytest.mark.parametrize("num_episodes", [4, 7, 8, 13, 16])
def test_shapes_do_not_depend_on_what_is_drawn(pairing, num_episodes):
    pairs = draw(pairing=pairing, num_updates=5, num_episodes=num_episodes, queries_per_episode=3, num_negatives=7)
    num_sets = 2 if pairing == "skill_task" else 1
    num_groups = pairs.query_episode.shape[1]
    size = pairs.episodes.shape[1] // num_groups
    assert size >= 2
    assert pairs.query_episode.shape == (5, num_groups, 3 * size)
    assert pairs.positive_episode.shape == (5, num_groups, num_sets, 3 * size)
    assert pairs.negative_episode.shape == (5, num_groups, num_sets, 7)
    # Every episode gives queries, equally many, in the one group that has it.
    for update in pairs.query_episode:
        np.testing.assert_array_equal(
            np.unique(update, return_counts=True), [np.arange(num_groups * size), [3] * num_groups * size]
        )
    assert pairs.episodes.shape[1] <= max(num_episodes, 8 if pairing == "skill_task" else 4)


def test_return_gap_is_the_difference_in_reward_per_step():
    table = episode_table((0, 30.0, 10), (0, 5.0, 5), (0, 60.0, 20), (0, -2.0, 4))  # per step 3, 1, 3 and -0.5
    pairs = draw(table, "skill", num_episodes=4)
    np.testing.assert_allclose(pairs.return_gap, 3.0 - 0.25)
    two_groups = draw(np.concatenate([table, episode_table((1, 10.0, 10), (1, -5.0, 5))]), "skill", num_episodes=8)
    np.testing.assert_allclose(two_groups.return_gap, (2.75 + 2.0) / 2)


def test_same_seed_draws_the_same_pairs():
    first, again, other = draw(seed=1), draw(seed=1), draw(seed=2)
    for name in ("episodes", "query_step", "positive_episode", "positive_step", "negative_episode", "negative_step"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert (getattr(first, name) != getattr(other, name)).any()


# --- Edges ----------------------------------------------------------------------------------------------------------


def test_equal_returns_are_ranked_at_random():
    table = episode_table(*[(0, 7.0)] * 4, *[(1, 0.0)] * 3, (1, 1.0))
    halves = {0: set(), 1: set()}
    for seed in range(60):
        pairs = draw(table, "skill", seed, num_updates=1, num_negatives=40)  # enough for each to occur
        for group in range(4):
            query, negative = (frozenset(numbers(pairs, which)[0, group].flat) for which in ("query", "negative"))
            assert not query & negative  # an episode is never both at once
            halves[int(table["task_id"][min(query)])] |= {query, negative}
    assert halves[0] == {frozenset(pair) for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))}
    assert halves[1] == {frozenset(pair) for pair in ((4, 5), (4, 6), (5, 6), (4, 7), (5, 7), (6, 7))}


def test_only_equal_returns_are_ranked_at_random():
    table = episode_table((0, 0.0), (0, 0.0), (0, 1.0))
    for seed in range(20):
        pairs = draw(table, "skill", seed, num_updates=1, positive_fraction=0.1)
        assert {*numbers(pairs, "query")[0, 0]} == {2}  # alone in its half


@pytest.mark.parametrize(("fraction", "num_good"), [(0.001, 1), (0.25, 2), (0.5, 4), (0.75, 6), (0.999, 7)])
def test_positive_fraction_leaves_at_least_one_good_and_one_bad(fraction, num_good):
    table = episode_table(*[(0, float(n)) for n in range(8)])
    pairs = draw(table, "skill", positive_fraction=fraction)
    query, negative = numbers(pairs, "query"), numbers(pairs, "negative")
    good = query[..., 0] >= 8 - num_good
    assert {*query[good].flat} == {*negative[~good].flat} == set(range(8 - num_good, 8))
    assert {*negative[good].flat} == {*query[~good].flat} == set(range(8 - num_good))


@pytest.mark.parametrize("pairing", list(PAIRINGS))
def test_many_more_tasks_than_groups_all_get_their_turn(pairing):
    table = episode_table(*[(task, float(n)) for task in range(40) for n in range(4)])
    pairs = draw(table, pairing, num_episodes=8)
    query, negative = numbers(pairs, "query"), numbers(pairs, "negative")
    group_tasks = table["task_id"][query[..., 0]]
    assert group_tasks.shape[1] == 4
    apart = group_tasks[:, :2] if PAIRINGS[pairing].by_skill else group_tasks
    assert (np.diff(np.sort(apart, axis=1)) > 0).all()  # a task has one group, or one of each skill
    assert set(group_tasks.flat) == set(range(40))
    if pairing == "skill":
        assert (table["task_id"][negative] == group_tasks[..., None, None]).all()
    else:
        from_others = negative[:, :, -1]
        assert (table["task_id"][from_others] != group_tasks[..., None]).all()


def test_few_episodes_still_bring_negatives_of_another_task():
    pairs = draw(num_episodes=4)
    tasks = TABLE["task_id"]
    group_tasks = tasks[numbers(pairs, "query")[..., :1]]
    assert (tasks[numbers(pairs, "negative")[:, :, 1]] != group_tasks).all()


@pytest.mark.parametrize("pairing", ["skill", "skill_task"])
def test_one_task_only_is_contrasted_by_skill(pairing):
    table = episode_table(*[(5, float(n)) for n in range(4)])
    pairs = draw(table, pairing)
    query, negative = numbers(pairs, "query"), numbers(pairs, "negative")
    good = query[..., 0] >= 2
    assert {*query[good].flat} == {*negative[~good].flat} == {2, 3}
    assert {*negative[good].flat} == {*query[~good].flat} == {0, 1}


@pytest.mark.parametrize("pairing", ["skill", "skill_task"])
def test_two_episodes_of_one_task_suffice_for_the_skill_strategies(pairing):
    pairs = draw(episode_table((5, 1.0), (5, 0.0)), pairing)
    query = numbers(pairs, "query")
    assert {*query.flat} == {0, 1}
    assert (numbers(pairs, "positive")[:, :, 0] == query).all()
    assert (numbers(pairs, "negative")[:, :, 0] == 1 - query[..., :1]).all()


def test_two_tasks_with_an_episode_each_suffice_for_the_task_strategy():
    table = episode_table((5, 1.0), (6, 0.0))
    pairs = draw(table, "task")
    assert by_task(pairs, numbers(pairs, "positive"), table=table) == {5: {0}, 6: {1}}
    assert by_task(pairs, numbers(pairs, "negative"), table=table) == {5: {1}, 6: {0}}


@pytest.mark.parametrize(
    ("pairing", "lines"),
    [
        *[(pairing, []) for pairing in PAIRINGS],
        *[(pairing, [(0, 1.0)]) for pairing in PAIRINGS],
        ("task", [(0, 1.0), (0, 2.0), (0, 3.0)]),
        ("skill", [(0, 1.0), (1, 2.0), (2, 3.0)]),
        ("skill_task", [(0, 1.0), (1, 2.0), (2, 3.0)]),
    ],
)
def test_nothing_to_pair_gives_none(pairing, lines):
    assert draw(episode_table(*lines), pairing) is None
