"""Settings: their names and values, and what becomes of RLlib's own."""
