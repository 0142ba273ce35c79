"""What other threads ask of a partition's owner, and the answers they wait for.

The engine belongs to its owner's thread. A question is answered there between two batches; a change is
settled there, in a transaction, like what is due.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from scheduler.engine.changes import Change, NotPendingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.engine.partition import PartitionEngine
    from scheduler.engine.settlement import Settlement

T = TypeVar("T")


class PartitionGoneError(Exception):
    """The partition is no longer this replica's; ask again, another one has it."""


class OutcomeUnknownError(Exception):
    """The transaction that was to settle a change did not end well: look at what is in force, and at the history."""


class TargetWaitedForError(Exception):
    """The target cannot take anything now; the schedule stays in force and fires once it can."""


@dataclass(slots=True)
class _Asked:
    key: bytes
    change: Change
    answer: Future[Settlement]


class Requests:
    """The inbox for questions and changes of one partition; `ask` and `change` are for any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._questions: SimpleQueue[tuple[Callable[[PartitionEngine], Any], Future[Any]]] = SimpleQueue()
        self._changes: SimpleQueue[_Asked] = SimpleQueue()
        self._open: list[_Asked] = []
        """Changes that are not settled yet."""
        self._settling: list[tuple[_Asked, Settlement]] = []
        """Changes of the batch that is being written."""
        self._unread: list[tuple[_Asked, Settlement]] = []
        """Changes that stand in the log and are not read back yet: until then, nothing would be shown in force."""
        self._closed = False

    # -- for any thread ------------------------------------------------------------------------------

    def ask(self, question: Callable[[PartitionEngine], T]) -> Future[T]:
        """Answer a question from the engine, which it must not change; quick ones only, firing waits for it.

        The future raises `PartitionGoneError` where the partition is given up meanwhile.
        """
        answer: Future[T] = Future()
        self._questions.put((question, answer))
        self._woken()
        return answer

    def change(self, key: bytes, change: Change) -> Future[Settlement]:
        """Change a schedule in force. The future is done when the transaction is committed and can be read.

        It raises `NotPendingError`, `TargetWaitedForError`, `OutcomeUnknownError` or `PartitionGoneError`. What it
        holds says how it ended: `undeliverable` where the target refused what was to fire.
        """
        answer: Future[Settlement] = Future()
        self._changes.put(_Asked(key, change, answer))
        self._woken()
        return answer

    def _woken(self) -> None:
        if self._closed:
            self.close()  # the owner may have gone between its last look and this
        else:
            self._wake()

    # -- for the owner's thread ----------------------------------------------------------------------

    def answer(self, engine: PartitionEngine) -> None:
        """Answer what is asked, and tell of changes that are read back."""
        while True:
            try:
                question, answer = self._questions.get_nowait()
            except Empty:
                break
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question(engine))
                except Exception as error:  # noqa: BLE001 - it is the asker's
                    answer.set_exception(error)
        if self._unread:
            read = [entry for entry in self._unread if engine.is_read_back(entry[0].key)]
            self._unread = [entry for entry in self._unread if not engine.is_read_back(entry[0].key)]
            for asked, settlement in read:
                asked.answer.set_result(settlement)

    def take(self, engine: PartitionEngine, now_ms: int) -> list[Settlement]:
        """What has to be written for the changes that can be settled now."""
        while True:
            try:
                asked = self._changes.get_nowait()
            except Empty:
                break
            if asked.answer.set_running_or_notify_cancel():
                self._open.append(asked)
        if not self._open:
            return []
        waiting, batch = [], []
        keys: set[bytes] = set()
        for asked in self._open:
            if asked.key in keys:  # one at a time: what the first makes of it is not in force yet
                waiting.append(asked)
                continue
            keys.add(asked.key)
            try:
                settlement = engine.change(asked.key, asked.change, now_ms)
            except NotPendingError as error:
                asked.answer.set_exception(error)
                continue
            if settlement is None:
                waiting.append(asked)
            else:
                batch.append(settlement)
                self._settling.append((asked, settlement))
        self._open = waiting
        return batch

    @property
    def any(self) -> bool:
        """Whether something is asked, or waits."""
        return self.waiting or not (self._questions.empty() and self._changes.empty())

    @property
    def waiting(self) -> bool:
        """Whether a change waits for what has yet to be read or for the clock."""
        return bool(self._open or self._unread)

    def committed(self, batch: Iterable[Settlement]) -> None:
        """The batch stands in the log, each change as it was settled in the end; what is missing was postponed."""
        if not self._settling:
            return
        settled = {id(settlement.subject): settlement for settlement in batch}
        for asked, settlement in self._settling:
            final = settled.get(id(settlement.subject))
            if final is None:
                asked.answer.set_exception(TargetWaitedForError())
            elif final.successor is None:
                asked.answer.set_result(final)
            else:
                self._unread.append((asked, final))
        self._settling = []

    def uncertain(self, detail: str) -> None:
        """Nobody knows whether the batch stands in the log."""
        _fail(self._settling, OutcomeUnknownError(detail))
        self._settling = []

    def close(self) -> None:
        """The partition is given up: whoever waits is told."""
        self._closed = True
        gone = PartitionGoneError()
        self.uncertain("the partition was given up")
        for asked, settlement in self._unread:
            asked.answer.set_result(settlement)  # it is committed, whoever reads it now
        self._unread = []
        for asked in self._open:
            asked.answer.set_exception(gone)
        self._open = []
        for queue in (self._questions, self._changes):
            while True:
                try:
                    entry = queue.get_nowait()
                except Empty:
                    break
                answer = entry.answer if isinstance(entry, _Asked) else entry[1]
                if answer.set_running_or_notify_cancel():
                    answer.set_exception(gone)


def _fail(entries: Iterable[tuple[_Asked, Settlement]], error: Exception) -> None:
    for asked, _ in entries:
        asked.answer.set_exception(error)
