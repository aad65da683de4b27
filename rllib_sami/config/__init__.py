"""Names and values of settings, and what happens to RLlib's own settings."""
