"""Settings that change with the environment steps."""

from collections.abc import Sequence

import numpy as np

Schedule = float | Sequence[Sequence[float]]  # one value, or pairs of environment steps and value


def value_at(schedule: Schedule, timestep: int) -> float:
    """Value of a schedule in RLlib's form: linear between its pairs, and the last one's after them."""
    if isinstance(schedule, Sequence):
        timesteps, values = zip(*schedule, strict=True)
        return float(np.interp(timestep, timesteps, values))
    return float(schedule)
