"""Trained agents as data: exported folders, model cards, agents that act in any loop."""
