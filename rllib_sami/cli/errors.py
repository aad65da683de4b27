"""What the user hears when something is wrong: one message on stderr, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

INTERRUPTED = 130  # the shell's exit code for Ctrl-C


class UserError(click.ClickException):
    """A mistake the user can mend: the message says what is wrong, where, and what to do."""

    exit_code = 2
    show_cause = False  # set by -vv

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message, and with -vv what caused it."""
        if self.show_cause and self.__cause__ is not None:
            traceback.print_exception(self.__cause__)
        super().show(file)


@contextmanager
def starting() -> Iterator[None]:
    """Says, on a Ctrl-C in its block, that nothing has been done yet, and ends the command."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("\nStopped while starting: nothing was trained, no results were written.", err=True)
        raise SystemExit(INTERRUPTED) from None


def nearest(name: object, options: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the option most like ``name`` (case ignored), or None if nothing comes close."""
    by_lower = {str(option).lower(): str(option) for option in options}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(name: object, options: Iterable[str], list_up_to: int = 12, cutoff: float = 0.6) -> str:
    """Returns the half-sentence that ends a message about an unknown name.

    Args:
        name: What the user wrote.
        options: The valid names.
        list_up_to: All valid names are listed if there are no more than this.
        cutoff: How alike (0 to 1) the nearest name must be to be named.
    """
    options = sorted({str(option) for option in options})
    parts = []
    if close := nearest(name, options, cutoff):
        parts.append(f"Did you mean '{close}'?")
    if options and len(options) <= list_up_to:
        parts.append(f"Valid: {', '.join(options)}.")
    return " ".join(parts)


def one_line(error: BaseException | str) -> str:
    """Returns an exception's message as one line, without RLlib's advice on how to suppress the check."""
    text = str(error) or type(error).__name__
    text = text.split("To suppress all validation errors")[0]
    return " ".join(text.split())
