"""`lsweep watch`: a sweep's picture while it runs, as a page on this machine or in the terminal.

Only reads, without locks, and needs neither torch nor MPI.
"""
