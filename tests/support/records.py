"""Records of a test: to be written by any client, or as they stand in a topic."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from scheduler.audit.entries import ACKNOWLEDGED, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message, Producer

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Record:
    """A record as it stands in a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]

    @classmethod
    def of(cls, message: Message) -> Record:
        """Take the parts out of a client's message."""
        return cls(
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value(),
            message.headers() or [],
        )

    @property
    def entry(self) -> Entry:
        """What the journal of its producer says of it, once it is acknowledged."""
        digest = None if self.value is None else sha256(self.value).hexdigest()
        place = self.partition, self.offset, self.timestamp_ms
        return Entry(
            self.topic, self.key or b"", ACKNOWLEDGED, *place, digest, len(self.value or b""), tuple(self.headers)
        )

    def __getitem__(self, name: str) -> bytes | None:
        """The value of the only header of that name; None where there is none."""
        values = [value for header, value in self.headers if header == name]
        assert len(values) < 2, f"{name} is there {len(values)} times: {self}"
        return values[0] if values else None


@dataclass(frozen=True)
class Put:
    """A record to write; `partition` None leaves the choice to the client's partitioner."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    partition: int | None = None

    def to(self, producer: Producer, delivered: Callable[[KafkaError | None, Message], None] | None = None) -> None:
        """Hand the record to a client."""
        place = {} if self.partition is None else {"partition": self.partition}
        producer.produce(self.topic, self.value, self.key, headers=self.headers, on_delivery=delivered, **place)
