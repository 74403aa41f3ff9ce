"""Training of networks into a trail of checkpoints, and reports on it."""
