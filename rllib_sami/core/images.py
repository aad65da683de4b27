"""Observations that are images, one or a stack of the last ones: their layout, and the network that reads them.

Between environment and networks an observation is a flat row, the newest image last.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rllib_sami.core.env_values import UnusableValue

MOST_CHANNELS = 4  # red, green, blue, alpha


class ImageShape(NamedTuple):
    """Layout of an observation."""

    stack: int  # images, oldest first
    height: int
    width: int
    channels: int

    @property
    def frame_size(self) -> int:
        """Numbers of one image."""
        return self.height * self.width * self.channels

    @property
    def size(self) -> int:
        """Numbers of an observation."""
        return self.stack * self.frame_size


def image_shape(space: gym.Space) -> ImageShape | None:
    """Returns the layout of images ``[H, W, C]`` or ``[stack, H, W, C]`` of type uint8; None for anything else.

    The latter is what Gymnasium's ``FrameStackObservation`` returns.
    """
    shape = space.shape
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8 or shape is None or len(shape) not in (3, 4):
        return None
    if shape[-1] > MOST_CHANNELS:
        return None
    return ImageShape(*(shape if len(shape) == 4 else (1, *shape)))


def row_dtype(space: gym.Space) -> Any:
    """Type of a flat observation: uint8 for images, float32 for everything else."""
    return np.uint8 if image_shape(space) is not None else np.float32


def newest_images(obs: np.ndarray, shape: ImageShape, begins: bool) -> np.ndarray:
    """Returns the newest image of each observation.

    Args:
        obs: Neighbouring observations, ``[n, stack * H W C]``.
        shape: Their layout.
        begins: Whether the first one is that of a reset.

    Returns:
        ``[n, H W C]``.

    Raises:
        UnusableValue: They are no stacks of the last images.
    """
    stacks = obs.reshape(len(obs), shape.stack, shape.frame_size)
    are_stacks = np.array_equal(stacks[1:, :-1], stacks[:-1, 1:])
    if not are_stacks or (begins and not np.array_equal(stacks[0, :-1], stacks[0, 1:])):
        raise UnusableValue(
            f"observations of shape {[*shape]} that are not the last {shape.stack} images, oldest first, and at a "
            f"reset {shape.stack} times the first one, as gymnasium.wrappers.FrameStackObservation(env, {shape.stack}, "
            "padding_type='reset') returns them if `reset()` and `step()` of `env` return a new array each time. Since "
            "each image is stored only once, other stacks, such as those of several cameras, cannot be used."
        )
    return stacks[:, -1]


def convolved_size(shape: ImageShape, filters: Sequence[Sequence[int]]) -> int:
    """Numbers that convolutions make of an observation.

    Args:
        shape: Layout of the observation.
        filters: Output channels, kernel and stride of each convolution; there is no padding.

    Raises:
        ValueError: The images are too small for the filters.
    """
    height, width = shape.height, shape.width
    for _, kernel, stride in filters:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        if min(height, width) < 1:
            raise ValueError(
                f"images of {shape.height} x {shape.width} pixels, which are too small for `conv_filters` "
                f"{[list(one) for one in filters]}. Give it fewer or smaller ones, or larger images "
                "(gymnasium.wrappers.ResizeObservation). If they are no images, use FlattenObservation."
            )
    return filters[-1][0] * height * width


class ImageEncoder(nn.Module):
    """Convolutions with ELU over a stack of images, whose colours are channels; no padding.

    Args:
        shape: Layout of the observation.
        filters: Output channels, kernel and stride of each convolution.

    Attributes:
        output_dim: Width of what it returns; 1536 for images of 64 x 64 and the default filters.

    Raises:
        ValueError: The images are too small for the filters.
    """

    def __init__(self, shape: ImageShape, filters: Sequence[Sequence[int]]):
        super().__init__()
        self.shape, self.output_dim = shape, convolved_size(shape, filters)
        layers: list[nn.Module] = []
        channels = shape.stack * shape.channels
        for outputs, kernel, stride in filters:
            layers += [nn.Conv2d(channels, outputs, kernel, stride), nn.ELU(inplace=True)]
            channels = outputs
        self.net = nn.Sequential(*layers, nn.Flatten())

    def forward(self, obs: Tensor) -> Tensor:
        """Returns ``[N, output_dim]`` for flat observations ``[N, O]`` from 0 to 255, of any type."""
        stack, height, width, channels = self.shape
        images = obs.reshape(obs.shape[0], stack, height, width, channels).permute(0, 2, 3, 1, 4)
        # Channels last in memory, with which convolutions take two thirds of the time on a CPU.
        images = images.reshape(obs.shape[0], height, width, stack * channels).permute(0, 3, 1, 2)
        return self.net(images.to(torch.float32) / 255.0)
