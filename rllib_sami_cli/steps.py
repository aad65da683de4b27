"""What the command is about to do, told before whatever takes more than a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

_QUIET = f"{__name__}.quiet"


def quiet_option(command: Callable) -> Callable:
    """Adds ``-q``, which silences :func:`doing`."""

    def note(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_QUIET] = True

    add: Any = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=note, help="Do not say what is being done."
    )
    return add(command)


def doing(what: str) -> None:
    """Says on stderr what is about to be done; nothing with ``-q`` and outside a command."""
    context = click.get_current_context(silent=True)
    if context is not None and not context.meta.get(_QUIET):
        click.echo(f"{what} ...", err=True)


def loading() -> None:
    """Says that Ray and torch are about to be imported, if they are not there yet."""
    if "ray.rllib" not in sys.modules:
        doing("Loading RLlib")
