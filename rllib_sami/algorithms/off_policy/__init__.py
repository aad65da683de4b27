"""The off-policy loop: sample, store, credit of updates, learn, synchronise."""
