"""What an owner has yet to say of the keys of one partition: cancels, refusals, and versions that are hidden.

A hidden version is in force, but a record of an owner stands behind it, or it is not in force as it stands in the log:
it has to be written again, or compaction would leave something else.
It says all that is open about a key in one transaction, and names the newest record of the key that it had read. So
what a record caused is said once an owner's record is read that names this one or a newer one, whoever that owner was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.engine.far import Far
from scheduler.engine.settlement import Settlement, Told
from scheduler.schedule import Outcome, Reason, Rejected, Schedule

if TYPE_CHECKING:
    from collections.abc import Container, Iterator


@dataclass(slots=True)
class Matter:
    """One thing that is open about a key."""

    cause: int
    """The record that made it so."""
    newest: int
    """The newest record of the key that has been read since."""
    outcome: Outcome | None
    """None: nothing ended, the version in force is hidden and has to be written again."""
    subject: Schedule | Far | Rejected | None
    """What it became of; None is the version in force, whichever that is by then."""
    acted_ms: int | None = None
    """Of a hidden version that continues another: when an owner last wrote without knowing of it."""
    stated: Schedule | None = None
    """Of a hidden version that continues another: what its own record says."""
    gone: bool = False
    """Its record is no longer in the log: of the subject, the key and the due time are known."""

    def is_about(self, offset: int) -> bool:
        """Whether it tells what became of the record there."""
        return self.subject is not None and self.subject.offset == offset

    def lacks(self, offset: int) -> bool:
        """Whether it tells of the version there, and needs its body for that."""
        return isinstance(self.subject, Far) and self.subject.offset == offset

    def cancels(self, version: int, due_ms: int) -> bool:
        """Whether this is the cancel of that occurrence of a version that stood at or before the offset."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset <= version
            and subject.due_ms == due_ms
        )

    def cancels_between(self, version: int, first: int) -> bool:
        """Whether this is the cancel of a later version, which stood before the `first` cancel behind that one."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset > version
            and not version < first < subject.offset
        )

    def came_too_late(self, replaces: int, rewritten_due_ms: int | None) -> bool:
        """Whether it cancels a version that an owner had ended otherwise before it read the cancel."""
        subject = self.subject
        return (
            self.outcome is Outcome.CANCELLED
            and isinstance(subject, (Schedule, Far))
            and subject.offset <= replaces
            and subject.due_ms != rewritten_due_ms
        )


class Unsaid:
    """The matters of each key that has any."""

    __slots__ = ("by_key",)

    def __init__(self) -> None:
        self.by_key: dict[bytes, list[Matter]] = {}
        """In the order in which they were read. To be looked into from outside: whether there is anything about a key
        is asked for every firing, and costs no call."""

    def _add(self, key: bytes, matter: Matter) -> None:
        self.by_key.setdefault(key, []).append(matter)

    def _keep(self, key: bytes, matters: list[Matter]) -> None:
        if matters:
            self.by_key[key] = matters
        else:
            del self.by_key[key]

    # -- customers' records --------------------------------------------------------------------------

    def cancelled(self, key: bytes, offset: int, ended: Schedule | Far | None) -> None:
        """A cancel was read, which has ended that version."""
        self.drop_hidden(key)
        for matter in self.by_key.get(key, ()):
            matter.newest = offset
        if ended is not None:
            self._add(key, Matter(offset, offset, Outcome.CANCELLED, ended))

    def refused(self, key: bytes, rejected: Rejected) -> None:
        """A record was read that cannot be acted on."""
        self._add(key, Matter(rejected.offset, rejected.offset, Outcome.REJECTED, rejected))

    # -- hidden versions -----------------------------------------------------------------------------

    def hide(self, key: bytes, offset: int, acted_ms: int | None = None, stated: Schedule | None = None) -> None:
        """Something stands behind the version in force, which is at the offset."""
        self.drop_hidden(key)
        self._add(key, Matter(offset, offset, None, None, acted_ms, stated))

    def hidden(self, key: bytes) -> Matter | None:
        """What is open about the version in force."""
        return next((matter for matter in self.by_key.get(key, ()) if matter.outcome is None), None)

    def drop_hidden(self, key: bytes) -> None:
        """The hidden version is not in force any more."""
        matters = self.by_key.get(key)
        if matters is not None:
            self._keep(key, [matter for matter in matters if matter.outcome is not None])

    # -- owners' records -----------------------------------------------------------------------------

    def said(self, key: bytes, replaces: int, rewritten_due_ms: int | None) -> None:
        """An owner's record stands in the log: a tombstone, or a version that is due at `rewritten_due_ms`."""
        matters = self.by_key.get(key)
        if matters is not None:
            left = [m for m in matters if m.cause > replaces and not m.came_too_late(replaces, rewritten_due_ms)]
            self._keep(key, left)

    def came_too_late(self, key: bytes, replaces: int, rewritten_due_ms: int) -> bool:
        """Whether a cancel behind `replaces` was of an occurrence that an owner had ended otherwise by then."""
        return any(m.cause > replaces and m.came_too_late(replaces, rewritten_due_ms) for m in self.by_key.get(key, ()))

    def cancel_behind(self, successor: Schedule, replaces: int, first: int) -> None:
        """A cancel came between a version and its successor: it holds, and is said behind the successor.

        Not where a newer version came before the `first` cancel: then that one was cancelled, and this one replaced.
        """
        for matter in self.by_key.get(successor.key, ()):
            if matter.cancels(replaces, successor.due_ms) or matter.cancels_between(replaces, first):
                matter.newest = successor.offset
                return
        self._add(successor.key, Matter(successor.offset, successor.offset, Outcome.CANCELLED, successor))

    # -- records that are read again -----------------------------------------------------------------

    def endings(self) -> dict[int, bytes]:
        """Offsets of what was cancelled or refused, with their keys."""
        return {
            matter.subject.offset: key
            for key, matters in self.by_key.items()
            for matter in matters
            if matter.outcome is not None and matter.subject is not None
        }

    def needs(self, key: bytes, doubtful: Container[int]) -> list[int]:
        """Offsets of the records that have to be read again first, for their bodies or because they are `doubtful`."""
        subjects = [matter.subject for matter in self.by_key[key]]
        return [each.offset for each in subjects if each and (isinstance(each, Far) or each.offset in doubtful)]

    def is_about(self, key: bytes, offset: int) -> bool:
        """Whether it is open what became of the record there."""
        return any(matter.is_about(offset) for matter in self.by_key.get(key, ()))

    def lacks(self, key: bytes, offset: int) -> bool:
        """Whether the body of the version there is missing."""
        return any(matter.lacks(offset) for matter in self.by_key.get(key, ()))

    def supply(self, schedule: Schedule) -> None:
        """The body of a version."""
        for matter in self.by_key.get(schedule.key, ()):
            if matter.lacks(schedule.offset):
                matter.subject = schedule

    def retract(self, key: bytes, offset: int) -> None:
        """What became of the record there is not to be told."""
        matters = self.by_key.get(key)
        if matters is not None:
            self._keep(key, [matter for matter in matters if not matter.is_about(offset)])

    def undeliverable(self, key: bytes, version: Far) -> None:
        """A version that was in force cannot be delivered: its record is gone."""
        stub = _stub(key, version)
        self._add(key, Matter(version.offset, version.offset, Outcome.UNDELIVERABLE, stub, gone=True))

    def lost(self, offset: int) -> list[bytes]:
        """The record there is gone: what became of it is told without its body; the keys about which it is."""
        keys = []
        for key, matters in self.by_key.items():
            for matter in matters:
                if isinstance(matter.subject, Far) and matter.subject.offset == offset:
                    matter.subject, matter.gone = _stub(key, matter.subject), True
                    keys.append(key)
        return keys

    # -- saying it -----------------------------------------------------------------------------------

    def settle(self, key: bytes, version: Schedule | None, now_ms: int) -> Iterator[Settlement]:
        """All that is open about a key, at once; the version in force is written again behind it."""
        matters = self.by_key[key]
        successor_due_ms = 0 if version is None else version.due_ms
        replaces = max(matter.newest for matter in matters)
        if version is not None:
            replaces = max(replaces, version.offset)
        for matter in matters:
            subject = matter.subject or version
            if subject is None or isinstance(subject, Far):
                raise AssertionError(f"{key!r}: a hidden version that is not in force, or not in memory")
            due_ms = subject.due_ms if isinstance(subject, Schedule) else 0
            settlement = Settlement(
                subject,
                matter.outcome,
                due_ms,
                max(0, now_ms - due_ms),
                replaces,
                version,
                successor_due_ms,
                writes_back=matter is matters[-1],
            )
            if matter.gone:
                settlement.reason, settlement.detail = Reason.RECORD_GONE, "its record is no longer in the log"
                settlement.told = Told.BARE
            yield settlement


def _stub(key: bytes, far: Far) -> Schedule:
    """What is known of a version whose record is gone."""
    return Schedule(key, b"", far.due_ms, "", None, None, [], [], far.due_ms, far.offset)
