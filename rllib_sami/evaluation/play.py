"""``evaluate``: plays the agents of checkpoints on every task of an environment's splits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami import compat
from rllib_sami.core.env_values import name_of
from rllib_sami.core.metric_names import OWN_SPLIT
from rllib_sami.env_runners.agents import ContextChange
from rllib_sami.env_runners.episodes import Episode, Job, chunks_of, kept_steps
from rllib_sami.evaluation.names import ORACLE
from rllib_sami.evaluation.processes import run_all
from rllib_sami.evaluation.provenance import provenance_of
from rllib_sami.evaluation.results import Contexts, Results, join
from rllib_sami.evaluation.stages import Stage, close, pack, plan, play_packed
from rllib_sami.exports import checkpoints as checkpoint_files

logger = logging.getLogger(__name__)

_TASK_SETTINGS = ("split", "tasks", "max_steps", "observe_task")


def evaluate(
    checkpoints: str | Path | Iterable[str | Path],
    splits: str | Sequence[str] | None = None,
    episodes: int = 5,
    seed: int = 0,
    workers: int = 0,
    explore: bool = False,
    context: str = "learned",
    video: str | Path | None = None,
    progress: bool = True,
    env: Any = None,
    env_config: Mapping[str, Any] | None = None,
    sample_timeout_s: float | None = None,
    say: Callable[[str], None] | None = None,
    on_results: Callable[[Results], None] | None = None,
) -> Results:
    """Plays every task of the splits with each checkpoint's agent, which learns nothing.

    The seed of an episode depends on ``seed``, split, task and number of the episode alone, so all agents play the
    same episodes; results do not depend on ``workers``.

    Args:
        checkpoints: Folders of checkpoints of any RLlib algorithm, of trials (their newest checkpoint) or of
            experiments (the newest of each trial).
        splits: Names of splits; None for all of train, moderate, extreme and super_extreme that the environment has, or
            for the agent's own tasks where its ``env_config`` names some.
        episodes: Of each task (or in all, where the environment chooses its tasks or has none).
        seed: Of the episodes.
        workers: Further processes that play; 0 plays in this one. A script that has some needs
            ``if __name__ == "__main__":`` around the call, since each process imports it.
        explore: Whether the agents act with noise, as in training.
        context: What the actor sees: ``"learned"`` (what the encoder makes), ``"zero"``, ``"shuffled"`` (of another
            episode, of another task where possible) or ``"frozen-after=N"`` (that of step N from there on).
        video: Folder for videos of the best, median and worst episode of each task; None for none.
        progress: Whether a terminal shows a progress bar.
        env: Another environment than the checkpoints'.
        env_config: Settings in addition to the checkpoints' (or ``env``'s) own.
        sample_timeout_s: How long an episode may take in seconds. After that there is a warning; an environment is
            stopped only if it hangs or its episodes do not end (docs/reliability.md). None: the checkpoint's
            ``evaluation_sample_timeout_s``.
        say: Gets a line before what takes long: loading, playing, filming.
        on_results: Gets the results before videos are made of them.

    Returns:
        One row per episode; where agents have a context, the encoder's contexts along them.

    Raises:
        ValueError: An argument is impossible; the message says which and what to do.
        EnvironmentFaultError: An environment raised, hangs or has episodes without an end.
        WorkersLostError: A process that played was lost.
    """
    if episodes < 1 or workers < 0 or seed < 0:
        raise ValueError(f"{episodes=}, {workers=}, {seed=}: expected at least 1, 0 and 0.")
    ContextChange.parse(context)
    given = [checkpoints] if isinstance(checkpoints, str | Path) else list(checkpoints)
    paths = list(dict.fromkeys(path for one in given for path in checkpoint_files.find_all(one)))
    if not paths:
        raise ValueError("checkpoints: none given.")
    say = say or _nothing
    say(f"Loading {_counted(len(paths), 'agent')} and making environments")
    played: list[tuple[str, Stage, list[Job]]] = []
    for run, path in zip(labels(paths), paths, strict=True):
        stage = _stage(path, env, env_config or {}, explore, context, sample_timeout_s)
        of_run = plan(stage, [splits] if isinstance(splits, str) else splits, episodes, seed)
        played += [(run, here, chunk) for here, jobs in of_run for chunk in chunks_of(jobs, in_one=here.alone)]

    started = time.monotonic()
    sizes = [len(chunk) for *_, chunk in played]
    say(f"Playing {_counted(sum(sizes), 'episode')}")
    try:
        outcomes = run_all(
            play_packed,
            [(pack(stage), chunk) for _, stage, chunk in played],
            sizes,
            workers,
            "playing" if progress else None,
        )
    finally:
        close()
    seconds = time.monotonic() - started

    names = _task_names([(stage, one) for (_, stage, _), found in zip(played, outcomes, strict=True) for one in found])
    results = join([_table(run, stage, found, names) for (run, stage, _), found in zip(played, outcomes, strict=True)])
    steps = int(results.episodes["length"].sum())
    results.provenance = provenance_of(
        seed=seed,
        episodes_per_task=episodes,
        checkpoints=[
            {"run": run, "algorithm": _name(stage), "path": str(stage.checkpoint.path)}
            for run, stage in {run: stage for run, stage, _ in played}.items()
        ],
        max_steps={stage.name: stage.cap for _, stage, _ in played if stage.cap is not None},
        env_settings=_settings([stage for _, stage, _ in played]),
        task_names=names,
        throughput={
            "seconds": round(seconds, 3),
            "processes": max(1, workers),
            "episodes_per_second": round(sum(sizes) / seconds, 3),
            "env_steps_per_second": round(steps / seconds, 1),
        },
    )
    if on_results is not None:
        on_results(results)
    if video is not None:
        from rllib_sami.evaluation.video import record

        videos, left_out = record(results, played, Path(video), workers, "filming" if progress else None, say)
        results.provenance |= {"videos": videos, "left_out": left_out}
        for reason in left_out:
            logger.warning("%s", reason)
    return results


def _nothing(_: str) -> None:
    """Says nothing."""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def labels(paths: Sequence[Path]) -> list[str]:
    """Returns a label for each checkpoint: the folder of its experiment, of its trial, or more, until all differ."""
    ends = [path.parent if path.name.startswith("checkpoint_") else path for path in paths]
    if len(set(ends)) < len(ends):  # several checkpoints of a trial
        ends = list(paths)
    # Tune's names of trials are long; those of experiments were chosen by someone.
    if all((end / "params.json").exists() for end in ends) and len({end.parent.name for end in ends}) == len(ends):
        return [end.parent.name for end in ends]
    size = 1
    while len({end.parts[-size:] for end in ends}) < len(ends):
        size += 1
    return ["/".join(end.parts[-size:]) for end in ends]


def _stage(
    path: Path, env: Any, env_config: Mapping[str, Any], explore: bool, context: str, timeout_s: float | None
) -> Stage:
    """Returns the stage of a checkpoint with its own environment and ``env_config``, or with those given."""
    checkpoint = checkpoint_files.load(path)
    config = checkpoint.config.copy(copy_frozen=False)
    if env is not None:
        config.environment(env)
        config.env_config = dict(env_config)
    else:
        config.env_config = {**config.env_config, **env_config}
        if config.env is None:
            trained_on = getattr(checkpoint, "trained_on", None)
            option = compat.env_option(trained_on) or " --env ID"
            raise ValueError(
                f"{path}: it was trained on '{trained_on}', which is not registered here. Name an environment:{option} "
                "(env=...)."
            )
        if isinstance(config.env, str) and not compat.may_be_made(config.env):
            raise ValueError(
                f"{path}: its environment '{config.env}' was registered by the script that trained it and is not "
                "known here. Give its class: --env my_module:MyEnv"
            )
    name = name_of(config.env)
    config.env = compat.registered_creator(config.env) or config.env
    timeout_s = config.evaluation_sample_timeout_s if timeout_s is None else timeout_s
    return Stage(checkpoint, name, config, OWN_SPLIT, explore, context, timeout_s=timeout_s)


def _name(stage: Stage) -> str:
    """Returns the algorithm's name; an agent that is told the task is another agent than one that is not."""
    name = stage.checkpoint.algorithm.__name__
    return f"{name} ({ORACLE})" if stage.config.env_config.get("observe_task") else name


def _settings(stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
    """Returns what ``env_config`` says of each environment beside its tasks and the length of episodes."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        more = {key: value for key, value in stage.config.env_config.items() if key not in _TASK_SETTINGS}
        if more:
            found.setdefault(stage.name, {}).update(more)
    return found


def _task_names(episodes: Sequence[tuple[Stage, Episode]]) -> dict[str, list[str]]:
    """Returns the tasks of environments that tell any by name, sorted; their place is the ``task_id`` then."""
    told: dict[str, set[int | str]] = {}
    for stage, episode in episodes:
        if episode.task_id is not None:
            told.setdefault(stage.name, set()).add(episode.task_id)
    return {
        env: sorted({str(task) for task in tasks})
        for env, tasks in told.items()
        if any(isinstance(task, str) for task in tasks)
    }


def _table(run: str, stage: Stage, episodes: Sequence[Episode], names: Mapping[str, list[str]]) -> Results:
    """Returns the episodes of one stage as results."""
    environment = stage.name
    common = {
        "algorithm": _name(stage),
        "run": run,
        "seed": -1 if stage.checkpoint.config.seed is None else stage.checkpoint.config.seed,
        "env_steps": stage.checkpoint.env_steps(),
        "context": stage.context,
        "explore": stage.explore,
        "environment": environment,
    }
    rows = []
    for episode in episodes:
        task_id = -1 if episode.task_id is None else episode.task_id
        if environment in names and episode.task_id is not None:
            task_id = names[environment].index(str(task_id))
        rows.append(
            common
            | {f"task_{key}": value for key, value in episode.task.items()}
            | {
                "split": episode.job.split,
                "task_id": task_id,
                "episode": episode.job.episode,
                "episode_seed": -1 if episode.job.seed is None else episode.job.seed,
                "return": episode.total,
                "length": episode.length,
                "success": episode.success,
            }
            | episode.skills
        )
    contexts = [episode.contexts for episode in episodes if episode.contexts is not None]
    return Results(pd.DataFrame(rows), Contexts(kept_steps(stage.cap), np.stack(contexts)) if contexts else None)
