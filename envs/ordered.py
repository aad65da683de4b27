"""Tasks that are a list of sub-tasks, each of which counts only once all before it have been done."""

import math
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
        steps: By name, the step at which each that has been counted since the last reset was.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Begins again."""
        self.steps: dict[str, int] = {}
        self._step = 0

    def count(self, is_done: Callable[[str], bool]) -> int:
        """Counts what is done now. To be called once at each step.

        Args:
            is_done: Whether a sub-task is done at present.

        Returns:
            How many are counted for the first time.
        """
        self._step += 1
        before = self.num_done
        while not self.all_done and is_done(name := self.names[self.num_done]):
            self.steps[name] = self._step
        return self.num_done - before

    @property
    def num_done(self) -> int:
        """How many of them have been counted since the last reset."""
        return len(self.steps)

    @property
    def all_done(self) -> bool:
        """Whether all have been counted."""
        return self.num_done == len(self.names)

    @property
    def done(self) -> tuple[str, ...]:
        """Those that have been counted, in their order."""
        return tuple(self.steps)

    def info(self) -> dict[str, Any]:
        """Returns what the info of an episode's last step tells of them.

        It is ``tasks_completed``, the names of those that were counted; ``subtask_steps``, the step at which each was,
        infinity for the others; and ``is_success``, whether all were.
        """
        steps = {name: self.steps.get(name, math.inf) for name in self.names}
        return {"tasks_completed": self.done, "subtask_steps": steps, "is_success": self.all_done}


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
