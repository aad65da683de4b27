"""Sampling: episodes as RLlib stores them, and rounds of its env runners, local or remote.

Touches ``SingleAgentEpisode`` and its buffers, ``EnvRunnerGroup`` and its manager of actors (``_worker_manager``,
``_in_flight_req_to_actor_id``), and an env runner's ``_needs_initial_reset`` and ``worker_index``.
"""

import logging
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

logger = logging.getLogger(__name__)
SAMPLING = "sample"  # tag of the calls that go on during updates


def new_episode_id() -> str:
    """An id as RLlib's episodes have."""
    return uuid.uuid4().hex


def episode_from_arrays(
    *,
    id_: str,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    info: dict[str, Any],
    last_info: dict[str, Any],
    terminated: bool,
    truncated: bool,
    t_started: int,
) -> SingleAgentEpisode:
    """An episode (piece) over arrays ``[n + 1, O]``, ``[n, A]`` and ``[n]``; all but the last share one info dict."""
    return SingleAgentEpisode(
        id_=id_,
        observations=InfiniteLookbackBuffer(data=observations),
        actions=InfiniteLookbackBuffer(data=actions),
        rewards=InfiniteLookbackBuffer(data=rewards),
        infos=InfiniteLookbackBuffer(data=[info] * len(actions) + [last_info]),
        terminated=terminated,
        truncated=truncated,
        t_started=t_started,
        len_lookback_buffer=0,
    )


def sample_locally(algorithm: "Algorithm", *, random_actions: bool) -> list[SingleAgentEpisode]:
    """One round of sampling of the local env runner; its metrics go to the algorithm's logger."""
    runner = algorithm.env_runner_group.local_env_runner
    episodes = runner.sample(random_actions=random_actions)
    algorithm.metrics.aggregate([runner.get_metrics()], key=ENV_RUNNER_RESULTS)
    return episodes


def begin_sampling(algorithm: "Algorithm", *, random_actions: bool) -> None:
    """Starts a round of sampling of all remote env runners that are not at it already; does not wait."""

    def sample(runner: Any) -> tuple[list[SingleAgentEpisode], Any, Exception | None]:
        try:
            return runner.sample(random_actions=random_actions), runner.get_metrics(), None
        except Exception as error:  # RLlib would wait a minute, end the runner and start again, without end if need be
            return [], None, error

    algorithm.env_runner_group.foreach_env_runner_async(sample, tag=SAMPLING)


def finish_sampling(algorithm: "Algorithm") -> list[SingleAgentEpisode]:
    """Waits for the rounds that were begun, as :func:`sample_locally` does.

    Rounds of env runners that were lost are missing; RLlib restarts them (``restart_failed_env_runners``). So are
    those of runners that hang, which are ended here.

    Raises:
        Exception: What an environment raised in an env runner.
        TimeoutError: If a runner hangs and may not be made again.
    """
    group = algorithm.env_runner_group
    manager, limit = group._worker_manager, algorithm.config.sample_timeout_s
    rounds = []
    for result in manager.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=limit):
        if result.ok:
            episodes, metrics, error = result.get()
            if error is not None:
                raise error  # as a local env runner does
            rounds.append((result.actor_id, episodes, metrics))
    for tag, actor_id in list(manager._in_flight_req_to_actor_id.values()):
        if tag != SAMPLING or not manager.is_actor_healthy(actor_id):
            continue
        late = f"Env runner {actor_id} has not answered for {limit:g} s (`sample_timeout_s`)"
        again = algorithm.config.restart_failed_env_runners
        ray.kill(manager.actors()[actor_id], no_restart=not again)  # else stopping would wait for it
        if not again:
            raise TimeoutError(
                f"{late}, and `restart_failed_env_runners` is False. Does its environment hang? If it is only slow, "
                "raise `sample_timeout_s` or lower `rollout_fragment_length`."
            )
        logger.warning("%s: it is stopped and restarted, its episodes are lost.", late)
    # In the order of the runners, not of their speed, so that a run can be repeated.
    rounds.sort(key=lambda one: one[0])
    algorithm.metrics.aggregate([metrics for _, _, metrics in rounds], key=ENV_RUNNER_RESULTS)
    return [episode for _, episodes, _ in rounds for episode in episodes]


def num_lost_runners(algorithm: "Algorithm") -> int:
    """Remote env runners that are not there, or not yet again."""
    group = algorithm.env_runner_group
    return group.num_remote_env_runners() - group.num_healthy_remote_workers()


def begin_new_episodes(algorithm: "Algorithm") -> None:
    """Lets every env runner reset its environments before it samples again; drops what is being sampled."""
    algorithm.env_runner_group.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=algorithm.config.sample_timeout_s)
    algorithm.env_runner_group.foreach_env_runner(lambda runner: setattr(runner, "_needs_initial_reset", True))
