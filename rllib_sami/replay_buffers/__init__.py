"""Stored episodes and what is drawn from them."""
