"""``auto``: settings that follow what the machine has, so that one file fits a laptop and a GPU server."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

MOST_ENV_RUNNERS = 8


def _num_env_runners() -> int:
    """None of their own on small machines, where the main process samples fastest; else all but two cores' worth."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores < 4 else min(MOST_ENV_RUNNERS, cores - 2)


def _num_gpus() -> int:
    import torch

    return int(torch.cuda.is_available())


_AUTO: dict[str, Callable[[], int]] = {"num_env_runners": _num_env_runners, "num_gpus_per_learner": _num_gpus}


def resolve_auto(config: dict[str, Any]) -> dict[str, Any]:
    """Returns ``config`` with ``auto`` replaced, where a setting may say so: env runners and the learner's GPU."""
    return {key: _AUTO[key]() if value == "auto" and key in _AUTO else value for key, value in config.items()}
