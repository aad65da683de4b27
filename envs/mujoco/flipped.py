"""HalfCheetah whose motors may turn the other way, so that no single gait works for all tasks."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..factors import Factor, PartsFactor
from ..tasks import Splits, Task, grid
from .base import MujocoTaskEnv
from .half_cheetah import JOINTS, HalfCheetah

# The eight trained patterns, with one bit per joint, are the words of a binary code [6, 3, 3]: over them every joint is
# flipped half of the time, every two joints show all four combinations equally often, and two patterns differ in at
# least three joints. So an agent has to recognise each joint's sign, and each sign is trained; only combinations of
# three and more joints are unseen. Of the other 56 patterns, 48 are one joint away from exactly one trained pattern,
# and 8 are two joints away from every trained one.
TRAIN = [(), (2, 4, 5), (1, 3, 5), (1, 2, 3, 4), (0, 3, 4), (0, 2, 3, 5), (0, 1, 4, 5), (0, 1, 2)]
# One next to each trained pattern; the joints take turns.
MODERATE = [(0,), (1, 2, 4, 5), (1, 2, 3, 5), (1, 2, 4), (0, 3), (0, 2, 3), (1, 4, 5), (0, 2)]
# All eight patterns two joints away.
EXTREME = [(3, 4, 5), (2, 3), (1, 4), (1, 2, 5), (0, 5), (0, 2, 4), (0, 1, 3), (0, 1, 2, 3, 4, 5)]


class HalfCheetahFlipped(HalfCheetah):
    """HalfCheetah with motors of either sign: an action turns a flipped joint the other way.

    The factor ``flipped`` holds indices of joints: 0 bthigh, 1 bshin, 2 bfoot, 3 fthigh, 4 fshin, 5 ffoot.
    Observation, action and reward are HalfCheetah's. The best return is the same for all patterns: an agent that knows
    the signs can move in the same way in all of them.
    """

    factors: ClassVar[tuple[Factor, ...]] = (
        *HalfCheetah.factors,
        PartsFactor(name="flipped", parts=JOINTS, unit="joints whose motor is flipped"),
    )
    splits: ClassVar[Splits] = {  # N: our proposal
        split: grid(flipped=[[pattern] for pattern in patterns])
        for split, patterns in (("train", TRAIN), ("moderate", MODERATE), ("extreme", EXTREME))
    }
    task_arrays = (*MujocoTaskEnv.task_arrays, "actuator_gear")

    def _model_arrays(self, task: Task) -> Mapping[str, np.ndarray]:
        arrays = super()._model_arrays(task)
        gear = arrays["actuator_gear"].copy()
        gear[np.asarray(task["flipped"], dtype=np.intp)] *= -1.0
        return {**arrays, "actuator_gear": gear}
