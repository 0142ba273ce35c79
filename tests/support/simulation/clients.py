"""What clients and planners write to the schedules topic of a simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.simulation.broker import LARGE, Log, State, Transaction
from tests.support.simulation.mutations import Mutation
from tests.support.simulation.reference import NONSENSE, PAUSE_KEY, Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.simulation.broker import Header

CLIENT = "client"
MOST_HELD = 2
"""Open transactions of clients: nobody reads on behind the first of them."""
MALFORMED: tuple[list[Header], ...] = (
    [("scheduler-epoch", b"soon"), ("scheduler-target-topic", b"target")],
    [("scheduler-epoch", b"1000000000")],
    [("scheduler-epoch", b"1000000000"), ("scheduler-target-topic", b"target"), ("scheduler-tpyo", b"")],
)


class Clients:
    """Whoever writes schedules: customers, and planners that have looked before."""

    def __init__(self, log: Log, now_ms: int, mutation: Mutation | None, tell: Callable[[str], None] | None) -> None:
        self.log = log
        self.now_ms = now_ms
        self.mutation = mutation
        self._tell = tell
        self._serial = 0
        self._held: list[Transaction] = []
        """Transactions of clients."""
        self._seen: dict[bytes, tuple[bytes, int, str]] = {}
        """What planners have read and not changed yet: payload, due time, rule."""

    def say(self, text: str) -> None:
        """For the trace."""
        if self._tell is not None:
            self._tell(text)

    # -- clients -------------------------------------------------------------------------------------

    def schedule(
        self, key: bytes, delay_ms: int, *, target: str, misfire: str | None, paused: bool, large: bool, hold: bool
    ) -> None:
        """Write a one-shot schedule; `hold` leaves the client's transaction open."""
        headers = [*([LARGE] if large else []), *self._headers(target, misfire, paused=paused)]
        self._write(key, self._payload(), [*headers, ("scheduler-epoch", _epoch(self.now_ms + delay_ms))], hold=hold)

    def delay(self, key: bytes, seconds: int) -> None:
        """Write one that is due so long after its Kafka timestamp."""
        text = b"%ds" % seconds
        headers = [("delayed", text), *self._headers("target", None), ("scheduler-delay", text)]
        self._write(key, self._payload(), headers, hold=False)

    def recur(
        self,
        key: bytes,
        delay_ms: int,
        rule: str,
        *,
        target: str,
        misfire: str | None,
        paused: bool,
        large: bool,
        hold: bool,
    ) -> None:
        """Write a recurring schedule."""
        headers = [*([LARGE] if large else []), *self._headers(target, misfire, paused=paused)]
        headers.append(("scheduler-cron", rule.encode()))
        self._write(key, self._payload(), [*headers, ("scheduler-epoch", _epoch(self.now_ms + delay_ms))], hold=hold)

    def cancel(self, key: bytes, *, hold: bool) -> None:
        self._write(key, None, [], hold=hold)

    def malformed(self, key: bytes, which: int) -> None:
        self._serial += 1
        self._write(key, NONSENSE + b"%d" % self._serial, list(MALFORMED[which % len(MALFORMED)]), hold=False)

    def pause_all(self, *, on: bool) -> None:
        """The record that holds the whole partition, or lets it go on."""
        self._write(PAUSE_KEY, b"{}" if on else None, [], hold=False)

    def end_held(self, *, commit: bool) -> None:
        """The client that has held its transaction open longest ends it."""
        if self._held:
            transaction = self._held.pop(0)
            transaction.state = State.COMMITTED if commit else State.ABORTED
            self.log.mark(transaction)
            self.say(f"client's transaction is {transaction.state}")

    def _payload(self) -> bytes:
        self._serial += 1
        return b"v%d" % self._serial

    def _headers(self, target: str, misfire: str | None, *, paused: bool = False) -> list[Header]:
        headers: list[Header] = [("customer", b"%d" % self._serial), ("scheduler-target-topic", target.encode())]
        if misfire is not None:
            policy, _, grace = misfire.partition(" ")
            headers.append(("scheduler-misfire", policy.encode()))
            if grace:
                headers.append(("scheduler-misfire-grace", grace.encode()))
        if paused:
            headers.append(("scheduler-paused", b"true"))
        return headers

    def _write(self, key: bytes, value: bytes | None, headers: list[Header], *, hold: bool) -> None:
        hold = hold and len(self._held) < MOST_HELD
        transaction = Transaction(CLIENT) if hold else None
        entry = self.log.append(key, value, headers, self.now_ms, transaction)
        if transaction is not None:
            self._held.append(transaction)
        if self._tell is not None:
            said = ", ".join(f"{n.removeprefix('scheduler-')} {(v or b'').decode()}" for n, v in headers)
            self.say(f"client writes {key!r}@{entry.offset} {value!r} {said}{' in a transaction' if hold else ''}")

    # -- planners ------------------------------------------------------------------------------------

    def look(self, key: bytes) -> None:
        """A planner reads what is in force; what it writes later stands on that."""
        stable = self.log.last_stable_offset()
        found = Reference(entry for entry in self.log.entries if entry.key == key and entry.offset < stable).now(key)
        if found is not None and found.rule is not None:
            self._seen[key] = (found.payload, found.due_ms, found.rule)
        else:
            self._seen.pop(key, None)

    def carry_on(self, key: bytes, rule: str | None, *, hold: bool) -> None:
        """The planner changes the payload of what it saw, and perhaps its rule, but not what it had no say in.

        Where another client had its say meanwhile it is that one's schedule, and nothing is promised.
        """
        payload, due_ms, seen_rule = self._seen.pop(key, (b"", 0, ""))
        if not payload or payload != self._last_word_on(key):
            return
        self._serial += 1
        payload = b"%s+%d" % (payload.partition(b"+")[0], self._serial)
        headers = [*self._headers("target", None), ("scheduler-cron", (rule or seen_rule).encode())]
        headers.append(("scheduler-epoch", _epoch(due_ms)))
        if self.mutation is not Mutation.CONTINUES_BLINDLY:
            headers.append(("scheduler-continues", b"true"))
        self._write(key, payload, headers, hold=hold)

    def _last_word_on(self, key: bytes) -> bytes | None:
        """The payload of the last record of a client about a key, held ones included."""
        for entry in reversed(self.log.archive):
            of_client = entry.transaction is None or (
                entry.transaction.by == CLIENT and entry.transaction.state is not State.ABORTED
            )
            if entry.key == key and of_client and not (entry.value or b"").startswith(NONSENSE):
                return entry.value
        return None


def _epoch(ms: int) -> bytes:
    return b"%d.%03d" % divmod(ms, 1000)
