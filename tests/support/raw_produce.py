"""Writes a record byte by byte, with what no client library lets one write: a header name that is not UTF-8.

One Produce request of version 3 with one batch of one record, as the protocol's description has it.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import Sequence

PRODUCE = 0
SECONDS = 30


def produce_raw(
    broker: str,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[bytes, bytes | None]],
    *,
    timestamp_ms: int,
) -> None:
    """Write the record and fail unless the partition's leader has acknowledged it."""
    metadata = AdminClient({"bootstrap.servers": broker}).list_topics(topic, timeout=SECONDS)
    leader = metadata.brokers[metadata.topics[topic].partitions[partition].leader]
    batch = _batch(_record(key, value, headers), timestamp_ms)
    body = struct.pack(">hhi", -1, -1, SECONDS * 1000)  # no transaction, acknowledged by all
    body += struct.pack(">i", 1) + _text(topic) + struct.pack(">ii", 1, partition) + _block(batch)
    request = struct.pack(">hhi", PRODUCE, 3, 1) + _text("raw") + body
    with socket.create_connection((leader.host, leader.port), SECONDS) as connection:
        connection.sendall(_block(request))
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        response = answer.read(size)
    # correlation id, one topic: its name, one partition: number, error
    (error,) = struct.unpack_from(">h", response, 4 + 4 + 2 + len(topic.encode()) + 4 + 4)
    assert error == 0, f"the broker has refused the record with error {error}"


def _record(key: bytes | None, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    body = b"\0" + _varint(0) + _varint(0) + _bytes(key) + _bytes(value) + _varint(len(headers))
    for name, content in headers:
        body += _bytes(name) + _bytes(content)
    return _varint(len(body)) + body


def _batch(record: bytes, timestamp_ms: int) -> bytes:
    # attributes, last offset, first and largest timestamp, producer id, epoch and sequence, count
    covered = struct.pack(">hiqqqhii", 0, 0, timestamp_ms, timestamp_ms, -1, -1, -1, 1) + record
    behind_length = struct.pack(">ibI", -1, 2, _crc32c(covered)) + covered
    return struct.pack(">q", 0) + _block(behind_length)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw


def _block(raw: bytes) -> bytes:
    return struct.pack(">i", len(raw)) + raw


def _bytes(raw: bytes | None) -> bytes:
    return _varint(-1) if raw is None else _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)  # zigzag: small numbers of either sign are short
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _crc32c(raw: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
