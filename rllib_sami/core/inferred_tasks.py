"""What is inferred of tasks."""

from typing import NamedTuple

import numpy as np


class InferredTask(NamedTuple):
    """What somebody infers of a task; None where nothing is."""

    family: str | None = None  # name of its family
    latent: np.ndarray | None = None  # [L]
    cluster: int | None = None  # number of the latent's cluster
