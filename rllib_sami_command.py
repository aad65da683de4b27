"""The way in of the `rllib` command.

Where :func:`main` was called first, `rllib_sami` loads Ray and torch only when a command needs them, so that
`rllib --help` and the shell's completion answer at once. Everywhere else, workers too, it loads all at once: processes
that the command starts import this module, as part of its script, but do not call it.
"""

is_running = False


def main() -> None:
    """Runs the command."""
    global is_running
    is_running = True
    from rllib_sami.cli import main as command

    command()
