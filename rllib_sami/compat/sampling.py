"""Sampling: RLlib's episodes, and rounds of sampling of its local or remote env runners.

Touches ``SingleAgentEpisode`` and its buffers, ``EnvRunnerGroup`` and its actor manager (``_worker_manager``,
``_in_flight_req_to_actor_id``), and an env runner's ``_needs_initial_reset`` and ``worker_index``.
"""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

logger = logging.getLogger(__name__)
SAMPLING = "sample"  # tag of calls that continue during updates


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
    """An episode, or a piece of one, from arrays ``[n + 1, O]``, ``[n, A]`` and ``[n]``.

    Every step but the last one gets the same ``info`` dict.
    """
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
    """Samples once with the local env runner and adds its metrics to the algorithm's."""
    runner = algorithm.env_runner_group.local_env_runner
    episodes = runner.sample(random_actions=random_actions)
    algorithm.metrics.aggregate([runner.get_metrics()], key=ENV_RUNNER_RESULTS)
    return episodes


def begin_sampling(algorithm: "Algorithm", *, random_actions: bool) -> None:
    """Starts a round of sampling of all remote env runners that are not sampling already, without waiting."""

    def sample(runner: Any) -> tuple[list[SingleAgentEpisode], Any, Exception | None]:
        try:
            return runner.sample(random_actions=random_actions), runner.get_metrics(), None
        except Exception as error:  # RLlib would wait a minute, kill the runner and start again, possibly forever
            return [], None, error

    algorithm.env_runner_group.foreach_env_runner_async(sample, tag=SAMPLING)


def finish_sampling(algorithm: "Algorithm") -> list[SingleAgentEpisode]:
    """Waits for the rounds that were started; returns their episodes and adds their metrics to the algorithm's.

    Lost env runners contribute nothing; RLlib restarts them (``restart_failed_env_runners``). Neither do runners that
    hang, which are killed here.

    Raises:
        Exception: An environment raised it in an env runner.
        TimeoutError: A runner hangs and may not be restarted.
    """
    group = algorithm.env_runner_group
    manager, limit = group._worker_manager, algorithm.config.sample_timeout_s
    rounds = []
    for result in manager.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=limit):
        if result.ok:
            episodes, metrics, error = result.get()
            if error is not None:
                raise error  # as with a local env runner
            rounds.append((result.actor_id, episodes, metrics))
    for tag, actor_id in list(manager._in_flight_req_to_actor_id.values()):
        if tag != SAMPLING or not manager.is_actor_healthy(actor_id):
            continue
        late = f"Env runner {actor_id} has not answered for {limit:g} s (`sample_timeout_s`)"
        again = algorithm.config.restart_failed_env_runners
        ray.kill(manager.actors()[actor_id], no_restart=not again)  # otherwise stopping would wait for it
        if not again:
            raise TimeoutError(
                f"{late}, and `restart_failed_env_runners` is False. Does its environment hang? If it is only slow, "
                "raise `sample_timeout_s` or lower `rollout_fragment_length`."
            )
        logger.warning("%s: it is stopped and restarted, its episodes are lost.", late)
    # In the order of the runners, not of their speed, so that runs are reproducible.
    rounds.sort(key=lambda one: one[0])
    algorithm.metrics.aggregate([metrics for _, _, metrics in rounds], key=ENV_RUNNER_RESULTS)
    return [episode for _, episodes, _ in rounds for episode in episodes]


def num_lost_runners(algorithm: "Algorithm") -> int:
    """Number of remote env runners that are lost and not restarted yet."""
    group = algorithm.env_runner_group
    return group.num_remote_env_runners() - group.num_healthy_remote_workers()


def begin_new_episodes(algorithm: "Algorithm") -> None:
    """Makes every env runner reset its environments before it samples again; drops running rounds of sampling."""
    algorithm.env_runner_group.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=algorithm.config.sample_timeout_s)
    algorithm.env_runner_group.foreach_env_runner(lambda runner: setattr(runner, "_needs_initial_reset", True))
