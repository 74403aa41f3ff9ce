"""`lsweep slurm`: a configuration becomes a batch script that is queued again until its sweep is complete."""
