"""Task inference by prediction: a latent of the last transitions that predicts rewards and observations."""
