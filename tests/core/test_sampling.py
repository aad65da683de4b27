from collections import Counter

import numpy as np
import pytest
from core_helpers import make_episode, random_store

from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.replay_buffers.episode_store import EpisodeStore

LENGTHS = {1: 4, 2: 9, 3: 2, 4: 6, 5: 7, 6: 3}  # by episode number; the last one stays open
TASKS = {1: 0, 2: 0, 3: 0, 4: 1, 5: 2, 6: 2}
TERMINATED = {1, 4, 6}
OPEN_STEPS = 2  # of episode 6


@pytest.fixture
def store() -> EpisodeStore:
    """Episodes whose every number is ``episode + step / 1000``: three of task 0, one of task 1, two of task 2."""
    store = EpisodeStore(2, 1, 100)
    for number, length in LENGTHS.items():
        episode = make_episode(number, length, TASKS[number], number in TERMINATED)
        store.add(episode.piece(slot=number, end=OPEN_STEPS if number == 6 else None))
    return store


def sample(store: EpisodeStore, num_updates: int = 200, seed: int = 0, **config):
    settings = {"train_episodes": 6, "loss_timesteps": 40} | config
    return sample_updates(store, SamplingConfig(**settings), num_updates, np.random.default_rng(seed))


def stored_length(number: int) -> int:
    return OPEN_STEPS if number == 6 else LENGTHS[number]


def decode(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Episode number and step of rows ``[..., F]``."""
    number = np.floor(row[..., 0] + 1e-4)
    return number.astype(int), np.round((row[..., 0] - number) * 1000).astype(int)


def rows_at(samples, rows: str, index: str) -> np.ndarray:
    """Rows at flat indices, as the update reads them: ``[U, ..., F]``."""
    flat = samples[rows].reshape(len(samples[rows]), -1, samples[rows].shape[-1])
    return np.stack([some[at] for some, at in zip(flat, samples[index], strict=True)])


def transitions(samples) -> tuple[np.ndarray, np.ndarray]:
    """Episode number and step of the sampled transitions, ``[U, N]`` each."""
    return decode(rows_at(samples, "rows", "step_index"))


def test_tasks_are_balanced_however_many_episodes_they_have(store):
    number, _ = decode(sample(store)["rows"][:, :, 0])
    counts = Counter(TASKS[int(n)] for n in number.flat)
    assert counts == {0: 400, 1: 400, 2: 400}
    within = Counter(int(n) for n in number.flat)
    for of_one_task in ([1, 2, 3], [5, 6]):  # and evenly within a task, open episodes included
        share = [within[n] / 400 * len(of_one_task) for n in of_one_task]
        np.testing.assert_allclose(share, 1.0, atol=0.25)


@pytest.mark.parametrize("train_episodes", [2, 4])
def test_tasks_take_turns_where_they_do_not_divide_evenly(store, train_episodes):
    number, _ = decode(sample(store, 900, train_episodes=train_episodes)["rows"][:, :, 0])
    by_update = [Counter(TASKS[int(n)] for n in line) for line in number]
    assert all(max(counts.values()) - min(counts[task] for task in range(3)) <= 1 for counts in by_update)
    totals = sum(by_update, Counter())
    np.testing.assert_allclose([totals[task] / (300 * train_episodes) for task in range(3)], 1.0, atol=0.15)


def test_rows_are_whole_episodes_with_the_last_row_repeated(store):
    rows = sample(store)["rows"]
    assert rows.shape == (200, 6, max(LENGTHS.values()) + 1, 4)
    number, step = decode(rows)
    assert (number == number[..., :1]).all()
    for some, steps in zip(number[..., 0].flat, step.reshape(-1, step.shape[-1]), strict=True):
        np.testing.assert_array_equal(steps, np.minimum(np.arange(len(steps)), stored_length(int(some))))


def test_steps_are_drawn_evenly_from_all_valid_steps(store):
    """In each update every valid step has the same chance; so the share of an episode goes with its length."""
    samples = sample(store, 1, loss_timesteps=100_000)
    lengths = np.array([stored_length(int(n)) for n in decode(samples["rows"][0, :, 0])[0]])
    place, step = np.divmod(samples["step_index"][0], samples["rows"].shape[2])
    counts = np.zeros((6, lengths.max()))
    np.add.at(counts, (place, step), 1)
    valid = np.arange(lengths.max()) < lengths[:, None]
    assert (counts[~valid] == 0).all()
    expected = 100_000 / lengths.sum()
    assert np.abs(counts[valid] / expected - 1).max() < 5 / np.sqrt(expected)  # five standard deviations


@pytest.mark.parametrize("loss_timesteps", [1, 7, 40, None])
def test_sampled_steps_are_never_past_an_episodes_end(store, loss_timesteps):
    number, step = transitions(sample(store, loss_timesteps=loss_timesteps))
    lengths = np.vectorize(stored_length)(number)
    assert (step < lengths).all()
    assert (step == lengths - 1).any()
    assert (step == 0).any()


def test_all_steps_are_covered_at_least_once_without_a_number_of_steps(store):
    samples = sample(store, 50, loss_timesteps=None)
    num_rows = samples["rows"].shape[2]
    number, _ = decode(samples["rows"][:, :, 0])
    totals = []
    for episodes, drawn in zip(number, samples["step_index"], strict=True):
        every = {b * num_rows + t for b, n in enumerate(episodes) for t in range(stored_length(int(n)))}
        assert set(drawn.tolist()) == every
        np.testing.assert_array_equal(np.sort(drawn[: len(every)]), sorted(every))  # each once, repeats after that
        totals.append(len(every))
    assert samples["step_index"].shape[1] == max(totals) > min(totals)


def test_the_row_after_a_sampled_step_is_what_came_of_it(store):
    samples = sample(store)
    number, step = transitions(samples)
    row = rows_at(samples, "rows", "step_index")
    next_row = rows_at(samples | {"step_index": samples["step_index"] + 1}, "rows", "step_index")
    value = number + step / 1000
    np.testing.assert_allclose(row[..., :2], value[..., None].repeat(2, -1), atol=1e-5)
    np.testing.assert_allclose(next_row[..., :2], value[..., None].repeat(2, -1) + 0.001, atol=1e-5)  # o_{t+1}
    np.testing.assert_allclose(next_row[..., 2], -value, atol=1e-5)  # a_t
    np.testing.assert_allclose(next_row[..., 3], -value / 7, atol=1e-5)  # r_t


def test_terminated_marks_just_the_last_steps_of_terminated_episodes(store):
    samples = sample(store, loss_timesteps=None)
    number, step = transitions(samples)
    lengths = np.vectorize(LENGTHS.get)(number)
    expected = np.isin(number, list(TERMINATED)) & (step == lengths - 1)
    assert not expected[number == 6].any()  # still open
    assert expected[number == 1].any()
    np.testing.assert_array_equal(samples["terminated"], expected.astype(np.float32))


def test_noise_is_standard_normal_and_fresh_for_both_uses(store):
    noise = sample(store, loss_timesteps=400)["noise"]
    assert noise.shape == (200, 2, 400, 1)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("pairing", ["task", "skill", "skill_task"])
def test_contrast_indices_point_at_the_steps_of_the_pairs(store, pairing):
    samples = sample(store, pairing=pairing, contrast_episodes=8, contrast_timesteps=5, num_negatives=11)
    query, positive, negative = (
        decode(rows_at(samples, "contrast_rows", f"{name}_index")) for name in ("query", "positive", "negative")
    )
    for number, step in (query, positive, negative):
        for some in np.unique(number):
            assert set(step[number == some]) == set(range(stored_length(int(some))))
        assert 6 not in number  # an open episode has no return yet
    tasks = np.vectorize(TASKS.get)(query[0])
    assert (tasks == tasks[..., :1]).all()
    assert (np.vectorize(TASKS.get)(positive[0]) == tasks[:, :, None]).all()
    assert samples["query_index"].shape[-1] % 5 == 0
    assert samples["negative_index"].shape[-1] == 11
    if pairing == "task":
        assert (np.vectorize(TASKS.get)(negative[0]) != tasks[..., :1, None]).all()
        assert set(query[0].flat) == {1, 2, 3, 4, 5}
    else:  # only task 0 has several finished episodes; rewards are negative, so the longest has the lowest return
        good = query[0][..., 0] != 2
        assert ({*query[0][good].flat}, {*negative[0][good].flat}) == ({1, 3}, {2})
        assert ({*query[0][~good].flat}, {*negative[0][~good].flat}) == ({2}, {1, 3})


def test_contrast_waits_until_there_are_finished_episodes_to_pair():
    store = EpisodeStore(2, 1, 100)
    store.add(make_episode(1, 9).piece("a", 0, 5))
    assert "query_index" not in sample(store, pairing="skill")
    store.add(make_episode(1, 9).piece("a", 5, 9))
    assert "query_index" not in sample(store, pairing="skill")
    store.add(make_episode(2, 9).piece("a"))
    assert "query_index" in sample(store, pairing="skill")
    assert "query_index" not in sample(store, pairing=None)


def test_same_seed_gives_the_same_arrays():
    store = random_store(np.random.default_rng(0))
    config = {"pairing": "skill_task", "num_updates": 3, "contrast_episodes": 8}
    first, again, other = (sample(store, seed=seed, **config) for seed in (1, 1, 2))
    assert set(first) == set(again)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    for name in ("step_index", "noise", "query_index", "positive_index", "negative_index"):
        assert (first[name] != other[name]).any()
