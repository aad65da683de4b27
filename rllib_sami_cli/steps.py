"""What the command is about to do, printed before anything that takes longer than a moment."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import click

_QUIET = f"{__name__}.quiet"


def quiet_option(command: Callable) -> Callable:
    """Adds ``-q``, which silences :func:`doing`."""
    option = click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_note_quiet,
                          help="Do not print what is being done.")  # fmt: skip
    return option(command)


def _note_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_QUIET] = value or ctx.meta.get(_QUIET, False)


def doing(what: str) -> None:
    """Prints on stderr what is about to be done; nothing with ``-q`` and outside a command."""
    context = click.get_current_context(silent=True)
    if context is not None and not context.meta.get(_QUIET):
        click.echo(f"{what} ...", err=True)


def loading() -> None:
    """Prints that Ray and torch are about to be imported, unless they are there already."""
    # RLlib imports dm_control wherever it is installed, which warns if there is no display. Nothing here needs one.
    warnings.filterwarnings("ignore", message=r"\(65550\) ")
    if "ray.rllib" not in sys.modules:
        doing("Loading RLlib")
