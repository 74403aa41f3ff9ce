"""Hostile input by the thousand: valid files and how to spoil them, and workers that read them.

Used by tests/test_fuzz.py, at a size for CI, and by scripts/checks/fuzz.py for longer campaigns.
"""
