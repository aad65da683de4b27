"""Evaluation: calls of RLlib's evaluation runners, and connectors that must learn nothing from what they see there.

Touches ``EnvRunnerGroup`` and its manager of actors (``_worker_manager``), and a connector's ``_update_stats``.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .sampling import new_episode_id

if TYPE_CHECKING:
    from ray.rllib.connectors.connector_v2 import ConnectorV2
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

PLAYING = "play"  # tag of the calls of an evaluation
POLL_S = 0.02  # between two looks for what evaluation runners have finished


def call_on_runners(
    group: "EnvRunnerGroup", function: Callable[..., Any], calls: Sequence[dict[str, Any]], timeout_s: float
) -> list[Any]:
    """Has a group's remote env runners make calls ``function(runner, **kwargs)``, each runner one after the other.

    What a lost runner was at is given to another one.

    Args:
        group: The group.
        function: What to call.
        calls: Keyword arguments of each call.
        timeout_s: How long to wait for the next result in seconds.

    Returns:
        The result of each call, None where no runner was left or time was up.
    """
    round_id = new_episode_id()  # tells late results of an earlier round from ours
    results: dict[int, Any] = {}
    waiting, under_way = deque(range(len(calls))), dict[int, int]()
    newest = time.monotonic()
    while len(results) < len(calls) and time.monotonic() - newest < timeout_s:
        healthy = group.healthy_env_runner_ids()
        for runner_id in under_way.keys() - set(healthy):
            waiting.append(under_way.pop(runner_id))
        if not healthy:
            break
        for runner_id in healthy:
            if waiting and runner_id not in under_way:
                call = functools.partial(_call, function, (round_id, waiting[0]))
                # It takes none while it is at one of an earlier round.
                if group.foreach_env_runner_async(
                    call, tag=PLAYING, kwargs=calls[waiting[0]], remote_worker_ids=[runner_id]
                ):
                    under_way[runner_id] = waiting.popleft()
        # The manager's own method: that of the group raises what a runner's death raised.
        for reply in group._worker_manager.fetch_ready_async_reqs(tags=PLAYING, timeout_seconds=POLL_S):
            if reply.ok and reply.get()[0][0] == round_id:
                (_, number), results_of_call = reply.get()
                results[number] = results_of_call
                under_way.pop(reply.actor_id, None)
                newest = time.monotonic()
    return [results.get(number) for number in range(len(calls))]


def _call(function: Callable[..., Any], number: tuple[str, int], runner: Any, **kwargs: Any) -> Any:
    return number, function(runner, **kwargs)


def freeze_statistics(pipeline: "ConnectorV2") -> None:
    """Lets connectors that keep statistics of what they see, such as ``MeanStdFilter``, only use those they have."""
    for piece in getattr(pipeline, "connectors", []):
        freeze_statistics(piece)
    if hasattr(pipeline, "_update_stats"):
        pipeline._update_stats = False
