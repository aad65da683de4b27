"""Episodes of many tasks in one array.

A *row* is the data that arrives at one time step, ``[o_t, a_{t-1}, r_{t-1}]``. These are the inputs of the context
encoder, and two neighbouring rows are a transition. An episode of ``T`` steps takes ``T + 1`` neighbouring rows of the
array, from ``[o_0, 0, 0]`` to its final observation, so every batch is a single gather. Images have an array of their
own.

Finished episodes are stored in a ring, in which the oldest are overwritten first. An episode in progress has its own
room behind the ring until it ends, so that the agent can learn from it at once.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rllib_sami.core.images import ImageShape, newest_images
from rllib_sami.replay_buffers.image_store import ImageStore

# One line of the episode table. `start` is a row, `length` counts steps (rows minus one).
EPISODE_DTYPE = np.dtype(
    [("start", "i8"), ("length", "i8"), ("task_id", "i8"), ("episode_return", "f8"), ("terminated", "?")]
)
INITIAL_ROOM = 256  # rows for an open episode at first; doubled when episodes turn out to be longer


@dataclass(frozen=True)
class EpisodePiece:
    """Neighbouring steps of one episode.

    Attributes:
        slot: The environment that the episode runs in; each slot has one open episode.
        task_id: The episode's meta-task. None means that of the episode's first piece, and 0 in a first piece.
        first_step: Time step of the first transition; 0 opens a new episode.
        obs: Observations from before the first to after the last step, ``[n + 1, O]``; uint8 if they are images.
        actions: Normalised actions, ``[n, A]``.
        rewards: ``[n]``.
        done: Whether the episode ends with this piece.
        terminated: Whether it ends in a terminal state; otherwise it was truncated.
        fields: Further data of the whole episode, such as its skill; read from the first piece.
    """

    slot: Hashable
    task_id: int | None
    first_step: int
    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    done: bool = False
    terminated: bool = False
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)


class EpisodeStore:
    """Ring of finished episodes and room for open ones; see the module's docstring.

    Args:
        obs_dim: Observation width ``O``.
        action_dim: Action width ``A``.
        capacity: Rows of the ring. An episode of ``T`` steps takes ``T + 1``.
        fields: Widths of further columns of the episode table, by name: float32 vectors such as an episode's skill.
        images: Layout of observations that are images; rows then have no observation.

    Attributes:
        images: The images; None if observations are numbers.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        capacity: int,
        fields: Mapping[str, int] | None = None,
        images: ImageShape | None = None,
    ):
        self.obs_dim, self.action_dim, self.capacity = obs_dim if images is None else 0, action_dim, int(capacity)
        self.images = None if images is None else ImageStore(images, self.capacity)
        self.field_names = tuple(fields or ())
        self._dtype = np.dtype(EPISODE_DTYPE.descr + [(name, "f4", (width,)) for name, width in (fields or {}).items()])
        self._room = INITIAL_ROOM
        self._open: dict[Hashable, np.ndarray] = {}  # slot -> table line (shape [1]) of the episode in progress
        self._places: dict[Hashable, int] = {}  # slot -> place of its open episode behind the ring
        self._free: list[int] = []  # unused places
        self._reset_ring()
        self.rows = np.zeros((self.capacity, self.row_dim), np.float32)

    def _reset_ring(self) -> None:
        self._table = np.zeros(64, self._dtype)
        self._first = self._end = 0  # the table's lines in use, oldest first
        self._head = 0  # the ring's next free row

    @property
    def row_dim(self) -> int:
        """Width ``F = O + A + 1`` of a row."""
        return self.obs_dim + self.action_dim + 1

    @property
    def finished(self) -> np.ndarray:
        """Table of the finished episodes, oldest first: a view with dtype ``EPISODE_DTYPE`` and the fields."""
        return self._table[self._first : self._end]

    @property
    def episodes(self) -> np.ndarray:
        """Table of all episodes with at least one step, finished and open."""
        return np.concatenate([self.finished, *(line for line in self._open.values() if line["length"][0] > 0)])

    @property
    def num_steps(self) -> int:
        """Number of stored steps, including open episodes."""
        return int(self.episodes["length"].sum())

    def add(self, piece: EpisodePiece) -> bool:
        """Appends a piece to its slot's episode.

        A piece with ``first_step`` 0 opens a new episode; an unfinished episode of the slot is dropped, because its
        environment was lost. A piece that does not continue its slot's episode, after a restart, is ignored.

        Returns:
            Whether the piece was stored.

        Raises:
            UnusableValue: Images are no stacks of the last ones.
            ValueError: The episode is longer than the ring.
        """
        begins = piece.first_step == 0
        obs = piece.obs if self.images is None else newest_images(piece.obs, self.images.shape, begins)
        if begins:
            start = self._place(piece.slot)
            begun = np.zeros(1, self._dtype)
            begun["start"], begun["task_id"] = start, piece.task_id or 0
            for name, value in piece.fields.items():
                begun[name] = value
            self._open[piece.slot] = begun
            self.rows[start] = 0.0
            self._write_obs(start, obs[:1])
        line = self._open.get(piece.slot)
        continues = line is not None and line["length"][0] == piece.first_step
        if line is None or not continues or piece.task_id not in (None, line["task_id"][0]):
            self._drop(piece.slot)
            return False

        num_steps = len(piece.rewards)
        needed = piece.first_step + num_steps + 1
        if needed > self.capacity:
            raise ValueError(
                f"An episode of task {line['task_id'][0]} has {needed - 1} or more steps, but the replay buffer holds "
                f"only {self.capacity}. Raise `replay_buffer_config['capacity']`, or let the environment end its "
                "episodes."
            )
        if needed > self._room:
            self._grow_room(needed)
        first = int(line["start"][0]) + piece.first_step + 1
        rows = self.rows[first : first + num_steps]
        self._write_obs(first, obs[1:])
        rows[:, self.obs_dim : -1] = piece.actions
        rows[:, -1] = piece.rewards
        line["length"] += num_steps
        line["episode_return"] += piece.rewards.sum(dtype=np.float64)
        if piece.done:
            line["terminated"] = piece.terminated
            self._finish(piece.slot)
        return True

    def _write_obs(self, row: int, obs: np.ndarray) -> None:
        """Writes observations ``[n, O]``, or single images ``[n, H W C]``, of an open episode from ``row`` on."""
        if self.images is None:
            self.rows[row : row + len(obs), : self.obs_dim] = obs
        else:
            self.images.write(row, obs)

    def task_of(self, slot: Hashable) -> int | None:
        """Meta-task of a slot's episode in progress; None if there is none."""
        line = self._open.get(slot)
        return None if line is None else int(line["task_id"][0])

    def drop_open(self, keep: Collection[Hashable] = ()) -> None:
        """Drops all episodes in progress except those of the slots to keep."""
        for slot in [slot for slot in self._open if slot not in keep]:
            self._drop(slot)

    def gather(self, episodes: np.ndarray, num_rows: int) -> np.ndarray:
        """Returns whole episodes from their first row on.

        Args:
            episodes: Table lines, of any shape ``[...]``.
            num_rows: Rows to return of each; after an episode's end its last row is repeated.

        Returns:
            ``[..., num_rows, F]``.
        """
        return self.gather_steps(episodes, np.arange(num_rows))

    def gather_steps(self, episodes: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Returns rows of single time steps.

        Args:
            episodes: Table lines, ``[...]``.
            steps: Time steps, ``[..., n]``; those before an episode's start or after its end give its first or last
                row.

        Returns:
            ``[..., n, F]``.
        """
        return self.rows[episodes["start"][..., None] + np.clip(steps, 0, episodes["length"][..., None])]

    def gather_images(self, episodes: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Returns the images of observation and next observation of steps.

        Args:
            episodes: Table lines, of any shape ``[...]``.
            step: Steps within them, ``[...]``.

        Returns:
            ``[..., stack + 1, H W C]`` uint8: the stack of the observation, then the image that the step adds. Before
            an episode's start its first image is repeated.
        """
        assert self.images is not None
        offsets = np.maximum(step[..., None] + np.arange(1 - self.images.shape.stack, 2), 0)
        return self.images.gather(episodes["start"][..., None] + offsets)

    # --- State ------------------------------------------------------------------------------------------------------

    def get_state(self, *, copy: bool = True) -> dict[str, Any]:
        """Returns the finished episodes, packed. Open ones are left out, because their environments are not saved.

        With ``copy`` False, ``rows`` (and ``images``) is a list of views: at most two, unless a larger ring was
        restored into this one.
        """
        table = self.finished.copy()
        ends = table["start"] + table["length"] + 1
        begins_span = np.append(True, table["start"][1:] != ends[:-1])[: len(table)]
        firsts = np.flatnonzero(begins_span)
        lasts = np.append(firsts[1:], len(table))[: len(firsts)] - 1
        spans = [*zip(table["start"][firsts], ends[lasts], strict=True)] or [(0, 0)]
        arrays = {"rows": self.rows} | ({} if self.images is None else {"images": self.images.ring})
        packed = {name: [array[a:b] for a, b in spans] for name, array in arrays.items()}
        return {
            "table": table,
            **{name: np.concatenate(views) if copy else views for name, views in packed.items()},
            "head": self._head,
            "room": self._room,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores :meth:`get_state` of a store with the same widths.

        If this store is smaller, the oldest episodes are dropped, and those that are longer than it.

        Raises:
            ValueError: The widths or fields differ.
        """
        if state["rows"].shape[1] != self.row_dim:
            raise ValueError(
                f"The saved replay buffer has rows of {state['rows'].shape[1]} numbers, but this environment gives "
                f"{self.row_dim} (observation {self.obs_dim}, action {self.action_dim}, reward). "
                "Restore it with the environment that the checkpoint was made with."
            )
        size = None if self.images is None else self.images.shape.frame_size
        if (state["images"].shape[1] if "images" in state else None) != size:
            raise ValueError(
                "The saved replay buffer has other images than this environment. Restore it with the environment that "
                "the checkpoint was made with."
            )
        if state["table"].dtype != self._dtype:
            raise ValueError(
                f"The saved replay buffer has {state['table'].dtype.names} of each episode, but this algorithm needs "
                f"{self._dtype.names}. Restore it into the algorithm that the checkpoint was made with."
            )
        self.drop_open()
        self._reset_ring()
        table = state["table"]
        sizes = table["length"] + 1
        packed = np.concatenate([[0], np.cumsum(sizes)])
        same_places = len(table) == 0 or int((table["start"] + sizes).max()) <= self.capacity
        for line, begin, end in zip(table, packed, packed[1:], strict=False):
            if end - begin > self.capacity:
                continue
            # Each episode keeps its place, so that the restored ring overwrites in the same order.
            start = int(line["start"]) if same_places else self._allocate(int(end - begin))
            self.rows[start : start + end - begin] = state["rows"][begin:end]
            if self.images is not None:
                self.images.ring[start : start + end - begin] = state["images"][begin:end]
            self._append(line, start)
        if same_places and state["head"] <= self.capacity:
            self._head = state["head"]
        if state["room"] > self._room:
            self._grow_room(state["room"])

    # --- Room of open episodes --------------------------------------------------------------------------------------

    @property
    def _num_places(self) -> int:
        return (len(self.rows) - self.capacity) // self._room

    def _place(self, slot: Hashable) -> int:
        if slot not in self._places:
            if not self._free:
                old, new = self._num_places, max(1, 2 * self._num_places)
                self._resize(new * self._room)
                self._free.extend(range(old, new))
            self._places[slot] = self._free.pop()
        return self.capacity + self._places[slot] * self._room

    def _drop(self, slot: Hashable) -> None:
        """Drops a slot's open episode, if it has one, and frees its place."""
        if slot in self._open:
            del self._open[slot]
            self._free.append(self._places.pop(slot))

    def _grow_room(self, needed: int) -> None:
        old_rows, num_places = self.rows, self._num_places
        self._room = max(needed, 2 * self._room)
        old_images = None if self.images is None else self.images.room
        self._resize(num_places * self._room)
        for slot, line in self._open.items():
            old, new = int(line["start"][0]), self.capacity + self._places[slot] * self._room
            size = int(line["length"][0]) + 1
            self.rows[new : new + size] = old_rows[old : old + size]
            if self.images is not None and old_images is not None:
                self.images.write(new, old_images[old - self.capacity :][:size])
            line["start"] = new

    def _resize(self, extra: int) -> None:
        rows = np.zeros((self.capacity + extra, self.row_dim), np.float32)
        used = self.capacity if self._wrapped else self._head
        rows[:used] = self.rows[:used]
        # Open episodes keep their places when places are added; `_grow_room` moves them.
        kept = min(len(self.rows), len(rows)) - self.capacity
        rows[self.capacity : self.capacity + kept] = self.rows[self.capacity : self.capacity + kept]
        self.rows = rows
        if self.images is not None:
            self.images.resize_room(extra)

    # --- The ring ---------------------------------------------------------------------------------------------------

    @property
    def _wrapped(self) -> bool:
        return self._end > self._first and bool((self.finished["start"] >= self._head).any())

    def _finish(self, slot: Hashable) -> None:
        line = self._open[slot][0]
        self._drop(slot)
        old, size = int(line["start"]), int(line["length"]) + 1
        start = self._allocate(size)
        self.rows[start : start + size] = self.rows[old : old + size]
        if self.images is not None:
            self.images.finish(old, start, size)
        self._append(line, start)

    def _allocate(self, size: int) -> int:
        """Frees ``size`` neighbouring rows and returns the first one."""
        if self._head + size > self.capacity:
            # The tail is too short: leave it unused and evict its episodes of the last round.
            self._evict(self._head, self.capacity)
            self._head = 0
        start = self._head
        self._evict(start, start + size)
        self._head = start + size
        return start

    def _evict(self, begin: int, end: int) -> None:
        """Drops the oldest episodes while they start within ``[begin, end)``."""
        while self._first < self._end and begin <= self._table["start"][self._first] < end:
            self._first += 1

    def _append(self, line: np.void, start: int) -> None:
        if self._end == len(self._table):
            lines = self.finished
            table = np.zeros(max(64, 2 * len(lines)), self._dtype)
            table[: len(lines)] = lines
            self._table, self._first, self._end = table, 0, len(lines)
        self._table[self._end] = line
        self._table["start"][self._end] = start
        self._end += 1
