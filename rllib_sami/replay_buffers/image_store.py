"""The images of an episode store: each is stored once, as uint8, and stacked when it is sampled."""

import numpy as np

from rllib_sami.core.images import ImageShape


class ImageStore:
    """Images by row of an ``EpisodeStore``: a ring of finished episodes, and room for open ones behind it.

    They are two arrays, because the ring may take most of the memory, and must not be copied when the room grows.

    Args:
        shape: Layout of an observation.
        capacity: Rows of the ring.

    Attributes:
        shape: Likewise.
        ring: ``[capacity, H W C]`` uint8.
        room: ``[rows of open episodes, H W C]`` uint8.
    """

    def __init__(self, shape: ImageShape, capacity: int):
        self.shape = shape
        self.ring = np.zeros((capacity, shape.frame_size), np.uint8)  # takes memory only as it fills
        self.room = self.ring[:0].copy()

    def newest(self, obs: np.ndarray, begins: bool) -> np.ndarray:
        """Returns the newest image of each observation.

        Args:
            obs: Neighbouring observations, ``[n, stack * H W C]``.
            begins: Whether the first one is that of a reset.

        Returns:
            ``[n, H W C]``.

        Raises:
            ValueError: They are no stacks of the last images.
        """
        stacks = obs.reshape(len(obs), self.shape.stack, self.shape.frame_size)
        are_stacks = np.array_equal(stacks[1:, :-1], stacks[:-1, 1:])
        if not are_stacks or (begins and not np.array_equal(stacks[0, :-1], stacks[0, 1:])):
            shape = [*self.shape]
            raise ValueError(
                f"Observations of shape {shape} must be the last {shape[0]} images, oldest first, and at a reset "
                f"{shape[0]} times the first one: gymnasium.wrappers.FrameStackObservation(env, {shape[0]}, "
                "padding_type='reset'). Each image is stored only once."
            )
        return stacks[:, -1]

    def write(self, row: int, images: np.ndarray) -> None:
        """Stores images ``[n, H W C]`` of an open episode, from ``row`` on."""
        row -= len(self.ring)
        self.room[row : row + len(images)] = images

    def finish(self, row: int, place: int, size: int) -> None:
        """Moves ``size`` images of an episode from ``row`` of the room to ``place`` in the ring."""
        row -= len(self.ring)
        self.ring[place : place + size] = self.room[row : row + size]

    def resize_room(self, size: int) -> None:
        """Makes a room of another size with the images of the present one, as far as they fit."""
        old, self.room = self.room, np.zeros((size, self.shape.frame_size), np.uint8)
        kept = min(len(old), size)
        self.room[:kept] = old[:kept]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Returns the images of rows ``[...]``, ``[..., H W C]``."""
        is_open = rows >= len(self.ring)
        images = self.ring[np.where(is_open, 0, rows)]
        images[is_open] = self.room[rows[is_open] - len(self.ring)]
        return images
