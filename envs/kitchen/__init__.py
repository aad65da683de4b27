"""Long tasks of an arm in a kitchen, whose sub-tasks have to be done in their order."""

from .kitchen import Kitchen, Light, Misaligned, Mixed

__all__ = ["Kitchen", "Light", "Misaligned", "Mixed"]
