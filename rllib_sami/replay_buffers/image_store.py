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
