"""One owned partition: what came from it, what is under way, and what waits to be put into the books."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, islice, takewhile
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from scheduler.clock import rfc3339
from worker.attempts import after_losses, losses_allowed
from worker.offsets import LONGEST_METADATA, SPAN, Position, Progress
from worker.runs import Poison, Run, Suspicion, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message

    from scheduler.clock import Clock
    from scheduler.job import Job
    from worker.runner import Finished

Key = tuple[str, int]
"""Topic and partition."""

PAUSE_AT = 5_000
"""Attempts of a partition, waiting ones included, from which it is paused: so long a backlog of one job keeps no other
waiting. What the client has fetched of a paused partition it fetches again, so a pause must be worth it."""
PAUSE_AT_BYTES = 16 * 2**20
"""The same for their messages and what they have said, all together: they are kept in memory until they are booked."""
BOOKED_BYTES = 4 * 2**20
"""Of a partition in one transaction, and one entry at least: the client has room for 1 GiB that is not sent."""
RESUME_BELOW = 0.5
"""Of these marks."""
SUSPECTS = 200
"""Attempts that are noted before they begin, of those that an earlier owner may have begun. A note costs a transaction,
and one that kills its worker before it was noted comes nearer with each owner, as the others are booked."""


class Partition:
    """From its assignment to its end; a partition that comes back is a new one.

    It is paused until it is known what an earlier owner did, and until the books say that this one may begin attempts;
    `start` is then where to begin to read.
    """

    def __init__(self, cluster: str, accept: Callable[[Job], Job], clock: Clock) -> None:
        self._cluster = cluster
        self._accept = accept
        self._clock = clock
        self._progress: Progress | None = None
        self._runs: set[Run] = set()
        self._bytes = 0
        self._beginning = OFFSET_BEGINNING
        self._opened = False
        self._suspects_end: int | None = None
        self._suspicion = Suspicion(0)
        self.notes: list[Run] = []
        """Begun, or about to begin, and not yet in the books as such."""
        self.note_undone = False
        """What the books say beside the entries is to be said anew."""
        self.finished: dict[Finished | Poison, None] = {}
        """Ended, and not yet in the books; in the order of their ends."""
        self.unbooked_bytes = 0
        """Of these, with what they have said."""
        self.paused = True
        self.start: int | None = None
        """An offset to go to before reading; None once that is done."""

    @property
    def restored(self) -> bool:
        """Whether it is known what an earlier owner did."""
        return self._progress is not None

    def restore(self, committed: Position | None) -> None:
        """Take over where the group stands."""
        self._progress = Progress(committed)
        if self._progress.open:
            self._suspicion = Suspicion(SUSPECTS)
        self._progress.open = True
        self.note_undone = True
        if committed is not None:
            self._beginning = committed.offset

    def leave(self) -> None:
        """Nothing more is to be begun here: where nothing is under way, the books are to say so."""
        if self._opened and not self._runs and self._known().open:
            self._known().open = False
            self.note_undone = True

    def receive(self, message: Message, end: Callable[[], int]) -> Run | None:
        """Take in the next message; the run to make, where it is one.

        Args:
            message: of this partition.
            end: tells where the partition's end is now.
        """
        if self._progress is None or not self._opened or self.start is not None:
            return None  # read before the pause took hold; it comes again
        offset = message.offset() or 0
        if self._suspects_end is None:
            self._suspects_end = end()
        if not self._progress.take_in(offset):
            return None
        found = read(message, self._cluster, self._accept)
        if isinstance(found, Poison):
            self._finish(found)
            return None
        run = self._with_its_past(found, self._progress.begun(offset))
        self._runs.add(run)
        self._bytes += run.size
        return run

    def _with_its_past(self, run: Run, lost: int) -> Run:
        if lost:
            job = after_losses(run.job, lost, rfc3339(self._clock.now_ms()))
            return replace(run, job=job, lost=lost, given_up=lost >= losses_allowed(run.job), careful=True)
        if run.job.delivery == "at-most-once":
            return replace(run, careful=True)
        if run.source.offset < (self._suspects_end or 0) and self._suspicion.left:
            # it was there when the partition came here: an earlier owner may have begun it
            return replace(run, suspicion=self._suspicion)
        return run

    def has(self, run: Run) -> bool:
        """Whether the run is this partition's: taken in since its assignment."""
        return run in self._runs

    def ended(self, finished: Finished) -> None:
        """An attempt has ended; one that was stopped is not done, whoever owns the partition next makes it again."""
        run = finished.run
        self._runs.remove(run)
        self._bytes -= run.size
        if not finished.ended.stopped:
            self._finish(finished)
            return
        progress, offset = self._known(), run.source.offset
        if progress.begun(offset) > run.lost:
            progress.note(offset, run.lost)
            self.note_undone = True

    def _finish(self, entry: Finished | Poison) -> None:
        self.finished[entry] = None
        kept = weight(entry)
        self._bytes += kept
        self.unbooked_bytes += kept

    def note(self, run: Run) -> None:
        """The run has begun, or is about to: the books are to say so."""
        self._known().note(run.source.offset, run.lost + 1)
        self.notes.append(run)

    @property
    def has_news(self) -> bool:
        """Whether something is to be put into the books."""
        return bool(self.finished or self.notes or self.note_undone)

    def booking(self) -> tuple[list[Finished | Poison], Position]:
        """Entries to put into the books now, and what to commit with them."""
        progress = self._known()
        entries = {offset_of(entry): entry for entry in self._next_to_book()}
        position = progress.position(entries.keys())
        if len(position.metadata) > LONGEST_METADATA:
            # too many before them are not done; they wait until there are fewer
            told = progress.tellable(entries.keys())
            entries = {offset: entry for offset, entry in entries.items() if offset in told}
            position = progress.position(entries.keys())
        return list(entries.values()), position

    def _next_to_book(self) -> Iterable[Finished | Poison]:
        if self.unbooked_bytes <= BOOKED_BYTES:
            return self.finished
        upto = accumulate(map(weight, self.finished))
        count = sum(1 for _ in takewhile(lambda total: total <= BOOKED_BYTES, upto))
        return islice(self.finished, max(1, count))

    def booked(self, entries: Sequence[Finished | Poison], notes: Sequence[Run]) -> None:
        """Those entries and notes are in the books, and whatever else the position said."""
        if not self._opened:
            self._opened = True
            self.start = self._beginning
        self._known().finish([offset_of(entry) for entry in entries])
        for entry in entries:
            del self.finished[entry]
            kept = weight(entry)
            self._bytes -= kept
            self.unbooked_bytes -= kept
        del self.notes[: len(notes)]  # they were the oldest, and others came behind them meanwhile

    def wants_pause(self) -> bool:
        """Whether it should be paused now; between the two marks it stays as it is."""
        if self._progress is None or not self._opened:
            return True
        share = RESUME_BELOW if self.paused else 1.0
        return (
            len(self._progress) > PAUSE_AT * share
            or self._bytes > PAUSE_AT_BYTES * share
            or self._progress.span > SPAN * share
        )

    def _known(self) -> Progress:
        if self._progress is None:
            raise RuntimeError("the partition is not restored")
        return self._progress


def weight(entry: Finished | Poison) -> int:
    """About how many bytes are kept of it."""
    if isinstance(entry, Poison):
        return len(entry.value or b"")
    return entry.run.size + len(entry.ended.output.text)


def offset_of(entry: Finished | Poison) -> int:
    """Where the entry's message stands."""
    return (entry if isinstance(entry, Poison) else entry.run).source.offset


def key_of(entry: Finished | Poison) -> Key:
    """The partition of the entry's message."""
    source = (entry if isinstance(entry, Poison) else entry.run).source
    return source.topic, source.partition
