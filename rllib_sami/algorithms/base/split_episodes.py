"""Evaluation during training: RLlib's evaluation runners play the fixed episodes of each split."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from rllib_sami import compat
from rllib_sami.core.env_values import name_of
from rllib_sami.core.faults import EnvironmentFaultError, closing
from rllib_sami.core.metric_names import ENV_STEPS, OWN_SPLIT, RETURN_BY_TASK, RETURN_MEAN, SUCCESS_RATE, USUAL_SPLITS
from rllib_sami.env_runners.agents import make_agent
from rllib_sami.env_runners.episodes import Episode
from rllib_sami.env_runners.splits import SplitGrid, WrongSplitError
from rllib_sami.envs import MetaTaskEnv  # installed from envs/

logger = logging.getLogger(__name__)
SEED = 0  # that of `rllib evaluate`, so that the numbers are the same


def split_grids(config: Any) -> list[SplitGrid]:
    """Returns the episodes of each split; an empty list where RLlib's own evaluation takes place.

    Raises:
        ValueError: ``evaluation_splits`` or ``evaluation_duration`` is impossible with this environment.
    """
    if not config.can_evaluate_splits or config.evaluation_splits == []:
        return []
    evaluation, duration = config.get_evaluation_config_object(), config.evaluation_duration
    grid = SplitGrid(name_of(evaluation.env), evaluation)
    with closing(grid.make_env(), grid.name) as env:
        # Checked below, where something is played.
        episodes, seed = duration if isinstance(duration, int) else 1, evaluation_seed(config)
        if config.evaluation_splits is None:
            grids = _default_grids(config, grid, env, episodes, seed)
        else:
            grids = [_grid_of(grid, env, split, episodes, seed) for split in config.evaluation_splits]
    if grids and (config.evaluation_duration_unit != "episodes" or not isinstance(duration, int)):
        raise ValueError(
            f"`evaluation_duration` is {duration!r} {config.evaluation_duration_unit}, but must be the number of "
            "episodes of each meta-task. Set `evaluation_duration_unit` to 'episodes' and `evaluation_duration` to "
            "an integer such as 5, or `evaluation_splits` to [] for RLlib's own evaluation."
        )
    return grids


def evaluation_seed(config: Any) -> int:
    """Returns the seed in ``evaluation_config``, or else the one that all training runs share."""
    given = config.evaluation_config or {}
    seed = given.get("seed") if isinstance(given, Mapping) else given.seed
    return SEED if seed is None else seed


def _default_grids(config: Any, grid: SplitGrid, env: gymnasium.Env, episodes: int, seed: int) -> list[SplitGrid]:
    """Returns what is played if the config names no splits."""
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, MetaTaskEnv):
        return []
    given = config.evaluation_config or {}
    env_config = (given.get("env_config") if isinstance(given, Mapping) else given.env_config) or {}
    splits = [split for split in USUAL_SPLITS if split in unwrapped.splits]
    if isinstance(env_config.get("split"), str):
        splits = [unwrapped.split]
    if unwrapped.split != "custom" and "tasks" not in env_config and splits:
        # A wrapper may not pass on the split in an `env_config`.
        with contextlib.suppress(ValueError):
            return [_grid_of(grid, env, split, episodes, seed) for split in splits]
    return [_grid_of(grid, env, OWN_SPLIT, episodes, seed)]


def _grid_of(grid: SplitGrid, env: gymnasium.Env, split: str, episodes: int, seed: int) -> SplitGrid:
    try:
        return grid.with_split(env, split, episodes, seed)
    except WrongSplitError:
        raise
    except ValueError as error:
        raise ValueError(f"`evaluation_splits` has {split!r}, but with it {error}") from error


def play_chunk(
    runner: Any, chunk: SplitGrid, weights: dict[str, Any], seconds: float = math.inf, again: bool = False
) -> list[Episode] | str | None:
    """Plays the episodes of a chunk in a runner's process.

    Args:
        runner: The runner, of evaluation or of training; its ``players`` keep the environments for the next time.
        chunk: What to play.
        weights: Weights of encoder and actor, as ``compat.acting_weights`` returns them.
        seconds: How long to play.
        again: Whether to continue with what the last call left over.

    Returns:
        The episodes; None if there is more to play. If it failed, the reason: the exception itself may not survive
        the way to another process.
    """
    split, players, keep = chunk.split, runner.players, False
    try:
        if not (again and split in players):  # a runner that was restarted has no episodes to continue with
            runner.set_state(weights)
            if split not in players:
                players[split] = chunk.player()
            players[split].start(make_agent(runner.module, None, chunk.config.explore), chunk.episodes)
        episodes = players[split].resume(seconds)
        keep = episodes is None or not chunk.single_env  # else it would continue with other tasks
        return episodes
    except Exception as error:
        logger.info("Evaluation failed.", exc_info=True)
        return str(error) if isinstance(error, EnvironmentFaultError) else f"{type(error).__name__}: {error}"
    finally:
        if not keep and split in players:
            players.pop(split).close()


def join_chunks(played: Sequence[list[Episode] | str | None]) -> list[Episode] | None:
    """Returns the episodes of all chunks; None, with a warning that says why, if some are missing."""
    for chunk in played:
        if isinstance(chunk, str):
            logger.warning("%s", chunk)
            return None
    lost = sum(chunk is None for chunk in played)
    if lost:
        logger.warning(
            "Evaluation runners gave no result for %d of %d portions of the episodes: they are lost, or did not answer "
            "for `evaluation_sample_timeout_s`. Do their environments hang? If they are only slow, raise it.",
            lost,
            len(played),
        )
        return None
    return [episode for chunk in played for episode in chunk]  # type: ignore[union-attr, misc]


def summarise(episodes: Iterable[Episode], before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is reported under ``evaluation/``.

    Args:
        episodes: All episodes of an evaluation.
        before: Results of the evaluation before it, or :func:`empty_results`.

    Returns:
        For each split ``return_mean``, ``success_rate`` (NaN if unknown) and
        ``return_by_task``; ``env_runners`` has RLlib's own metrics over all episodes.
    """
    by_split: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_split.setdefault(episode.spec.split, []).append(episode)
    results: dict[str, Any] = {}
    for split, of_split in by_split.items():
        by_task: dict[str, list[float]] = {}
        for episode in of_split:
            # What was asked for, or else what the environment told.
            task = episode.spec.task_id if episode.spec.task_id is not None else episode.task_id
            if task is not None:
                by_task.setdefault(str(task), []).append(episode.total)
        results[split] = {
            RETURN_MEAN: float(np.mean([episode.total for episode in of_split])),
            SUCCESS_RATE: _success_rate(of_split),
            RETURN_BY_TASK: {task: float(np.mean(totals)) for task, totals in by_task.items()},
        }
    everything = [episode for of_split in by_split.values() for episode in of_split]
    results[compat.ENV_RUNNER_RESULTS] = compat.evaluated_episodes(
        [episode.total for episode in everything],
        [episode.length for episode in everything],
        before[compat.ENV_RUNNER_RESULTS],
    )
    results[compat.ENV_RUNNER_RESULTS][SUCCESS_RATE] = _success_rate(everything)
    return results


def empty_results(grids: Sequence[SplitGrid]) -> dict[str, Any]:
    """Returns results with NaN for every number that the first evaluation will report.

    Tune reads the columns of its table, and the metrics to stop at, from the very first result.
    """
    results: dict[str, Any] = {
        grid.split: {
            RETURN_MEAN: math.nan,
            SUCCESS_RATE: math.nan,
            RETURN_BY_TASK: {str(spec.task_id): math.nan for spec in grid.episodes if spec.task_id is not None},
        }
        for grid in grids
    }
    return results | {compat.ENV_RUNNER_RESULTS: no_episodes(), ENV_STEPS: math.nan}


def no_episodes() -> dict[str, float]:
    """Returns ``evaluation/env_runners`` of no episodes: means are NaN, counts 0."""
    return {**compat.evaluated_episodes([], [], {}), SUCCESS_RATE: math.nan}


def _success_rate(episodes: Sequence[Episode]) -> float:
    known = [episode.success for episode in episodes if episode.success is not None]
    return float(np.mean(known)) if known else math.nan
