"""Checkpoints as files: written as a whole or not at all, checked before they are read."""
