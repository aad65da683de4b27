"""Messages for the user: one on stderr, exit code 2, no traceback."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

INTERRUPTED = 130  # the shell's exit code for Ctrl-C
NOTHING_TRAINED = "nothing was trained, no results were written."


class UserError(click.ClickException):
    """A mistake that the user can fix: the message says what is wrong, where, and what to do."""

    exit_code = 2
    show_cause = False  # set by -vv
    parts: tuple[UserError, ...] = ()  # if it stands for several mistakes

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message, and with -vv what caused it."""
        if self.show_cause and self.__cause__ is not None:
            traceback.print_exception(self.__cause__)
        super().show(file)


class Mistakes:
    """Collects the mistakes of a file, so that all of them are reported at once."""

    def __init__(self) -> None:
        self.found: list[UserError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes a UserError of its block and goes on."""
        try:
            yield
        except UserError as error:
            self.found += error.parts or [error]

    def note(self, cause: BaseException | None, messages: Iterable[str]) -> None:
        """Notes mistakes by their messages."""
        for message in messages:
            error = UserError(message)
            error.__cause__ = cause
            self.found.append(error)

    def tell(self, order: Any = ()) -> None:
        """Raises everything that was found as one UserError, without repetitions.

        Args:
            order: What the user wrote, nested. Mistakes are sorted by where it has the first word that they quote.
        """
        words = list(dict.fromkeys(_words(order)))
        found = list({error.message: error for error in self.found}.values())
        found.sort(key=lambda error: next((words.index(w) for w in _quoted(error.message) if w in words), len(words)))
        if len(found) == 1:
            raise found[0]
        if found:
            several = UserError(f"{len(found)} mistakes:\n" + "\n".join(f"  {error.message}" for error in found))
            several.parts = tuple(found)
            raise several from next((error.__cause__ for error in found if error.__cause__), None)


def _quoted(message: str) -> list[str]:
    """Returns the keys and values that a message quotes after the place."""
    quoted = re.findall(r"['`]([\w/.:-]+)['`]", message.partition(": ")[2])
    return [part for word in quoted for part in (word, word.rpartition(".")[2])]


def _words(value: Any) -> Iterator[str]:
    """Yields the keys and texts of nested mappings and lists, in their order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value


class Stopped(UserError):
    """A Ctrl-C, reported in one line; the message says what the command has done."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message."""
        click.echo(f"\nStopped: {self.message}", file=file, err=file is None)


@contextmanager
def stoppable(outcome: str) -> Iterator[None]:
    """Turns a Ctrl-C in its block into a :class:`Stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(outcome) from None


def one_line(error: BaseException | str) -> str:
    """Returns an exception's message as one line, without RLlib's advice on how to suppress the check."""
    text = str(error) or type(error).__name__
    text = text.split("To suppress all validation errors")[0]
    return " ".join(text.split())
