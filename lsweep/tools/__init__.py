"""Small services: atomic files, the file lock, progress, stop signals, timing, provenance, plugins."""
