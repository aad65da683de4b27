"""``evaluate``: plays the agents of checkpoints on every task of an environment's splits."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami import compat
from rllib_sami.algorithms.skill_discovery.evaluation import SkillGrid, reached
from rllib_sami.core.env_values import name_of
from rllib_sami.env_runners.agents import parse_context
from rllib_sami.env_runners.episodes import Episode, context_steps
from rllib_sami.env_runners.splits import SplitGrid
from rllib_sami.evaluation.names import LONGEST_NAME, is_name
from rllib_sami.evaluation.paths import Paths
from rllib_sami.evaluation.plan import EPISODES, AgentOnSplit, close, plan, play_packed
from rllib_sami.evaluation.processes import run_all
from rllib_sami.evaluation.provenance import provenance_of
from rllib_sami.evaluation.results import SUBTASK, Contexts, Results, join
from rllib_sami.evaluation.tracks import Tracks
from rllib_sami.exports import checkpoints as checkpoint_files
from rllib_sami.exports.agents import ExportedAgent, is_exported
from rllib_sami.exports.composed import COMPOSED, evaluate_options, is_titled, title_of
from rllib_sami.exports.transfer_parts import body_of

logger = logging.getLogger(__name__)

_TASK_SETTINGS = ("split", "tasks", "max_steps", "observe_task")


def evaluate(
    checkpoints: str | Path | Iterable[str | Path],
    splits: str | Sequence[str] | None = None,
    episodes: int | None = None,
    seed: int = 0,
    workers: int = 0,
    explore: bool = False,
    context: str = "learned",
    video: str | Path | None = None,
    progress: bool = True,
    env: Any = None,
    env_config: Mapping[str, Any] | None = None,
    sample_timeout_s: float | None = None,
    name: str | None = None,
    say: Callable[[str], None] | None = None,
    on_results: Callable[[Results], None] | None = None,
) -> Results:
    """Plays every task of the splits with each checkpoint's agent, which does not learn.

    The seed of an episode depends only on ``seed``, split, task and number of the episode, so all agents play the same
    episodes. Results do not depend on ``workers``.

    Args:
        checkpoints: Folders of checkpoints of any RLlib algorithm, of trials (their newest checkpoint) or of
            experiments (the newest of each trial).
        splits: Names of splits; None for all of train, moderate, extreme and super_extreme that the environment has, or
            for the agent's own tasks if its ``env_config`` names some. Agents with skills have ``"skills"`` and
            ``"goals"`` instead.
        episodes: Number of episodes of each task, or in total if the environment chooses its tasks or has none; None
            for 5. Of agents with skills: the number of skills and of goals, None for 48 and 50.
        seed: Seed of the episodes.
        workers: Number of further processes that play; 0 plays in this one. A script that uses some needs
            ``if __name__ == "__main__":`` around the call, since each process imports it.
        explore: Whether the agents act with noise, as in training.
        context: What the actor sees: ``"learned"`` (the encoder's context), ``"zero"``, ``"shuffled"`` (of another
            episode, of another task where possible) or ``"frozen-after=N"`` (that of step N from there on).
        video: Folder for videos of the best, median and worst episode of each task; None for no videos.
        progress: Whether a terminal shows a progress bar.
        env: Another environment than the checkpoints'.
        env_config: Settings in addition to those of the checkpoints (or of ``env``), which have those of their
            ``evaluation_config``.
        sample_timeout_s: How long an episode may take in seconds. After that there is a warning; an environment is
            stopped only if it hangs or its episodes do not end (docs/reliability.md). None: the checkpoint's
            ``evaluation_sample_timeout_s``.
        name: What the agents are called in tables and figures, instead of their algorithm. Runs of one name are seeds
            of one agent, so agents that were trained or are played with other settings need a name.
        say: Called with a line before what takes long: loading, playing, filming.
        on_results: Called with the results before videos are made.

    Returns:
        One row per episode, and the contexts along it if the agent has an encoder.

    Raises:
        ValueError: An argument is impossible; the message says which and what to do.
        EnvironmentFaultError: An environment raised, hangs or has episodes without an end.
        WorkersLostError: A process that played was lost.
    """
    if (episodes is not None and episodes < 1) or workers < 0 or seed < 0:
        raise ValueError(f"{episodes=}, {workers=}, {seed=}: expected at least 1, 0 and 0.")
    parse_context(context)
    if name is not None and not is_name(name):
        raise ValueError(
            f"{name=}: expected a name of at most {LONGEST_NAME} characters, with something in it and no comma, as an "
            "agent is called in tables."
        )
    given = [checkpoints] if isinstance(checkpoints, str | Path) else list(checkpoints)
    paths = list(dict.fromkeys(path for one in given for path in checkpoint_files.find_all(one)))
    if not paths:
        raise ValueError("checkpoints: none given.")
    say = say or (lambda line: None)
    say(f"Loading {_counted(len(paths), 'agent')} and making environments")
    played: list[tuple[str, AgentOnSplit]] = []
    for run, path in zip(labels(paths), paths, strict=True):
        agent = _load_agent(path, env, env_config or {}, explore, context, sample_timeout_s)
        agent = dataclasses.replace(agent, name=name)
        on_splits = plan(agent, [splits] if isinstance(splits, str) else splits, episodes, seed)
        played += [(run, chunk) for on_split in on_splits for chunk in on_split.chunks()]

    started = time.monotonic()
    sizes = [len(chunk.grid.episodes) for _, chunk in played]
    say(f"Playing {_counted(sum(sizes), 'episode')}")
    try:
        calls = [chunk.pack() for _, chunk in played]
        found = run_all(play_packed, calls, sizes, workers, "playing" if progress else None)
    finally:
        close()
    seconds = time.monotonic() - started

    outcomes = [(run, chunk, finished) for (run, chunk), finished in zip(played, found, strict=True)]
    names = _task_names(outcomes)
    results = join([_table(*outcome, names) for outcome in outcomes])
    grids = [chunk.grid for _, chunk in played]
    results.provenance = provenance_of(
        seed=seed,
        **_episodes_per_task(grids, episodes),
        checkpoints=[
            {"run": run, "algorithm": agent.algorithm, "path": str(agent.checkpoint.path)} | _toy(agent)
            for run, agent in dict(played).items()
        ],
        max_steps={grid.name: grid.max_episode_steps for grid in grids if grid.max_episode_steps is not None},
        env_settings=_env_settings(grids),
        **_skill_sizes(grids),
        task_names=names,
        throughput={
            "seconds": round(seconds, 3),
            "processes": max(1, workers),
            "episodes_per_second": round(sum(sizes) / seconds, 3),
            "env_steps_per_second": round(int(results.episodes["length"].sum()) / seconds, 1),
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


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


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


def _load_agent(
    path: Path, env: Any, env_config: Mapping[str, Any], explore: bool, context: str, timeout_s: float | None
) -> AgentOnSplit:
    """Returns a checkpoint's agent with its own environment and ``env_config``, or with those given."""
    checkpoint = checkpoint_files.load(path)
    config = checkpoint.config.copy(copy_frozen=False)
    config.explore = explore
    if timeout_s is not None:
        config.evaluation_sample_timeout_s = timeout_s
    if env is None and isinstance(checkpoint, ExportedAgent) and not checkpoint.refused(env_config):
        config.environment(checkpoint.trained_on, env_config={**checkpoint.env_config, **env_config})
    elif env is not None:
        config.environment(env)
        config.env_config = dict(env_config)
    else:
        config.env_config = {**config.env_config, **_of_evaluation(config), **env_config}
        if config.env is None:
            trained_on = getattr(checkpoint, "trained_on", None)
            option = compat.env_option(trained_on) or " --env ID"
            if isinstance(checkpoint, ExportedAgent) and compat.is_registered(trained_on):
                options = evaluate_options(trained_on, checkpoint.env_config, is_exported)
                refused = checkpoint.refused(env_config)
                raise ValueError(
                    f"{path}: the settings of its environment could run code: they have {refused}. If you trust them, "
                    f"give them yourself:{options}."
                )
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
    if name in COMPOSED and (body := body_of(config.env_config)) is not None:
        name = title_of(name, body)
    config.env = compat.registered_creator(config.env) or config.env
    return AgentOnSplit(checkpoint, SplitGrid(name, config), context)


def _toy(agent: AgentOnSplit) -> dict[str, str]:
    """Returns the path of the agent of a toy whose latents were kept, where one infers tasks in the environment."""
    toy = agent.grid.config.env_config.get("toy") if is_titled(agent.grid.name, COMPOSED) else None
    return {} if toy is None else {"toy": str(checkpoint_files.find(toy))}


def _of_evaluation(config: Any) -> dict[str, Any]:
    """Returns the ``env_config`` that evaluations during training have in addition, without their choice of tasks."""
    own = (config.evaluation_config or {}).get("env_config") or {}
    return {key: value for key, value in own.items() if key not in ("split", "tasks")}


def _env_settings(grids: Sequence[SplitGrid]) -> dict[str, dict[str, Any]]:
    """Returns the ``env_config`` of each environment without its tasks and the length of episodes."""
    found: dict[str, dict[str, Any]] = {}
    for grid in grids:
        more = {key: value for key, value in grid.config.env_config.items() if key not in _TASK_SETTINGS}
        if more:
            found.setdefault(grid.name, {}).update(more)
    return found


def _episodes_per_task(grids: Sequence[SplitGrid], episodes: int | None) -> dict[str, int]:
    """Returns how many episodes of each task were played; nothing if only skills were, of which there are others."""
    has_tasks = any(not isinstance(grid, SkillGrid) for grid in grids)
    return {"episodes_per_task": episodes or EPISODES} if has_tasks else {}


def _skill_sizes(grids: Sequence[SplitGrid]) -> dict[str, Any]:
    """Returns the cell size and goal radius of each environment in which skills were played."""
    of_skills = [grid for grid in grids if isinstance(grid, SkillGrid)]
    sizes = {grid.name: {"cell_size": grid.cell_size, "goal_radius": grid.goal_radius} for grid in of_skills}
    return {"skill_sizes": sizes} if sizes else {}


def _task_names(outcomes: Sequence[tuple[str, AgentOnSplit, list[Episode]]]) -> dict[str, list[str]]:
    """Returns the sorted names of tasks, if an environment has any; their index is the ``task_id`` then."""
    found: dict[str, set[int | str]] = {}
    for _, agent, episodes in outcomes:
        ids = {episode.task_id for episode in episodes if episode.task_id is not None}
        found.setdefault(agent.grid.name, set()).update(ids)
    return {env: sorted(map(str, ids)) for env, ids in found.items() if any(isinstance(task, str) for task in ids)}


def _table(run: str, agent: AgentOnSplit, episodes: Sequence[Episode], names: Mapping[str, list[str]]) -> Results:
    """Returns finished episodes as results."""
    checkpoint, grid = agent.checkpoint, agent.grid
    common = {
        "algorithm": agent.algorithm,
        "run": run,
        "seed": -1 if checkpoint.config.seed is None else checkpoint.config.seed,
        "env_steps": checkpoint.env_steps(),
        "context": agent.context,
        "explore": grid.config.explore,
        "environment": grid.name,
    }
    rows = []
    for episode in episodes:
        task_id = -1 if episode.task_id is None else episode.task_id
        if grid.name in names and episode.task_id is not None:
            task_id = names[grid.name].index(str(task_id))
        rows.append(
            common
            | {f"task_{key}": value for key, value in episode.task.items()}
            | {
                "split": episode.spec.split,
                "task_id": task_id,
                "episode": episode.spec.episode,
                "episode_seed": -1 if episode.spec.seed is None else episode.spec.seed,
                "return": episode.total,
                "length": episode.length,
                "success": episode.success if episode.spec.goal is None else reached(grid, episode),
            }
            | episode.skills
            | {f"{SUBTASK}{name}": step for name, step in episode.subtasks.items()}
        )
    contexts = [episode.contexts for episode in episodes if episode.contexts is not None]
    kept = Contexts(context_steps(grid.max_episode_steps), np.stack(contexts)) if contexts else None
    return Results(pd.DataFrame(rows), kept, paths=Paths.of(episodes), tracks=Tracks.of(episodes))
