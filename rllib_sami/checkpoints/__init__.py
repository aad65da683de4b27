"""Checkpoints as files: written atomically, and checked before they are read."""
