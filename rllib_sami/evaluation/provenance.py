"""Provenance of results: versions, commit, hardware."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("rllib-sami", "ray", "torch", "numpy", "gymnasium", "mujoco", "panda-gym")


def provenance_of(**more: Any) -> dict[str, Any]:
    """Returns date, versions, commit and hardware, and ``more``."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "hardware": {"machine": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        **more,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Returns the commit of this package's code, where it is a Git working tree."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return "unknown"
    ask = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
