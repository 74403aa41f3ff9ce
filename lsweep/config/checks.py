"""Checks shared by several tables of a configuration."""

from __future__ import annotations

from lsweep.errors import ConfigError


def check_seed(seed: int | None) -> None:
    """Check a seed. Raises ConfigError."""
    if seed is not None and not 0 <= seed < 2**63:  # the range that torch.Generator accepts
        raise ConfigError(f"a seed must be >= 0 and < 2^63, got {seed}", key="seed")
