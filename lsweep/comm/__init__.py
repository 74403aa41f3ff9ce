"""Communication between ranks, serial or over MPI. The only package that imports mpi4py."""

from __future__ import annotations

from lsweep.comm.base import Comm
from lsweep.comm.launched import alone, connect, rank_hint
from lsweep.comm.mpi import MpiComm

SerialComm = Comm

__all__ = ["Comm", "MpiComm", "SerialComm", "alone", "connect", "rank_hint"]
