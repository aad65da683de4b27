"""Agents on top of agents: environments whose actions are latents of a frozen policy."""
