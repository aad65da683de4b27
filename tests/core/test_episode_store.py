from dataclasses import replace

import numpy as np
import pytest
from core_helpers import Episode, make_episode, random_episode

from rllib_sami.replay_buffers import episode_store as task_store
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore


def stored_rows(store: EpisodeStore, line: np.ndarray) -> np.ndarray:
    return store.gather(line, int(line["length"]) + 1)


def assert_holds(store: EpisodeStore, line: np.ndarray, episode: Episode, num_steps: int | None = None) -> None:
    """The table line and its rows are the first steps of the episode."""
    num_steps = len(episode) if num_steps is None else num_steps
    finished = num_steps == len(episode)
    assert (line["length"], line["task_id"]) == (num_steps, episode.task_id)
    assert line["terminated"] == (episode.terminated and finished)
    assert line["episode_return"] == pytest.approx(episode.rewards[:num_steps].sum(dtype=np.float64), abs=1e-6)
    np.testing.assert_array_equal(stored_rows(store, line), episode.rows[: num_steps + 1])


def assert_same(store: EpisodeStore, other: EpisodeStore) -> None:
    """Both hold the same finished episodes at the same places."""
    for name in store.finished.dtype.names:
        np.testing.assert_array_equal(store.finished[name], other.finished[name])
    for line in store.finished:
        np.testing.assert_array_equal(stored_rows(store, line), stored_rows(other, line))


def test_whole_episodes_are_stored_row_by_row_with_task_return_and_ending():
    store = EpisodeStore(2, 1, 100)
    episodes = [make_episode(1, 4, task_id=3, terminated=True), make_episode(2, 6, task_id=5)]
    for episode in episodes:
        assert store.add(episode.piece(slot="a"))
    assert len(store.finished) == 2
    assert store.num_steps == 10
    for line, episode in zip(store.finished, episodes, strict=True):
        assert_holds(store, line, episode)


def test_pieces_of_several_slots_over_fragment_borders_equal_whole_episodes():
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, n, task_id=n % 3, terminated=n % 2 == 0) for n in (7, 3, 12, 1, 9, 5)]
    queues = {slot: [(e, 0) for e in episodes[slot::3]] for slot in range(3)}
    pieces, whole = EpisodeStore(3, 2, 60), EpisodeStore(3, 2, 60)
    while any(queues.values()):
        for slot, queue in queues.items():  # each slot brings up to four steps at a time
            room = 4
            while queue and room:
                episode, begin = queue[0]
                end = min(len(episode), begin + room)
                assert pieces.add(episode.piece(slot, begin, end))
                room -= end - begin
                if end == len(episode):
                    queue.pop(0)
                    assert whole.add(episode.piece(slot))  # in the order in which they finish
                else:
                    queue[0] = (episode, end)
    assert len(whole.finished) == len(episodes)
    assert_same(pieces, whole)


@pytest.mark.parametrize("seed", range(12))
def test_ring_never_mixes_episodes_whatever_their_lengths_and_the_capacity(seed, monkeypatch):
    """Against a model that marks, row by row, which episode wrote last: whoever lost a row is gone."""
    monkeypatch.setattr(task_store, "INITIAL_ROOM", 4)  # so that open episodes are moved often, too
    rng = np.random.default_rng(seed)
    capacity, longest = int(rng.integers(30, 120)), int(rng.integers(2, 29))
    store = EpisodeStore(2, 1, capacity)
    owner, head, finished = np.full(capacity, -1), 0, {}
    running = {}
    for number in range(300):
        slot = int(rng.integers(5))
        if slot not in running or rng.random() < 0.05:  # now and then an environment is lost
            task = int(rng.integers(4))
            running[slot] = (make_episode(number, int(rng.integers(1, longest + 1)), task, rng.random() < 0.5), 0)
        episode, begin = running[slot]
        end = min(len(episode), begin + int(rng.integers(1, 8)))
        assert store.add(episode.piece(slot, begin, end))
        running[slot] = (episode, end)
        if end == len(episode):
            del running[slot]
            size = len(episode) + 1
            if head + size > capacity:
                owner[head:], head = -1, 0
            owner[head : head + size] = episode.number
            head += size
            finished[episode.number] = episode

        expected = [e for e in finished.values() if (owner == e.number).sum() == len(e) + 1]
        assert len(store.finished) == len(expected)
        for line, kept in zip(store.finished, expected, strict=True):
            assert_holds(store, line, kept)
        still_open = {e.number: (e, n) for e, n in running.values()}
        lines = store.episodes[len(store.finished) :]
        assert len(lines) == len(still_open)
        for line in lines:
            assert_holds(store, line, *still_open[round(float(stored_rows(store, line)[0, 0]))])
    assert len(finished) > len(expected) > 0  # the ring did wrap


def test_open_episode_is_usable_at_once_but_not_finished():
    store = EpisodeStore(2, 1, 50)
    episode = make_episode(1, 6)
    store.add(episode.piece("a", 0, 2))
    assert len(store.finished) == 0
    assert_holds(store, store.episodes[0], episode, 2)
    store.add(episode.piece("a", 2, 5))
    assert_holds(store, store.episodes[0], episode, 5)
    assert len(store.finished) == 0


def test_open_episode_never_contains_rows_of_the_slots_former_one():
    store = EpisodeStore(2, 1, 50)
    store.add(make_episode(1, 6).piece("a"))
    second = make_episode(2, 6)
    store.add(second.piece("a", 0, 2))
    line = store.episodes[1]
    assert_holds(store, line, second, 2)
    padded = store.gather(line, 7)
    assert set(np.round(padded[:, 0])) == {2}


def test_reopened_slot_drops_the_unfinished_episode():
    store = EpisodeStore(2, 1, 50)
    store.add(make_episode(1, 6).piece("a", 0, 4))
    second = make_episode(2, 3)
    store.add(second.piece("a", 0, 2))
    assert len(store.episodes) == 1
    store.add(second.piece("a", 2, 3))
    assert len(store.finished) == 1
    assert_holds(store, store.finished[0], second)


@pytest.mark.parametrize("begin", [1, 3, 5])
def test_piece_that_does_not_continue_its_slot_is_dropped_with_the_episode(begin):
    store = EpisodeStore(2, 1, 50)
    episode = make_episode(1, 8)
    store.add(episode.piece("a", 0, 2))
    assert not store.add(episode.piece("a", begin, 7))
    assert len(store.episodes) == 0
    assert not store.add(episode.piece("a", 7, 8))
    assert len(store.finished) == 0
    assert store.add(make_episode(2, 3).piece("a"))  # the slot itself is fine


def test_piece_of_another_task_or_of_an_unknown_slot_is_dropped():
    store = EpisodeStore(2, 1, 50)
    store.add(make_episode(1, 8, task_id=0).piece("a", 0, 2))
    assert not store.add(make_episode(1, 8, task_id=1).piece("a", 2, 4))
    assert not store.add(make_episode(1, 8).piece("b", 2, 4))
    assert len(store.episodes) == 0


def test_piece_of_an_unknown_task_has_that_of_the_episodes_first_piece():
    store = EpisodeStore(2, 1, 50)
    episode = make_episode(1, 8, task_id=3)
    store.add(episode.piece("a", 0, 2))
    assert store.add(replace(episode.piece("a", 2, 8), task_id=None))
    assert_holds(store, store.finished[0], episode)
    assert store.add(replace(episode.piece("b"), task_id=None))
    assert store.finished["task_id"].tolist() == [3, 0]


def test_episode_longer_than_the_ring_is_an_error_naming_both_sizes():
    store = EpisodeStore(2, 1, 10)
    assert store.add(make_episode(1, 9).piece("a"))  # nine steps are ten rows
    episode = make_episode(2, 12)
    store.add(episode.piece("a", 0, 6))
    with pytest.raises(ValueError, match=r"task 0 has 10 or more steps.*only 10.*capacity"):
        store.add(episode.piece("a", 6, 10))


def test_episodes_outgrowing_their_room_are_moved_unharmed():
    store = EpisodeStore(2, 1, 2000)
    done = make_episode(9, 100)
    store.add(done.piece("c"))
    first, second = make_episode(1, 900), make_episode(2, 1100)
    for begin in range(0, 900, 180):
        store.add(first.piece("a", begin, begin + 180))
        store.add(second.piece("b", begin, begin + 180))
        assert_holds(store, store.finished[0], done)
    assert_holds(store, store.finished[1], first)
    assert_holds(store, store.episodes[2], second, 900)
    assert task_store.INITIAL_ROOM < 900  # else nothing moved


def test_first_row_is_clean_wherever_an_episode_opens():
    """After the rooms have grown, places begin where the middle of some former episode was."""
    store = EpisodeStore(2, 1, 2000)
    for slot in range(4):
        store.add(make_episode(slot + 1, 250).piece(slot, 0, 200))
    store.drop_open()
    store.add(make_episode(9, 700).piece("long", 0, 600))  # the others' old rooms are parts of the new ones
    episodes = [make_episode(number, 3) for number in range(11, 14)]
    for episode in episodes:
        store.add(episode.piece(episode.number, 0, 1))
    for line, episode in zip(store.episodes[1:], episodes, strict=True):
        assert_holds(store, line, episode, 1)


def test_slots_that_never_come_back_leave_no_memory_behind():
    """RLlib's own runner keys pieces by episode, so every episode is a new slot."""
    store = EpisodeStore(2, 1, 1000)
    sizes = []
    for number in range(0, 400, 2):
        episodes = [make_episode(number, 5), make_episode(number + 1, 5)]
        for episode in episodes:  # two at a time
            store.add(episode.piece(("episode", episode.number), 0, 3))
        for episode in episodes:
            if number % 10:
                store.add(episode.piece(("episode", episode.number), 3, 5))
            else:  # lost and noticed
                store.add(episode.piece(("episode", episode.number), 4, 5))
        sizes.append(len(store.rows))
    assert len(store.episodes) == len(store.finished) > 100
    assert sizes[-1] == sizes[0] == 1000 + 2 * task_store.INITIAL_ROOM


def test_drop_open_frees_the_places_too():
    store = EpisodeStore(2, 1, 100)
    for number in range(50):
        store.add(make_episode(number, 5).piece(number, 0, 3))
        store.drop_open()
        assert len(store.episodes) == 0
    assert len(store.rows) == 100 + task_store.INITIAL_ROOM


def test_gather_repeats_the_last_row_past_the_end():
    store = EpisodeStore(2, 1, 50)
    short, long = make_episode(1, 2), make_episode(2, 5)
    store.add(short.piece("a"))
    store.add(long.piece("a"))
    rows = store.gather(store.finished[[[0, 1], [1, 0]]], 6)
    assert rows.shape == (2, 2, 6, 4)
    padded = np.concatenate([short.rows, np.repeat(short.rows[-1:], 3, axis=0)])
    np.testing.assert_array_equal(rows[0, 0], padded)
    np.testing.assert_array_equal(rows[1, 1], padded)
    np.testing.assert_array_equal(rows[0, 1], long.rows)


# --- State ----------------------------------------------------------------------------------------------------------


def filled(capacity: int, num_episodes: int, seed: int = 0) -> EpisodeStore:
    rng = np.random.default_rng(seed)
    store = EpisodeStore(3, 2, capacity)
    for number in range(num_episodes):
        store.add(random_episode(rng, int(rng.integers(2, 12)), number % 3, number % 2 == 0).piece("a"))
    return store


@pytest.mark.parametrize("num_episodes", [0, 3, 40])  # empty, within the first round, wrapped
def test_restored_store_is_the_same_and_goes_on_in_the_same_way(num_episodes):
    store = filled(100, num_episodes)
    store.add(make_episode(7, 300, obs_dim=3, action_dim=2).piece("open", 0, 90))  # left out of the state
    state = store.get_state()
    restored = EpisodeStore(3, 2, 100)
    restored.set_state(state)
    assert_same(store, restored)
    assert len(restored.episodes) == len(store.finished)
    rng = np.random.default_rng(1)
    for _ in range(30):
        piece = random_episode(rng, int(rng.integers(2, 12))).piece("a")
        store.add(piece)
        restored.add(piece)
        assert_same(store, restored)
    if num_episodes == 40:
        assert state["head"] < state["table"]["start"].max()  # it had wrapped


def test_state_is_a_copy():
    store = filled(100, 40)
    reference = EpisodeStore(3, 2, 100)
    reference.set_state(store.get_state())
    state = store.get_state()
    for _ in range(20):
        store.add(make_episode(1, 8, obs_dim=3, action_dim=2).piece("a"))
    restored = EpisodeStore(3, 2, 100)
    restored.set_state(state)
    assert_same(restored, reference)


@pytest.mark.parametrize("capacity", [10, 30, 55])
def test_smaller_store_keeps_the_newest_episodes_that_fit(capacity):
    store = filled(100, 40)
    smaller = EpisodeStore(3, 2, capacity)
    smaller.set_state(store.get_state())
    kept = [line for line in store.finished if line["length"] < capacity]
    assert 0 < len(smaller.finished) < len(store.finished)
    for old, new in zip(kept[-len(smaller.finished) :], smaller.finished, strict=True):
        np.testing.assert_array_equal(stored_rows(store, old), stored_rows(smaller, new))
        assert new["start"] + new["length"] + 1 <= capacity
        for name in ("length", "task_id", "episode_return", "terminated"):
            assert old[name] == new[name]
    assert smaller.add(make_episode(1, capacity - 1, obs_dim=3, action_dim=2).piece("a"))
    assert len(smaller.finished) == 1


def test_restoring_into_a_larger_store_keeps_everything():
    store = filled(100, 40)
    larger = EpisodeStore(3, 2, 300)
    larger.set_state(store.get_state())
    assert_same(store, larger)
    num_kept = len(larger.finished)
    for number in range(20):
        episode = make_episode(number, 8, obs_dim=3, action_dim=2)
        larger.add(episode.piece("a"))
        assert_holds(larger, larger.finished[-1], episode)
    assert len(larger.finished) > num_kept


def test_restoring_other_widths_is_an_error_naming_them():
    state = filled(100, 3).get_state()
    with pytest.raises(ValueError, match=r"rows of 6 numbers.*gives 8 \(observation 5, action 2, reward\)"):
        EpisodeStore(5, 2, 100).set_state(state)


def test_restoring_forgets_open_episodes():
    state = filled(100, 3).get_state()
    store = EpisodeStore(3, 2, 100)
    store.add(make_episode(1, 8, obs_dim=3, action_dim=2).piece("a", 0, 4))
    store.set_state(state)
    assert len(store.episodes) == len(store.finished) == 3
    assert not store.add(make_episode(1, 8, obs_dim=3, action_dim=2).piece("a", 4, 8))


def test_steps_of_an_episode_opened_without_steps_do_not_count():
    store = EpisodeStore(2, 1, 50)
    episode = make_episode(1, 3)
    store.add(EpisodePiece("a", 0, 0, episode.obs[:1], episode.actions[:0], episode.rewards[:0]))
    assert len(store.episodes) == store.num_steps == 0
    assert store.add(episode.piece("a", 0, 3))
    assert_holds(store, store.finished[0], episode)


# --- What is kept of an episode as a whole --------------------------------------------------------------------------


def test_fields_of_an_episode_stay_with_it_through_the_ring_and_a_restore():
    store = EpisodeStore(2, 1, capacity=30, fields={"skill": 2})
    for number in range(8):  # 6 rows each: the first three are overwritten
        episode = make_episode(number, 5, task_id=number % 2)
        first, second = (
            replace(episode.piece("a", *span), fields={"skill": skill})
            for span, skill in (
                ((0, 2), [number, -number]),
                ((2, 5), [99, 99]),  # the episode has the skill that it was begun with
            )
        )
        assert store.add(first)
        assert store.add(second)
    store.add(replace(make_episode(8, 5).piece("b", 0, 2), fields={"skill": [8, -8]}))
    assert store.episodes["skill"].tolist() == [[n, -n] for n in (*range(3, 8), 8)]
    assert store.gather(store.finished, 1)[:, 0, 0].tolist() == [3, 4, 5, 6, 7]

    other = EpisodeStore(2, 1, capacity=30, fields={"skill": 2})
    other.set_state(store.get_state())
    assert other.finished["skill"].tolist() == store.finished["skill"].tolist()
    with pytest.raises(ValueError, match=r"has .*'skill'.* of each episode, but this algorithm needs"):
        EpisodeStore(2, 1, capacity=30).set_state(store.get_state())
