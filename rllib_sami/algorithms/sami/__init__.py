"""Skill-aware mutual information: a context encoder and its contrast on soft actor-critic."""
