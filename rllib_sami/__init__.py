"""Skill-aware Mutual Information (SaMI) for Ray RLlib."""
