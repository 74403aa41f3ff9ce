"""`lsweep watch`: a live picture of a running sweep, as a local page or in the terminal.

Only reads, without locks, and needs neither torch nor MPI.
"""
