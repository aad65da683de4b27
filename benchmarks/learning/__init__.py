"""The learning benchmark: algorithms x environments x seeds, trained through Ray Tune, resumably, with a report."""
