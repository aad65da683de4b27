"""Soft actor-critic: PlainSAC, and RecurrentSAC with a memory."""
