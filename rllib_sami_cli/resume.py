"""Which run `--resume` means, and whether it can go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rllib_sami.moved import todays_path
from rllib_sami_cli.agents import find_agents, replace_agents
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import merge
from rllib_sami_cli.folders import Run, differences, find_runs, new_run, plain, storage_folder
from rllib_sami_cli.schema import Plan, with_checkpoints, with_config
from rllib_sami_cli.stages import fill
from rllib_sami_cli.stop import reached

# What a resumed run keeps; stop criteria may change.
_KEPT = ("run", "config", "checkpoint_config", "num_samples", "search")
# What a command line sets for itself, not for the run.
_FORGOTTEN = ("storage_path", "restore", "time_budget_s")


def record_of(plan: Plan) -> dict[str, Any]:
    """Returns a run's record, which is written into its folder."""
    return {
        "run": plain(plan.algorithm),
        "config": plain(plan.config),
        "stop": dict(plan.stop),
        "checkpoint_config": dict(plan.checkpoint_config),
        "num_samples": plan.num_samples,
        "search": plain(asdict(plan.search)),
        "checkpoints_used": dict(plan.checkpoints),
        "ready": dict(plan.ready),
        "agents": dict(plan.agents),
        "given": _kept_of(plan.given),
        "given_to": {stage: _kept_of(given) for stage, given in plan.given_to.items()},
    }


def _kept_of(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in _FORGOTTEN}


def remembered(name: str, storage: str | None, given: dict[str, Any], stage: str, newest: Run | None) -> dict[str, Any]:
    """Returns what the command line that began a run had set, so that `--resume` need not repeat it.

    If `choose_run` then takes another run (of several with different settings), the difference is refused.

    Args:
        name: Name of the experiment.
        storage: Folder of all results; None for the default.
        given: What the present command line sets: with other stop criteria a finished run may go on.
        stage: Its name in the file.
        newest: The newest run of all experiments; its command line was also for one that has no run yet.
    """
    runs = find_runs(storage_folder(storage), name)
    if newest and not runs:
        return newest.record.get("given_to", {}).get(stage, newest.record.get("given", {}))
    may_go_on = [run for run in runs if (not run.finished or "stop" in given) and has_checkpoint(run)]
    began = [run.record.get("given", {}) for run in may_go_on or runs]
    asked = {key: value for key, value in given.items() if key not in (*_FORGOTTEN, "stop")}
    return next((one for one in began if merge(one, asked) == one), began[0] if began else {})


def newest_run(places: Iterable[tuple[str, str | None]]) -> Run | None:
    """Returns the newest run of several experiments; None if there is none.

    Args:
        places: Name of each experiment, and its folder of all results; None for the default.
    """
    runs = [run for name, storage in places for run in find_runs(storage_folder(storage), name)]
    return max(runs, key=lambda run: run.started, default=None)


def as_started(plan: Plan, run: Run) -> Plan:
    """Returns the plan with what a run was started with: checkpoints, agents and ``auto`` settings."""
    if run.record.get("config") is None or not is_open(plan, run):
        return plan  # not begun, or nothing is left to do
    agents = plan.agents | run.record.get("agents", {})
    started = replace(plan, config=_config_of(plan, run), agents=agents)
    if plan.awaits:
        return with_checkpoints(started, run.record.get("checkpoints_used", {}))
    return plan if plain(started.config) == plain(plan.config) else with_config(started, started.config)


def _config_of(plan: Plan, run: Run) -> dict[str, Any]:
    """Returns the plan's settings with the checkpoints, agents and ``auto`` settings that a run was started with."""
    given = {key: value for key, value in plan.config.items() if key not in plan.auto}
    recorded = run.record.get("config") or {}
    started = {key: recorded[key] for key in plan.auto if key in recorded}
    agents = run.record.get("agents", {})
    given = replace_agents(given, {now: agents.get(folder, now) for folder, now in plan.agents.items()})
    return fill(given, run.record.get("checkpoints_used", {})) | started


def choose_run(
    plan: Plan, storage: str | None, resume: bool, alone: bool = True, earlier: Mapping[str, Run] | None = None
) -> Run:
    """Returns the run to continue, or a new one.

    The run to continue is the newest one that is open and has a checkpoint, of those with the plan's settings if there
    are any. Without one, the newest run of all is returned, for the message; of several experiments, one without a
    checkpoint starts over.

    Args:
        plan: The experiment.
        storage: `--local-dir`.
        resume: Whether to continue a run.
        alone: Whether it is the only experiment of the command.
        earlier: The runs chosen for earlier experiments; a run that used other checkpoints of them does not count.
    """
    folder = storage_folder(storage or plan.storage_path)
    runs = [run for run in find_runs(folder, plan.name) if _follows(run, earlier or {})] if resume else []
    runs = [run for run in runs if not _changes(replace(plan, config=_config_of(plan, run)), run)] or runs
    if runs and not runs[0].in_use() and (found := runs[0].orphaned_checkpoint()):
        checkpoint = shlex.quote(str(found))
        option = f"--set {plan.stage}.restore={checkpoint}, and --checkpoint for the experiments before it"
        raise UserError(
            f"--resume: Tune's state of {runs[0].path} is damaged, as by a full disk, but its checkpoints are there. "
            f"Start a new run from the newest one, without --resume: {f'--restore {checkpoint}' if alone else option}."
        )
    # One that ended before its first checkpoint was started over if there is a newer one.
    runs = [run for run in runs if run is runs[0] or run.finished or run.in_use() or has_checkpoint(run)]
    open_runs = [run for run in runs if is_open(plan, run)]
    with_checkpoint = [run for run in open_runs if has_checkpoint(run)]
    if open_runs and not with_checkpoint and not alone and not open_runs[0].in_use():
        return new_run(folder, plan.name)
    return (with_checkpoint or open_runs or runs or [new_run(folder, plan.name)])[0]


def check_resumable(jobs: list[tuple[Plan, Run]]) -> None:
    """Raises a UserError for a run that is missing, finished, running, without a checkpoint, or of other settings.

    Of several experiments some may not have begun, or may be finished.
    """
    found = [(plan, run) for plan, run in jobs if run.record]
    if not found:
        where = ", ".join(dict.fromkeys(str(run.path.parent) for _, run in jobs))
        names = ", ".join(plan.name for plan, _ in jobs)
        raise UserError(
            f"--resume: no run of '{names}' in {where}. "
            "Start one without --resume, or say where it is with --local-dir."
        )
    unfinished = [(plan, run) for plan, run in found if is_open(plan, run)]
    if not unfinished and len(found) == len(jobs):
        plan, run = found[-1]
        stage = f"{plan.stage}." if len(jobs) > 1 else ""
        how = f"--set {stage}stop.{next(iter(plan.stop), 'training_iteration')}=..."
        raise UserError(
            f"--resume: {run.path} is finished: its stop criteria are met. To train on, raise them, for example {how}, "
            "or start over without --resume."
        )
    for plan, run in unfinished:
        if run.in_use():
            raise UserError(f"--resume: {run.path} is still running in another process.")
        if users := [other.path for _, other in found if run.finished and _uses(other, run)]:
            raise UserError(
                f"--resume: {run.path} is finished, and {users[0]} was trained with its checkpoint, which would be "
                "replaced by newer ones. Raise only the stop criteria of experiments whose checkpoints no other uses."
            )
        if changed := _changes(plan, run):
            raise UserError(
                f"--resume: {run.path} was started with other settings ({'; '.join(changed[:5])}). A resumed run keeps "
                "its settings; only stop criteria may change. For other settings start a new run, from a checkpoint "
                "if you like: --restore CHECKPOINT."
            )
        if not has_checkpoint(run):
            raise UserError(f"--resume: {run.path} ended before its first checkpoint. Start over, without --resume.")
        run.check_state()


def _changes(plan: Plan, run: Run) -> list[str]:
    """Returns how a plan differs from the settings that a run keeps."""
    recorded = {key: run.record.get(key) for key in _KEPT} | {"run": todays_path(str(run.record.get("run")))}
    if "agents" not in run.record:  # of an earlier version, which left their paths as they were given
        recorded["config"], _ = find_agents(run.record.get("config") or {}, str(run.path))
    return differences(recorded, {key: value for key, value in record_of(plan).items() if key in _KEPT})


def _uses(run: Run, other: Run) -> bool:
    """Returns whether a run has used a checkpoint of another one."""
    return any(Path(path).is_relative_to(other.path) for path in run.record.get("checkpoints_used", {}).values())


def _follows(run: Run, earlier: Mapping[str, Run]) -> bool:
    """Returns whether a run belongs to the chain of the runs that were chosen for earlier experiments."""
    if earlier.keys() & run.record.get("ready", {}).keys():
        return False  # there, no run was needed
    used = run.record.get("checkpoints_used", {})
    return all(
        Path(path).parent.parent.name == earlier[stage].path.name  # <run>/<trial>/<checkpoint>
        for stage, path in used.items()
        if stage in earlier
    )


def is_open(plan: Plan, run: Run) -> bool:
    """Returns whether a run has not finished, or has not met the stop criteria as they are now."""
    if not run.finished:
        return True
    if plain(plan.stop) == run.record.get("stop"):
        return False
    return any(not reached(trial["result"], plan.stop) for trial in run.trials())


def has_checkpoint(run: Run) -> bool:
    """Returns whether any trial of a run has a checkpoint."""
    return any(trial["checkpoint"] for trial in run.trials())
