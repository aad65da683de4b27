"""Evaluation: calls of RLlib's evaluation runners, and connectors whose statistics must not change there.

Touches ``EnvRunnerGroup`` and its actor manager (``_worker_manager``), and a connector's ``_update_stats``.
"""

import functools
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:
    from ray.rllib.connectors.connector_v2 import ConnectorV2
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

logger = logging.getLogger(__name__)
PLAYING = "play"  # tag of an evaluation's calls
POLL_S = 0.02  # how long to wait for finished calls at a time


def call_on_runners(
    group: "EnvRunnerGroup", function: Callable[..., Any], calls: Sequence[dict[str, Any]], timeout_s: float
) -> list[Any]:
    """Distributes calls ``function(runner, **kwargs)`` over a group's remote env runners; each makes one at a time.

    A call with more to do returns None and is repeated with ``again=True``, so that a long call can be told from one
    that hangs. The call of a lost runner is given to another one. A runner that is still busy with a call of an earlier
    round when the time is up is killed, so that RLlib restarts it.

    Args:
        group: The env runners.
        function: The function to call.
        calls: Keyword arguments of each call.
        timeout_s: How long to wait for the next answer, in seconds.

    Returns:
        The result of each call; None if no runner was left or the time was up.
    """
    round_id = uuid.uuid4().hex  # tells late results of an earlier round from ours
    results: dict[int, Any] = {}
    waiting, under_way = deque(range(len(calls))), dict[int, int]()
    to_go_on: set[int] = set()  # runners
    has_answered: set[int] = set()
    newest = time.monotonic()
    while len(results) < len(calls) and time.monotonic() - newest < timeout_s:
        healthy = group.healthy_env_runner_ids()
        for runner_id in under_way.keys() - set(healthy):
            waiting.append(under_way.pop(runner_id))
            to_go_on.discard(runner_id)
        if not healthy:
            return [results.get(number) for number in range(len(calls))]
        for runner_id in healthy:
            again = runner_id in to_go_on
            if not again and (runner_id in under_way or not waiting):
                continue
            number = under_way[runner_id] if again else waiting[0]
            # A runner accepts no call while it is busy with one of an earlier round.
            if group.foreach_env_runner_async(
                functools.partial(_call, function, (round_id, number)),
                tag=PLAYING,
                kwargs={**calls[number], "again": again},
                remote_worker_ids=[runner_id],
            ):
                to_go_on.discard(runner_id)
                if not again:
                    under_way[runner_id] = waiting.popleft()
        # The manager's method, because the group's raises the error of a runner's death.
        for reply in group._worker_manager.fetch_ready_async_reqs(tags=PLAYING, timeout_seconds=POLL_S):
            has_answered.add(reply.actor_id)
            if reply.ok and reply.get()[0][0] == round_id:
                (_, number), results_of_call = reply.get()
                newest = time.monotonic()
                if results_of_call is None:
                    to_go_on |= {reply.actor_id} & under_way.keys()
                else:
                    results[number] = results_of_call
                    under_way.pop(reply.actor_id, None)
    if len(results) < len(calls):
        for runner_id in set(group.healthy_env_runner_ids()) - under_way.keys() - has_answered:
            logger.warning(
                "Evaluation runner %d has not answered since an earlier evaluation: it is stopped.", runner_id
            )
            ray.kill(group._worker_manager.actors()[runner_id], no_restart=False)
    return [results.get(number) for number in range(len(calls))]


def _call(function: Callable[..., Any], number: tuple[str, int], runner: Any, /, **kwargs: Any) -> Any:
    return number, function(runner, **kwargs)


def freeze_statistics(pipeline: "ConnectorV2") -> None:
    """Stops connectors from updating their statistics, such as those of ``MeanStdFilter``; they still use them."""
    for piece in getattr(pipeline, "connectors", []):
        freeze_statistics(piece)
    if hasattr(pipeline, "_update_stats"):
        pipeline._update_stats = False
