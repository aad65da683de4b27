"""SkiMo: skills and their dynamics from offline data, and planning with them."""
