"""Texts of messages: the nearest valid name of a misspelt one, errors in one line."""

import difflib
from collections.abc import Iterable


def nearest_name(name: object, options: Iterable[object], cutoff: float = 0.6) -> str | None:
    """Returns the option most like ``name`` (case ignored), or None if none is similar.

    Args:
        name: What the user wrote.
        options: The valid names.
        cutoff: Least similarity, from 0 to 1.
    """
    by_lower = {str(option).lower(): str(option) for option in options}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(name: object, options: Iterable[object], list_up_to: int = 12, cutoff: float = 0.6) -> str:
    """Returns the end of a message about an unknown name: the nearest valid one, and a list of all if it is short.

    Args:
        name: What the user wrote.
        options: The valid names.
        list_up_to: Largest number of valid names to list.
        cutoff: Least similarity of the nearest name, from 0 to 1.
    """
    options = sorted({str(option) for option in options})
    parts = []
    if close := nearest_name(name, options, cutoff):
        parts.append(f"Did you mean '{close}'?")
    if options and len(options) <= list_up_to:
        parts.append(f"Valid: {', '.join(options)}.")
    return " ".join(parts)


def nearest_hint(name: object, options: Iterable[object]) -> str:
    """Returns the end of a sentence about an unknown name: ``"; did you mean 'x'?"``, or ``"."`` if none is similar."""
    close = nearest_name(name, options)
    return f"; did you mean '{close}'?" if close else "."


def one_line(error: BaseException) -> str:
    """Returns an error's message as one line; its type if it has none."""
    return " ".join((str(error) or type(error).__name__).split())
