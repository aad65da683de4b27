"""Sampling: vectorised environments, the loop around them, and the player of whole episodes."""
