"""What is changed in Kafka's protocol between a client and the embedded broker: bytes in, bytes out.

The broker's address in its answers, which leads clients back here; the time of records, which is that of the virtual
clock; how long the broker sits on a fetch that finds nothing, for it does not notice a record that comes meanwhile; and
the checksums that it leaves out of the ends of transactions, on which clients insist that look (Java's do).
Fields are overwritten where they stand. https://kafka.apache.org/protocol has the layouts.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.runtime.settings import Address

PRODUCE, FETCH, METADATA, OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 0, 1, 3, 8, 9, 10
JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP, API_VERSIONS = 11, 12, 13, 14, 18
FETCH_WAIT_MS = 10
"""Clients ask for 100 to 500, and the embedded broker lets that time pass even if a record comes at once."""
LONGEST_HOST = 126
"""A compact string of this length still has its length in one byte."""

_FLEXIBLE_SINCE = {PRODUCE: 9, FETCH: 12, METADATA: 9, FIND_COORDINATOR: 3, API_VERSIONS: 3}
"""Versions with compact strings and arrays."""
_TRANSACTIONS_SINCE = 4
"""The version of a fetch from which it has them."""
_BATCHES_SINCE = 3
"""The version of a produce request from which records come in batches that can be stamped."""
KNOWN = {OFFSET_COMMIT: 7, OFFSET_FETCH: 5, JOIN_GROUP: 5, HEARTBEAT: 3, LEAVE_GROUP: 1, SYNC_GROUP: 3}
"""What the broker can be asked, where it says that it can be asked more: it hangs up on a Java client that joins a
group with compact strings."""
API_VERSIONS_KNOWN = 2
"""From the next version on its list is laid out otherwise."""
_UNSUPPORTED_VERSION = 35
_MAGIC, _CHECKSUM, _ATTRIBUTES, _LAST_TIMESTAMP, _BATCH_HEADER = 16, 17, 21, 35, 61
_STAMPED_BY_BROKER, _END_OF_TRANSACTION = 0x08, 0x20


class Request(NamedTuple):
    """What has to be known of a request when its answer comes."""

    kind: int
    version: int
    correlation: int
    stamp_ms: int


class _Cursor:
    """Reads fields of a message one after another."""

    def __init__(self, data: bytearray, *, flexible: bool) -> None:
        self.data = data
        self.at = 0
        self._flexible = flexible

    def number(self, form: str) -> int:
        value: int = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the last byte
                return value
            shift += 7

    def length(self, form: str) -> int:
        """Of a string, of bytes or of an array; null has none."""
        return max(0, self.varint() - 1 if self._flexible else self.number(form))

    def string(self) -> None:
        self.skip(self.length(">h"))

    def skip(self, count: int) -> None:
        self.at += count

    def tags(self) -> None:
        """Pass over the tagged fields, which only flexible versions have."""
        if self._flexible:
            for _ in range(self.varint()):
                self.varint()
                self.skip(self.varint())


def on_its_way(frame: bytearray, stamp_ms: int) -> Request | None:
    """Change a request (without its length) for the broker; None where its answer needs no change, or none comes.

    Args:
        frame: is changed.
        stamp_ms: how records are stamped.

    Raises:
        ValueError: it is no request of Kafka's protocol.
    """
    try:
        kind, version, correlation = struct.unpack_from(">hhi", frame)
        if kind not in _FLEXIBLE_SINCE:
            return None
        flexible = version >= _FLEXIBLE_SINCE[kind]
        request = Request(kind, version, correlation, stamp_ms)
        cursor = _Cursor(frame, flexible=flexible)
        cursor.skip(8)
        cursor.skip(max(0, cursor.number(">h")))  # the client's id, never compact
        cursor.tags()
        if kind == FETCH:
            _shorten(cursor, version)
        if kind == PRODUCE:
            return request if version >= _BATCHES_SINCE and _stamp_all(cursor, stamp_ms) else None
    except (struct.error, IndexError) as error:
        raise ValueError(f"not a request of Kafka's protocol: {error}") from error
    return request


def _shorten(cursor: _Cursor, version: int) -> None:
    if version < 15:  # noqa: PLR2004 - the replica's id moved to the end with it
        cursor.skip(4)
    (wait_ms,) = struct.unpack_from(">i", cursor.data, cursor.at)
    struct.pack_into(">i", cursor.data, cursor.at, min(wait_ms, FETCH_WAIT_MS))


def _stamp_all(cursor: _Cursor, stamp_ms: int) -> bool:
    """Stamp every batch of a produce request; tell whether its client waits for an answer."""
    cursor.string()  # transactional id
    acks = cursor.number(">h")
    cursor.skip(4)  # timeout
    for _ in range(cursor.length(">i")):
        cursor.string()  # topic
        for _ in range(cursor.length(">i")):
            cursor.skip(4)  # partition
            for start, end in _batches(cursor):
                _stamp(cursor.data, start, end, stamp_ms)
            cursor.tags()
        cursor.tags()
    return acks != 0


def _batches(cursor: _Cursor) -> Iterator[tuple[int, int]]:
    """Where each batch of a field of records begins and ends."""
    end_of_all = cursor.length(">i") + cursor.at
    while cursor.at + _BATCH_HEADER <= end_of_all:
        start = cursor.at
        cursor.skip(8)  # base offset
        end = cursor.number(">i") + cursor.at
        if end > end_of_all:
            break  # an answer may end within a batch
        if cursor.data[start + _MAGIC] == 2:  # noqa: PLR2004 - others are older than transactions and than stamps
            yield start, end
        cursor.at = end
    cursor.at = end_of_all


def _stamp(data: bytearray, start: int, end: int, stamp_ms: int) -> None:
    """Give all records of a batch the broker's time, as Kafka does with `message.timestamp.type=LogAppendTime`."""
    (attributes,) = struct.unpack_from(">h", data, start + _ATTRIBUTES)
    struct.pack_into(">h", data, start + _ATTRIBUTES, attributes | _STAMPED_BY_BROKER)
    struct.pack_into(">q", data, start + _LAST_TIMESTAMP, stamp_ms)
    _sign(data, start, end)


def _sign(data: bytearray, start: int, end: int) -> None:
    struct.pack_into(">I", data, start + _CHECKSUM, google_crc32c.value(bytes(data[start + _ATTRIBUTES : end])))


def on_its_way_back(frame: bytearray, request: Request, broker: Address, shown: Address) -> bytes | bytearray:
    """Change the answer (without its length) to a request: the broker is `shown` at another address.

    Raises:
        ValueError: it is not the answer to that request.
    """
    flexible = request.version >= _FLEXIBLE_SINCE[request.kind]
    if request.kind in (METADATA, FIND_COORDINATOR):
        # an address is a string and a number: no name of a topic, group or client can hold the zeros of its port
        return bytes(frame).replace(_written(broker, flexible=flexible), _written(shown, flexible=flexible))
    cursor = _Cursor(frame, flexible=flexible)
    try:
        cursor.skip(4)  # correlation
        if request.kind == API_VERSIONS:
            return _told_versions(cursor, request)
        cursor.tags()
        if request.kind == PRODUCE:
            _tell_stamp(cursor, request.version, request.stamp_ms)
        elif request.version >= _TRANSACTIONS_SINCE:
            _sign_ends(cursor, request.version)
    except (struct.error, IndexError) as error:
        raise ValueError(f"not the answer to a request of kind {request.kind}: {error}") from error
    return frame


def _written(address: Address, *, flexible: bool) -> bytes:
    host = address.host.encode()
    length = bytes([len(host) + 1]) if flexible else struct.pack(">h", len(host))
    return length + host + struct.pack(">i", address.port)


def _told_versions(cursor: _Cursor, request: Request) -> bytes | bytearray:
    """Which versions of requests the broker knows, less those that it only says it does."""
    if cursor.number(">h") == _UNSUPPORTED_VERSION:
        # of a request of this very kind that is too new. The broker's own words make a Java client wait for twenty
        # minutes: they hold no list, but something behind it
        return struct.pack(">ihihhh", request.correlation, _UNSUPPORTED_VERSION, 1, API_VERSIONS, 0, API_VERSIONS_KNOWN)
    if request.version <= API_VERSIONS_KNOWN:
        for _ in range(cursor.number(">i")):
            known = KNOWN.get(cursor.number(">h"))
            cursor.skip(2)
            if known is not None:
                struct.pack_into(">h", cursor.data, cursor.at, known)
            cursor.skip(2)
    return cursor.data


def _tell_stamp(cursor: _Cursor, version: int, stamp_ms: int) -> None:
    for _ in range(cursor.length(">i")):
        cursor.string()  # topic
        for _ in range(cursor.length(">i")):
            cursor.skip(4 + 2 + 8)  # partition, error, offset
            struct.pack_into(">q", cursor.data, cursor.at, stamp_ms)
            cursor.skip(8)
            if version >= 5:  # noqa: PLR2004 - with where the log begins
                cursor.skip(8)
            if version >= 8:  # noqa: PLR2004 - with errors of single records
                for _ in range(cursor.length(">i")):
                    cursor.skip(4)
                    cursor.string()
                    cursor.tags()
                cursor.string()
            cursor.tags()
        cursor.tags()


def _sign_ends(cursor: _Cursor, version: int) -> None:
    cursor.skip(4)  # throttling
    if version >= 7:  # noqa: PLR2004 - with sessions
        cursor.skip(2 + 4)
    for _ in range(cursor.length(">i")):
        if version >= 13:  # noqa: PLR2004 - the topic by its id
            cursor.skip(16)
        else:
            cursor.string()
        for _ in range(cursor.length(">i")):
            cursor.skip(4 + 2 + 8 + 8)  # partition, error, high watermark, last stable offset
            if version >= 5:  # noqa: PLR2004 - with where the log begins
                cursor.skip(8)
            for _ in range(cursor.length(">i")):
                cursor.skip(8 + 8)  # an aborted transaction
                cursor.tags()
            if version >= 11:  # noqa: PLR2004 - with the replica to read from
                cursor.skip(4)
            for start, end in _batches(cursor):
                if cursor.data[start + _ATTRIBUTES + 1] & _END_OF_TRANSACTION:
                    _sign(cursor.data, start, end)
            cursor.tags()
        cursor.tags()
