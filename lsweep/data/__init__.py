"""Datasets resident on the device: read once, moved to the device once, and split into batches there."""

from __future__ import annotations

from lsweep.data.objects import from_object
from lsweep.data.resident import ResidentBatches, ResidentData
from lsweep.data.sources import load

__all__ = ["ResidentBatches", "ResidentData", "from_object", "load"]
