"""Utilities that several packages use: files, locks, progress, signals, timing, plugins."""
