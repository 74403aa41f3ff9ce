"""Training of networks with a trail of checkpoints, and reports on a trail."""
