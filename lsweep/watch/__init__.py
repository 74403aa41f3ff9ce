"""`lsweep watch`: a live view of a running sweep, as a local web page or in the terminal.

It only reads the file, takes no lock, and needs neither torch nor MPI.
"""
