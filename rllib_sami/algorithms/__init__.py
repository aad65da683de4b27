"""The algorithms, a folder for each or for a family; their mathematics imports no Ray."""
