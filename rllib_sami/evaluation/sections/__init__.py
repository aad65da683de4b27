"""The report's sections, each a function of the results."""
