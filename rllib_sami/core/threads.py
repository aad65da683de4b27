"""Number of threads of a process; too many can make it up to 90 times slower."""

import torch
from threadpoolctl import threadpool_limits


def set_num_threads(num_threads: int | None) -> None:
    """Limits the threads of torch and of NumPy's matrix products; None leaves them unchanged."""
    if num_threads is not None:
        torch.set_num_threads(num_threads)
        threadpool_limits(num_threads, user_api="blas")
