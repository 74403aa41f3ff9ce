"""Means from a subset of the examples, with confidence intervals."""
