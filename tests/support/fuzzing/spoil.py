"""Spoiling bytes: a string of random bytes is a list of edits, eight bytes each."""

from __future__ import annotations

from fuzzing.corpus import Sample

_WORDS = (0, 1, 2, 7, 8, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def spoiled(sample: Sample, rng: bytes) -> bytes:
    """The sample with one edit per eight bytes of `rng`."""
    content = bytearray(sample.content)
    for start in range(0, len(rng) - 7, 8):
        _edit(content, sample, rng[start : start + 8])
    return bytes(content)


def _edit(content: bytearray, sample: Sample, rng: bytes) -> None:
    kind, value = rng[0] % 16, int.from_bytes(rng[4:], "little")
    spot = sample.spots[int.from_bytes(rng[1:4], "little") % len(sample.spots)]
    other = sample.spots[value % len(sample.spots)]
    width = 1 << rng[7] % 4
    if kind < 5:
        content[spot : spot + 1] = rng[7:8]
    elif kind < 7:
        content[spot : spot + 1] = bytes([sample.content[spot] ^ 1 << value % 8])
    elif kind < 11:
        word = _WORDS[value % len(_WORDS)] if rng[0] & 16 else other
        content[spot : spot + width] = word.to_bytes(8, "little")[:width]
    elif kind < 13:
        content[spot : spot + 4 * width] = sample.content[other : other + 4 * width]
    elif kind == 13:
        del content[spot : spot + width]
    elif kind == 14:
        content[spot:spot] = rng[4:]
    else:
        del content[spot:]
