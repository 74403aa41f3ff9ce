"""Ranks: one process, or an MPI world. The only package that imports mpi4py."""

from __future__ import annotations

from lsweep.comm.base import Comm, MpiComm, SerialComm, alone, connect, rank_hint

__all__ = ["Comm", "MpiComm", "SerialComm", "alone", "connect", "rank_hint"]
