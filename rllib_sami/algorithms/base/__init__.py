"""What all algorithms share: settings and environments checked before anything starts, evaluation on splits."""
