"""What the machine has: settings that follow it (``auto``), and the check that a trial fits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from rllib_sami_cli.errors import UserError

MOST_ENV_RUNNERS = 8
_AUTO = ("num_env_runners", "num_gpus_per_learner")


@dataclass(frozen=True)
class Limits:
    """What Ray may use (`--ray-num-cpus`, `--ray-num-gpus`); None is all there is."""

    cpus: int | None = None
    gpus: int | None = None


NO_LIMITS = Limits()


def auto_settings(config: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names of the settings that are ``auto``."""
    return tuple(key for key in _AUTO if config.get(key) == "auto")


def resolve_auto(config: dict[str, Any], limits: Limits = NO_LIMITS) -> dict[str, Any]:
    """Returns ``config`` with a number for each ``auto``."""
    names = auto_settings(config)
    if not names:
        return dict(config)
    import torch

    cores = limits.cpus
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    numbers = {
        # On small machines the main process samples fastest.
        "num_env_runners": 0 if cores < 4 else min(MOST_ENV_RUNNERS, cores - 2),
        "num_gpus_per_learner": int(limits.gpus != 0 and torch.cuda.is_available()),
    }
    return {**config, **{key: numbers[key] for key in names}}


def check_resources(
    bundles: list[dict[str, float]], available: dict[str, float], name: str, resumed: bool = False
) -> None:
    """Raises a UserError if a trial could never start: Tune would wait for the missing CPUs forever."""
    for kind in sorted({kind for bundle in bundles for kind in bundle}):
        needed, there = sum(bundle.get(kind, 0) for bundle in bundles), available.get(kind, 0)
        if needed > there:
            advice = {
                ("CPU", False): "Lower num_env_runners (--set num_env_runners=0 samples in the main process), "
                f"or let Ray count more: --ray-num-cpus {needed:g}.",
                ("GPU", False): "Set num_gpus_per_learner=0 to train on the CPU.",
                ("CPU", True): f"A resumed run keeps its env runners: let Ray count more, --ray-num-cpus {needed:g}, "
                "or start a new run from its checkpoint: --restore CHECKPOINT.",
                ("GPU", True): "A resumed run keeps its GPU: resume it where there is one, or start a new run from its "
                "checkpoint: --restore CHECKPOINT.",
            }.get((kind, resumed), "")
            raise UserError(f"{name}: one trial needs {needed:g} {kind}, and there are {there:g}. {advice}".strip())
