"""What the doctor has learned of an installation, as plain values; instants are Unix ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be learned, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A topic that is not there."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A topic, group or id that these credentials may not look at."""

    operation: str
    """The right that is missing, as Kafka's tools name it: `Describe`."""


class Role(StrEnum):
    """What a topic is for."""

    SCHEDULES = "schedules"
    HISTORY = "history"
    DEAD_LETTERS = "dead letters"
    WORK = "work"  # results, and the topics of clusters: the worker's
    INTERNAL = "internal"  # Kafka's own: groups and transactions stand on them


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition; broker ids, `leader` None where there is none."""

    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic that is there."""

    partitions: Mapping[int, PartitionFacts]
    config: Mapping[str, str] | Unknown
    """The settings in force."""
    operations: frozenset[str] | Unknown
    """What these credentials may do with it, as Kafka's tools name it."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """The replicas' group."""

    members: int
    operations: frozenset[str] | Unknown


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """One reading of a schedules topic from its beginning to its end."""

    seconds: float
    in_force: int
    doubled: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Schedules in force in several partitions, and in which."""
    looked_at: int = 0
    """How many keys were compared with where clients would put them."""
    astray: int = 0
    """How many of them stand elsewhere than Java's hash puts them."""
    by_librdkafka: int = 0
    """How many of those stand where librdkafka's own default puts them."""
    paused: tuple[int, ...] = ()
    """Partitions that are paused and hold something."""


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that was open for as long as the doctor looked."""

    topic: str
    partition: int
    offset: int
    """Its first record; readers of committed records wait there."""
    end: int
    """The end of the partition."""
    stamp_ms: int | None
    """That record's timestamp, if it could be read."""


@dataclass(frozen=True, slots=True)
class SkewFacts:
    """Bounds of this machine's clock minus the brokers', in ms; None where there is none."""

    least_ms: int | None
    most_ms: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything; what could not be learned is `Unknown` with its reason."""

    now_ms: int
    brokers: Mapping[int, str]
    """Addresses by broker id."""
    limits: Mapping[str, str] | Unknown
    """The brokers' settings that bound transactions and sessions; the strictest of all brokers."""
    roles: Mapping[str, Role]
    topics: Mapping[str, TopicFacts | Missing | Forbidden | Unknown]
    group: GroupFacts | Forbidden | Unknown
    transactional_id: Forbidden | Unknown | None
    """None: a transactional id of this group can be had."""
    skew: SkewFacts | Unknown
    restores: Mapping[str, RestoreFacts | Unknown] = field(default_factory=dict)
    open_transactions: tuple[OpenTransaction, ...] | Unknown = ()
    targets: Mapping[int, str] | Unknown | None = None
    """Brokers of targets elsewhere; None where targets are on the same Kafka."""
    embedded: bool = False
