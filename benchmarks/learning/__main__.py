"""The learning benchmark: trains every algorithm on every environment with every seed, and reports.

\b
    # the same command goes on after any interruption
    python -m benchmarks.learning run quick --out results/quick
    python -m benchmarks.learning run paper --out results/paper --only 'SaCCM-Ant-*' --dry-run
    python -m benchmarks.learning report results/quick
    # the same agents without what they know of the task
    python -m benchmarks.learning contexts results/quick
    python -m benchmarks.learning figure results/quick --out figure.svg
    python -m benchmarks.learning page results docs/results.md
    python -m benchmarks.learning time-to-return results/quick --env Pendulum --return -300

A suite is a YAML file: one of benchmarks/learning/suites by its name, or your own by its path.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import logging
from pathlib import Path

import click

from rllib_sami_cli import catalog
from rllib_sami_cli.errors import stoppable

from .folders import LOG, folder_of, locked, saved_steps
from .running import left_to_do, run_jobs
from .suite import check_jobs, find_suite, load_jobs

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(help=__doc__)
def main() -> None:
    """Runs and reads learning benchmarks."""


@main.command()
@click.argument("suite")
@click.option("--out", type=FOLDER, required=True, help="Folder of jobs, results and report; one for each suite.")
@click.option("--cpus", type=click.IntRange(1), help="Jobs at a time.  [default: all CPUs]")
@click.option("--only", multiple=True, metavar="GLOB", help="Jobs whose id fits, such as 'SaCCM-*'; repeatable.")
@click.option("--dry-run", is_flag=True, help="Check every job's settings and list them; train nothing.")
@click.option("--overwrite", is_flag=True, help="Run jobs again whose settings have changed since they were run.")
@click.option("--checkpoint-interval", default=60.0, show_default=True, help="In seconds.")
def run(suite, out, cpus, only, dry_run, overwrite, checkpoint_interval) -> None:
    """Train and evaluate what is left of SUITE, then report.

    An interrupted job goes on from its newest checkpoint, replay buffer and all; a finished one is never run again.
    """
    catalog.prepare()
    # A suite's algorithms share their settings, and not every one uses all of them.
    logging.getLogger("rllib_sami.config.unused_settings").setLevel(logging.ERROR)
    jobs = load_jobs(find_suite(suite), only)
    for job in check_jobs(jobs):
        if dry_run:
            click.echo(f"{job.id}: {job.run} on {job.env}, {job.env_steps:,} steps, {job.config}")
    count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
    if dry_run:
        click.echo(f"{count}, {len(left_to_do(jobs, out))} to do. Nothing was trained.")
        return
    with stoppable("the same command continues."), locked(out) as lock:
        left = left_to_do(jobs, out, overwrite)
        click.echo(f"{count}, {len(left)} to do, in {out}")
        for job in left:
            if steps := saved_steps(folder_of(out, job)):
                click.echo(f"{job.id} goes on from step {steps:,}")
        failed = run_jobs(left, out, cpus, checkpoint_interval, lock)
    for name, message in failed.items():
        click.echo(f"failed: {name}: {message} ({out / 'jobs' / name / LOG})", err=True)
    if len(failed) < len(jobs):
        _report(out, None)
    if failed:
        click.echo(
            f"{len(failed)} of {len(jobs)} jobs failed. The same command tries them again. If that does not help, "
            "remove the folder of such a job, and it starts over.",
            err=True,
        )
        raise SystemExit(1)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FOLDER, help="Folder of results and report.  [default: FOLDER]")
def report(folder, out) -> None:
    """Join the results of all finished jobs in FOLDER: results, curves, tables and a page."""
    _report(folder, out)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--only", multiple=True, metavar="GLOB", help="Play jobs whose id fits, such as 'SaCCM-*'; repeatable.")
def contexts(folder, only) -> None:
    """Play the agents of all finished jobs in FOLDER again, with zeros and with other episodes' contexts, and compare.

    A job that was played is not played again; the tables are of all that were.
    """
    from .contexts import play_contexts, write_contexts

    catalog.prepare()
    with stoppable("the same command continues."), locked(folder):
        for name in play_contexts(folder, only):
            click.echo(f"Played: {name}")
    for path in write_contexts(folder):
        click.echo(f"Written: {path}")


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FILE, required=True, help="The figure, such as docs/results.svg; or a .png.")
def figure(folder, out) -> None:
    """Draw the returns of all finished jobs in FOLDER, a panel per environment."""
    from .figure import write_figure

    click.echo(f"Written: {write_figure(folder, out)}")


@main.command()
@click.argument("results", type=FOLDER)
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def page(results, page) -> None:
    """Fill in the tables of PAGE, a Markdown file, from RESULTS, a folder with a folder for each suite.

    A comment such as <!-- table: scores cpu Pendulum --> stands above each table.
    """
    from .page import fill_page

    click.echo(f"Filled in: {fill_page(page, results)} tables of {page}")


@main.command("time-to-return")
@click.argument("folder", type=FOLDER)
@click.option("--env", "environment", required=True, help="Name of the environment in the suite.")
@click.option("--return", "goal", type=float, required=True, help="Mean training return to be reached.")
@click.option("--per-step", is_flag=True, help="--return is a mean reward per step: episodes of other lengths compare.")
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Curve of another "
              "implementation: a CSV with env_steps, cpu_s, return_last100 (and length_last100).")  # fmt: skip
def time_to_return(folder, environment, goal, per_step, reference) -> None:
    """Print what each algorithm needed until its training return, over five iterations, was there."""
    from .tables import markdown
    from .time_to_return import time_to_return_table

    click.echo(markdown(time_to_return_table(folder, environment, goal, per_step, reference)))


def _report(folder: Path, out: Path | None) -> None:
    from .reporting import write_report

    for path in write_report(folder, out or folder):
        click.echo(f"Written: {path}")


if __name__ == "__main__":
    main()
