"""Drawing of rods and carts with numpy, so that videos need no graphics library."""

import numpy as np

SIZE = 240  # pixels
Point = tuple[float, float]
Colour = tuple[int, int, int]


class Canvas:
    """A square image of the region ±``extent`` in both directions, y upwards.

    Attributes:
        image: ``[SIZE, SIZE, 3]`` uint8.
    """

    def __init__(self, extent: float):
        self.image = np.full((SIZE, SIZE, 3), 255, dtype=np.uint8)
        ticks = (np.arange(SIZE) + 0.5) / SIZE * 2.0 * extent - extent
        self._x, self._y = np.meshgrid(ticks, -ticks)
        self._pixel = 2.0 * extent / SIZE

    def rod(self, start: Point, end: Point, radius: float, colour: Colour) -> None:
        """Draws all points closer than ``radius`` to the segment from ``start`` to ``end``, with a soft edge."""
        along = np.subtract(end, start)
        dx, dy = self._x - start[0], self._y - start[1]
        share = np.clip((dx * along[0] + dy * along[1]) / max(along @ along, 1e-12), 0.0, 1.0)
        distance = np.hypot(dx - share * along[0], dy - share * along[1])
        cover = np.clip((radius - distance) / self._pixel + 0.5, 0.0, 1.0)[..., None]
        self.image[...] = np.rint((1.0 - cover) * self.image + cover * np.array(colour))
