"""`rllib report`: results of `rllib evaluate` as one page."""

from __future__ import annotations

from pathlib import Path

import click

from rllib_sami_cli.errors import UserError, one_line, stoppable
from rllib_sami_cli.steps import doing, quiet_option


@click.command()
@click.argument("results", nargs=-1, metavar="RESULTS…", type=click.Path(path_type=Path))
@click.option("--out", default="report", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the report: new, empty, or with an older report, which is replaced.")  # fmt: skip
@click.option("--title", metavar="TEXT", help="Heading of the page.")
@click.option("--paper", is_flag=True, help="Report the paper's published numbers, without RESULTS.")
@quiet_option
@stoppable("no complete report was written.")
def report(results: tuple[Path, ...], out: Path, title: str | None, paper: bool) -> None:
    """Write a report: one page (index.html), report.md and the figures.

    RESULTS are folders that `rllib evaluate --out` has written; all agents in one report must have played the same
    tasks. Sections without data are left out and listed at the end of the page.
    """
    if paper == bool(results):
        raise UserError(
            "report: give either folders with results or --paper. "
            "`rllib evaluate CHECKPOINT --out FOLDER` writes such a folder."
        )
    doing("Loading numpy, pandas and matplotlib")
    try:
        from rllib_sami.evaluation.paper import paper_results
        from rllib_sami.evaluation.reporting import report as write
        from rllib_sami.evaluation.results import Results
    except ModuleNotFoundError as error:
        raise UserError(
            f"report: the package '{error.name}' is missing. Install the extra it belongs to: "
            "pip install 'rllib-sami[report]'"
        ) from error
    doing("Reading results, drawing figures and writing the page")
    try:
        page = write(paper_results() if paper else Results.load(results), out, title)
    except ValueError as error:
        raise UserError(f"report: {one_line(error)}") from error
    click.echo(f"Written: {page}")
