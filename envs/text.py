"""Tasks as text: for images, tables and pages."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .factors import Factor, FactorValue, PartsFactor, VectorFactor
from .tasks import MetaTask, Task

MAX_COMPONENTS = 3  # longer vectors are summarised
MAX_UNIT_LENGTH = 4  # in characters; longer units are left out of column titles


def describe(factor: Factor, value: FactorValue) -> str:
    """Returns one value in a few characters: ``0.85``, ``1 bshin + 4 fshin``, ``none``, ``7 numbers 0.31…3.2``."""
    if isinstance(factor, PartsFactor):
        return " + ".join(f"{part} {factor.parts[part]}" for part in value) or "none"  # type: ignore[union-attr,index]
    if isinstance(factor, VectorFactor):
        numbers = factor.floats(value)
        if len(numbers) <= MAX_COMPONENTS:
            return f"({', '.join(f'{number:.3g}' for number in numbers)})"
        if len(set(numbers)) == 1:
            return f"{len(numbers)} × {numbers[0]:.3g}"
        return f"{len(numbers)} numbers {min(numbers):.3g}…{max(numbers):.3g}"
    return f"{value:.4g}"


def describe_task(task: Task) -> list[str]:
    """Returns one line per factor: its name and its value."""
    values = zip(task.factors, task.assignment, strict=True)
    return [f"{factor.name.replace('_', ' ')}: {describe(factor, value)}" for factor, value in values]


def describe_meta_tasks(meta_tasks: Sequence[MetaTask]) -> tuple[list[str], list[list[str]]]:
    """Returns meta-tasks as a table.

    Args:
        meta_tasks: One or more, of one environment.

    Returns:
        One column title per factor that is not neutral everywhere, with its unit if that is short, and one row per
        meta-task, whose cells are the allowed values.
    """
    varied = [
        factor
        for factor in meta_tasks[0].factors
        if any(meta_task[factor.name] != (factor.neutral_value,) for meta_task in meta_tasks)
    ]
    rows = [
        [", ".join(describe(factor, value) for value in meta_task[factor.name]) for factor in varied]
        for meta_task in meta_tasks
    ]
    return [_title(factor) for factor in varied], rows


def _title(factor: Factor) -> str:
    unit = factor.unit.partition(",")[0]
    return f"{factor.name} ({unit})" if len(unit) <= MAX_UNIT_LENGTH else factor.name


def write_lines(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Returns a copy of the image with lines of text in its upper left corner, white on a dark box.

    Args:
        image: ``[height, width, 3]`` uint8.
        lines: The text; its size follows the image's height, and shrinks if a line would not fit.
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
