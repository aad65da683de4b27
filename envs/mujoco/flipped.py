"""HalfCheetah whose motors may turn the other way, so that no single gait can serve."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..factors import Factor, PartsFactor
from ..tasks import Splits, Task
from .base import DAMPING_SCALE, MASS_SCALE, MujocoTaskEnv
from .half_cheetah import JOINTS, HalfCheetah

# A pattern has one bit per joint, 1 where the motor is flipped. The eight trained ones are the words of a binary code
# [6, 3, 3]: over them every joint is flipped half of the time, every two joints show all four combinations equally
# often, and two patterns differ in at least three joints. So nothing but recognising each joint's sign helps, and each
# sign is trained; only combinations of three and more joints are left to be new. Of the other 56 patterns, 48 are one
# joint away from exactly one trained pattern, and 8 are two joints away from every trained one.
TRAINED = tuple((a, b, c, a ^ b, a ^ c, b ^ c) for a, b, c in itertools.product((0, 1), repeat=3))


def distance(pattern: tuple[int, ...]) -> int:
    """Returns in how many joints a pattern differs from the nearest trained one."""
    return min(sum(one != other for one, other in zip(pattern, word, strict=True)) for word in TRAINED)


def _meta_task(pattern: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
    return {"flipped": [tuple(joint for joint, bit in enumerate(pattern) if bit)]}


def _change(word: tuple[int, ...], joint: int) -> tuple[int, ...]:
    return (*word[:joint], 1 - word[joint], *word[joint + 1 :])


class HalfCheetahFlipped(HalfCheetah):
    """HalfCheetah whose motors keep or flip their sign: an action turns a flipped joint the other way.

    The factor ``flipped`` holds indices of joints: 0 bthigh, 1 bshin, 2 bfoot, 3 fthigh, 4 fshin, 5 ffoot.
    Observation, action and reward are HalfCheetah's. The best return is the same for all patterns: an agent that knows
    the signs moves alike in all of them.
    """

    factors: ClassVar[tuple[Factor, ...]] = (
        MASS_SCALE,
        DAMPING_SCALE,
        PartsFactor(name="flipped", parts=JOINTS, unit="joints whose motor is flipped"),
    )
    splits: ClassVar[Splits] = {
        "train": tuple(map(_meta_task, TRAINED)),  # N
        # N: of the 48 patterns one joint away, one next to each trained pattern, the joints taking turns.
        "moderate": tuple(_meta_task(_change(word, index % len(JOINTS))) for index, word in enumerate(TRAINED)),
        # N: all eight patterns two joints away.
        "extreme": tuple(
            _meta_task(pattern) for pattern in itertools.product((0, 1), repeat=len(JOINTS)) if distance(pattern) > 1
        ),
    }
    task_arrays = (*MujocoTaskEnv.task_arrays, "actuator_gear")

    def _model_arrays(self, task: Task) -> Mapping[str, np.ndarray]:
        arrays = super()._model_arrays(task)
        gear = arrays["actuator_gear"].copy()
        gear[np.asarray(task["flipped"], dtype=np.intp)] *= -1.0
        return {**arrays, "actuator_gear": gear}
