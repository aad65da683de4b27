"""An arm that manipulates what is in a scene: long tasks of several sub-tasks, in a given order."""

from .scene import Scene

__all__ = ["Scene"]
