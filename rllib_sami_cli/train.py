"""`rllib train`: options, and the way from them to checked experiments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rllib_sami_cli.errors import NOTHING_TRAINED, UserError, one_line, stoppable
from rllib_sami_cli.experiment import Experiment, apply_settings, load, merge, parse_json, settings_of
from rllib_sami_cli.steps import doing, loading, quiet_option

if TYPE_CHECKING:
    from rllib_sami_cli.folders import Run

_OPTIONS = [
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                 help="Set one value, dotted: --set gamma=0.95 --set env_config.split=train "
                 "--set stop.training_iteration=3; with NAME. before it, in one experiment of a file. Repeatable."),
    click.option("--stop", "-s", metavar="JSON", help="Stop criteria, metric to value."),
    click.option("--config", "-c", metavar="JSON", help="Settings of the algorithm."),
    click.option("--experiment-name", "-n", metavar="NAME", help="Name of the experiment and its folder."),
    click.option("--num-samples", type=click.IntRange(1), help="Trials per point of the search space."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of all random numbers."),
    click.option("--smoke", is_flag=True, help="Only try it out: three short iterations, or more until an episode "
                 "ends. --set, --stop and --config win."),
    click.option("--evaluate", is_flag=True, help="At the end play the trained agent, the best of several, as "
                 "`rllib evaluate` does."),
    click.option("--resume", is_flag=True, help="Continue the newest unfinished run from its last checkpoint, with the "
                 "options that it was started with."),
    click.option("--checkpoint", "ready", metavar="STAGE=CHECKPOINT", multiple=True, help="Take this checkpoint for a "
                 "stage of the file, instead of training it. Repeatable."),
    click.option("--restore", metavar="CHECKPOINT", help="Start a new run from a checkpoint."),
    click.option("--local-dir", "--storage-path", "local_dir", metavar="DIR",
                 help="Folder of all results.  [default: ~/ray_results]"),
    click.option("--checkpoint-freq", type=click.IntRange(0), help="Iterations between checkpoints; 0 for none.  "
                 "[default: 10]"),
    click.option("--checkpoint-at-end/--no-checkpoint-at-end", default=None, help="Checkpoint at the end.  "
                 "[default: yes]"),
    click.option("--keep-checkpoints-num", type=click.IntRange(1), help="Checkpoints kept.  [default: 2]"),
    click.option("--checkpoint-score-attr", metavar="METRIC", help="Keep the best checkpoints by this metric "
                 "(min-METRIC: lower is better) instead of the newest."),
    click.option("--scheduler", metavar="NAME", help="What ends or replaces trials early: asha, pbt, or another of "
                 "Tune's.  [default: the file's, or none]"),
    click.option("--scheduler-config", metavar="JSON", help="Its arguments."),
    click.option("--ray-address", metavar="ADDRESS", help="Use a running Ray cluster."),
    click.option("--ray-num-cpus", type=click.IntRange(1), help="CPUs that Ray may use.  [default: all]"),
    click.option("--ray-num-gpus", type=click.IntRange(0), help="GPUs that Ray may use.  [default: all]"),
    click.option("-v", "--log-info", "verbosity", count=True, help="Show warnings and worker output; -vv more, "
                 "with tracebacks."),
]  # fmt: skip


def run_options(command: Callable) -> Callable:
    """Adds the options that all forms of `rllib train` share."""
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), quiet_option(command))


_LONGEST_NAME = 200  # bytes; a folder's name may have 255, and the time of the run is appended
_ALGO = click.option("--algo", "--run", "-a", "algo", metavar="NAME", help="Algorithm: SaCCM, SAC, or a class path.")
_ENV = click.option("--env", "-e", metavar="ID", help="Environment: SaMI/Ant-v0, Pendulum-v1, ... or your own class, "
                    "my_module:MyEnv.")  # fmt: skip


class _TrainGroup(click.Group):
    """Says what to type if a file is given instead of a subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and args[0].endswith((".yaml", ".yml", ".json", ".py")):
            raise UserError(f"rllib train {args[0]}: to train a file, write  rllib train file {args[0]}")
        return super().resolve_command(ctx, args)


@click.group(cls=_TrainGroup, invoke_without_command=True)
@_ALGO
@_ENV
@run_options
@click.pass_context
def train(ctx: click.Context, algo: str | None, env: str | None, **options: Any) -> None:
    """Train an agent: `train file FILE` or `train run --algo NAME --env ID`.

    Without a subcommand, `train --algo NAME --env ID` does what `train run` does.
    """
    if ctx.invoked_subcommand is not None:
        given = [name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if given:
            # They would be lost silently: the subcommand has options of its own.
            raise UserError(f"rllib train: write options after '{ctx.invoked_subcommand}', not before it.")
        return
    if algo is None and env is None:
        click.echo(ctx.get_help())
        return
    _train_run(ctx, algo, env, options)


@train.command()
@click.argument("path", metavar="FILE")
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENT…]")
@click.option("--algo", "--run", "-a", "algo", metavar="NAME", help="Use this algorithm instead of the file's.")
@click.option("--env", "-e", metavar="ID", help="Use this environment instead of the file's.")
@run_options
@click.pass_context
def file(
    ctx: click.Context, path: str, arguments: tuple[str, ...], algo: str | None, env: str | None, **options: Any
) -> None:
    """Train the experiments of FILE: .yaml, .json, or .py with a variable `config`.

    Arguments after `--` are for a Python file with an argparse of its own.
    """
    command = ctx.obj or []
    own = command[command.index("--") + 1 :] if "--" in command else []
    if list(arguments) != own:
        extra = " ".join(arguments[: len(arguments) - len(own)])
        raise UserError(f"rllib train file: unexpected '{extra}'. Arguments for a Python file come after '--'.")
    with stoppable(NOTHING_TRAINED):
        loading()
        experiments = load(path, arguments)
    _execute(ctx, experiments, algo, env, options)


@train.command()
@_ALGO
@_ENV
@run_options
@click.pass_context
def run(ctx: click.Context, algo: str | None, env: str | None, **options: Any) -> None:
    """Train one algorithm on one environment."""
    _train_run(ctx, algo, env, options)


def _train_run(ctx: click.Context, algo: str | None, env: str | None, options: dict[str, Any]) -> None:
    loading()
    if algo is None or env is None:
        missing = "--algo" if algo is None else "--env"
        raise UserError(
            f"{missing} is missing. The form is: rllib train run --algo SaCCM --env SaMI/Ant-v0 "
            "(`rllib envs` lists environments)."
        )
    name = "_".join(part.rpartition(".")[2].replace("/", "-").replace(":", "-") for part in (algo, env))
    _execute(ctx, [Experiment(name, {"run": algo, "env": env})], None, None, options)


def _execute(
    ctx: click.Context, experiments: list[Experiment], algo: str | None, env: str | None, options: dict[str, Any]
) -> None:
    """Applies the options to the experiments, checks them and runs them."""
    with stoppable(NOTHING_TRAINED):
        from rllib_sami_cli.runner import run_all  # Ray is loaded from here on

        plans, session = _checked(list(ctx.obj or ["rllib", "train"]), experiments, algo, env, options)
    ctx.exit(run_all(plans, session))


def _checked(
    command: list[str], experiments: list[Experiment], algo: str | None, env: str | None, options: dict[str, Any]
) -> tuple[list[Any], Any]:
    """Returns the checked plans and the session of experiments and options."""
    from rllib_sami_cli import catalog
    from rllib_sami_cli.resources import Limits
    from rllib_sami_cli.resume import newest_run, remembered
    from rllib_sami_cli.runner import Session
    from rllib_sami_cli.schema import check_all
    from rllib_sami_cli.smoke import shrink

    stop, config, scheduler = (
        parse_json(options[name], f"--{name.replace('_', '-')}") if options[name] else {}
        for name in ("stop", "config", "scheduler_config")
    )
    if options["scheduler"]:
        scheduler["type"] = options["scheduler"]
    shared, own = settings_of([one.stage for one in experiments], options["settings"])
    given = _given(stop, config, scheduler, options, shared)
    _replace_algorithm(experiments, algo)
    for experiment in experiments:
        _replace(experiment, env, scheduler.get("type"))
        experiment.given = apply_settings(given, own[experiment.stage])
    begun = newest_run(_place(one, options) for one in experiments) if options["resume"] else None
    experiments = _without_ready(experiments, _ready(options["ready"]), begun)
    for stage in own.keys() - {one.stage for one in experiments}:
        if own[stage]:
            raise UserError(f"--set {stage}.{own[stage][0]}: '{stage}' is not trained, because it has a checkpoint.")
    if options["experiment_name"]:
        if len(experiments) > 1:
            raise UserError(f"--experiment-name: the file has {len(experiments)} experiments, each with its own name.")
        experiments[0].name = options["experiment_name"]
    _check_names(experiments)

    catalog.prepare(options["verbosity"])
    for experiment in experiments:
        if options["resume"]:
            began = remembered(*_place(experiment, options), experiment.given, experiment.stage, begun)
            experiment.given = merge(began, experiment.given)
    given_to = {experiment.stage: experiment.given for experiment in experiments}
    for experiment in experiments:
        experiment.given_to = given_to
        experiment.body = merge(experiment.body, experiment.given)
    doing("Checking settings and environments")
    limits = Limits(options["ray_num_cpus"], options["ray_num_gpus"])
    plans = check_all(experiments, limits)
    for plan in plans:
        if options["evaluate"] and plan.checkpoint_config.get("checkpoint_at_end") is False:
            raise UserError(
                f"--evaluate: {plan.name} has checkpoint_at_end: false, so there would be no trained agent to play. "
                "Leave one of them out."
            )
    if options["smoke"]:
        plans = [shrink(plan) for plan in plans]
    session = Session(
        command=command,
        storage=options["local_dir"],
        **{key: options[key] for key in ("resume", "smoke", "evaluate", "verbosity")},
        ray={key: options[f"ray_{key}"] for key in ("address", "num_cpus", "num_gpus")},
    )
    return plans, session


def _place(experiment: Experiment, options: dict[str, Any]) -> tuple[str, str | None]:
    """Returns the name of an experiment's runs, and the folder of all results; None for the default."""
    from rllib_sami_cli.smoke import smoke_name

    name = options["experiment_name"] or experiment.name
    storage = options["local_dir"] or merge(experiment.body, experiment.given).get("storage_path")
    return smoke_name(name) if options["smoke"] else name, storage and str(storage)


def _replace_algorithm(experiments: list[Experiment], algo: str | None) -> None:
    """Gives experiments another algorithm. In a pipeline, one of skill discovery replaces only others of its kind."""
    from rllib_sami.config.family_settings import SKILL_METHODS

    runs = [experiment.body.get("run") for experiment in experiments]
    of_skills = [str(name).rpartition(".")[2] in SKILL_METHODS for name in [algo, *runs]]  # also of class paths
    alike = [kind == of_skills[0] for kind in of_skills[1:]]
    replaced = alike if any(alike) else [True] * len(runs)
    if algo is None or all(run == algo for run, yes in zip(runs, replaced, strict=True) if yes):
        return
    for experiment, run, yes in zip(experiments, runs, replaced, strict=True):
        if run is not None:
            # Runs of another algorithm must not continue those of the file's own, or be found among them.
            experiment.name = f"{experiment.name}-{algo.rpartition('.')[2].lower()}"
        if yes:
            experiment.body = merge(experiment.body, {"run": algo})


def _ready(given: Sequence[str]) -> dict[str, str]:
    """Returns the checkpoints that `--checkpoint` gives for stages."""
    found: dict[str, str] = {}
    for one in given:
        stage, _, path = one.partition("=")
        if stage in found:
            raise UserError(f"--checkpoint {one}: '{stage}' has {found[stage]} already. Give one of them.")
        found[stage] = path
    return found


def _without_ready(experiments: list[Experiment], ready: Mapping[str, str], begun: Run | None) -> list[Experiment]:
    """Returns the experiments without the stages for which there are checkpoints, which the others then refer to.

    Args:
        experiments: All of the file.
        ready: The checkpoints that the command line gives.
        begun: The run to resume, which has the checkpoints that were given when it was begun.
    """
    from rllib_sami.core.text import did_you_mean
    from rllib_sami_cli import stages

    given = {}
    known = {experiment.stage for experiment in experiments}
    for stage, path in ready.items():
        place = f"--checkpoint {stage}={path}"
        if stage not in known or not path:
            raise UserError(f"{place}: expected STAGE=CHECKPOINT. {did_you_mean(stage, known)}")
        if not any(stage in stages.references(experiment.body) for experiment in experiments):
            raise UserError(f"--checkpoint {stage}: no other experiment of the file refers to its checkpoint.")
        given[stage] = _found(path, place)
    if begun is not None:
        for stage, path in begun.record.get("ready", {}).items():
            folder = Path(ready.get(stage, path)).expanduser().absolute()
            if stage in known and Path(path).is_relative_to(folder):  # which may have a newer checkpoint now
                place = f"--resume: {begun.path} was started with --checkpoint {stage}={path}"
                given[stage] = _found(path, place, "Put it back, or start over without --resume.")
    left = [experiment for experiment in experiments if experiment.stage not in given]
    for experiment in left:
        experiment.body, experiment.ready = stages.fill(experiment.body, given), given
    return left


def _found(path: str, place: str, advice: str = "") -> str:
    """Returns the checkpoint that a path stands for."""
    from rllib_sami.exports.checkpoints import find

    try:
        return str(find(path))
    except ValueError as error:
        raise UserError(f"{place}: {one_line(error)} {advice}".strip()) from error


def _replace(experiment: Experiment, env: str | None, scheduler: str | None) -> None:
    """Gives an experiment another environment, and removes a scheduler that gets replaced."""
    body = experiment.body
    if env is not None:
        body = merge(body, {"env": env})
    search = body.get("search")
    if scheduler is not None and isinstance(search, dict):
        body = {**body, "search": {key: value for key, value in search.items() if key != "scheduler"}}
    elif isinstance(search, dict) and isinstance(search.get("scheduler"), str):
        body = {**body, "search": {**search, "scheduler": {"type": search["scheduler"]}}}  # so that it can be merged
    experiment.body = body


def _given(
    stop: dict, config: dict, scheduler: dict, options: dict[str, Any], settings: Sequence[str]
) -> dict[str, Any]:
    """Returns the options in the form of an experiment to lay over the file's; of the options `--set` wins."""
    checkpoint = {
        "checkpoint_frequency": options["checkpoint_freq"],
        "checkpoint_at_end": options["checkpoint_at_end"],
        "num_to_keep": options["keep_checkpoints_num"],
        "checkpoint_score_attribute": options["checkpoint_score_attr"],
    }
    over: dict[str, Any] = {
        "stop": stop,
        "config": config if options["seed"] is None else {**config, "seed": options["seed"]},
        "checkpoint_config": {key: value for key, value in checkpoint.items() if value is not None},
        "search": {"scheduler": scheduler} if scheduler else {},
        "num_samples": options["num_samples"],
        "restore": options["restore"],
    }
    return apply_settings({key: value for key, value in over.items() if value not in (None, {})}, settings)


def _check_names(experiments: list[Experiment]) -> None:
    for experiment in experiments:
        name = experiment.name
        if "/" in name or name in ("", ".", "..") or not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
            raise UserError(
                f"{experiment.place}: the name {name!r} cannot be a folder's name. Use up to {_LONGEST_NAME} bytes, "
                "without slashes and control characters."
            )
