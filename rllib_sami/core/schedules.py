"""Settings that depend on the number of environment steps."""

from collections.abc import Sequence

import numpy as np

Schedule = float | Sequence[Sequence[float]]  # one value, or pairs of environment steps and value


def value_at(schedule: Schedule, timestep: int) -> float:
    """Returns the value of a schedule in RLlib's form: linear between its pairs, constant after the last one."""
    if isinstance(schedule, Sequence):
        timesteps, values = zip(*schedule, strict=True)
        return float(np.interp(timestep, timesteps, values))
    return float(schedule)
