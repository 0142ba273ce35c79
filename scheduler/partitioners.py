"""Where clients put a key: Java's hash, which every client of the product uses, and librdkafka's default. Pure."""

from __future__ import annotations

from zlib import crc32

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_WORD = 0xFFFF_FFFF
_POSITIVE = 0x7FFF_FFFF


def java(key: bytes, partitions: int) -> int:
    """The partition by murmur2, as Java's client and every `murmur2` partitioner choose it."""
    return (_murmur2(key) & _POSITIVE) % partitions


def librdkafka(key: bytes, partitions: int) -> int:
    """The partition by CRC-32, as librdkafka's clients choose it where nobody says otherwise."""
    return crc32(key) % partitions


def _murmur2(key: bytes) -> int:
    length = len(key)
    whole = length - length % 4
    mixed = _SEED ^ length
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _FACTOR & _WORD
        word = (word ^ word >> 24) * _FACTOR & _WORD
        mixed = (mixed * _FACTOR & _WORD) ^ word
    rest = key[whole:]
    if rest:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * _FACTOR & _WORD
    mixed = (mixed ^ mixed >> 13) * _FACTOR & _WORD
    return mixed ^ mixed >> 15
