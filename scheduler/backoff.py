"""Delays that grow from attempt to attempt, and how much of one is left to chance. Pure."""

from __future__ import annotations

from hashlib import sha256


def grown(least: float, factor: float, most: float, attempt: int) -> float:
    """`least` times `factor` for each attempt behind the first (1), at most `most`; in the unit of the two."""
    try:
        delay = least * factor ** (attempt - 1)
    except OverflowError:
        delay = most if least else 0.0
    return min(delay, most)


def jitter_of(name: str, attempt: int) -> float:
    """From 0 to 1: another one for each name and attempt, and the same whoever asks."""
    return int.from_bytes(sha256(f"{name}#{attempt}".encode()).digest()[:8]) / 2**64
