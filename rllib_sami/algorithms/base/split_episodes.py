"""Evaluation during training: RLlib's evaluation runners play the fixed episodes of each split."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from rllib_sami import compat
from rllib_sami.core.env_values import name_of
from rllib_sami.core.faults import EnvironmentFaultError, Watch, closing, trying
from rllib_sami.core.metric_names import ENV_STEPS, OWN_SPLIT, RETURN_BY_TASK, RETURN_MEAN, SUCCESS_RATE, USUAL_SPLITS
from rllib_sami.env_runners.agents import make_agent
from rllib_sami.env_runners.episodes import Episode, Job, chooses, chunks_of, jobs_of
from rllib_sami.env_runners.player import TIMEOUT, Player
from rllib_sami.env_runners.splits import check_split, env_config_of
from rllib_sami.envs import MetaTaskEnv  # installed from envs/

logger = logging.getLogger(__name__)
SEED = 0  # that of `rllib evaluate`, so that the numbers are the same


@dataclass(frozen=True)
class Grid:
    """The episodes of one split, the same at every evaluation.

    Attributes:
        split: Name of the split.
        env: What its environments are made of, as in a config.
        env_config: Of its environments.
        explore: Whether the agent acts with noise.
        alone: Whether one environment has to play all episodes, one after the other.
        jobs: The episodes.
    """

    split: str
    env: Any
    env_config: dict[str, Any]
    explore: bool
    alone: bool = False
    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True)
class Chunk:
    """Episodes that are played at once: of ``grid``, which has no jobs of its own here."""

    grid: Grid
    jobs: list[Job]


@dataclass(frozen=True)
class Failure:
    """What went wrong, as text: the exception itself may not survive the way to another process."""

    text: str


def split_grids(config: Any) -> list[Grid]:
    """Returns what is played of each split; nothing where RLlib's own evaluation takes place.

    Raises:
        ValueError: ``evaluation_splits`` or ``evaluation_duration`` is impossible with this environment.
    """
    if not config.can_evaluate_splits or config.evaluation_splits == []:
        return []
    evaluation = config.get_evaluation_config_object()
    with closing(_make(evaluation, evaluation.env, evaluation.env_config), name_of(evaluation.env)) as env:
        seed, episodes = seed_of_evaluation(config), config.evaluation_duration
        # Checked below, where something is played.
        count = episodes if isinstance(episodes, int) else 1
        if config.evaluation_splits is None:
            grids = _usual_grids(config, evaluation, env, count, seed)
        else:
            grids = [_grid(evaluation, env, split, count, seed) for split in config.evaluation_splits]
    if grids and (config.evaluation_duration_unit != "episodes" or not isinstance(episodes, int)):
        raise ValueError(
            f"`evaluation_duration` is {episodes!r} {config.evaluation_duration_unit}, but must be the number of "
            "episodes of each meta-task. Set `evaluation_duration_unit` to 'episodes' and `evaluation_duration` to "
            "a whole number such as 5, or `evaluation_splits` to [] for RLlib's own evaluation."
        )
    return grids


def seed_of_evaluation(config: Any) -> int:
    """Returns the seed of the episodes: that in ``evaluation_config``, else one that all training runs share."""
    given = config.evaluation_config or {}
    seed = given.get("seed") if isinstance(given, Mapping) else given.seed
    return SEED if seed is None else seed


def _usual_grids(config: Any, evaluation: Any, env: gymnasium.Env, episodes: int, seed: int) -> list[Grid]:
    """Returns what is played where the config names no splits."""
    if not isinstance(env.unwrapped, MetaTaskEnv):
        return []
    given = config.evaluation_config or {}
    chosen = given.get("env_config") if isinstance(given, Mapping) else given.env_config
    splits = [split for split in USUAL_SPLITS if split in env.unwrapped.splits]
    if isinstance((chosen or {}).get("split"), str):
        splits = [env.unwrapped.split]
    if env.unwrapped.split != "custom" and "tasks" not in (chosen or {}) and splits:
        # The split in an `env_config` may not reach the environment, where wrappers do not let it through.
        with contextlib.suppress(ValueError):
            return [_grid(evaluation, env, split, episodes, seed) for split in splits]
    return [_grid(evaluation, env, OWN_SPLIT, episodes, seed)]


def _grid(evaluation: Any, env: gymnasium.Env, split: str, episodes: int, seed: int) -> Grid:
    env_config = dict(evaluation.env_config)
    if split != OWN_SPLIT:
        env_config = env_config_of(env, env_config, split)
    try:
        there = _make(evaluation, evaluation.env, env_config)
    except Exception as error:  # whatever a simulator raises
        raise ValueError(
            f"`evaluation_splits` has {split!r}, but the environment {name_of(evaluation.env)!r} cannot be made with "
            f"it: {' '.join(str(error).split())}"
        ) from error
    with closing(there, name_of(evaluation.env)):
        check_split(there, split, name_of(evaluation.env))
        with trying(name_of(evaluation.env), "reset", evaluation.evaluation_sample_timeout_s, TIMEOUT):
            jobs, alone = jobs_of(there, split, episodes, seed), chooses(there, seed)
        return Grid(split, evaluation.env, env_config, evaluation.explore, alone, jobs)


def _make(config: Any, env: Any, env_config: Mapping[str, Any], slot: int = 0) -> gymnasium.Env:
    config = config.copy(copy_frozen=False)
    config.env, config.env_config = env, dict(env_config)
    with Watch(name_of(env), config.evaluation_sample_timeout_s, TIMEOUT):
        return compat.env_creator(config, worker_index=0, slot=slot)()


def chunks_of_grids(grids: Sequence[Grid]) -> list[Chunk]:
    """Returns the work of one evaluation in portions, each for one runner."""
    return [
        Chunk(dataclasses.replace(grid, jobs=[]), jobs)
        for grid in grids
        for jobs in chunks_of(grid.jobs, in_one=grid.alone)
    ]


def play_on(
    runner: Any, chunk: Chunk, weights: dict[str, Any], seconds: float = math.inf, again: bool = False
) -> list[Episode] | Failure | None:
    """Plays a chunk in a runner's process.

    Args:
        runner: The runner, of evaluation or of training; its ``players`` keep the environments for the next time.
        chunk: What to play.
        weights: Of encoder and actor, as ``compat.acting_weights`` has them.
        seconds: How long to play.
        again: Whether to go on with what the last call left over.

    Returns:
        The episodes; None if there is more to play.
    """
    split, grid = chunk.grid.split, chunk.grid
    keep = False
    try:
        if not (again and split in runner.players):  # a runner that was started again has no episodes to resume
            runner.set_state(weights)
            if split not in runner.players:
                runner.players[split] = Player(
                    lambda slot: _make(runner.config, grid.env, grid.env_config, slot),
                    grid.alone,
                    name_of(grid.env),
                    runner.config.evaluation_sample_timeout_s,
                )
            runner.players[split].begin(make_agent(runner.module, None, grid.explore), chunk.jobs)
        episodes = runner.players[split].go_on(seconds)
        keep = episodes is None or not grid.alone  # else it would go on with other tasks
        return episodes
    except Exception as error:
        logger.info("Evaluation failed.", exc_info=True)
        return Failure(str(error) if isinstance(error, EnvironmentFaultError) else f"{type(error).__name__}: {error}")
    finally:
        if not keep and split in runner.players:
            runner.players.pop(split).close()


def episodes_of(played: Sequence[list[Episode] | Failure | None]) -> list[Episode] | None:
    """Returns the episodes of all chunks; None, with a warning that says why, if some are missing."""
    for chunk in played:
        if isinstance(chunk, Failure):
            logger.warning("%s", chunk.text)
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
    return [episode for chunk in played for episode in chunk]  # type: ignore[union-attr]


def results_of(episodes: Iterable[Episode], before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is reported under ``evaluation/``.

    Args:
        episodes: All episodes of an evaluation.
        before: What the evaluation before it reported (or :func:`empty_results`).

    Returns:
        For each split ``return_mean``, ``success_rate`` (NaN where the environment does not tell) and
        ``return_by_task``; ``env_runners`` has RLlib's own names, over all episodes.
    """
    by_split: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_split.setdefault(episode.job.split, []).append(episode)
    results: dict[str, Any] = {}
    for split, of_split in by_split.items():
        by_task: dict[str, list[float]] = {}
        for episode in of_split:
            if (task := _task_of(episode)) is not None:
                by_task.setdefault(task, []).append(episode.total)
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


def empty_results(grids: Sequence[Grid]) -> dict[str, Any]:
    """Returns results with NaN for every number that the first evaluation will report.

    Tune takes the columns of its table, and what one can stop at, from the very first result.
    """
    results: dict[str, Any] = {
        grid.split: {
            RETURN_MEAN: math.nan,
            SUCCESS_RATE: math.nan,
            RETURN_BY_TASK: {str(job.task_id): math.nan for job in grid.jobs if job.task_id is not None},
        }
        for grid in grids
    }
    return results | {compat.ENV_RUNNER_RESULTS: nothing_played(), ENV_STEPS: math.nan}


def nothing_played() -> dict[str, float]:
    """Returns what ``evaluation/env_runners`` has before the first evaluation: NaN, and nothing counted."""
    return {**compat.evaluated_episodes([], [], {}), SUCCESS_RATE: math.nan}


def _task_of(episode: Episode) -> str | None:
    """Returns the name of an episode's task in the results: what was asked for, else what the environment told."""
    task = episode.job.task_id if episode.job.task_id is not None else episode.task_id
    return None if task is None else str(task)


def _success_rate(episodes: Sequence[Episode]) -> float:
    known = [episode.success for episode in episodes if episode.success is not None]
    return float(np.mean(known)) if known else math.nan
