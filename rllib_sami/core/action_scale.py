"""Scales normalised actions to the environment's action space, for sampling, evaluation and single modules alike."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGEST_INTEGER = 2**53  # double precision cannot represent all larger integers


class ActionScale(nn.Module):
    """Scales normalised actions in [-1, 1] to a bounded Box, never outside it and in its dtype.

    In a Box of integers, each integer has an equal share of [-1, 1], because values are scaled to an interval that is
    longer by one and rounded down. Rounding to the nearest integer would halve the share of both ends.

    Args:
        low: Lower bounds, of the Box's shape and dtype.
        high: Upper bounds.

    Raises:
        ValueError: The dtype is not supported, or the bounds are not finite or too large for integers.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray):
        super().__init__()
        self.shape, self.dtype = low.shape, low.dtype
        self._is_float = self.dtype.kind == "f"
        if not (self._is_float or self.dtype.kind in "iub") or self.dtype.itemsize > 8:
            raise ValueError(f"actions of dtype {self.dtype} are not supported. Use a Box of float32.")
        # Halves are used below, because the difference of large bounds may overflow.
        exact = np.float32 if self._is_float and self.dtype.itemsize <= 4 else np.float64
        least: Any
        most: Any
        least, most = low.ravel().astype(exact), high.ravel().astype(exact)
        if not (np.isfinite(least).all() and np.isfinite(most).all()):
            raise ValueError(f"actions must be bounded, not between {low} and {high}. Use finite bounds.")
        if not self._is_float and max(np.abs(least).max(initial=0), np.abs(most).max(initial=0)) > LARGEST_INTEGER:
            raise ValueError(
                f"integer actions must be within ±2^53, not between {low} and {high}. Use a Box of float32."
            )
        end = most if self._is_float else most + 1.0
        self._arrays = (least / 2 + end / 2, end / 2 - least / 2, least, most)
        for name, values in zip(("_center", "_half_range", "_low", "_high"), self._arrays, strict=True):
            self.register_buffer(name, torch.from_numpy(values.copy()), persistent=False)
        self._torch_dtype = torch.from_numpy(np.zeros(0, self.dtype)).dtype

    def forward(self, actions: Tensor) -> Tensor:
        """Scales normalised actions ``[B, A]`` to ``[B, *shape]`` for the environment."""
        scaled = self._scaled(actions, self._center, self._half_range, self._low, self._high)
        return scaled.to(self._torch_dtype).reshape(-1, *self.shape)

    def of_array(self, actions: np.ndarray) -> np.ndarray:
        """Like :meth:`forward`, for an array; the result shares no memory with it."""
        return self._scaled(actions, *self._arrays).astype(self.dtype, copy=False).reshape(-1, *self.shape)

    def _scaled(self, actions: Any, center: Any, half_range: Any, low: Any, high: Any) -> Any:
        """Works on arrays and tensors alike."""
        values = actions * half_range + center
        if not self._is_float:
            values = values // 1.0
        return values.clip(low, high)  # rounding errors may exceed the bounds by one ulp
