"""The way in of the `rllib` command.

Where this module was imported first, `rllib_sami` loads Ray and torch only when a command needs them, so that
`rllib --help` and the shell's completion answer at once. Everywhere else, workers too, it loads all at once.
"""


def main() -> None:
    """Runs the command."""
    from rllib_sami.cli import main as command

    command()
