"""The method itself: torch and numpy only, no Ray."""
