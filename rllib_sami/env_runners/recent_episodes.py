"""Metrics of the last finished episodes of all env runners together, in total and by meta-task."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rllib_sami import compat
from rllib_sami.core.metric_names import RETURN_BY_TASK, SUCCESS_RATE

logger = logging.getLogger(__name__)
EpisodeStats = tuple[int, float, int, float]  # task, return, length, success (1 or 0; NaN if unknown)
MOST_TASKS = 200


class NamedTasks:
    """The task ids that have metrics of their own: the first ``MOST_TASKS``.

    Without a limit, metrics would accumulate, because loggers, Tune and the live table keep every metric of a run.
    """

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.are_all = True  # whether there are no other tasks

    def add(self, task_id: int) -> bool:
        """Adds a task, unless there are too many; returns whether it has a metric."""
        if task_id not in self.ids and len(self.ids) < MOST_TASKS:
            self.ids.add(task_id)
        elif task_id not in self.ids and self.are_all:
            self.are_all = False
            logger.warning(
                "There are more than %d different task ids: `%s` names only the first %d of them from now on.",
                MOST_TASKS,
                RETURN_BY_TASK,
                MOST_TASKS,
            )
        return task_id in self.ids


class RecentEpisodes:
    """The last finished episodes of training, of all env runners.

    Args:
        size: Number of episodes to average over (``metrics_num_episodes_for_smoothing``). An iteration that finishes
            more is averaged over all of its episodes.
    """

    def __init__(self, size: int):
        self._size = max(1, size)
        self._episodes: list[EpisodeStats] = []
        self._tasks = NamedTasks()

    def begin(self, task_ids: Iterable[int]) -> None:
        """Adds the tasks of running episodes, which are in the results at once; NaN until an episode ends."""
        for task_id in task_ids:
            self._tasks.add(task_id)

    def report(self, finished: Sequence[EpisodeStats]) -> dict[str, Any]:
        """Adds the episodes that an iteration has finished, the newest last, and returns its metrics."""
        recent = [*self._episodes, *finished][-max(self._size, len(finished)) :]
        self._episodes = recent[-self._size :]
        self.begin(task_id for task_id, *_ in finished)
        _, returns, lengths, successes = zip(*recent, strict=True) if recent else ((),) * 4
        of_task: dict[int, list[float]] = {}
        for task_id, total, *_ in recent:
            of_task.setdefault(task_id, []).append(total)
        # If there are too many tasks, most of the first ones never come back.
        named = [task_id for task_id in sorted(self._tasks.ids) if self._tasks.are_all or task_id in of_task]
        return {
            **compat.episode_statistics(returns, lengths),
            SUCCESS_RATE: _mean([success for success in successes if not math.isnan(success)]),
            RETURN_BY_TASK: {str(task_id): _mean(of_task.get(task_id, [])) for task_id in named},
        }

    def get_state(self) -> dict[str, Any]:
        """The episodes, oldest first, and the tasks with metrics."""
        tasks = self._tasks
        return {"episodes": list(self._episodes), "tasks": sorted(tasks.ids), "are_all_tasks": tasks.are_all}

    def set_state(self, state: dict[Any, Any]) -> None:
        """Restores :meth:`get_state`; old checkpoints have lists of episodes by the index of their env runner."""
        if "episodes" not in state:
            episodes = [one for window in state.values() for one in window]
            state = {"episodes": episodes, "tasks": [task_id for task_id, *_ in episodes], "are_all_tasks": True}
        self._episodes = [tuple(one) for one in state["episodes"]]
        self._tasks = NamedTasks()
        self.begin(state["tasks"])
        self._tasks.are_all = state["are_all_tasks"]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
