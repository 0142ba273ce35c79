"""A record as the judge keeps it, without its payload but with its hash; and as a line of JSON."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Header = tuple[str, bytes | None]
Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Record(NamedTuple):
    """A committed record, as a reader was given it. Instants are Unix ms."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value_sha256: bytes | None
    """None where the value is null."""
    value_size: int
    headers: tuple[Header, ...] | None
    """None where the client cannot read them."""
    received_ms: int | None = None
    """When a reader that ran all the time had it; None where it was read afterwards."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self[:3]

    def stated(self, name: str) -> bytes | None:
        """The value of the only header of that name; None where there is none, or more than one."""
        values = [value for header, value in self.headers or () if header == name]
        return values[0] if len(values) == 1 else None

    def same_words(self, other: Record) -> bool:
        """Whether both say the same, whenever and wherever."""
        return self[4:8] == other[4:8]

    def same_as(self, other: Record) -> bool:
        """Whether two readers were given the same."""
        return self[:8] == other[:8]


def headers_as_json(headers: Iterable[Header]) -> list[list[str | None]]:
    """Names as they are, values in base64."""
    return [[name, None if value is None else b64encode(value).decode()] for name, value in headers]


def headers_from_json(given: list[Any]) -> tuple[Header, ...]:
    """The same, read back.

    Raises:
        ValueError: it is something else.
    """
    headers = []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):  # noqa: PLR2004 - name and value
            raise ValueError(f"a header is a name and a value, not {pair!r}")
        headers.append(shared(pair[0], None if pair[1] is None else from_base64(pair[1], "a header's value")))
    return tuple(headers)


def from_base64(text: Any, what: str) -> bytes:
    """The bytes.

    Raises:
        ValueError: it is something else.
    """
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ValueError(f"{what} is not base64: {text!r}") from None


@lru_cache(maxsize=4096)
def shared(name: str, value: bytes | None) -> Header:
    """A header, one for all the records that have it: there are hundreds of thousands, and a few different ones."""
    return sys.intern(name), value
