"""Tasks that are a list of sub-tasks, each of which counts only once all before it have been done."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .checks import suggest


class OrderedSubtasks:
    """Counts sub-tasks in their order.

    A sub-task that is done too early is not lost: it counts once all before it have been done, if it still is done.

    Args:
        names: The sub-tasks, in their order.

    Attributes:
        names: Likewise.
        num_done: How many of them have been counted since the last reset.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.num_done = 0

    def reset(self) -> None:
        """Begins again."""
        self.num_done = 0

    def count(self, is_done: Callable[[str], bool]) -> int:
        """Counts what is done now.

        Args:
            is_done: Whether a sub-task is done at present.

        Returns:
            How many are counted for the first time.
        """
        before = self.num_done
        while not self.all_done and is_done(self.names[self.num_done]):
            self.num_done += 1
        return self.num_done - before

    @property
    def all_done(self) -> bool:
        """Whether all have been counted."""
        return self.num_done == len(self.names)

    @property
    def done(self) -> tuple[str, ...]:
        """Those that have been counted, in their order."""
        return self.names[: self.num_done]


def check_subtasks(given: Any, known: Iterable[str]) -> tuple[str, ...]:
    """Returns the argument ``subtasks`` if it is a list of different known names.

    Raises:
        ValueError: It is not; the message says what was expected.
    """
    known = list(known)
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) == 0:
        raise ValueError(f"subtasks={given!r}: expected a list of names, in the order in which they count. "
                         f"Known: {', '.join(known)}.")  # fmt: skip
    for name in given:
        if name not in known:
            raise ValueError(f"subtasks={list(given)!r}: {name!r} is unknown. {suggest(name, known)}")
    if len(set(given)) < len(given):
        raise ValueError(f"subtasks={list(given)!r}: a name is there twice. Each can be done once.")
    return tuple(given)
