"""The command as a process of its own, as a terminal runs it."""

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
from pathlib import Path


class Command:
    """A running `rllib`, in a process group of its own."""

    def __init__(self, *words: object, cwd: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from rllib_sami_cli import main; main()", *map(str, words)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[str] = []

    def wait_for_row(self) -> int:
        """Reads up to the next row of the live table and returns its iteration."""
        for line in self.process.stdout:
            self.lines.append(line)
            first = line.split()[0] if line.split() else ""
            if first.isdigit():
                return int(first)
        raise AssertionError(self.output)

    def finish(self, timeout: float = 300) -> int:
        """Reads the rest and returns the exit code."""
        self.lines.append(self.process.communicate(timeout=timeout)[0])
        return self.process.returncode

    @property
    def output(self) -> str:
        """All that was printed so far, both streams."""
        return "".join(self.lines)

    def family(self) -> list[int]:
        """The process ids of the command and its descendants (from Linux's /proc)."""
        children: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parts[2]))
        pids = [self.process.pid]
        for pid in pids:
            pids += children.get(pid, [])
        return pids

    def listening(self) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        """The addresses on which the command and its descendants listen (from Linux's /proc)."""
        sockets = set()
        for pid in self.family():
            for path in Path(f"/proc/{pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(path))
        addresses = []
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *fields = line.split()
                if state == "0A" and f"socket:[{fields[5]}]" in sockets:
                    number = local.split(":")[0]  # each word of four bytes is in the machine's order
                    words = [bytes.fromhex(number[i : i + 8])[::-1] for i in range(0, len(number), 8)]
                    addresses.append(ipaddress.ip_address(b"".join(words)))
        return addresses

    def signal(self, number: int) -> None:
        """Sends a signal to every process of the group, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self, *others: int) -> None:
        """Kills the command itself, and other processes at the same moment; Ray then ends its own processes."""
        if self.process.poll() is None:
            for pid in others:
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.communicate()
