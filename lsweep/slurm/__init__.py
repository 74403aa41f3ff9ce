"""Slurm batch scripts from a configuration, requeued until the sweep is complete."""
