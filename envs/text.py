"""Tasks in words: for pictures, tables and pages."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .tasks import Factor, FactorValue, PartsFactor, Task, VectorFactor

MOST_COMPONENTS = 3  # of a vector, to be written out


def describe(factor: Factor, value: FactorValue) -> str:
    """Returns one value in a few characters: ``0.85``, ``1 bshin + 4 fshin``, ``none``, ``7 numbers 0.31…3.2``."""
    if isinstance(factor, PartsFactor):
        return " + ".join(f"{part} {factor.parts[int(part)]}" for part in _numbers(value)) or "none"
    if isinstance(factor, VectorFactor):
        numbers = _numbers(value)
        if len(set(numbers)) == 1:
            return f"{numbers[0]:.4g} each"
        if len(numbers) > MOST_COMPONENTS:
            return f"{len(numbers)} numbers {min(numbers):.3g}…{max(numbers):.3g}"
        return f"({', '.join(f'{number:.3g}' for number in numbers)})"
    return f"{value:.4g}"


def describe_task(task: Task) -> list[str]:
    """Returns one line per factor: its name and its value."""
    values = zip(task.factors, task.assignment, strict=True)
    return [f"{factor.name.replace('_', ' ')}: {describe(factor, value)}" for factor, value in values]


def write_lines(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Returns a copy of the image with lines of text in its upper left corner, white on a dark box.

    Args:
        image: ``[height, width, 3]`` uint8.
        lines: The text; its size follows the image's height, and shrinks where a line would not fit.
    """
    if not lines:
        return image.copy()
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    text = "\n".join(lines)
    size = max(10.0, picture.height / 24)
    width = draw.multiline_textbbox((0, 0), text, font=ImageFont.load_default(size))[2]
    font = ImageFont.load_default(size * min(1.0, (picture.width - 2 * size) / max(width, 1)))
    box = draw.multiline_textbbox((size, size), text, font=font)
    pad = size / 3
    draw.rectangle((box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), fill=(0, 0, 0, 150))
    draw.multiline_text((size, size), text, font=font, fill=(255, 255, 255, 255))
    return np.array(picture)


def _numbers(value: FactorValue) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
