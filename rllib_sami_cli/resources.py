"""``auto``: settings that follow what the machine has, so that one file fits a laptop and a GPU server."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_ENV_RUNNERS = 8


@dataclass(frozen=True)
class Limits:
    """What Ray is told that it may use (`--ray-num-cpus`, `--ray-num-gpus`); None is all there is."""

    cpus: int | None = None
    gpus: int | None = None


NO_LIMITS = Limits()


def _num_env_runners(limits: Limits) -> int:
    """None of their own on small machines, where the main process samples fastest; else all but two cores' worth."""
    cores = limits.cpus
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores < 4 else min(MOST_ENV_RUNNERS, cores - 2)


def _num_gpus(limits: Limits) -> int:
    import torch

    return int(limits.gpus != 0 and torch.cuda.is_available())


_AUTO: dict[str, Callable[[Limits], int]] = {"num_env_runners": _num_env_runners, "num_gpus_per_learner": _num_gpus}


def auto_settings(config: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names of the settings that ``config`` leaves to the machine: of env runners and the learner's GPU."""
    return tuple(key for key in _AUTO if config.get(key) == "auto")


def resolve_auto(config: dict[str, Any], limits: Limits = NO_LIMITS) -> dict[str, Any]:
    """Returns ``config`` with a number for each ``auto``."""
    return {**config, **{key: _AUTO[key](limits) for key in auto_settings(config)}}
