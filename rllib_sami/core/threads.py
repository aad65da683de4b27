"""Threads of this process: one place that sets them, since too many cost up to 90 times the time."""

import torch
from threadpoolctl import threadpool_limits


def set_num_threads(num_threads: int | None) -> None:
    """Limits the threads of torch and of numpy's matrix products, from now on; None leaves both alone."""
    if num_threads is not None:
        torch.set_num_threads(num_threads)
        threadpool_limits(num_threads, user_api="blas")
