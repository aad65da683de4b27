"""What algorithms share: networks, losses, acting, settings, faults and text; torch and NumPy, no Ray."""
