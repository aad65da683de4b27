"""Meta-task environments: Gymnasium only, no Ray."""
