"""The command as a process of its own, as a terminal runs it."""

import os
import subprocess
import sys
from pathlib import Path


def start(*words: str, cwd: Path) -> subprocess.Popen:
    """Starts the command as a process of its own, in a process group of its own, as a terminal would."""
    return subprocess.Popen(
        [sys.executable, "-c", "from rllib_sami.cli import main; main(prog_name='rllib')", *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def finish(process: subprocess.Popen, timeout: float = 150) -> str:
    """Waits for the process and returns what it printed."""
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
