"""Runs checked experiments with Ray Tune, one after the other, and prints how each ended."""

from __future__ import annotations

import itertools
import os
import pickle
import re
import shlex
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import ray
from ray import tune
from ray.tune.experiment import Experiment as TuneExperiment

from rllib_sami import compat
from rllib_sami_cli import catalog, spaces
from rllib_sami_cli.best import print_table, ranking, searched_settings, takeovers
from rllib_sami_cli.data import make_missing
from rllib_sami_cli.ending import CheckpointNotes, GracefulStop, MetricStopper, MissingMetrics
from rllib_sami_cli.errors import INTERRUPTED, NOTHING_TRAINED, UserError, one_line, stoppable
from rllib_sami_cli.folders import Run, check_writable, new_run, plain
from rllib_sami_cli.logs import CsvLog, JsonLog
from rllib_sami_cli.progress import Announcements, Progress
from rllib_sami_cli.resources import check_resources
from rllib_sami_cli.resume import as_started, check_resumable, choose_run, is_open, record_of
from rllib_sami_cli.schema import Plan, with_checkpoints, with_config
from rllib_sami_cli.search import PBT, create_algorithm, create_scheduler
from rllib_sami_cli.smoke import MOST_ITERATIONS
from rllib_sami_cli.stages import last_checkpoint
from rllib_sami_cli.steps import doing

# Frequent enough that a kill loses little, and few enough not to fill the disk, since each may have a replay buffer.
CHECKPOINT_DEFAULTS = {"checkpoint_frequency": 10, "checkpoint_at_end": True, "num_to_keep": 2}


@dataclass
class Session:
    """What holds for all experiments of one command.

    Attributes:
        command: The command line as typed, for the line that says how to continue.
        resume: Continue the newest unfinished run of each experiment.
        smoke: Print every iteration.
        evaluate: Play the trained agents at the end.
        verbosity: Number of -v.
        storage: `--local-dir`.
        ray: Keyword arguments of `ray.init`.
    """

    command: list[str]
    resume: bool = False
    smoke: bool = False
    evaluate: bool = False
    verbosity: int = 0
    storage: str | None = None
    ray: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str | None:
        """Address of a running cluster to use."""
        return self.ray.get("address") or os.environ.get("RAY_ADDRESS")

    @property
    def resume_command(self) -> str:
        """The command line that continues what this one has begun."""
        words = self.command
        end = words.index("--") if "--" in words else len(words)  # the rest is for the Python file
        return shlex.join(words if "--resume" in words[:end] else [*words[:end], "--resume", *words[end:]])


def run_all(plans: list[Plan], session: Session) -> int:
    """Runs the experiments; returns the exit code."""
    with stoppable(NOTHING_TRAINED):
        jobs: list[tuple[Plan, Run]] = []
        for plan in plans:
            earlier = {each.stage: run for each, run in jobs}
            run = choose_run(plan, session.storage, session.resume, len(plans) == 1, earlier)
            jobs.append((plan, run))
        if session.resume:
            jobs = [(as_started(plan, run), run) for plan, run in jobs]
            check_resumable(jobs)
        for _, run in jobs:
            check_writable(run.path.parent, "--local-dir")
        _check_given_resources(jobs, session)
        jobs = [(_with_data(plan) if is_open(plan, run) else plan, run) for plan, run in jobs]
        _start_ray(session)
    code = 0
    checkpoints: dict[str, str] = {}  # of the finished experiments
    try:
        for plan, run in jobs:
            if is_open(plan, run):
                if missing := [stage for stage in plan.awaits if stage not in checkpoints]:
                    what = f"'{missing[0]}' did not finish with a checkpoint"
                    click.echo(f"{plan.name}: not started, because {what}.", err=True)
                    continue
                if plan.awaits:
                    plan = with_checkpoints(plan, {stage: checkpoints[stage] for stage in plan.awaits})
                if not run.record:
                    run = new_run(run.path.parent, plan.name)  # another command may have taken the folder since
                code = max(code, _run_one(plan, run, session))
                if code == INTERRUPTED:
                    break
            else:
                click.echo(f"{plan.name}: finished already, in {run.path}")
            if run.finished and (newest := last_checkpoint(run, plan.search)):
                checkpoints[plan.stage] = newest
    finally:
        doing("Stopping Ray")
        ray.shutdown()
    return code


def _with_data(plan: Plan) -> Plan:
    """Makes data that are missing and that the plan has a recipe for; returns the plan, checked with them."""
    recipes = [one for one in spaces.alternatives(plan.config.get("data")) if isinstance(one, Mapping)]
    for recipe in recipes:
        make_missing(recipe)
    return with_config(plan, plan.config) if recipes else plan


def _start_ray(session: Session) -> None:
    doing("Starting Ray")
    verbose, address = session.verbosity, session.address
    if address:
        _check_address(address)
    try:
        if address:
            ray.init(address=address, log_to_driver=verbose > 0, logging_level=catalog.log_level(verbose))
        else:
            compat.listen_on_loopback()
            with compat.apart_from_signals(), nullcontext() if verbose else compat.hear_warnings(_warn):
                ray.init(
                    address="local",  # never a cluster that happens to run on this machine
                    **{key: value for key, value in session.ray.items() if key != "address" and value is not None},
                    include_dashboard=False,
                    log_to_driver=True,
                    logging_level=catalog.log_level(verbose),
                )
    except Exception as error:  # Ray raises a plain one if it does not start in time
        what = f"reached at {address}" if address else "started"
        raise UserError(f"Ray cannot be {what}: {one_line(error)}") from error
    catalog.quiet(verbose)


def _check_address(address: str) -> None:
    """Raises a UserError where nothing answers, which Ray itself would wait for several minutes."""
    host, _, port = address.rpartition(":")
    if host and "://" not in address and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--ray-address {address}: no Ray cluster answers there ({error}). Give HOST:PORT of its head node, as "
                "`ray start --head` prints it."
            ) from error


def _warn(warning: str) -> None:
    click.echo(f"Warning: {warning}", err=True)


def _check_given_resources(jobs: list[tuple[Plan, Run]], session: Session) -> None:
    """Raises a UserError, before Ray starts, for a trial that needs more than the command line lets Ray use."""
    given = {"CPU": session.ray.get("num_cpus"), "GPU": session.ray.get("num_gpus")}
    known = {kind: number for kind, number in given.items() if number is not None}
    for plan, run in jobs if session.address is None else ():
        needed = [{kind: number for kind, number in bundle.items() if kind in known} for bundle in plan.bundles]
        check_resources(needed, known, plan.name, bool(run.record))


def _run_one(plan: Plan, run: Run, session: Session) -> int:
    """Runs one experiment, new or resumed; returns its exit code."""
    resumed = bool(run.record)
    check_resources(plan.bundles, ray.cluster_resources(), plan.name, resumed)
    if not run.lock():
        raise UserError(f"{run.path} is in use by another process.")
    stop_was_raised = resumed and run.record.get("stop") != plain(plan.stop)
    started = run.record.get("started", time.strftime("%Y-%m-%dT%H:%M:%S"))
    run.write(**record_of(plan), started=started, finished=False, command=shlex.join(session.command))
    stopper = MetricStopper(
        plan.stop,
        plan.time_budget_s,
        episode_within=MOST_ITERATIONS if session.smoke and "stop" not in plan.given else 0,
    )
    # Population-based training needs the checkpoint that another trial is about to take over.
    keep = {"num_to_keep": 4} if plan.search.scheduler == PBT else {}
    experiment = TuneExperiment(
        run.path.name,
        plan.algorithm,
        stop=stopper,
        config=plan.config,
        num_samples=plan.num_samples,
        storage_path=str(run.path.parent),
        checkpoint_config=tune.CheckpointConfig(**{**CHECKPOINT_DEFAULTS, **keep, **plan.checkpoint_config}),
        max_failures=plan.max_failures,
        restore=plan.restore,
    )
    resume_config = None
    if resumed:
        run.set_aside_damaged_states()
        again: Any = tune.ResumeConfig.ResumeType.RESUME
        finished: Any = again if stop_was_raised else tune.ResumeConfig.ResumeType.SKIP
        resume_config = tune.ResumeConfig(unfinished=again, errored=again, finished=finished)
    env = plan.config.get("env")
    env_name = env if isinstance(env, str) else getattr(env, "__name__", str(env))
    click.echo(f"{plan.name}: {plan.algorithm.__name__} on {env_name}, results in {run.path}")
    doing("Building environments and networks")
    progress = Progress(plan.stop, interval=0 if session.smoke else 10)
    settings = plan.algorithm.get_default_config().to_dict() | plan.config  # type: ignore[attr-defined]
    graceful, notes, logs = GracefulStop(), CheckpointNotes(run, resumed), (CsvLog(), JsonLog())
    interrupted = False
    trials: list[Any] = []
    try:
        with graceful:
            trials = tune.run(
                experiment,
                scheduler=create_scheduler(plan.search, plan.config, plan.stop, plan.name),
                search_alg=create_algorithm(plan.search, plan.config, plan.bundles, ray.cluster_resources()),
                verbose=session.verbosity if session.verbosity > 1 else 0,
                callbacks=[progress, MissingMetrics(plan.stop), Announcements(settings), *logs, notes, graceful],
                raise_on_failed_trial=False,
                resume_config=resume_config,
            ).trials
    except KeyboardInterrupt:
        interrupted = True
    finally:
        run.unlock()
    progress.flush(trials)
    if interrupted or graceful.requested:
        _say_interrupted(run, session)
        return INTERRUPTED
    if failed := [trial for trial in trials if trial.status == "ERROR"]:
        return _say_failed(failed, run, session)
    if session.smoke and progress.lacks_return(trials):
        click.echo("There is no return yet: no episode ended within these few steps.")
    return _finish(trials, plan, run, session, stopper.out_of_time())


def _finish(trials: list[Any], plan: Plan, run: Run, session: Session, out_of_time: bool) -> int:
    """Prints how training ended and plays what was trained if that was asked for; returns the exit code."""
    if out_of_time:
        click.echo(f"The time budget of {plan.time_budget_s:g} s is used up.")
    else:
        run.write(finished=True)
        click.echo(f"Done. Logs and checkpoints: {run.path}")
    if len(trials) > 1:
        trials = _say_found(trials, plan, run)
    checkpoints = [Path(trial.checkpoint.path) for trial in trials if trial.checkpoint]
    code = _evaluate(checkpoints) if session.evaluate and checkpoints else 0
    if out_of_time:
        _say_interrupted(run, session)
        return code
    click.echo("Next:")
    for path in checkpoints[:4]:
        click.echo(f"  {session.command[0]} evaluate {shlex.quote(str(path))}")
    hint = "" if shutil.which("tensorboard") else "    # after: pip install tensorboard"
    click.echo(f"  tensorboard --logdir {shlex.quote(str(run.path))}{hint}")
    return code


def _evaluate(checkpoints: list[Path]) -> int:
    """Plays trained agents as `rllib evaluate` does; returns its exit code, since the next experiments still run."""
    from rllib_sami_cli.evaluate import evaluate

    try:
        evaluate.main([str(path) for path in checkpoints], standalone_mode=False, parent=click.get_current_context())
    except UserError as error:
        error.show()
        return error.exit_code
    return 0


def _say_interrupted(run: Run, session: Session) -> None:
    checkpoints = [trial["checkpoint"] for trial in run.trials() if trial["checkpoint"]]
    click.echo(f"Stopped. Logs and checkpoints: {run.path}")
    if not checkpoints:
        click.echo("There is no checkpoint yet, so this experiment starts over when you run the command again.")
        click.echo("With --resume, earlier experiments of the file are kept.")
        return
    for path in checkpoints[:4]:
        click.echo(f"Last checkpoint: {path}")
    click.echo("Go on with:")
    click.echo(f"  {session.resume_command}")


def _say_found(trials: list[Any], plan: Plan, run: Run) -> list[Any]:
    """Prints the table of several trials; returns the best, or all if none has a number to compare by."""
    ranked = [trials[position] for position in ranking([trial.last_result for trial in trials], plan.search)]
    print_table([*ranked, *(trial for trial in trials if trial not in ranked)], plan.search, plan.config)
    for line in takeovers(run.path, plan.config):
        click.echo(line)
    if not ranked:
        click.echo(f"No trial has '{plan.search.metric}' yet, so none is the best.")
        return trials
    what = f"{ranked[0].trial_id}, {searched_settings(ranked[0], plan.config)}"
    click.echo(f"Best trial by {plan.search.metric}: {what}")
    return ranked[:1]


def _say_failed(failed: list[Any], run: Run, session: Session) -> int:
    """Prints the cause of each failed trial in a line; bad input that the algorithm itself finds is exit code 2."""
    code = 1
    for trial in failed:
        try:
            error = trial.get_pickled_error()
        except (EOFError, pickle.UnpicklingError):  # it could not be written: the disk is full
            error = OSError(f"its error could not be written to {run.path}; the disk may be full")
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, ValueError) and not trial.last_result.get("training_iteration"):
            code = 2
        click.echo(f"Error: {trial}: {_root_message(cause)}", err=True)
        if session.verbosity > 1 and error is not None:
            click.echo(str(error), err=True)
        elif trial.error_file:
            click.echo(f"  full traceback: {run.path / trial.relative_logdir / Path(trial.error_file).name}", err=True)
    if any(trial["checkpoint"] for trial in run.trials()):
        click.echo(f"After fixing it, continue from the last checkpoint:  {session.resume_command}", err=True)
    return code


def _root_message(error: Any) -> str:
    """Returns the exception itself in one line; in a remote traceback it is the last one after indented lines."""
    if error is None:
        return "failed"
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()
    starts = [at for at, (before, line) in enumerate(itertools.pairwise(lines), 1)
              if before.startswith("  ") and re.match(r"[\w.]+(: |$)", line)]  # fmt: skip
    if starts and any(line.startswith('  File "') for line in lines):
        name, colon, text = " ".join(lines[starts[-1] :]).partition(": ")
        return one_line(f"{name.rpartition('.')[2]}{colon}{text}")
    return one_line(f"{type(error).__name__}: {' '.join(lines)}")
