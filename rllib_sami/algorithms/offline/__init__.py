"""Learning from a data set, without an environment."""
